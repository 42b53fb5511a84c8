package chaos

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Kind is what an Incident is about.
type Kind string

// The kinds of incidents.
const (
	Kill    Kind = "kill -9 of the guard"
	Strike  Kind = "kill -9 of the guard at a change" // the N-th from then on
	Stop    Kind = "SIGTERM to the guard"
	Pause   Kind = "a person pauses the guard"
	Silence Kind = "Kong's log does not come"
	Clock   Kind = "the guard's clock is off"
	Stamps  Kind = "the clock of Kong's log is off"
	Kong    Kind = "Kong"    // has a Fault
	Jenkins Kind = "Jenkins" // has a Fault
	Someone Kind = "an edit" // which Edit says
	Asking  Kind = "somebody asks whether orders v2 may go on"
	Waiting Kind = "kill -9 of the guard as soon as a step waits for a person"
)

// Incident is one thing that happens. A guard that was killed or stopped is started again
// when the incident is over; everything else ends with it.
type Incident struct {
	At     time.Duration // since the bad release
	For    time.Duration
	Kind   Kind
	Fault  Fault         // of Kong and Jenkins
	Edit   Edit          // of Someone
	Offset time.Duration // of Clock and Stamps

	N       int  // of Strike: the first, second … change from then on
	Peer    Kind // of Strike: where the change is made
	Handled bool // of Strike: the peer carries it out
}

// String says what happens.
func (i *Incident) String() string {
	text := string(i.Kind)
	switch i.Kind {
	case Kong, Jenkins:
		text += ": " + i.Fault.String()
	case Someone:
		return fmt.Sprintf("%5.1fs  %s", i.At.Seconds(), i.Edit)
	case Clock, Stamps:
		text += " by " + i.Offset.String()
	case Strike:
		text += fmt.Sprintf(" (number %d from then on, at %s)", i.N, i.Peer)
		if i.Handled {
			text += " once that is made"
		}
	case Asking:
		return fmt.Sprintf("%5.1fs  %s", i.At.Seconds(), text)
	default: // says it by itself
	}
	return fmt.Sprintf("%5.1fs  %s, for %.1fs", i.At.Seconds(), text, i.For.Seconds())
}

// Plan is what happens in one run.
type Plan struct {
	Seed      uint64
	Well      time.Duration // since the bad release: when it stops failing
	Incidents []Incident    // by their times

	DBLess  bool // Kong has no database
	Approve bool // a person decides about each step of protect, and of the answer to a failed run
	Moves   bool // orders v2 is a canary that the guard moves, when somebody asks
	ByHand  bool // a person decides about each of its moves
	Worse   bool // v2 fails all its orders while the release is bad, v1 none; else each half of them
	Apart   bool // no answer to the breach sets weights, so that runs of the canary come to an answer
}

// Decision is what a person makes of a step that waits for them.
type Decision string

// The decisions.
const (
	Approves Decision = "approves"
	Rejects  Decision = "rejects"
	Ignores  Decision = "looks away" // until it expires
)

// Decide returns what becomes of a step that waits for a person, and how long that takes.
func (p *Plan) Decide(a *gatewarden.Action) (Decision, time.Duration) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", a.Policy, a.Step)
	r := rand.New(rand.NewPCG(p.Seed, h.Sum64()))
	after := between(r, 0, 2*time.Second)
	switch n := r.IntN(10); {
	case n < 6:
		return Approves, after
	case n < 8:
		return Rejects, after
	default:
		return Ignores, 0
	}
}

// Horizon is when the last incident begins at the latest. A run's answer, and its way
// back, are over by then when nothing goes wrong.
const Horizon = 16 * time.Second

// Draw draws the plan of a seed: two to five incidents of all kinds, when the release is well
// again, and in what world that is.
func Draw(seed uint64) Plan {
	r := rand.New(rand.NewPCG(seed, 0x6368616f73))
	p := Plan{Seed: seed, Well: between(r, 5*time.Second, 12*time.Second)}
	edits := []Edit{EditOwn, EditChange, EditDelete, EditWeight, EditRoute, EditService, EditBeside}
	r.Shuffle(len(edits), func(i, j int) { edits[i], edits[j] = edits[j], edits[i] })
	for n := range 2 + r.IntN(4) {
		i := Incident{At: between(r, 0, Horizon), For: between(r, 300*time.Millisecond, 6*time.Second)}
		switch k := r.IntN(20); {
		case k < 3:
			i.Kind = Kill
		case k < 6:
			i.Kind, i.N, i.Handled, i.Peer = Strike, 1+r.IntN(4), r.IntN(2) == 0, Kong
			if r.IntN(4) == 0 {
				i.Peer, i.N = Jenkins, 1
			}
		case k < 7:
			i.Kind = Stop
		case k < 9:
			i.Kind = Pause
		case k < 10:
			i.Kind, i.For = Silence, between(r, 6*time.Second, 16*time.Second)
		case k < 11:
			i.Kind, i.Offset = []Kind{Clock, Stamps}[r.IntN(2)], between(r, -40*time.Second, 40*time.Second)
		case k < 15:
			i.Kind, i.Fault = Kong, drawFault(r, Error500, Error503, DatabaseDown, Slow, Reset, HalfOpen, Cut)
		case k < 17:
			i.Kind, i.Fault = Jenkins, drawFault(r, Error503, Slow, Reset, HalfOpen, Cut, LostItem, Duplicate)
		default:
			i.Kind, i.Edit, i.For = Someone, edits[n], 0
		}
		p.Incidents = append(p.Incidents, i)
	}
	p.drawWorld()
	slices.SortFunc(p.Incidents, func(a, b Incident) int { return int(a.At - b.At) })
	return p
}

// drawWorld draws what there is besides incidents, from numbers of its own: a seed has the
// incidents that it had before there was a world to draw.
func (p *Plan) drawWorld() {
	r := rand.New(rand.NewPCG(p.Seed, 0x776f726c64))
	p.DBLess = r.IntN(4) == 0
	if p.Approve = r.IntN(3) == 0; p.Approve && r.IntN(2) == 0 {
		p.Incidents = append(p.Incidents, Incident{Kind: Waiting, At: between(r, 0, Horizon/2), For: between(r, 300*time.Millisecond, 4*time.Second)})
	}
	if p.Moves = r.IntN(5) < 2; p.Moves {
		p.Worse, p.ByHand, p.Apart = r.IntN(2) == 0, r.IntN(4) == 0, r.IntN(3) > 0
		if p.Worse {
			p.Well += 8 * time.Second // a judge wants to see more than a breach does
		}
		p.Incidents = append(p.Incidents, Incident{Kind: Asking, At: between(r, 0, Horizon/4)})
		if r.IntN(3) == 0 {
			p.Incidents = append(p.Incidents, Incident{Kind: Asking, At: between(r, Horizon/4, Horizon)})
		}
	}
}

func drawFault(r *rand.Rand, of ...Trouble) Fault {
	f := Fault{Trouble: of[r.IntN(len(of))]}
	switch f.Trouble {
	case Slow:
		f.Delay = between(r, 100*time.Millisecond, 4*time.Second)
	case Reset, HalfOpen:
		f.Handled = r.IntN(2) == 0
		f.Changes = f.Handled || r.IntN(2) == 0
	case LostItem, Duplicate:
		f.Times = 1
	default: // has nothing to draw
	}
	if r.IntN(3) == 0 {
		f.Times = 1
	}
	return f
}

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return (from + time.Duration(r.Int64N(int64(to-from)))).Round(time.Millisecond)
}

// Skew returns how far the guard's clock is off at most, compared with everybody else's.
func (p *Plan) Skew() (skew time.Duration) {
	for _, i := range p.Incidents {
		if i.Kind == Clock {
			skew = max(skew, i.Offset.Abs())
		}
	}
	return skew
}

// String tells the plan, an incident a line.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: orders v2 fails from 0 to %.1fs%s\n", p.Seed, p.Well.Seconds(), p.world())
	for i := range p.Incidents {
		fmt.Fprintf(&b, "%s\n", &p.Incidents[i])
	}
	return b.String()
}

// world says what there is besides incidents.
func (p *Plan) world() (text string) {
	for _, part := range []struct {
		is   bool
		text string
	}{
		{p.DBLess, "Kong has no database"},
		{p.Approve, "a person decides about each step of protect"},
		{p.Moves, "v2 is a canary that the guard moves"},
		{p.ByHand, "a person decides about each move"},
		{p.Worse, "only v2 is bad"},
		{p.Apart, "no answer to the breach sets weights"},
	} {
		if part.is {
			text += "; " + part.text
		}
	}
	return text
}
