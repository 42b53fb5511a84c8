package httplog

import (
	"context"
	"sync"
	"time"
)

// patience is a context that ends at an instant, whose timer is made when somebody first
// waits for it: nearly always nobody does, since records are counted without waiting.
type patience struct {
	context.Context
	until time.Time

	mu     sync.Mutex
	timed  context.Context // nil until somebody waits
	cancel context.CancelFunc
	ended  bool
}

// Deadline is context.Context's.
func (p *patience) Deadline() (time.Time, bool) {
	if sooner, ok := p.Context.Deadline(); ok && sooner.Before(p.until) {
		return sooner, true
	}
	return p.until, true
}

// Done is context.Context's.
func (p *patience) Done() <-chan struct{} { return p.wait().Done() }

// Err is context.Context's.
func (p *patience) Err() error { return p.wait().Err() }

// wait returns the context with the timer.
func (p *patience) wait() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timed == nil {
		p.timed, p.cancel = context.WithDeadline(p.Context, p.until)
		if p.ended {
			p.cancel()
		}
	}
	return p.timed
}

// end ends the context, for those who wait and those who are yet to.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.cancel != nil {
		p.cancel()
	}
}
