package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/report"
)

// gateScreen shows how a run goes: on a terminal a line that changes all the time, and
// a line that stays for each change; elsewhere those, and one each minute.
type gateScreen struct {
	out, err io.Writer
	events   *eventPrinter
	live     bool // somebody watches stderr
	paint    painter

	shown   string    // what was last shown that stays: state and step
	shownAt time.Time // when, by the guard's clock
	lit     bool      // the changing line is on the screen
}

func newGateScreen(out, err io.Writer, format outputFormat) *gateScreen {
	return &gateScreen{out: out, err: err, events: newEventPrinter(out, format), live: isTerminal(err), paint: paintFor(err)}
}

// pace is how long to wait for a change between two looks.
func (s *gateScreen) pace() time.Duration {
	if s.live {
		return liveLine
	}
	return longPoll
}

// say prints something to know that is no data.
func (s *gateScreen) say(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.err, "%s\n", report.Printable(fmt.Sprintf(format, args...)))
}

// eachMinute is how often a line stays although nothing has changed.
const eachMinute = time.Minute

// show shows a run as it is now.
func (s *gateScreen) show(run *gatewarden.Run) {
	at := seenAt(run)
	state := fmt.Sprint(run.State, run.Step)
	if changed := state != s.shown; changed || (!s.live && at.Sub(s.shownAt) >= eachMinute) {
		s.shown, s.shownAt = state, at
		s.clear()
		s.line(run, at)
	}
	if s.live && !run.Over() {
		// Without a line break at its right edge, the terminal cuts what is too long.
		fmt.Fprintf(s.err, "\r\x1b[2K\x1b[?7l%s\x1b[?7h", s.progress(run, at))
		s.lit = true
	}
}

// clear takes the changing line away.
func (s *gateScreen) clear() {
	if s.lit {
		fmt.Fprint(s.err, "\r\x1b[2K")
		s.lit = false
	}
}

// seenAt is the instant of what is known of the run, by the guard's clock.
func seenAt(run *gatewarden.Run) time.Time {
	switch {
	case run.EndedAt != nil:
		return *run.EndedAt
	case run.Verdict != nil:
		return run.Verdict.At
	default:
		return run.StartedAt
	}
}

// line prints what stays: an event of type gate.
func (s *gateScreen) line(run *gatewarden.Run, at time.Time) {
	bare := *run
	bare.Trail = nil
	e := gatewarden.Event{At: at, Type: gatewarden.EventGate, Name: run.Canary, State: string(run.State), Reason: run.Reason, Run: &bare}
	if run.Override != nil {
		e.By = run.Override.By
	}
	if s.events.format == outputText {
		e.Name, e.By = report.Printable(e.Name), report.Printable(e.By)
		if e.Reason = report.Printable(e.Reason); !run.Over() {
			e.Reason = strings.TrimPrefix(stepPhrase(run)+"; "+e.Reason, "; ")
		}
	}
	// Whoever closed stdout has no use for what is printed there; the exit code stays.
	_ = s.events.print(e)
}

func stepPhrase(run *gatewarden.Run) string {
	if step := report.StepOf(run); step != "" {
		return "step " + step
	}
	return ""
}

// progress is the line that changes: the most important first, it may be cut.
func (s *gateScreen) progress(run *gatewarden.Run, at time.Time) string {
	parts := []string{s.paint.paint(bold, report.Printable(run.Canary)), gatewarden.Duration(max(at.Sub(run.StartedAt), 0).Round(time.Second)).String()}
	if step := stepPhrase(run); step != "" {
		parts = append(parts, step)
	}
	if v := run.Verdict; v != nil {
		parts = append(parts,
			"fail "+s.paint.paint(red, evidenceBar(v.Evidence, v.Needed)),
			"pass "+s.paint.paint(green, evidenceBar(v.PassEvidence(), v.PassNeeded)))
		if v.Expected > 0 {
			parts = append(parts, "decision in about "+v.Expected.String())
		}
		for _, c := range v.Checks {
			switch c.Name {
			case "errors":
				parts = append(parts, "errors "+report.Effect(v.ErrorRatio))
			case "latency":
				parts = append(parts, "latency "+report.Effect(v.LatencyRatio))
			}
		}
	} else {
		parts = append(parts, report.Printable(run.Reason))
	}
	return strings.Join(parts, "  ")
}

// evidenceBar draws how much of the evidence that is needed is there.
func evidenceBar(have, need float64) string {
	const width = 10
	if need <= 0 {
		return report.Bar(0, width)
	}
	return report.Bar(have/need, width)
}

// most is how many suspects the end of a gate shows; explain has them all.
const most = 3

// end prints what is worth knowing once it is over.
func (s *gateScreen) end(e *ending) {
	s.clear()
	run := &e.report.Run
	if s.events.format == outputJSON || run.ID == "" || e.report.Error != "" {
		return
	}
	if v := run.Verdict; v != nil && run.State == gatewarden.RunFail {
		for _, suspect := range v.Suspects[:min(most, len(v.Suspects))] {
			fmt.Fprintf(s.out, "  look at request %s  trace %s  route %s\n",
				orDash(suspect.ID), orDash(suspect.TraceID), orDash(suspect.Route))
		}
	}
	fmt.Fprintf(s.out, "  gatewarden canary explain %s\n", report.Printable(run.ID))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return report.Printable(s)
}
