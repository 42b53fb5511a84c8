// Package analyzers judges: it is the stage between the store's windows and the
// actions that answer a breach.
//
//	store ─Window→ Analyzer ─Verdict→ Evaluator ─┬ Verdicts → actions
//	                                             └ Events   → journal, api
//
// An Analyzer says how one SLO stands at one instant. The Evaluator asks all of
// them at each tick and tells what has changed as events. Neither has a goroutine,
// a clock, a log or a socket: the instant is an argument, so that live, replay and
// tests are the same code and the same input gives the same events, byte for byte.
//
// Subpackage burnrate judges SLOs, and canary judges releases, which nothing asks it
// for yet; subpackage stats is the mathematics of both.
package analyzers

import (
	"context"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Analyzer judges one subject.
type Analyzer interface {
	// Name is the subject's name: that of its verdicts and events.
	Name() string
	// Analyze judges the subject at the given instant. Instants do not go back. Many
	// verdicts are healthy and seen by nobody: an Explainer may leave their reason open.
	Analyze(at time.Time) gatewarden.Verdict
}

// Explainer is an Analyzer that can tell about one severity alone. Events of a
// severity that is not the verdict's highest need it; without it they carry the
// verdict's own reason. Of no severity it tells the reason of the verdict as a whole.
type Explainer interface {
	Explain(v *gatewarden.Verdict, s gatewarden.Severity) string
}

// Resumer is an Analyzer that remembers breaches. Resume gives it the breaches
// that were announced and not yet announced as over, before its first Analyze: a
// breach goes on where it was before a restart or a reload, with its own
// beginning, until the evidence says that it is over.
type Resumer interface {
	Resume(standing []gatewarden.Event)
}

// Result is what one tick came to.
type Result struct {
	Verdicts []gatewarden.Verdict // one for each analyzer, in their order
	Events   []gatewarden.Event   // what changed since the last tick
}

// Evaluator asks its analyzers at each tick and keeps what was announced about
// each subject. Its methods must not be called concurrently.
type Evaluator struct {
	analyzers []Analyzer
	judged    []*subject // of each analyzer
	asked     []Analyzer // at the last Tick
	subjects  map[string]*subject
}

// NewEvaluator returns an Evaluator of the given analyzers.
func NewEvaluator(analyzers []Analyzer) *Evaluator {
	e := &Evaluator{subjects: map[string]*subject{}}
	e.appoint(analyzers)
	return e
}

// appoint puts the analyzers and what they judge side by side.
func (e *Evaluator) appoint(analyzers []Analyzer) {
	e.analyzers, e.judged = slices.Clone(analyzers), make([]*subject, 0, len(analyzers))
	for _, a := range analyzers {
		e.judged = append(e.judged, e.subject(a.Name()))
	}
}

// Resume folds the events of the journal, oldest first, so that nothing is
// announced twice after a restart and a breach that ended meanwhile is announced
// as ended. Events of other types than slo are passed over. It is called before
// the first Tick.
func (e *Evaluator) Resume(events []gatewarden.Event) {
	for _, ev := range events {
		if ev.Type == gatewarden.EventSLO {
			e.subject(ev.Name).fold(ev)
		}
	}
	e.resume(nil)
}

// Replace puts other analyzers in place of the present ones, after a reload. What
// was announced stays known, and is handed to those that were not here before. A
// subject that is gone is announced as inconclusive at the next Tick; nothing is
// announced about one that stays as it was.
func (e *Evaluator) Replace(analyzers []Analyzer) {
	before := e.analyzers
	e.appoint(analyzers)
	e.resume(before)
}

// resume hands each analyzer the breaches of its subject, but for those that know
// them already.
func (e *Evaluator) resume(known []Analyzer) {
	for i, a := range e.analyzers {
		if r, ok := a.(Resumer); ok && !slices.Contains(known, a) {
			r.Resume(e.judged[i].standing())
		}
	}
}

// Tick judges everything at the given instant. When ctx is done it stops early and
// returns what it has; the rest keeps its state.
func (e *Evaluator) Tick(ctx context.Context, at time.Time) Result {
	e.asked = e.analyzers
	result := Result{Verdicts: make([]gatewarden.Verdict, 0, len(e.analyzers))}
	for i, a := range e.analyzers {
		if ctx.Err() != nil {
			return result
		}
		result.Verdicts = append(result.Verdicts, a.Analyze(at))
		result.Events = e.judged[i].announce(result.Events, a, &result.Verdicts[i])
	}
	result.Events = e.dropGone(result.Events, at)
	return result
}

// Explained returns the verdicts of the last Tick, each with its reason.
func (e *Evaluator) Explained(verdicts []gatewarden.Verdict) []gatewarden.Verdict {
	told := slices.Clone(verdicts)
	for i := range told {
		if v := &told[i]; v.Reason == "" {
			v.Reason = explain(e.asked[i], v, gatewarden.SeverityNone)
		}
	}
	return told
}

// dropGone announces and forgets the subjects that no analyzer judges any more.
func (e *Evaluator) dropGone(events []gatewarden.Event, at time.Time) []gatewarden.Event {
	if len(e.subjects) == len(e.analyzers) {
		return events
	}
	gone := make([]string, 0, len(e.subjects))
	for name := range e.subjects {
		if !slices.ContainsFunc(e.analyzers, func(a Analyzer) bool { return a.Name() == name }) {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	for _, name := range gone {
		if !e.subjects[name].dark {
			events = append(events, gatewarden.Event{
				At: at, Type: gatewarden.EventSLO, Name: name, State: gatewarden.Inconclusive.String(),
				Reason: "it is no longer in the rules, so it is not judged any more",
			})
		}
		delete(e.subjects, name)
	}
	return events
}

func (e *Evaluator) subject(name string) *subject {
	s := e.subjects[name]
	if s == nil {
		s = &subject{}
		e.subjects[name] = s
	}
	return s
}
