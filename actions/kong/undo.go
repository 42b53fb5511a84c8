package kong

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// undoing takes weights back, target by target, and then says what came of it.
type undoing struct {
	exec     *Executor
	upstream string // its id
	all      layers[int]
	self     layer[int]
	now      map[string]int // weights by target; empty when the upstream is gone
	names    map[string]string
	wanted   map[string]int // what to set

	changes, foreign, undo []string
}

func (e *Executor) undoing(ctx context.Context, a *gatewarden.Action, upstream string) (*undoing, error) {
	u := &undoing{exec: e, upstream: upstream, all: e.weightsOf(upstream), names: make(map[string]string), wanted: make(map[string]int)}
	u.self, _ = weightLayer(a, upstream)
	now, err := e.current(ctx, upstream)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		now, err = map[string]int{}, nil // deleted by now
	}
	u.now = now
	return u, err
}

// target decides what becomes of one target. ours tells whether a weight is one that
// the guard has given it.
func (u *undoing) target(s slice[int], id string, ours func(weight int) bool) {
	w, there := u.now[id]
	above := u.all.holder(&u.self, id)
	switch {
	case !there:
		u.foreign = append(u.foreign, s.name+" is no longer in the upstream")
	case above != nil && u.all.buried(&u.self, above, id):
		u.foreign = append(u.foreign, fmt.Sprintf("somebody else changed the weight of %s before %s did", s.name, above.action.ID))
	case above != nil:
		u.changes = append(u.changes, fmt.Sprintf("weight of %s: %d, set by %s; it gets %d when that is undone", s.name, w, above.action.ID, s.under))
	case w == s.under:
		u.changes = append(u.changes, fmt.Sprintf("weight of %s: %d, as before", s.name, w))
	case !ours(w):
		u.foreign = append(u.foreign, fmt.Sprintf("the weight of %s is %d, not %d as the guard set it", s.name, w, s.sets))
		u.undo = append(u.undo, u.exec.undoWeight(u.upstream, id, s.under))
	default:
		u.names[id], u.wanted[id] = s.name, s.under
	}
}

// finish sets the weights, reads them back and says what became of the upstream.
func (u *undoing) finish(ctx context.Context, upstream string) (gatewarden.Outcome, error) {
	u.keepOne()
	if err := u.exec.setWeights(ctx, u.upstream, u.now, u.wanted); err != nil {
		return gatewarden.Outcome{}, err
	}
	for _, id := range slices.Sorted(maps.Keys(u.wanted)) {
		u.changes = append(u.changes, fmt.Sprintf("weight of %s: %d → %d", u.names[id], u.now[id], u.wanted[id]))
	}
	if len(u.wanted) > 0 {
		if err := u.verify(ctx, upstream); err != nil {
			return gatewarden.Outcome{}, err
		}
	}
	what := "upstream " + upstream
	if u.foreign == nil {
		return reverted("the weights are as they were before", what+": "+strings.Join(u.changes, "; ")), nil
	}
	out := left("somebody else changed the targets since", what, u.foreign, strings.Join(u.undo, "\n"))
	if u.changes != nil {
		out.Change = what + ": " + strings.Join(u.changes, "; ") + "; the rest: left"
	}
	return out, nil
}

// keepOne lets targets keep their weight when else none of the upstream would have one.
func (u *undoing) keepOne() {
	if leavesAny("", u.now, u.wanted, nil) == nil {
		return
	}
	for id := range u.wanted {
		if u.now[id] > 0 {
			u.foreign = append(u.foreign, fmt.Sprintf("%s is the only target that still has a weight, so it keeps it", u.names[id]))
			delete(u.wanted, id)
		}
	}
}

func (u *undoing) verify(ctx context.Context, upstream string) error {
	now, err := u.exec.current(ctx, u.upstream)
	if err != nil {
		return err
	}
	for id, want := range u.wanted {
		if w, there := now[id]; there && w != want {
			return gatewarden.Errorf(gatewarden.Unavailable, "the weight of %s in upstream %s is %d right after it was set back to %d", u.names[id], upstream, w, want)
		}
	}
	return nil
}
