package kong

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// layer is one change of weights in an upstream. Layers lie on top of one another: those
// of ladders that answer SLOs or runs above the moves of a run, and else the later ones
// above the earlier. A target has the weight that its highest layer sets.
type layer struct {
	action  *gatewarden.Action
	targets map[string]slice // by the target's id
	share   bool             // a move of a run
	begun   time.Time
	below   bool // beneath all others: what it set is nobody's any more
}

// slice is what a layer does to one target.
type slice struct {
	name  string
	under int // the weight that was there when it was laid
	sets  int
}

// layerOf reads a layer out of an action, false when it is none of that upstream's.
func layerOf(a *gatewarden.Action, upstream string) (layer, bool) {
	l := bare(a)
	l.targets = make(map[string]slice)
	l.below = a.Status == gatewarden.ActionReplaced
	switch {
	case l.share:
		m := &shareMemo{}
		if found, err := decode(*a, m); !found || err != nil || m.Upstream != upstream {
			return layer{}, false
		}
		for _, t := range m.Targets {
			l.targets[t.ID] = slice{t.Target, m.goesBackTo(a, &t), t.Set}
		}
	case a.Spec.Weight != nil:
		m := &weightMemo{}
		if found, err := decode(*a, m); !found || err != nil || m.Upstream != upstream {
			return layer{}, false
		}
		for _, t := range m.Targets {
			l.targets[t.ID] = slice{t.Target, t.Before, wantedWeight(*a)}
		}
	default:
		return layer{}, false
	}
	return l, true
}

// layers are all known changes of an upstream's weights but the one at hand.
type layers []layer

func (e *Executor) layersOf(upstream string) layers {
	var all layers
	for i := range e.others {
		if l, ok := layerOf(&e.others[i], upstream); ok {
			all = append(all, l)
		}
	}
	return all
}

// under reports whether l lies beneath o.
func (l *layer) under(o *layer) bool {
	switch {
	case l.below != o.below:
		return l.below
	case l.share != o.share:
		return l.share
	case !l.begun.Equal(o.begun):
		return l.begun.Before(o.begun)
	default:
		return l.action.ID < o.action.ID
	}
}

// holder returns the lowest layer in place above l that sets the target's weight, nil
// when l is the highest.
func (all layers) holder(l *layer, target string) *layer {
	var lowest *layer
	for i := range all {
		o := &all[i]
		if _, sets := o.targets[target]; !sets || !o.action.Status.InPlace() || !l.under(o) {
			continue
		}
		if lowest == nil || o.under(lowest) {
			lowest = o
		}
	}
	return lowest
}

// beneath returns the weight that a target has without l and all that lies above it:
// what l found there, unless something beneath has changed since. The last such change
// decides: a layer that was laid, or one that was taken away. What lies under the highest
// layer in place cannot be seen. What a person set meanwhile is found by the layers laid
// later, and so comes back with them.
func (all layers) beneath(l *layer, target string) int {
	weight, last := l.targets[target].under, l.begun
	ground := all.ground(l, target)
	for i := range all {
		o := &all[i]
		if !o.liesUnder(l, target) || (ground != nil && o.under(ground)) {
			continue
		}
		if at, laid := o.laid(); laid && !at.Before(last) {
			weight, last = o.targets[target].sets, at
		}
		if at, gone := o.gone(); gone && !at.Before(last) {
			weight, last = all.beneath(o, target), at
		}
	}
	return weight
}

// ground returns the highest layer in place beneath l that sets the target's weight, nil
// when there is none.
func (all layers) ground(l *layer, target string) *layer {
	var highest *layer
	for i := range all {
		o := &all[i]
		if o.liesUnder(l, target) && o.action.Status.InPlace() && (highest == nil || highest.under(o)) {
			highest = o
		}
	}
	return highest
}

// liesUnder reports whether o sets the target's weight beneath l. The moves of a run do
// not lie on one another: each takes the place of the one before.
func (l *layer) liesUnder(above *layer, target string) bool {
	_, sets := l.targets[target]
	sameRun := l.share && above.share && l.action.Ladder == above.action.Ladder
	return sets && l.under(above) && !sameRun
}

// laid returns when a layer came to be, false when it never did.
func (l *layer) laid() (time.Time, bool) {
	switch a := l.action; {
	case a.AppliedAt != nil:
		return *a.AppliedAt, true
	case a.Status == gatewarden.ActionStarted:
		return l.begun, true
	case a.Status == gatewarden.ActionReplaced && a.EndedAt != nil: // cut short, perhaps half done
		return *a.EndedAt, true
	default:
		return time.Time{}, false
	}
}

// gone returns when a layer was taken away, false when it was not.
func (l *layer) gone() (time.Time, bool) {
	a := l.action
	if a.EndedAt == nil || a.AppliedAt == nil || a.Status == gatewarden.ActionReplaced {
		return time.Time{}, false
	}
	return *a.EndedAt, true
}
