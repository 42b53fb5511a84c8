package gates

import (
	"math"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// run is a Run with what it takes to answer it. Its fields are guarded by Book.mu, and
// what is durable of them is changed under Book.steer only.
type run struct {
	gatewarden.Run // its Reason is the bare one; view adds what keeps the weights from moving
	canary         *gatewarden.Canary
	judge          Judge  // nil when it is judged no more
	number         uint64 // of those of all canaries, in the order in which they began; 0: not known

	advanced   time.Time        // the newest instant that the judge knows
	evidence   float64          // for a fail, at that instant
	standing   gatewarden.State // likewise
	applied    uint64           // number of the newest section of the log that the judge was given
	share      float64          // that the judge was told last, -1 before
	decision   *decision        // found, and not yet acted upon
	trailEvery time.Duration    // between two points of the trail
	lacks      string           // why too little of the log comes to decide anything; ""
	late       string           // why too little of it is here yet to pass; ""
	lastSeen   time.Time        // the end of the canary's newest request

	todo todo
	move move
	left time.Duration // of the ticks in which what follows from its answer is tried; see spend

	dirty        bool // it must be written down
	savedAt      time.Time
	savedApplied uint64
	wake         chan struct{} // closed when Version changes; nil while nobody waits
}

// decision is what the judge came to, and when: on a whole second, so that it is the same
// however the ticks fell.
type decision struct {
	state    gatewarden.State // Inconclusive at the deadline
	unjudged bool             // then: too much was missing to judge by the rest
	at       time.Time
	verdict  gatewarden.CanaryVerdict
}

// add shows the judge an observation.
func (r *run) add(o *gatewarden.Observation) {
	r.judge.Add(o)
	if o.Track == gatewarden.TrackCanary && o.At.After(r.lastSeen) {
		r.lastSeen = o.At
	}
}

// advance lets the judge see everything up to the instant, a second at a time: when a
// guard comes back after some time, it decides what it would have decided then.
func (r *run) advance(to time.Time) {
	if !to.After(r.advanced) {
		return
	}
	for at := r.advanced.Truncate(time.Second).Add(time.Second); at.Before(to); at = at.Add(time.Second) {
		r.look(at)
	}
	r.look(to)
}

// look advances the judge and remembers the first decision. The deadline is looked at
// exactly, as what is closed after it does not count.
func (r *run) look(at time.Time) {
	if r.State == gatewarden.RunRunning && r.advanced.Before(r.Deadline) && at.After(r.Deadline) {
		r.look(r.Deadline)
	}
	r.standing, r.evidence = r.judge.Standing(at)
	r.advanced = at
	if r.decision == nil && r.decides(at) {
		r.decision = &decision{state: r.standing, at: at.Truncate(time.Second), verdict: r.verdict(at)}
		r.decision.verdict.At = r.decision.at
	}
	r.point(at.Truncate(time.Second))
}

// decides reports whether there is something to act upon.
func (r *run) decides(at time.Time) bool {
	switch {
	case r.standing == gatewarden.Breach:
		return true
	case r.State != gatewarden.RunRunning:
		return false
	case !at.Before(r.Deadline):
		return true
	default:
		return r.standing == gatewarden.Healthy && !r.climbing()
	}
}

const (
	trailStep = 5 * time.Second
	maxTrail  = 500
)

// point adds a point to the trail when it is time. When there are too many, every second
// one goes, and they come half as often.
func (r *run) point(at time.Time) {
	if n := len(r.Trail); n > 0 && at.Sub(r.Trail[n-1].At) < r.trailEvery || at.Before(r.StartedAt) {
		return
	}
	if d := r.decision; d != nil && d.state != gatewarden.Healthy && at.After(d.at) {
		return // a guard that catches up is beyond the end of the run already
	}
	v := r.verdict(r.advanced)
	r.show(&v)
	p := gatewarden.RunPoint{At: at, Fail: v.Evidence, Pass: finite(v.PassEvidence())}
	if r.share >= 0 {
		p.Share = r.share
	}
	r.Trail = append(r.Trail, p)
	if len(r.Trail) < maxTrail {
		return
	}
	kept := make([]gatewarden.RunPoint, 0, maxTrail)
	for i := 0; i < len(r.Trail); i += 2 {
		kept = append(kept, r.Trail[i])
	}
	r.Trail, r.trailEvery = kept, 2*r.trailEvery
}

// verdict returns the judge's verdict, in numbers that JSON can hold: a run that can't be
// written down can't be ended either.
func (r *run) verdict(at time.Time) gatewarden.CanaryVerdict {
	v := r.judge.Verdict(at)
	v.Evidence, v.Split.Evidence = finite(v.Evidence), finite(v.Split.Evidence)
	for i := range v.Checks {
		c := &v.Checks[i]
		c.Evidence = finite(c.Evidence)
		if c.Pass != nil {
			pass := finite(*c.Pass)
			c.Pass = &pass
		}
	}
	return v
}

// finite makes a number of evidence that JSON can hold.
func finite(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return max(min(x, math.MaxFloat32), -math.MaxFloat32)
}

// show makes v what views show.
func (r *run) show(v *gatewarden.CanaryVerdict) {
	r.Verdict = v
	if r.State == gatewarden.RunRunning {
		r.Reason = v.Reason
	}
}

// refresh brings the verdict up to date, at most once a second of the run.
func (r *run) refresh() {
	if r.judge == nil || r.Verdict != nil && r.advanced.Sub(r.Verdict.At) < time.Second {
		return
	}
	v := r.verdict(r.advanced)
	r.show(&v)
}

// changed says that there is something new to see.
func (r *run) changed() {
	r.Version++
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// view returns the run as others may see it and keep it.
func (r *run) view(trail bool) gatewarden.Run {
	v := r.Run
	v.Callback = nil
	if r.Callback != nil {
		v.Callback = &gatewarden.Callback{URL: origin(r.Callback.URL), Authorization: r.Callback.Authorization}
	}
	if trail {
		v.Trail = slices.Clone(r.Trail)
	} else {
		v.Trail = nil
	}
	if r.move.Held != "" {
		v.Reason += "; the weights are not moved: " + r.move.Held
	}
	switch {
	case r.judge == nil:
	case r.lacks != "":
		v.Reason += "; no answer until the log is whole: " + r.lacks
	case r.late != "" && r.State == gatewarden.RunRunning:
		v.Reason += "; no pass until all of it is here: " + r.late
	}
	return v
}

// event returns an event about the run.
func (r *run) event(at time.Time, kind gatewarden.EventType, state, reason, by string) gatewarden.Event {
	v := r.view(false)
	return gatewarden.Event{At: at, Type: kind, Name: r.Canary, State: state, Reason: reason, By: by, Run: &v}
}

// conclude gives the run its answer at an instant, with all that follows from now on: a
// guard that catches up decides as of a while ago. Its verdict is brought up to date by the
// caller.
func (r *run) conclude(at, now time.Time, state gatewarden.RunState, reason, by string) {
	ended := at
	if ended.Before(r.StartedAt) {
		ended = r.StartedAt // a person was faster than the second in which it was to begin
	}
	r.State, r.Reason, r.EndedAt, r.decision = state, reason, &ended, nil
	if r.Override == nil && state == gatewarden.RunPass && at.Before(r.Deadline) {
		r.Watched = true
	} else {
		r.judge = nil
	}
	r.todo, r.left = todo{}, followUp
	switch state {
	case gatewarden.RunPass:
		r.todo.Answers = slices.Clone(r.canary.OnPass)
		r.moveTo(100, len(r.Steps)+1)
	case gatewarden.RunFail:
		r.todo.Answers = slices.Clone(r.canary.OnFail)
		r.moveTo(0, r.Step)
	case gatewarden.RunCancelled:
		r.moveTo(0, r.Step)
	default:
		r.move = move{} // inconclusive: the weights stay as they are
	}
	if r.Callback != nil {
		r.todo.Call = &call{Next: now}
	}
	r.todo.Events = append(r.todo.Events, r.event(at, gatewarden.EventGate, string(state), reason, by))
	r.dirty = true
	r.changed()
}

// decide acts upon the decision of a running run.
func (r *run) decide(now time.Time) {
	d := r.decision
	r.Verdict = &d.verdict
	state, reason := gatewarden.RunFail, d.verdict.Reason
	switch d.state {
	case gatewarden.Breach:
	case gatewarden.Healthy:
		state = gatewarden.RunPass
	default:
		state, reason = r.unanswered("no answer by the deadline: "+reason, !d.unjudged)
	}
	r.conclude(d.at, now, state, reason, "")
}

// unanswered returns what a run without an answer comes to, and why. One that could not be
// judged until its deadline is no pass: nobody has looked.
func (r *run) unanswered(why string, judged bool) (state gatewarden.RunState, reason string) {
	switch on := r.canary.OnInconclusive; {
	case on == gatewarden.HoldsAPass && judged:
		return gatewarden.RunPass, why + " (on_inconclusive: pass)"
	case on == gatewarden.HoldsAFail:
		return gatewarden.RunFail, why + " (on_inconclusive: fail)"
	default:
		return gatewarden.RunInconclusive, why
	}
}

// quiet is after how long without a request a canary that is watched is taken to be gone.
const quiet = time.Minute

// watch acts upon what became of a canary after its pass.
func (r *run) watch(at time.Time) {
	if d := r.decision; d != nil {
		r.Verdict = &d.verdict
		r.unwatch(d.at, gatewarden.Breach, "after its pass: "+d.verdict.Reason)
		r.todo.Answers, r.left = slices.Clone(r.canary.OnFail), followUp
		r.moveTo(0, r.Step)
		return
	}
	var reason string
	switch {
	case !at.Before(r.Deadline):
		reason = "judged on after its pass until the deadline"
	case at.Sub(r.lastSeen) >= quiet:
		reason = "judged on after its pass until it took no requests any more"
	default:
		return
	}
	state := r.standing
	if state == gatewarden.Healthy {
		reason += ": within its margins"
	}
	r.refresh()
	r.unwatch(at, state, reason)
}

// unwatch ends the judging after a pass.
func (r *run) unwatch(at time.Time, state gatewarden.State, reason string) {
	r.Watched, r.judge, r.decision = false, nil, nil
	r.todo.Events = append(r.todo.Events, r.event(at, gatewarden.EventCanary, state.String(), reason, ""))
	r.dirty = true
	r.changed()
}
