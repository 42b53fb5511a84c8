package rules

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatewarden/gatewarden"
)

// seeds gives a fuzzer every case of a golden file, and an example.
func seeds(f *testing.F, golden, example string) {
	f.Helper()
	for _, file := range []string{golden, example} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for c := range strings.SplitSeq(string(b), "=== ") {
			if _, rest, found := strings.Cut(c, "\n"); found {
				c, _, _ = strings.Cut(rest, ">>>\n")
			}
			f.Add([]byte(c))
		}
		f.Add(b)
	}
}

// checkProblems holds what is true of every list of problems.
func checkProblems(t *testing.T, ps Problems) {
	t.Helper()
	for _, p := range ps {
		text := printed(Problems{p})
		if p.Message == "" || p.Line < 0 || p.Line > 0 && p.Column < 1 {
			t.Errorf("a problem without message or place: %+v", p)
		}
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\r") {
			t.Errorf("not fit for a terminal: %q", text)
		}
		for _, word := range []string{"rules.", "gatewarden.S", "interface {}", "map[string]", "*ast.", "reflect", "%!"} {
			if strings.Contains(p.Message, word) && !strings.Contains(p.Excerpt, word) {
				t.Errorf("the message speaks Go: %s", p.Message)
			}
		}
	}
}

func FuzzLoadRules(f *testing.F) {
	seeds(f, "testdata/rules.txt", "../examples/shop/rules/shop.yaml")
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ps := loadRules([]*document{parseDocument("r.yaml", b, nil)})
		checkProblems(t, ps)
		if ps.Err() != nil {
			return
		}
		// What loads must be usable as it is.
		for _, s := range r.SLOs {
			if s.Name == "" || !(s.Objective > 0 && s.Objective < 1) || s.Window.Length() <= 0 {
				t.Errorf("an SLO that nobody can judge: %+v", s)
			}
			if s.SLI.Kind == gatewarden.SLIGood && s.SLI.Holds == nil {
				t.Errorf("an expression that was not compiled: %s", s.SLI.Expr)
			}
			if s.Outage != nil && !(s.Outage.Ratio >= s.ErrorBudget() && s.Outage.Ratio < 1) {
				t.Errorf("an outage ratio of %g with a budget of %g", s.Outage.Ratio, s.ErrorBudget())
			}
			for _, record := range []*gatewarden.Record{{}, proxied(), unproxied(503)} {
				s.SLI.Judge(record)
			}
		}
		for i := range r.Canaries {
			if complaint := disorder(&r.Canaries[i]); complaint != "" {
				t.Errorf("%s: %+v", complaint, r.Canaries[i])
			}
			for _, record := range []*gatewarden.Record{{}, proxied(), unproxied(503)} {
				r.Canaries[i].Observe(record, func(string) (gatewarden.Track, bool) { return gatewarden.TrackCanary, true })
			}
		}
		for _, p := range r.Policies {
			for _, s := range p.Steps {
				if s.Weight != nil && (s.Weight.Upstream == "" || s.Weight.Target == "" && s.Weight.TargetTag == "") {
					t.Errorf("a weight of nothing: %+v", *s.Weight)
				}
			}
			if p.Lease <= 0 || p.Revert.After <= 0 || p.Limits.PerHour <= 0 || p.Mode == "" || len(p.Steps) == 0 {
				t.Errorf("a policy without bounds: %+v", p)
			}
		}
	})
}

func FuzzLoadConfig(f *testing.F) {
	seeds(f, "testdata/config.txt", "../examples/shop/gatewarden.yaml")
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), "hunter22") {
			return // then it is in the file, and may be in an excerpt
		}
		c, ps := loadConfig(parseDocument("c.yaml", b, testEnv))
		checkProblems(t, ps)
		for _, s := range c.Sources {
			var into map[string]any
			if err := s.Decode(&into); err != nil && strings.Contains(err.Error(), "hunter22") {
				t.Errorf("a secret of the environment is shown: %v", err)
			}
		}
		if text := printed(ps); strings.Contains(text, "hunter22") {
			t.Errorf("a secret of the environment is shown: %s", text)
		}
	})
}

func FuzzOverride(f *testing.F) {
	for _, kv := range [][2]string{
		{"slo.objective", "99.95"}, {"slo.a.window", "{calendar: month}"}, {"slo.outage.ratio", "10%"}, {"slo..objective", "[]"},
		{"canary.false_alarm", "5%"}, {"canary.orders.errors.max_ratio", "2"}, {"canary.deadline", "10m"},
	} {
		f.Add(kv[0], kv[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		r, _ := loadRules([]*document{parseDocument("r.yaml", []byte(oneSLO("a")+oneCanary("")), nil)})
		before, canary := r.SLOs[0].Objective, r.Canaries[0]
		if err := r.Override(key, value); err != nil && (r.SLOs[0].Objective != before || !reflect.DeepEqual(r.Canaries[0], canary)) {
			t.Errorf("refused (%v), and changed all the same", err)
		}
		if o := r.SLOs[0].Objective; !(o > 0 && o < 1) {
			t.Errorf("objective %g", o)
		}
		if complaint := disorder(&r.Canaries[0]); complaint != "" {
			t.Errorf("%s: %+v", complaint, r.Canaries[0])
		}
	})
}
