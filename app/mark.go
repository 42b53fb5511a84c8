package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// mark is how a guard knows what it has put in place at Kong.
type mark struct {
	guard    string // the name of its state
	observes bool   // no action of it does anything
}

// stateName is the blob in which a state has its name.
const stateName = "name"

// mark returns what plugins at Kong are marked with. It is the state's: guards that share one
// know what any of them has put in place, and one with another state, such as a trial, does not.
func (t *term) mark(ctx context.Context, policies []gatewarden.ActionPolicy) (mark, error) {
	m := mark{observes: !slices.ContainsFunc(policies, func(p gatewarden.ActionPolicy) bool { return p.Mode != gatewarden.ModeObserve })}
	name, err := t.snapshots.Get(ctx, stateName)
	switch damage := err; gatewarden.ErrorCode(err) {
	case gatewarden.NotFound:
		name, err = t.draw(ctx)
	case gatewarden.Internal: // a damaged one is as good as none
		if name, err = t.draw(ctx); err == nil {
			t.logger.Error("the name of the state is damaged, and it has another one from now on: what guards of this state have left at Kong is taken for another's",
				"name", string(name), "error", damage,
				"hint", "remove by hand what is said to be another guard's and no action accounts for: docs/kong.md, Several guards on one Kong")
		}
	default: // it is there, or cannot be asked for
	}
	if err != nil {
		return m, fmt.Errorf("finding the name of the state: %w", err)
	}
	m.guard = string(name)
	return m, nil
}

// draw gives the state a new name.
func (t *term) draw(ctx context.Context) ([]byte, error) {
	name := []byte(strings.ToLower(rand.Text()[:10]))
	return name, t.snapshots.Put(ctx, stateName, name)
}
