package actions

import (
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// defaultLease is for a policy that sets none.
	defaultLease = 15 * time.Minute
	// defaultRevertAfter is for what is in place by a policy that is no longer there.
	defaultRevertAfter = 5 * time.Minute
	// forgetAfter is how long a ladder with nothing in place waits for a verdict
	// before it ends without one.
	forgetAfter = 24 * time.Hour
)

// condition is what the verdicts of an instant mean for a ladder.
type condition uint8

const (
	blind   condition = iota // an SLO that it answers cannot be judged: leases are not renewed
	burning                  // an alert that names its policy fires: it climbs
	uneasy                   // only a more urgent alert fires: it neither climbs nor descends
	calm                     // none of that: after a while it descends
)

// ladder is one policy answering one breach.
//
// It climbs while the breach lasts: each step begins when its After has passed,
// counted from the beginning of the climb, and never before the step above it in
// the rules. Steps are independent otherwise: one that fails does not stop the next.
//
// Once it has been calm for Revert.After without a break, it descends, the last
// step first. When the breach comes back meanwhile, it climbs again from the first
// step, in a new round: steps that are still in place stay, steps that were taken
// back are done again as actions with ids of their own, and steps that cannot be
// taken back are done once for the ladder and never again.
type ladder struct {
	id      string
	key     string
	policy  gatewarden.ActionPolicy
	trigger gatewarden.Trigger
	answers map[string]bool      // the SLOs that have fired for it
	joined  []gatewarden.Trigger // of those, what the journal does not know yet
	rungs   []rung

	round     int       // of climbing, from 1
	begun     time.Time // when the round began; zero while a gate keeps it from beginning
	descended bool      // something was taken back in this round, or came to nothing: the next breach is a new round
	lapsed    bool      // a step of this round is due again once the breach was over
	descents  int       // how many steps since it has been calm
	closed    bool      // a person took it back
	frozen    bool      // its policy is not what it was when it began: it climbs no more
	moves     bool      // it holds the weights of a run, a rung for each move, and is not climbed
	released  string    // why a newer run took over, "" while it is held
	ended     bool
	recorded  bool // the journal has something of it

	condition  condition
	calmSince  time.Time // zero unless calm
	blindSince time.Time // zero unless blind
}

// rung is one step of a ladder.
type rung struct {
	current *action // the newest, nil when there is none yet
	round   int     // the last round in which it was got over with
	settled bool    // a person took it back or rejected it: not again for this breach
}

// action is a gatewarden.Action with what only the running engine needs.
type action struct {
	gatewarden.Action // changes only under the engine's mu, and only once the journal has it

	id     string              // of the Action, to be read without the lock
	kind   gatewarden.StepKind // likewise
	ladder *ladder

	held     string // the gate that it was last stopped by
	observed bool   // it is done in the mind only
	busy     bool   // a goroutine is at it
	again    bool   // it was taken back while busy: the goroutine reverts it before it rests
	tries    int    // attempts at reverting that failed

	sign    *gatewarden.Sign   // how it shows in the traffic; nil when that is not known, or cannot be told
	askSign time.Time          // when its executor is asked for the sign again; zero unless that did not answer
	drift   string             // what somebody else has made of it, as of the last look
	undone  *gatewarden.Action // as it is once the journal has what its revert came to
	order   ordinals
	cut     bool // its last call was cut short, or got no answer: it may come about later

	inspected time.Time // when it was looked at last
	overtaken bool      // a newer move of the run takes its place
	trouble   error     // what keeps it from being done
	troubled  time.Time // since when the trouble lasts that its calls have
	retryAt   time.Time // when a refused move is tried again
	cancel    func()    // ends the call under way

	steered steered // of an adaptive step
}

func newAction(l *ladder, a gatewarden.Action) *action {
	return &action{Action: a, id: a.ID, kind: a.Spec.Kind, ladder: l, cancel: func() {}}
}

func newLadder(p gatewarden.ActionPolicy, t gatewarden.Trigger) *ladder {
	if p.Lease <= 0 {
		p.Lease = defaultLease
	}
	l := &ladder{
		id: ladderID(p.Name, &t), key: ladderKey(&p, t.Name),
		policy: p, trigger: t,
		answers: map[string]bool{t.Name: true},
		rungs:   make([]rung, len(p.Steps)),
		round:   1,
	}
	if l.ofRun() {
		// An SLO may have the name of the canary.
		l.key, l.answers = ladderKey(&p, "canary "+t.Name), nil
	}
	return l
}

func (l *ladder) shared() bool { return shared(&l.policy) }

// actionID returns the id of a step, counted from 1, in a round.
func (l *ladder) actionID(step, round int) string {
	id := l.id + "-" + strconv.Itoa(step)
	if round > 1 {
		id += "r" + strconv.Itoa(round)
	}
	return id
}

// roundOf reads the round back from an action's id.
func roundOf(a *gatewarden.Action) int {
	_, round, ok := strings.Cut(strings.TrimPrefix(a.ID, a.Ladder), "r")
	if n, err := strconv.Atoi(round); ok && err == nil && n > 0 {
		return n
	}
	return 1
}

// observe takes the condition of an instant in.
func (l *ladder) observe(c condition, at time.Time) {
	l.descended = l.descended || l.lapsed && l.condition == calm
	l.condition = c
	if c != calm {
		l.calmSince, l.descents = time.Time{}, 0
	} else if l.calmSince.IsZero() {
		l.calmSince = at
	}
	if c != blind {
		l.blindSince = time.Time{}
	} else if l.blindSince.IsZero() {
		l.blindSince = at
	}
	if c == burning && l.descended && !l.closed && !l.ofRun() {
		l.round++
		l.begun, l.descended, l.lapsed = at, false, false
	}
}

// wellFor reports whether it has been calm for n times Revert.After.
func (l *ladder) wellFor(n int, at time.Time) bool {
	return l.condition == calm && at.Sub(l.calmSince) >= time.Duration(n)*l.policy.Revert.After
}

// unfinished reports whether something of it is in place, under way, or waits for a
// person.
func (l *ladder) unfinished() bool {
	for i := range l.rungs {
		if a := l.rungs[i].current; a != nil && a.pending() && !a.abandoned() {
			return true
		}
	}
	return false
}

// inPlace reports whether the action may have left something to put back, or its
// job is still running.
func (a *action) inPlace() bool { return inPlace(&a.Action) }

func inPlace(a *gatewarden.Action) bool {
	if a.Status == gatewarden.ActionApplied {
		return a.Spec.Kind.Reversible()
	}
	return a.Status.InPlace()
}

// standing reports whether the change was made and not taken back, whether it shows or not.
func (a *action) standing() bool {
	return a.Status == gatewarden.ActionApplied || a.Status == gatewarden.ActionUnverified
}

// pending reports whether it is in place, under way, waits for a person, or is done and
// may not have helped.
func (a *action) pending() bool {
	return a.busy || a.Status == gatewarden.ActionWaiting || a.inPlace() || a.verifying()
}

// begunAt returns when the action was begun, or was only observed; zero when it was neither.
func (a *action) begunAt() time.Time {
	switch {
	case a.StartedAt != nil:
		return *a.StartedAt
	case a.observed:
		return a.PlannedAt
	default:
		return time.Time{}
	}
}

// mayBegin reports whether the action has not begun and may do so at any moment: it is on its
// way, or a person is asked.
func (a *action) mayBegin() bool {
	return a.StartedAt == nil && (a.busy || a.Status == gatewarden.ActionWaiting)
}

// revertible reports whether the action can be taken back now.
func (a *action) revertible() bool {
	return a.Spec.Kind.Reversible() && (a.Status == gatewarden.ActionStarted || a.standing())
}
