package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/rules/unit"
)

// RuleTestResult is what became of one test of rules.
type RuleTestResult struct {
	Test     *unit.Test
	Failures []RuleTestFailure // none: it passed
	Err      error             // why it could not be run
}

// RuleTestFailure is an expectation that does not hold.
type RuleTestFailure struct {
	Line int           `json:"line"` // of the expectation in the file
	At   time.Duration `json:"-"`    // since the start
	What string        `json:"what"` // "slo orders", "action protect-orders", "run orders"
	Want string        `json:"want"`
	Got  string        `json:"got"`
	Why  string        `json:"why,omitempty"`  // in the verdict's own words
	When string        `json:"when,omitempty"` // how it was over the whole test
}

// TestRules runs the tests of a suite one after the other, with the loop that runs live,
// in event time; policies only observe. tell is called with each result. The error is
// ctx's.
func TestRules(ctx context.Context, suite *unit.Suite, set *rules.Rules, logger *slog.Logger, tell func(RuleTestResult)) error {
	for i := range suite.Tests {
		t := &ruleTest{test: &suite.Tests[i], set: set, begun: map[string]*climbed{}, past: map[string][]moment{}}
		err := t.run(ctx, logger)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tell(RuleTestResult{Test: t.test, Failures: t.failures(), Err: err})
	}
	return nil
}

// ruleTest is one test that runs.
type ruleTest struct {
	test   *unit.Test
	set    *rules.Rules
	replay *replay

	begun map[string]*climbed // by policy: the steps of the answer that is under way
	past  map[string][]moment // how each thing that is expected was, each time it changed
	found []RuleTestFailure
}

// climbed is a ladder, and the kinds of its steps that would have been taken.
type climbed struct {
	ladder string
	steps  map[int]string
}

// moment is since when something was so.
type moment struct {
	at   time.Duration
	word string
}

func (t *ruleTest) run(ctx context.Context, logger *slog.Logger) error {
	opts := ReplayOptions{Rules: t.set, Logger: logger, Event: t.see, Broken: func(error) {}}
	for _, r := range t.test.Runs {
		opts.Gates = append(opts.Gates, ReplayGate{Canary: r.Canary, Start: t.test.Start.Add(r.At)})
	}
	if len(t.test.Targets) > 0 {
		answer, err := json.Marshal(map[string]any{"data": t.test.Targets})
		if err != nil {
			return err
		}
		opts.Targets = answer
	}
	var err error
	if t.replay, err = newReplay(ctx, opts); err != nil {
		return err
	}
	err = t.seconds(ctx)
	return errors.Join(err, t.replay.loop.engine.Close(ctx))
}

// seconds lets the requests come second by second, and looks at the end of each.
func (t *ruleTest) seconds(ctx context.Context) error {
	if err := t.replay.clock(ctx, t.test.Start); err != nil {
		return err
	}
	var batch []gatewarden.Record
	due := t.test.Expect
	for at := time.Duration(0); at < t.test.Length && len(due) > 0; at += time.Second {
		batch = t.test.Records(batch[:0], at, at+time.Second, len(t.test.Runs) > 0)
		if len(batch) > 0 {
			if err := t.replay.feed(ctx, batch); err != nil {
				return err
			}
		}
		end := at + time.Second
		if err := t.replay.judge(ctx, t.test.Start.Add(end)); err != nil {
			return err
		}
		t.note(end)
		for ; len(due) > 0 && due[0].At <= end; due = due[1:] {
			t.check(&due[0])
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// wouldNot begins the reason of a step that observe mode would not have begun either.
const wouldNot = "observe mode: would not have begun"

// see keeps which steps would have been taken.
func (t *ruleTest) see(e gatewarden.Event) error {
	switch {
	case e.Type != gatewarden.EventAction:
	case e.Action == nil:
		if e.State == gatewarden.LadderEnded {
			for policy, a := range t.begun {
				if a.ladder == e.Name {
					delete(t.begun, policy)
				}
			}
		}
	case e.Action.Status == gatewarden.ActionSkipped && e.Action.Step > 0 && !strings.HasPrefix(e.Reason, wouldNot):
		a := t.begun[e.Action.Policy]
		if a == nil || a.ladder != e.Action.Ladder {
			a = &climbed{ladder: e.Action.Ladder, steps: map[int]string{}}
			t.begun[e.Action.Policy] = a
		}
		a.steps[e.Action.Step] = string(e.Action.Spec.Kind)
	}
	return nil
}

// note keeps how everything is that the test expects something of.
func (t *ruleTest) note(at time.Duration) {
	for i := range t.replay.loop.verdicts {
		v := &t.replay.loop.verdicts[i]
		t.remember("slo "+v.Name, at, strings.Join(stateWords(v), ", "))
	}
	for _, p := range t.set.Policies {
		t.remember("action "+p.Name, at, t.steps(p.Name))
	}
	for _, r := range t.test.Runs {
		t.remember("run "+r.Canary, at, t.runState(r.Canary))
	}
}

func (t *ruleTest) remember(what string, at time.Duration, word string) {
	if past := t.past[what]; len(past) == 0 || past[len(past)-1].word != word {
		t.past[what] = append(past, moment{at, word})
	}
}

// stateWords are the words of an SLO's state: the alerts that fire, sorted.
func stateWords(v *gatewarden.Verdict) []string {
	if v.State != gatewarden.Breach {
		return []string{v.State.String()}
	}
	var words []string
	for s, fires := range v.Firing() {
		if fires {
			words = append(words, gatewarden.Severity(s).String())
		}
	}
	slices.Sort(words)
	return words
}

// steps writes the steps of the answer of a policy that is under way.
func (t *ruleTest) steps(policy string) string {
	a := t.begun[policy]
	if a == nil {
		return "nothing"
	}
	var kinds []string
	for step := 1; len(kinds) < len(a.steps); step++ {
		if kind, ok := a.steps[step]; ok {
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, ", ")
}

// runState is the state of the newest run of a canary.
func (t *ruleTest) runState(canary string) string {
	for _, id := range slices.Backward(t.replay.gates.started) {
		if run, err := t.replay.loop.runs.Run(id); err == nil && run.Canary == canary {
			return string(run.State)
		}
	}
	return "not begun"
}

// check holds an expectation to how things are.
func (t *ruleTest) check(e *unit.Expectation) {
	compare := func(what, want, why string) {
		past := t.past[what]
		if got := past[len(past)-1].word; got != want {
			t.found = append(t.found, RuleTestFailure{Line: e.Line, At: e.At, What: what, Want: want, Got: got, Why: why})
		}
	}
	for name, words := range sorted(e.SLOs) {
		compare("slo "+name, strings.Join(words, ", "), t.reason(name))
	}
	for name, steps := range sorted(e.Actions) {
		want := strings.Join(steps, ", ")
		if want == "" {
			want = "nothing"
		}
		compare("action "+name, want, "")
	}
	for name, state := range sorted(e.Runs) {
		compare("run "+name, state, t.runReason(name))
	}
}

// reason is what the last verdict on an SLO says.
func (t *ruleTest) reason(name string) string {
	for _, v := range t.replay.loop.current() {
		if v.Name == name {
			return v.Reason
		}
	}
	return ""
}

func (t *ruleTest) runReason(canary string) string {
	for _, id := range slices.Backward(t.replay.gates.started) {
		if run, err := t.replay.loop.runs.Run(id); err == nil && run.Canary == canary {
			return run.Reason
		}
	}
	return ""
}

// failures are the expectations that did not hold, each with how it was all the time.
func (t *ruleTest) failures() []RuleTestFailure {
	for i := range t.found {
		t.found[i].When = t.story(t.found[i].What)
	}
	return t.found
}

// mostMoments bounds a story.
const mostMoments = 12

// story says how something was over the test.
func (t *ruleTest) story(what string) string {
	past := t.past[what]
	var b strings.Builder
	for i, m := range past {
		switch {
		case i >= mostMoments:
			fmt.Fprintf(&b, "; and %d changes more", len(past)-i)
			return b.String()
		case i > 0:
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s from %s", m.word, gatewarden.Duration(m.at))
	}
	return b.String()
}

// sorted yields a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
