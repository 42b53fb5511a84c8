package app

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const (
	stableTarget = "10.0.0.1:8080"
	canaryTarget = "10.0.0.2:8080"
)

// canaryRules returns rules with one canary whose tracks are as given.
func canaryRules(tracks string) string {
	return `
canaries:
  - name: orders
    service: orders
    upstream: orders-up
    ` + strings.ReplaceAll(strings.TrimSpace(tracks), "\n", "\n    ") + `
    min_duration: 2m
    deadline: 10m
`
}

// rollout is a log of orders at 100 requests a second: baseline alone for a while, then a
// tenth of the requests on the canary, with the given ratio of errors and times the
// latency.
func rollout(begin time.Time, before, during time.Duration, errors, slower float64) []loglines.Line {
	r := rand.New(rand.NewPCG(7, 11))
	var lines []loglines.Line
	const rate = 100
	for i := range int((before + during).Seconds() * rate) {
		at := begin.Add(time.Duration(i) * time.Second / rate)
		l := loglines.Line{
			ID: uint64(i), At: at, Service: "orders", Target: stableTarget, Status: 200, Version: "v1",
			Millis: 20 + int(20*r.ExpFloat64()), Client: "203.0.113." + strconv.Itoa(r.IntN(200)),
		}
		bad := 0.002
		if at.Sub(begin) >= before && r.Float64() < 0.1 {
			l.Target, l.Version, bad = canaryTarget, "v2", errors
			l.Millis = int(float64(l.Millis) * slower)
		}
		if r.Float64() < bad {
			l.Status = 503
		}
		lines = append(lines, l)
	}
	return lines
}

// replayGate judges a rollout and returns its run and events.
func replayGate(t *testing.T, ruleText string, gate ReplayGate, targets []byte, lines []loglines.Line) (gatewarden.Run, []gatewarden.Event, error) {
	t.Helper()
	log := logOf(lines)
	var events []gatewarden.Event
	summary, err := Replay(t.Context(), ReplayOptions{
		Rules: loadText(t, ruleText), Inputs: []ReplayInput{{"log", log}}, Logger: slog.New(slog.DiscardHandler),
		Gates: []ReplayGate{gate}, Targets: targets,
		Event:  func(e gatewarden.Event) error { events = append(events, e); return nil },
		Broken: func(err error) { t.Error(err) },
	})
	if len(summary.Runs) == 0 {
		return gatewarden.Run{}, events, err
	}
	return summary.Runs[0], events, err
}

// byAddress, byTag and byHeader tell the tracks of rollout apart.
const (
	byAddress = "baseline: {target: \"" + stableTarget + "\"}\ncanary: {target: \"" + canaryTarget + "\"}"
	byTag     = "baseline: {target_tag: \"version:v1\"}\ncanary: {target_tag: \"version:v2\"}"
	byHeader  = "baseline: {response_header: \"X-Backend-Version: v1\"}\ncanary: {response_header: \"X-Backend-Version: v2\"}"
)

var recordedAnswer = []byte(`{"next":null,"data":[
	{"target":"` + stableTarget + `","weight":90,"tags":["version:v1"]},
	{"target":"` + canaryTarget + `","weight":10,"tags":["version:v2"]}]}`)

func TestARecordedRolloutIsJudged(t *testing.T) {
	begin := time.Date(2026, 11, 2, 14, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		tracks         string
		targets        []byte
		errors, slower float64
		client         string // everybody's address, "" for one each
		want           gatewarden.RunState
		says           string
	}{
		"a bad one by address":       {byAddress, nil, 0.2, 1, "", gatewarden.RunFail, "failed"},
		"a bad one behind one proxy": {byAddress, nil, 0.2, 1, "10.0.0.9", gatewarden.RunFail, "failed"},
		"a slow one by header":       {byHeader, nil, 0.002, 2, "", gatewarden.RunFail, "latency"},
		"a bad one by tag":           {byTag, recordedAnswer, 0.2, 1, "", gatewarden.RunFail, "failed"},
		"a healthy one by address":   {byAddress, nil, 0.002, 1, "", gatewarden.RunPass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			during := 2 * time.Minute
			if c.want == gatewarden.RunPass {
				during = 10 * time.Minute
			}
			lines := rollout(begin, 6*time.Minute, during, c.errors, c.slower)
			for i := range lines {
				lines[i].Client = cmp.Or(c.client, lines[i].Client)
			}
			run, events, err := replayGate(t, canaryRules(c.tracks), ReplayGate{Canary: "orders"}, c.targets, lines)
			if err != nil {
				t.Fatal(err)
			}
			if run.State != c.want || !strings.Contains(run.Reason, c.says) {
				t.Fatalf("%s: %s, want %s with %q", run.State, run.Reason, c.want, c.says)
			}
			if got := run.Verdict.History.String(); got < "5m" {
				t.Errorf("a history of %s only", got)
			}
			other := func(e gatewarden.Event) bool { return e.Type != gatewarden.EventGate }
			told := slices.DeleteFunc(slices.Clone(events), other)
			first, last := told[0], told[len(told)-1]
			if first.Type != gatewarden.EventGate || first.State != "running" || last.Type != gatewarden.EventGate || last.State != string(c.want) || last.Run == nil {
				t.Errorf("the events are not those of a gate: %+v … %+v", first, last)
			}
			if took := run.EndedAt.Sub(run.StartedAt); c.want == gatewarden.RunFail && took > time.Minute {
				t.Errorf("it took %s to fail", took)
			}
		})
	}
}

func TestARunBeginsWhereItIsTold(t *testing.T) {
	begin := time.Date(2026, 11, 2, 14, 0, 0, 0, time.UTC)
	lines := rollout(begin, 6*time.Minute, 2*time.Minute, 0.3, 1)
	at := begin.Add(7 * time.Minute)
	run, _, err := replayGate(t, canaryRules(byAddress), ReplayGate{Canary: "orders", Start: at}, nil, lines)
	if err != nil {
		t.Fatal(err)
	}
	if !run.StartedAt.Equal(at) || run.State != gatewarden.RunFail {
		t.Errorf("started at %s as %s, want %s", run.StartedAt, run.State, at)
	}
}

func TestARecordingThatEndsTooSoonIsInconclusive(t *testing.T) {
	lines := rollout(time.Date(2026, 11, 2, 14, 0, 0, 0, time.UTC), 6*time.Minute, 20*time.Second, 0.002, 1)
	run, events, err := replayGate(t, canaryRules(byAddress), ReplayGate{Canary: "orders"}, nil, lines)
	if err != nil {
		t.Fatal(err)
	}
	last := events[len(events)-1]
	if run.State != gatewarden.RunInconclusive || last.State != "inconclusive" || !strings.Contains(last.Reason, "the recording ends") {
		t.Errorf("%s; %s: %s", run.State, last.State, last.Reason)
	}
}

func TestAGateThatCanNotBeJudgedSaysWhy(t *testing.T) {
	begin := time.Date(2026, 11, 2, 14, 0, 0, 0, time.UTC)
	lines := rollout(begin, time.Minute, 10*time.Second, 0, 1)
	for name, c := range map[string]struct {
		tracks  string
		gate    ReplayGate
		targets []byte
		says    string
	}{
		"an unknown canary":        {byAddress, ReplayGate{Canary: "payments"}, nil, "no canary payments"},
		"tags without the targets": {byTag, ReplayGate{Canary: "orders"}, nil, "not which of them are the target_tag: version:v2"},
		"targets of another kind":  {byTag, ReplayGate{Canary: "orders"}, []byte(`{"data":[]}`), "there are none under data"},
		"targets that are no JSON": {byTag, ReplayGate{Canary: "orders"}, []byte(`<html>`), "the targets: they are not as Kong answers"},
		"only what is in data":     {byTag, ReplayGate{Canary: "orders"}, []byte(`[{"target":"10.0.0.1:80"}]`), "the targets: they are not as Kong answers"},
		"no request of the canary": {strings.ReplaceAll(byHeader, "v2", "v3"), ReplayGate{Canary: "orders"}, nil, "no request of the canary"},
		"a start after the end":    {byAddress, ReplayGate{Canary: "orders", Start: begin.Add(time.Hour)}, nil, "the log ends before"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := replayGate(t, canaryRules(c.tracks), c.gate, c.targets, lines)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

func TestACanaryWithoutABaselineIsJudgedByTheSLOsOfItsService(t *testing.T) {
	begin := time.Date(2026, 11, 2, 14, 0, 0, 0, time.UTC)
	const slos = `
slos:
  - {name: orders-availability, service: orders, objective: 99, sli: {availability: {}}}
  - {name: orders-latency, service: orders, objective: 90, sli: {latency: {threshold: 200ms}}}
`
	for name, c := range map[string]struct {
		slos   string
		errors float64
		want   gatewarden.RunState
		says   string
	}{
		"beyond the error budget": {slos, 0.2, gatewarden.RunFail, "no baseline to compare with"},
		"within its budgets":      {slos, 0.002, gatewarden.RunPass, "within its own limits"},
		"without an SLO":          {"", 0.2, gatewarden.RunInconclusive, "the baseline has taken no requests"},
	} {
		t.Run(name, func(t *testing.T) {
			lines := rollout(begin, 0, 11*time.Minute, c.errors, 1)
			alone := slices.DeleteFunc(lines, func(l loglines.Line) bool { return l.Target != canaryTarget })
			gate := ReplayGate{Canary: "orders", Start: begin}
			run, _, err := replayGate(t, canaryRules(byAddress)+c.slos, gate, nil, alone)
			if err != nil {
				t.Fatal(err)
			}
			if run.State != c.want || !strings.Contains(run.Reason, c.says) {
				t.Fatalf("%s: %s, want %s with %q", run.State, run.Reason, c.want, c.says)
			}
			if want := c.slos != ""; run.Verdict.Absolute != want {
				t.Errorf("judged by itself: %v, want %v", run.Verdict.Absolute, want)
			}
		})
	}
}
