package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// loadText loads one rules file, which has to be free of errors.
func loadText(t *testing.T, text string) *Rules {
	t.Helper()
	rules, ps := loadRules([]*document{parseDocument("r.yaml", []byte(text), nil)})
	if err := ps.Err(); err != nil {
		t.Fatal(printed(ps))
	}
	return rules
}

func oneCanary(settings string) string {
	return "canaries: [{name: orders, service: orders, baseline: {target_tag: v1}, canary: {target_tag: v2}, on_fail: []" + settings + "}]\n"
}

func TestACanaryIsReadWhole(t *testing.T) {
	rules := loadText(t, `
canaries:
  - name: orders
    description: The next version of orders.
    service: orders
    route: list
    workspace: default
    tag: core
    upstream: orders.v1
    baseline: {target: "10.0.0.7:8080"}
    canary: {target: ["10.0.0.8:8080", orders-v2]}
    checks:
      - errors: {max_ratio: 1.2, max_difference: 0.1%, pass_ratio: 2, pass_difference: 0.005}
      - latency: {max_ratio: 1.3, pass_ratio: 1.6}
    false_alarm: 0.5%
    false_pass: 0.1
    warm_up: 10s
    min_duration: 2m
    deadline: 20m
    steps: [5, 10%, 50]
    on_inconclusive: fail
    on_fail: [away]
    on_pass: [tell]
    mode: observe
actions:
  - {name: away, steps: [{drain: {canary: orders}}]}
  - {name: tell, steps: [{webhook: {url: "http://chat"}}]}
`)
	want := []gatewarden.Canary{{
		Name: "orders", Description: "The next version of orders.",
		Series:   gatewarden.Series{Workspace: "default", Service: "orders", Route: "list", Tag: "core"},
		Upstream: "orders.v1",
		Tracks: [2]gatewarden.Selector{
			{Kind: gatewarden.ByTarget, Values: []string{"10.0.0.7:8080"}},
			{Kind: gatewarden.ByTarget, Values: []string{"10.0.0.8:8080", "orders-v2"}},
		},
		Errors:     &gatewarden.ErrorMargins{MaxRatio: 1.2, MaxDifference: 0.001, PassRatio: 2, PassDifference: 0.005},
		Latency:    &gatewarden.LatencyMargins{MaxRatio: 1.3, PassRatio: 1.6},
		FalseAlarm: 0.005, FalsePass: 0.1,
		WarmUp: 10 * time.Second, MinDuration: 2 * time.Minute, Deadline: 20 * time.Minute,
		Steps: []int{5, 10, 50}, OnInconclusive: gatewarden.HoldsAFail,
		OnFail: []string{"away"}, OnPass: []string{"tell"}, Mode: gatewarden.ModeObserve,
	}}
	if diff := cmp.Diff(want, rules.Canaries); diff != "" {
		t.Errorf("canaries (-want +got):\n%s", diff)
	}
}

func TestWhatIsNotWrittenFollowsFromWhatIs(t *testing.T) {
	errors := func(ratio, difference, pass, passDifference float64) *gatewarden.ErrorMargins {
		return &gatewarden.ErrorMargins{MaxRatio: ratio, MaxDifference: difference, PassRatio: pass, PassDifference: passDifference}
	}
	latency := func(ratio, pass float64) *gatewarden.LatencyMargins {
		return &gatewarden.LatencyMargins{MaxRatio: ratio, PassRatio: pass}
	}
	for sentence, c := range map[string]struct {
		settings string
		change   func(*gatewarden.Canary)
	}{
		"nothing is written":                            {"", func(*gatewarden.Canary) {}},
		"only failures are judged":                      {", checks: [errors]", func(c *gatewarden.Canary) { c.Latency = nil }},
		"only latencies are judged":                     {", checks: [latency: ]", func(c *gatewarden.Canary) { c.Errors = nil }},
		"a pass keeps its distance from a wider margin": {", checks: [errors: {max_ratio: 3, max_difference: 1%}, latency: {max_ratio: 1.3}]", func(c *gatewarden.Canary) { c.Errors, c.Latency = errors(3, 0.01, 3.75, 0.02), latency(1.3, 1.43) }},
		"a narrower margin leaves the pass as it is":    {", checks: [errors: {max_ratio: 1, max_difference: 0}, latency: {max_ratio: 1.05}]", func(c *gatewarden.Canary) { c.Errors, c.Latency = errors(1, 0, 1.5, 0.001), latency(1.05, 1.25) }},
		"the widest margins are still margins":          {", checks: [errors: {max_ratio: 100, max_difference: 0.9}, latency: {max_ratio: 99}]", func(c *gatewarden.Canary) { c.Errors, c.Latency = errors(100, 0.9, 100, 0.95), latency(99, 100) }},
		"a short deadline shortens warm-up and shortest": {", deadline: 2m", func(c *gatewarden.Canary) {
			c.Deadline, c.MinDuration, c.WarmUp = 2*time.Minute, time.Minute, 12*time.Second
		}},
		"a long deadline does not lengthen them":          {", deadline: 2h", func(c *gatewarden.Canary) { c.Deadline = 2 * time.Hour }},
		"the mode is enforce, and inconclusive is a hold": {", steps: [50]", func(c *gatewarden.Canary) { c.Steps = []int{50} }},
	} {
		t.Run(sentence, func(t *testing.T) {
			want := gatewarden.Canary{
				Name: "orders", Series: gatewarden.Series{Service: "orders"},
				Upstream: "orders", // as the service is called
				Tracks:   [2]gatewarden.Selector{{Kind: gatewarden.ByTargetTag, Values: []string{"v1"}}, {Kind: gatewarden.ByTargetTag, Values: []string{"v2"}}},
				Errors:   errors(1.1, 1e-4, 1.5, 1e-3), Latency: latency(1.1, 1.25),
				FalseAlarm: 0.01, FalsePass: 0.05,
				WarmUp: 30 * time.Second, MinDuration: 5 * time.Minute, Deadline: 30 * time.Minute,
				OnInconclusive: gatewarden.Hold, OnFail: []string{}, Mode: gatewarden.ModeEnforce,
			}
			c.change(&want)
			if diff := cmp.Diff([]gatewarden.Canary{want}, loadText(t, oneCanary(c.settings)).Canaries); diff != "" {
				t.Errorf("canaries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeadersThatCanariesAskFor(t *testing.T) {
	rules := loadText(t, `
canaries:
  - {name: a, service: "*", baseline: {response_header: "X-Version: v1"}, canary: {response_header: "x-version: v2"}, on_fail: []}
  - {name: b, service: b, baseline: {service: b}, canary: {request_header: ["X-Grey: a:b", "x-grey:  c "]}, on_fail: []}
  - {name: c, service: c, baseline: {request_header: "A: 1"}, canary: {response_header: "B: 1"}, on_fail: []}
  - {name: d, service: d, baseline: {target_tag: v1}, canary: {target_tag: v2}, on_fail: []}
`)
	request, response := rules.Headers()
	if diff := cmp.Diff([][]string{{"a", "x-grey"}, {"b", "x-version"}}, [][]string{request, response}); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	want := gatewarden.Selector{Kind: gatewarden.ByRequestHeader, Header: "x-grey", Values: []string{"a:b", "c"}}
	if diff := cmp.Diff(want, rules.Canaries[1].Tracks[gatewarden.TrackCanary]); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	if request, response := (&Rules{}).Headers(); len(request)+len(response) > 0 {
		t.Errorf("headers of no canary: %v, %v", request, response)
	}
}

func TestStepsActOnTheTargetsOfACanary(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"actions.yaml": `
actions:
  - name: away
    steps:
      - drain: {canary: by-tag}
      - drain: {canary: by-address}
        after: 10s
      - weight: {canary: by-tag, weight: 5}
        after: 20s
  - name: tight
    steps: [{drain: {canary: by-address}}]
    limits: {per_hour: 7, max_active: 3}
`,
		"canaries.yaml": `
canaries:
  - {name: by-tag, service: orders, baseline: {target_tag: v1}, canary: {target_tag: v2}, on_fail: [away]}
  - {name: by-address, upstream: pay, baseline: {target: "a:1"}, canary: {target: ["b:1", "c:1"]}, on_fail: [away, tight]}
`,
	})
	rules, ps := LoadRules([]string{dir})
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	seconds := func(n int) gatewarden.Duration { return gatewarden.Duration(time.Duration(n) * time.Second) }
	drain := func(after int, w gatewarden.WeightStep) gatewarden.Step {
		return gatewarden.Step{Kind: gatewarden.StepDrain, After: seconds(after), Weight: &w}
	}
	want := []gatewarden.Step{
		drain(0, gatewarden.WeightStep{Upstream: "orders", TargetTag: "v2"}),
		drain(10, gatewarden.WeightStep{Upstream: "pay", Target: "b:1"}),
		drain(10, gatewarden.WeightStep{Upstream: "pay", Target: "c:1"}),
		{Kind: gatewarden.StepWeight, After: seconds(20), Weight: &gatewarden.WeightStep{Upstream: "orders", TargetTag: "v2", Weight: 5}},
	}
	if diff := cmp.Diff(want, rules.Policies[0].Steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if l := rules.Policies[0].Limits; l.PerHour != 8 || l.MaxActive != 4 {
		t.Errorf("limits that do not follow from the steps: %+v", l)
	}
	if l := rules.Policies[1].Limits; l.PerHour != 7 || l.MaxActive != 3 {
		t.Errorf("limits that are not as written: %+v", l)
	}
}

func TestCanariesNeedTheirPeers(t *testing.T) {
	rules := loadText(t, `
canaries:
  - name: a
    service: a
    baseline: {target_tag: v1}
    canary: {target: ["10.0.0.7:8080", "a-v2:8080", "10.0.0.8"]}
    steps: [50]
  - {name: b, upstream: b, baseline: {target: "10.0.0.7:8080"}, canary: {target: "[::1]:80"}, on_fail: []}
  - {name: c, service: c, baseline: {service: c}, canary: {request_header: "X: 1"}, on_fail: []}
`)
	config := Defaults()
	config.File = "g.yaml"
	var got []string
	for _, p := range config.CheckRules(rules) {
		got = append(got, p.String()+" ("+p.Hint+")")
	}
	want := []string{
		`r.yaml:5:28: error: only Kong knows which targets have a tag, and the configuration names no Admin API (add kong: {admin_url: ...} to g.yaml)`,
		`r.yaml:6:40: error: only Kong knows the address of the target a-v2:8080, and the configuration names no Admin API (add kong: {admin_url: ...} to g.yaml, or write it as Kong logs it: "10.0.0.7:8080")`,
		`r.yaml:6:53: error: only Kong knows the address of the target 10.0.0.8, and the configuration names no Admin API (add kong: {admin_url: ...} to g.yaml, or write it as Kong logs it: "10.0.0.7:8080")`,
		`r.yaml:7:12: error: steps move the weights of targets, and the configuration names no Admin API (add kong: {admin_url: ...} to g.yaml)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	config.Kong.AdminURL = "http://kong:8001"
	if ps := config.CheckRules(rules); len(ps) > 0 {
		t.Error(printed(ps))
	}
}

func TestOverrideOfCanaries(t *testing.T) {
	load := func() *Rules {
		return loadText(t, `
canaries:
  - {name: a, service: orders, baseline: {target_tag: v1}, canary: {target_tag: v2}, false_alarm: 2%, on_fail: []}
  - {name: b, service: orders, baseline: {target_tag: v1}, canary: {target_tag: v2}, checks: [errors: {max_ratio: 1.3}], on_fail: []}
  - {name: c, service: orders, baseline: {target_tag: v1}, canary: {target_tag: v2}, checks: [latency], min_duration: 10m, on_fail: []}
`)
	}
	for sentence, c := range map[string]struct {
		key, value string
		change     func(want []gatewarden.Canary)
	}{
		"the false alarms of all": {"canary.false_alarm", "5%", func(want []gatewarden.Canary) {
			for i := range want {
				want[i].FalseAlarm = 0.05
			}
		}},
		"the false passes of one": {"canary.b.false_pass", "0.1", func(want []gatewarden.Canary) { want[1].FalsePass = 0.1 }},
		"a deadline, and what follows from it": {"canary.a.deadline", "4m", func(want []gatewarden.Canary) {
			want[0].Deadline, want[0].MinDuration, want[0].WarmUp = 4*time.Minute, 2*time.Minute, 24*time.Second
		}},
		"a margin that was not written": {"canary.a.errors.max_ratio", "2", func(want []gatewarden.Canary) {
			want[0].Errors = &gatewarden.ErrorMargins{MaxRatio: 2, MaxDifference: 1e-4, PassRatio: 2.5, PassDifference: 1e-3}
		}},
		"a margin beside one that was written": {"canary.b.errors.pass_ratio", "4", func(want []gatewarden.Canary) {
			want[1].Errors = &gatewarden.ErrorMargins{MaxRatio: 1.3, MaxDifference: 1e-4, PassRatio: 4, PassDifference: 1e-3}
		}},
		"a margin of latencies": {"canary.c.latency.pass_ratio", "1.5", func(want []gatewarden.Canary) {
			want[2].Latency = &gatewarden.LatencyMargins{MaxRatio: 1.1, PassRatio: 1.5}
		}},
		"what is inconclusive": {"canary.on_inconclusive", "fail", func(want []gatewarden.Canary) {
			for i := range want {
				want[i].OnInconclusive = gatewarden.HoldsAFail
			}
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules, want := load(), load().Canaries
			c.change(want)
			if err := rules.Override(c.key, c.value); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, rules.Canaries); diff != "" {
				t.Errorf("canaries (-want +got):\n%s", diff)
			}
		})
	}
	for sentence, c := range map[string]struct {
		key, value string
		code       gatewarden.Code
		want       string
	}{
		"a key that can't be set":              {"canary.steps", "[5]", gatewarden.Invalid, `"canary.steps" can't be set`},
		"a canary that does not exist":         {"canary.d.deadline", "1h", gatewarden.NotFound, `there is no canary "d"`},
		"a kind that the rules have not":       {"slo.objective", "99", gatewarden.NotFound, "the rules define no slo"},
		"a deadline that is too short for one": {"canary.deadline", "9m", gatewarden.Invalid, "for the canary c: min_duration must be between 0 and the deadline, which is 9m"},
		"a check that one has not":             {"canary.errors.max_ratio", "2", gatewarden.Invalid, "for the canary c: it has no check of errors"},
		"a margin beyond the one for passing":  {"canary.errors.pass_ratio", "1.2", gatewarden.Invalid, "for the canary b: pass_ratio 1.2 is below max_ratio, which is 1.3"},
		"a risk that is none":                  {"canary.false_alarm", "90%", gatewarden.Invalid, "false_alarm must be at most 50 %"},
		"no value":                             {"canary.false_alarm", "", gatewarden.Invalid, "there is no value"},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules, want := load(), load().Canaries
			err := rules.Override(c.key, c.value)
			if gatewarden.ErrorCode(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v", gatewarden.ErrorCode(err), err)
			}
			if diff := cmp.Diff(want, rules.Canaries); diff != "" {
				t.Errorf("a refused override changed something:\n%s", diff)
			}
			// Nothing of it is left for the next one either.
			if err := rules.Override("canary.warm_up", "30s"); err != nil {
				t.Errorf("and the next one fails: %v", err)
			}
			if diff := cmp.Diff(want, rules.Canaries); diff != "" {
				t.Errorf("a refused override came back with the next:\n%s", diff)
			}
		})
	}
}

// Whatever margins and times are written, what is accepted is in order.
func TestAcceptedCanariesAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		setting := func(key string, values ...string) string {
			v := rapid.SampledFrom(append(values, "")).Draw(t, key)
			if v == "" {
				return ""
			}
			return fmt.Sprintf("%s: %s, ", key, v)
		}
		ratios := []string{"1", "1.05", "1.1", "1.25", "1.5", "2", "80", "99.9", "100", "0.9", "101"}
		shares := []string{"0", "0.01%", "0.1%", "1%", "50%", "99%", "0.999", "1"}
		text := oneCanary(", checks: [errors: {" + setting("max_ratio", ratios...) + setting("max_difference", shares...) +
			setting("pass_ratio", ratios...) + setting("pass_difference", shares...) +
			"}, latency: {" + setting("max_ratio", ratios...) + setting("pass_ratio", ratios...) + "}], " +
			setting("deadline", "1ms", "1s", "20s", "5m", "7d", "8d") + setting("min_duration", "0s", "1s", "10m", "7d") + setting("warm_up", "0s", "30s", "1h"))
		rules, ps := loadRules([]*document{parseDocument("r.yaml", []byte(text), nil)})
		if ps.Err() != nil {
			return
		}
		if complaint := disorder(&rules.Canaries[0]); complaint != "" {
			t.Errorf("%s: %+v of %s", complaint, rules.Canaries[0], text)
		}
	})
}

// disorder says what of a canary no judge could work with, "" when all is well.
func disorder(c *gatewarden.Canary) string {
	e, l := c.Errors, c.Latency
	switch {
	case c.Name == "" || c.Tracks[0].Kind == "" || len(c.Tracks[0].Values) == 0 || c.Tracks[1].Kind == "" || len(c.Tracks[1].Values) == 0:
		return "a canary that nobody can find"
	case c.Tracks[0].Targets() != c.Tracks[1].Targets() || c.Tracks[0].Targets() != (c.Upstream != ""):
		return "targets of no upstream"
	case e == nil && l == nil:
		return "nothing is checked"
	case e != nil && !(e.MaxRatio >= 1 && e.PassRatio >= e.MaxRatio && e.PassRatio <= 100 && e.MaxDifference >= 0 && e.PassDifference >= e.MaxDifference && e.PassDifference > 0 && e.PassDifference < 1):
		return "margins of errors"
	case l != nil && !(l.MaxRatio >= 1 && l.PassRatio > l.MaxRatio && l.PassRatio <= 100):
		return "margins of latencies"
	case !(c.FalseAlarm > 0 && c.FalseAlarm <= 0.5 && c.FalsePass > 0 && c.FalsePass <= 0.5):
		return "risks"
	case c.Deadline <= 0 || c.MinDuration < 0 || c.MinDuration > c.Deadline || c.WarmUp < 0 || c.WarmUp > c.Deadline:
		return "times"
	case c.Mode == "" || c.OnInconclusive == "" || len(c.Steps) > 0 && !c.Tracks[0].Targets():
		return "steps"
	}
	return ""
}
