package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/canary"
	"github.com/gatewarden/gatewarden/rules"
)

// loadCanary loads a rules file of one canary with the given settings.
func loadCanary(t *testing.T, settings string) (*rules.Rules, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	text := "canaries: [{name: orders, service: orders, baseline: {target_tag: v1}, canary: {target_tag: v2}, on_fail: []" + settings + "}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := rules.LoadRules([]string{file})
	return set, problems.Err()
}

// judged is what the rules say about a canary in the judge's words.
func judged(c *gatewarden.Canary) canary.Policy {
	return canary.Policy{
		Errors: c.Errors, Latency: c.Latency, FalseAlarm: c.FalseAlarm, FalsePass: c.FalsePass,
		MinDuration: c.MinDuration, Deadline: c.Deadline, WarmUp: c.WarmUp, Delay: canary.DefaultPolicy().Delay,
	}
}

// The rules do not know the judge, so that its defaults and limits stand in two places.
func TestTheDefaultsOfTheRulesAreTheJudges(t *testing.T) {
	set, err := loadCanary(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(canary.DefaultPolicy(), judged(&set.Canaries[0])); diff != "" {
		t.Errorf("policy (-the judge's +the rules'):\n%s", diff)
	}
}

func TestTheLimitsOfTheRulesAreTheJudges(t *testing.T) {
	for sentence, c := range map[string]struct {
		settings string // with one %s for a value
		within   []string
		beyond   []string
	}{
		"false alarms":          {", false_alarm: %s", []string{"0.0001%", "50%"}, []string{"50.1%"}},
		"false passes":          {", false_pass: %s", []string{"0.0001%", "50%"}, []string{"50.1%"}},
		"the deadline":          {", deadline: %s", []string{"1s", "7d"}, []string{"0s", "8d"}},
		"the shortest duration": {", min_duration: %s", []string{"0s", "30m"}, []string{"31m"}},
		"the warm-up":           {", warm_up: %s", []string{"0s", "30m"}, []string{"31m"}},
		"tolerated failures":    {", checks: [errors: {max_ratio: %s}]", []string{"1", "100"}, []string{"0.99", "100.1"}},
		"tolerated difference":  {", checks: [errors: {max_difference: %s}]", []string{"0", "99%"}, []string{"100%"}},
		"failures of a pass":    {", checks: [errors: {pass_ratio: %s}]", []string{"1.1", "100"}, []string{"1.09", "100.1"}},
		"difference of a pass":  {", checks: [errors: {pass_difference: %s}]", []string{"0.01%", "99%"}, []string{"0.009%", "100%"}},
		"tolerated latency":     {", checks: [latency: {max_ratio: %s}]", []string{"1", "99"}, []string{"0.99", "100"}},
		"latency of a pass":     {", checks: [latency: {pass_ratio: %s}]", []string{"1.11", "100"}, []string{"1.1", "100.1"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, value := range c.within {
				set, err := loadCanary(t, fmt.Sprintf(c.settings, value))
				if err != nil {
					t.Errorf("%s is refused: %v", value, err)
					continue
				}
				if policy := judged(&set.Canaries[0]); policy.Validate() != nil {
					t.Errorf("the rules take %s, the judge does not: %v", value, policy.Validate())
				}
			}
			for _, value := range c.beyond {
				if _, err := loadCanary(t, fmt.Sprintf(c.settings, value)); err == nil {
					t.Errorf("%s is accepted", value)
				}
			}
		})
	}
}
