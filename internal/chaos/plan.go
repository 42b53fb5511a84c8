package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
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
	default: // says it by itself
	}
	return fmt.Sprintf("%5.1fs  %s, for %.1fs", i.At.Seconds(), text, i.For.Seconds())
}

// Plan is what happens in one run.
type Plan struct {
	Seed      uint64
	Well      time.Duration // since the bad release: when it stops failing
	Incidents []Incident    // by their times
}

// Horizon is when the last incident begins at the latest. A run's answer, and its way
// back, are over by then when nothing goes wrong.
const Horizon = 16 * time.Second

// Draw draws the plan of a seed: two to five incidents of all kinds, and when the release
// is well again.
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
	slices.SortFunc(p.Incidents, func(a, b Incident) int { return int(a.At - b.At) })
	return p
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
	fmt.Fprintf(&b, "seed %d: orders v2 fails from 0 to %.1fs\n", p.Seed, p.Well.Seconds())
	for i := range p.Incidents {
		fmt.Fprintf(&b, "%s\n", &p.Incidents[i])
	}
	return b.String()
}
