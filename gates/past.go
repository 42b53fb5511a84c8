package gates

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// pastTurn is how far apart the two judges begin that gather a baseline's history. The
	// older one has seen between one and two turns of it, once the guard has been up for so
	// long.
	pastTurn = 10 * time.Minute
	// pastAdvance is how often such a judge closes its seconds. A judge keeps some minutes
	// open, and nobody asks for a verdict of the past.
	pastAdvance = 10 * time.Second
	// setBack is by how much a clock must go back for what was judged by it before to be of
	// another time. A judge's seconds never open again; for less than this it just waits.
	setBack = time.Minute
)

// farFuture is the start of a judge that does not yet know it.
func farFuture() time.Time { return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }

// past gathers the baseline's history for a canary's next run.
type past struct {
	judges   []pastJudge // the older one first
	advanced time.Time
	grown    bool // since it was written down
	savedAt  time.Time
}

type pastJudge struct {
	judge Judge
	since time.Time // zero before the first tick
}

// add shows an observation to the judges.
func (p *past) add(o *gatewarden.Observation) {
	if o.Track != gatewarden.TrackBaseline {
		return
	}
	for i := range p.judges {
		p.judges[i].judge.Add(o)
	}
	p.grown = true
}

// tick lets time pass: it closes seconds, and begins a new judge at each turn.
func (p *past) tick(at time.Time, wait func(Judge), newJudge func() (Judge, error)) error {
	if p.ahead(at) {
		*p = past{}
	}
	if len(p.judges) > 0 && p.judges[0].since.IsZero() {
		p.judges[0].since = at
	}
	if at.Sub(p.advanced) < pastAdvance {
		return nil
	}
	p.advanced = at
	for i := range p.judges {
		wait(p.judges[i].judge)
		p.judges[i].judge.Advance(at)
	}
	if n := len(p.judges); n > 0 && at.Sub(p.judges[n-1].since) < pastTurn {
		return nil
	}
	judge, err := newJudge()
	if err != nil {
		return err
	}
	p.judges = append(p.judges, pastJudge{judge: judge, since: at})
	if len(p.judges) > 2 {
		p.judges = p.judges[1:]
	}
	return nil
}

// ahead reports whether the clock was set back since the judges advanced.
func (p *past) ahead(at time.Time) bool { return p.advanced.Sub(at) > setBack }

// oldest returns the judge that has seen most, nil when there is none.
func (p *past) oldest(at time.Time) Judge {
	if len(p.judges) == 0 || p.ahead(at) {
		return nil
	}
	return p.judges[0].judge
}

// missed leaves out the time in which the guard was away: the judges have seen nothing of it.
func (p *past) missed(away time.Duration) {
	for i := range p.judges {
		if since := &p.judges[i].since; !since.IsZero() && away > 0 {
			*since = since.Add(away)
		}
	}
}

// seen returns how much of the past the older judge has seen.
func (p *past) seen() time.Duration {
	if len(p.judges) == 0 || p.judges[0].since.IsZero() || p.advanced.Before(p.judges[0].since) {
		return 0
	}
	return p.advanced.Sub(p.judges[0].since)
}
