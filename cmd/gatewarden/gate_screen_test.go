package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// course of a run for the screen: each as it is seen, so many seconds after the start.
func seen(second int, change func(*gatewarden.Run)) *gatewarden.Run {
	run := storedRun("cancelled")
	run.State, run.EndedAt, run.Reason = gatewarden.RunRunning, nil, "not decided yet"
	v := *run.Verdict
	v.At = run.StartedAt.Add(time.Duration(second) * time.Second)
	run.Verdict = &v
	if change != nil {
		change(&run)
	}
	return &run
}

func TestWhatAPipeShowsOfARun(t *testing.T) {
	var out, complaints bytes.Buffer
	s := newGateScreen(&out, &complaints, outputText)
	for second := range 150 {
		s.show(seen(second, func(run *gatewarden.Run) {
			if run.Steps = []int{5, 50}; second < 70 {
				run.Step = 1
			} else {
				run.Step = 2
			}
		}))
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line)[1]+" "+strings.Join(strings.Fields(line)[5:], " "))
	}
	// At the start, a minute later, with the step, and a minute after that.
	at := func(second int) string {
		return seen(second, nil).Verdict.At.Local().Format(time.TimeOnly)
	}
	want := []string{
		at(0) + " step 1 of 2, 5 %; not decided yet", at(60) + " step 1 of 2, 5 %; not decided yet",
		at(70) + " step 2 of 2, 50 %; not decided yet", at(130) + " step 2 of 2, 50 %; not decided yet",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || complaints.Len() > 0 {
		t.Errorf("got\n%s\nwant\n%s\nand on stderr %q", strings.Join(got, "\n"), strings.Join(want, "\n"), complaints.String())
	}
}

func TestWhatATerminalShowsOfARun(t *testing.T) {
	var out, screen bytes.Buffer
	s := newGateScreen(&out, &screen, outputText)
	s.live = true
	for second := range 150 {
		s.show(seen(second, nil))
	}
	s.say("The guard answers again, after %s.", "3s")
	s.show(seen(151, func(run *gatewarden.Run) { run.State, run.Reason = gatewarden.RunPass, "shown" }))
	s.end(&ending{})
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines stay, want the start and the end:\n%s", n, out.String())
	}
	text := screen.String()
	if n := strings.Count(text, "\x1b[?7l"); n != 150 || strings.Count(text, "\x1b[?7h") != n {
		t.Errorf("the line changed %d times, want 150", n)
	}
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "\r\x1b[2KThe guard answers again, after 3s.\n") {
		t.Errorf("something besides what is said stays on the screen: %q", text[len(text)-300:])
	}
	for _, what := range []string{"orders  2m29s  fail ▕", "pass ▕█▍", "decision in about 6m30s", "errors at most 82.2", "latency ×1 (at most 1.35)"} {
		if !strings.Contains(text, what) {
			t.Errorf("the line has no %q: %q", what, text[:300])
		}
	}
}

func TestATerminalIsNotSteeredByWhatIsShown(t *testing.T) {
	var out, screen bytes.Buffer
	s := newGateScreen(&out, &screen, outputText)
	s.live = true
	const hostile = "\x1b]0;owned\x07\r\n\x1b[2J"
	bad := func(state gatewarden.RunState) *gatewarden.Run {
		return seen(1, func(run *gatewarden.Run) {
			run.State, run.Canary, run.Reason, run.ID = state, hostile, hostile, hostile
			run.Override = &gatewarden.Override{By: hostile}
			run.Verdict.Suspects = []gatewarden.Suspect{{ID: hostile, TraceID: hostile, Route: hostile}}
		})
	}
	s.show(bad(gatewarden.RunRunning))
	s.say("%s", hostile)
	s.show(bad(gatewarden.RunFail))
	over := answered(*bad(gatewarden.RunFail))
	s.end(&over)
	for _, text := range []string{out.String(), screen.String()} {
		if strings.Contains(text, "\x1b]") || strings.Contains(text, "\x1b[2J") || strings.Contains(text, "\x07") {
			t.Errorf("it is steered: %q", text)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("%d lines, want 4: %q", n, out.String())
	}
}
