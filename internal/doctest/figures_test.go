package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// The table of pairs: severity, factor, share of the budget, and for each window its
// long and short one.
func TestTheTableOfPairsIsThatOfTheProgram(t *testing.T) {
	windows := []time.Duration{30 * 24 * time.Hour, 7 * 24 * time.Hour, 90 * 24 * time.Hour}
	var want [][]string
	for i, p := range gatewarden.WorkbookPairs(windows[0]) {
		share := p.Factor * float64(p.Long) / float64(windows[0])
		row := []string{p.Severity.String(), fmt.Sprint(p.Factor), fmt.Sprintf("%.0f %%", share*100)}
		for _, w := range windows {
			scaled := gatewarden.WorkbookPairs(w)[i]
			row = append(row, fmt.Sprintf("%s and %s", gatewarden.Duration(scaled.Long), gatewarden.Duration(scaled.Short)))
		}
		want = append(want, row)
	}
	all := rows(read(t, "docs/rules.md").text)
	for _, row := range want {
		if !slices.ContainsFunc(all, func(r []string) bool { return slices.Equal(r, row) }) {
			t.Errorf("docs/rules.md has no row %v", row)
		}
	}
}

// The table of expressions: what each makes of a 503 that was never proxied.
func TestTheExpressionsOfTheDocumentJudgeAsItSays(t *testing.T) {
	record := gatewarden.Record{
		Status: 503, Origin: gatewarden.OriginKong, Method: "GET",
		Latency: gatewarden.Latency{Request: time.Millisecond, Upstream: gatewarden.NoLatency, Kong: time.Millisecond},
	}
	found := 0
	for _, row := range rows(read(t, "docs/rules.md").text) {
		if len(row) != 2 || !slices.Contains([]string{"is no event", "is bad", "is good"}, row[1]) {
			continue
		}
		found++
		sli := sliOf(t, strings.Trim(row[0], "`"))
		good, valid := sli.Judge(&record)
		got := map[bool]string{true: "is good", false: "is bad"}[good]
		if !valid {
			got = "is no event"
		}
		if got != row[1] {
			t.Errorf("%s: a 503 that was never proxied %s, and docs/rules.md says %q", row[0], got, row[1])
		}
	}
	if found < 3 {
		t.Errorf("only %d expressions found: the test does not see them", found)
	}
}

// sliOf loads an SLI of an expression.
func sliOf(t *testing.T, expression string) gatewarden.SLI {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.yaml")
	text := "slos: [{name: x, service: x, objective: 99, sli: {good: '" + expression + "'}}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := rules.LoadRules([]string{file})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return set.SLOs[0].SLI
}

func TestTheDefaultsOfTheConfigurationAreThoseOfTheProgram(t *testing.T) {
	d := rules.Defaults()
	want := map[string]string{
		"listen.api": d.Listen.API, "listen.ingest": d.Listen.Ingest, "state.dir": d.State.Dir,
		"kong.timeout": gatewarden.Duration(d.Kong.Timeout).String(), "jenkins.timeout": gatewarden.Duration(d.Jenkins.Timeout).String(),
		"log.level": d.Log.Level, "log.format": d.Log.Format, "blind_after": gatewarden.Duration(d.BlindAfter).String(),
	}
	for _, row := range rows(read(t, "docs/configuration.md").text) {
		key := strings.Trim(row[0], "`")
		value, ok := want[key]
		if !ok || len(row) != 3 {
			continue
		}
		delete(want, key)
		if row[1] != "`"+value+"`" {
			t.Errorf("docs/configuration.md says that the default of %s is %s; it is %s", key, row[1], value)
		}
	}
	for key := range want {
		t.Errorf("docs/configuration.md has no row for %s", key)
	}
}

// The table of what an action has where it says nothing.
func TestTheDefaultsOfAnActionAreThoseOfTheProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	const text = `actions: [{name: x, steps: [{jenkins: {job: a}}, {webhook: {url: "http://x"}}]}]`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := rules.LoadRules([]string{file})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	p := set.Policies[0]
	if p.Limits.PerHour != 2*len(p.Steps) || p.Limits.MaxActive != len(p.Steps) {
		t.Errorf("the limits of %d steps are %+v; docs/rules.md says twice and once the number of steps", len(p.Steps), p.Limits)
	}
	all := rows(read(t, "docs/rules.md").text)
	for key, value := range map[string]string{
		"mode": string(p.Mode), "lease": gatewarden.Duration(p.Lease).String(), "revert.after": gatewarden.Duration(p.Revert.After).String(),
		"revert.stepwise": fmt.Sprint(p.Revert.Stepwise), "limits.cooldown": gatewarden.Duration(p.Limits.Cooldown).String(),
		"wait": p.Steps[0].Jenkins.Wait.String(), "method": p.Steps[1].Webhook.Method, "timeout": p.Steps[1].Webhook.Timeout.String(),
	} {
		if !slices.ContainsFunc(all, func(r []string) bool { return len(r) > 1 && r[0] == "`"+key+"`" && r[1] == "`"+value+"`" }) {
			t.Errorf("docs/rules.md has no row of %s with the default %s", key, value)
		}
	}
}
