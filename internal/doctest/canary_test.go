package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// The tables of what a canary has where it says nothing.
func TestTheDefaultsOfACanaryAreThoseOfTheProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	const text = "canaries: [{name: x, service: x, baseline: {target_tag: a}, canary: {target_tag: b}, on_fail: []}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := rules.LoadRules([]string{file})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	c := set.Canaries[0]
	percent := func(ratio float64) string { return strconv.FormatFloat(ratio*100, 'g', 6, 64) + "%" }
	all := rows(read(t, "docs/rules.md").text)
	for key, values := range map[string][]string{
		"false_alarm": {percent(c.FalseAlarm)}, "false_pass": {percent(c.FalsePass)},
		"warm_up":      {gatewarden.Duration(c.WarmUp).String()},
		"min_duration": {gatewarden.Duration(c.MinDuration).String()}, "deadline": {gatewarden.Duration(c.Deadline).String()},
		"mode": {string(c.Mode)}, "on_inconclusive": {string(c.OnInconclusive)},
		"max_ratio":       {fmt.Sprint(c.Errors.MaxRatio), fmt.Sprint(c.Latency.MaxRatio)},
		"pass_ratio":      {fmt.Sprint(c.Errors.PassRatio), fmt.Sprint(c.Latency.PassRatio)},
		"max_difference":  {percent(c.Errors.MaxDifference)},
		"pass_difference": {percent(c.Errors.PassDifference)},
	} {
		want := []string{"`" + key + "`"}
		for _, v := range values {
			want = append(want, "`"+v+"`")
		}
		if !slices.ContainsFunc(all, func(r []string) bool { return len(r) > len(want) && slices.Equal(r[:len(want)], want) }) {
			t.Errorf("docs/rules.md has no row that begins with %v", want)
		}
	}
}
