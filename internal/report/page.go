package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// page is what there is to say of a run, in the order in which it is said. All formats
// for people render the same page.
type page struct {
	Canary   string
	State    string // one word
	Reason   string
	Error    string
	Facts    []fact
	Settings []fact // the asker's parameters
	Effects  []fact
	Tracks   grid
	Evidence []gauge
	Checks   grid
	Notes    []string
	Suspects grid
	Plot     *plot // nil without enough points
}

// fact is a figure with its name. A value that is Code was made by somebody else and is
// shown as it is.
type fact struct {
	Label, Value string
	Code         bool
}

// gauge is evidence beside what is needed of it.
type gauge struct {
	Label     string
	Have      float64 // common logarithms
	Need      float64
	Gathering bool // false when there is no check that could show it
}

// Full returns the part of what is needed that is there, in [0, 1].
func (g gauge) Full() float64 {
	if g.Need <= 0 {
		return 0
	}
	return min(max(g.Have/g.Need, 0), 1)
}

// String says the evidence as odds: 10^2 is a hundred to one.
func (g gauge) String() string {
	if !g.Gathering {
		return "no check can show it"
	}
	return fmt.Sprintf("10^%s of the 10^%s needed", evidence(g.Have), evidence(g.Need))
}

// grid is a table. Columns in Code hold what somebody else made.
type grid struct {
	Header []string
	Rows   [][]string
	Code   []bool // nil: none; by column
}

func (g grid) code(column int) bool { return column < len(g.Code) && g.Code[column] }

// newPage puts together what there is to say.
func newPage(r *Report) *page {
	run := printable(r.Run)
	p := &page{
		Canary: run.Canary, State: Printable(string(r.State())), Reason: run.Reason, Error: Printable(r.Error),
		Facts: runFacts(&run), Settings: settings(run.Parameters), Plot: newPlot(&run),
	}
	if v := run.Verdict; v != nil {
		p.Tracks, p.Effects, p.Evidence = tracks(v), effects(v), gauges(v)
		p.Checks, p.Notes, p.Suspects = checks(v), notes(&run), suspects(v)
	}
	return p
}

func runFacts(run *gatewarden.Run) []fact {
	var facts []fact
	add := func(label, value string, code bool) {
		if value != "" {
			facts = append(facts, fact{label, value, code})
		}
	}
	add("run", run.ID, true)
	if !run.StartedAt.IsZero() {
		add("started", instant(run.StartedAt), false)
	}
	switch {
	case run.EndedAt != nil:
		// A run begins with the next whole second, and may be decided before.
		add("ended", fmt.Sprintf("%s, after %s", instant(*run.EndedAt), gatewarden.Duration(max(run.EndedAt.Sub(run.StartedAt), 0).Round(time.Second))), false)
	case !run.Deadline.IsZero():
		add("deadline", instant(run.Deadline), false)
	}
	add("asked by", run.By, true)
	if o := run.Override; o != nil {
		add("decided by", o.By, true)
		add("because", o.Reason, true)
	}
	add("step", StepOf(run), false)
	return facts
}

// StepOf says how far the guard has moved the weights: "2 of 4, 10 %". It is "" when it
// does not move them.
func StepOf(run *gatewarden.Run) string {
	switch n := len(run.Steps); {
	case n == 0 || run.Step <= 0:
		return ""
	case run.Step > n:
		return "promoted"
	default:
		return fmt.Sprintf("%d of %d, %d %%", run.Step, n, run.Steps[run.Step-1])
	}
}

func settings(parameters map[string]string) []fact {
	var facts []fact
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		facts = append(facts, fact{key, parameters[key], true})
	}
	return facts
}

func tracks(v *gatewarden.CanaryVerdict) grid {
	b, c := &v.Baseline, &v.Canary
	row := func(label string, show func(*gatewarden.TrackCounts) string) []string {
		return []string{label, show(b), show(c)}
	}
	latency := func(d gatewarden.Duration, requests uint64) string {
		if requests == 0 || d == 0 {
			return "–"
		}
		return d.String()
	}
	return grid{Header: []string{"", "baseline", "canary"}, Rows: [][]string{
		row("requests", func(t *gatewarden.TrackCounts) string { return grouped(t.Requests) }),
		row("failed", func(t *gatewarden.TrackCounts) string {
			if t.Requests == 0 {
				return "–"
			}
			return fmt.Sprintf("%s (%s)", grouped(t.Failures), percent(t.Ratio))
		}),
		row("failed, a client's repeats left out", func(t *gatewarden.TrackCounts) string { return grouped(t.Episodes) }),
		row("latency p50", func(t *gatewarden.TrackCounts) string { return latency(t.P50, t.Requests) }),
		row("latency p99", func(t *gatewarden.TrackCounts) string { return latency(t.P99, t.Requests) }),
		row("newest request", func(t *gatewarden.TrackCounts) string {
			if t.Newest == nil {
				return "–"
			}
			return t.Newest.UTC().Format(time.TimeOnly)
		}),
	}}
}

// effects says how the canary differs, with intervals that hold at all times together
// with 95 % probability.
func effects(v *gatewarden.CanaryVerdict) []fact {
	var facts []fact
	for _, c := range v.Checks {
		switch c.Name {
		case "errors":
			facts = append(facts, fact{Label: "odds of a failure", Value: Effect(v.ErrorRatio)})
		case "latency":
			facts = append(facts, fact{Label: "latency", Value: Effect(v.LatencyRatio)})
		}
	}
	return facts
}

// Effect says a ratio of canary over baseline with its interval: "×1.9 (1.2 to 3.4)".
func Effect(i gatewarden.Interval) string {
	var interval string
	switch {
	case i.High > 0 && i.Low > 0:
		interval = fmt.Sprintf("%s to %s", ratio(i.Low), ratio(i.High))
	case i.High > 0:
		interval = "at most " + ratio(i.High)
	case i.Low > 0:
		interval = "at least " + ratio(i.Low)
	}
	switch {
	case i.Estimate > 0 && interval != "":
		return fmt.Sprintf("×%s (%s)", ratio(i.Estimate), interval)
	case i.Estimate > 0:
		return "×" + ratio(i.Estimate)
	case interval != "":
		return interval
	}
	return "not known yet"
}

func gauges(v *gatewarden.CanaryVerdict) []gauge {
	passes := slices.ContainsFunc(v.Checks, func(c gatewarden.CheckEvidence) bool { return c.Pass != nil })
	return []gauge{
		{Label: "for a fail", Have: v.Evidence, Need: v.Needed, Gathering: len(v.Checks) > 0},
		{Label: "for a pass", Have: v.PassEvidence(), Need: v.PassNeeded, Gathering: passes},
	}
}

func checks(v *gatewarden.CanaryVerdict) grid {
	g := grid{Header: []string{"check", "weight", "for a fail", "for a pass", "blocks", "dispersion"}}
	for _, c := range v.Checks {
		pass, dispersion := "no part in it", ""
		if c.Pass != nil {
			pass = "10^" + evidence(*c.Pass)
			if c.Shown {
				pass += ", shown"
			}
		}
		if c.Dispersion > 0 {
			dispersion = ratio(c.Dispersion)
		}
		g.Rows = append(g.Rows, []string{
			checkName(c), percent(c.Weight), "10^" + evidence(c.Evidence), pass,
			fmt.Sprintf("%d of %s", c.Blocks, c.Block), dispersion,
		})
	}
	return g
}

func checkName(c gatewarden.CheckEvidence) string {
	name := strings.ReplaceAll(c.Name, "_", " ")
	if c.Threshold > 0 {
		name += ", above " + c.Threshold.String()
	}
	return name
}

// notes are the things to know that are no table.
func notes(run *gatewarden.Run) []string {
	v := run.Verdict
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if v.Leading != "" && v.Evidence > 0 {
		add("Most of the evidence for a fail is on %s.", strings.ReplaceAll(v.Leading, "_", " "))
	}
	if v.Canary.Requests+v.Baseline.Requests > 0 {
		add("%s", splitNote(v.Split))
	}
	if v.BaselineTrouble {
		add("The baseline is in trouble itself: what happens now does not count for a pass.")
	}
	add("%s", historyNote(v.History))
	if !run.Over() && v.Expected > 0 {
		add("A decision is expected in about %s, as the evidence grows now: an order of magnitude, no promise.", v.Expected)
	}
	if run.Over() && run.Watched {
		add("The canary is judged on until %s.", instant(run.Deadline))
	}
	for _, left := range []struct {
		n   uint64
		why string
	}{{v.Late, "came too late to count"}, {v.Ahead, "lie in the future"}, {v.Dropped, "belong to no part of the run"}} {
		if left.n > 0 {
			add("%s records %s and were left out.", grouped(left.n), left.why)
		}
	}
	return list
}

func splitNote(s gatewarden.SplitEvidence) string {
	takes := fmt.Sprintf("The canary takes %s of the requests", percent(s.Observed))
	switch {
	case s.Configured <= 0:
		return takes + "; which share is configured is not known."
	case s.Large:
		return fmt.Sprintf("%s where %s is configured: too far apart to be judged.", takes, percent(s.Configured))
	case s.Mismatch:
		return fmt.Sprintf("%s where %s is configured: the tracks may not see the same kind of traffic.", takes, percent(s.Configured))
	default:
		return fmt.Sprintf("%s; %s is configured.", takes, percent(s.Configured))
	}
}

func historyNote(d gatewarden.Duration) string {
	if d <= 0 {
		return "Nothing was seen of the baseline before the run."
	}
	return fmt.Sprintf("The baseline was seen for %s before the run.", d)
}

func suspects(v *gatewarden.CanaryVerdict) grid {
	g := grid{Header: []string{"at", "what", "route", "request", "trace"}, Code: []bool{false, false, true, true, true}}
	for _, s := range v.Suspects {
		what := "slow"
		switch {
		case s.Failed:
			what = "failed"
		case s.Latency > 0:
			what = "took " + s.Latency.String()
		}
		g.Rows = append(g.Rows, []string{s.At.UTC().Format("15:04:05.000"), what, s.Route, s.ID, s.TraceID})
	}
	if len(g.Rows) == 0 {
		return grid{}
	}
	return g
}

// instant writes t for a report, which may be read anywhere.
func instant(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// outcome says in a few words how it stands: "pass", or "pass, decided by alice".
func (p *page) outcome() string {
	for _, f := range p.Facts {
		if f.Label == "decided by" {
			return p.State + ", decided by " + f.Value
		}
	}
	return p.State
}

// sentence is the most important line.
func (p *page) sentence() string { return cmp.Or(p.Error, p.Reason, "nothing is known of it") }
