package kong

import (
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// layer is one change of values: of weights in an upstream, or of one field of a route or a
// service. Layers lie on top of one another: those of ladders that answer SLOs or runs above
// the moves of a run, and else the later ones above the earlier. What has a value has the
// one that its highest layer sets.
type layer[V comparable] struct {
	action *gatewarden.Action
	places map[string]slice[V] // by the target's id, or by the entity's path
	share  bool                // a move of a run
	begun  time.Time
	below  bool // beneath all others: what it set is nobody's any more
}

// slice is what a layer does in one place.
type slice[V comparable] struct {
	name  string
	under V // the value that was there when it was laid
	sets  V
}

// bare is the layer of an action without its places; until it has begun it is the
// highest of its kind.
func bare[V comparable](a *gatewarden.Action) layer[V] {
	l := layer[V]{
		action: a, places: make(map[string]slice[V]),
		share: a.Spec.Kind == gatewarden.StepShare, below: a.Status == gatewarden.ActionReplaced,
	}
	if a.StartedAt != nil {
		l.begun = *a.StartedAt
	} else {
		l.begun = time.Unix(1<<40, 0)
	}
	return l
}

// weightLayer reads a layer out of an action, false when it is none of that upstream's.
func weightLayer(a *gatewarden.Action, upstream string) (layer[int], bool) {
	l := bare[int](a)
	switch {
	case l.share:
		m := &shareMemo{}
		if found, err := decode(*a, m); !found || err != nil || m.Upstream != upstream {
			return l, false
		}
		for _, t := range m.Targets {
			l.places[t.ID] = slice[int]{t.Target, m.goesBackTo(a, &t), t.Set}
		}
	case a.Spec.Weight != nil:
		m := &weightMemo{}
		if found, err := decode(*a, m); !found || err != nil || m.Upstream != upstream {
			return l, false
		}
		for _, t := range m.Targets {
			l.places[t.ID] = slice[int]{t.Target, t.Before, wantedWeight(*a)}
		}
	default:
		return l, false
	}
	return l, true
}

// layers are all known changes of the same thing but the one at hand.
type layers[V comparable] []layer[V]

// weightsOf returns the other changes of an upstream's weights.
func (e *Executor) weightsOf(upstream string) layers[int] {
	var all layers[int]
	for i := range e.others {
		if l, ok := weightLayer(&e.others[i], upstream); ok {
			all = append(all, l)
		}
	}
	return all
}

// under reports whether l lies beneath o.
func (l *layer[V]) under(o *layer[V]) bool {
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

// holder returns the lowest layer in place above l that sets the value of a place, nil
// when l is the highest.
func (all layers[V]) holder(l *layer[V], place string) *layer[V] {
	var lowest *layer[V]
	for i := range all {
		o := &all[i]
		if _, sets := o.places[place]; !sets || !o.action.Status.InPlace() || !l.under(o) {
			continue
		}
		if lowest == nil || o.under(lowest) {
			lowest = o
		}
	}
	return lowest
}

// holderNow is holder when a place has a value now: one above that is not known to have come to be, and
// whose value that is not, holds nothing. Its call was lost on the way, and is made again.
func (all layers[V]) holderNow(l *layer[V], place string, now V) *layer[V] {
	return slices.DeleteFunc(slices.Clone(all), func(o layer[V]) bool {
		return o.action.AppliedAt == nil && o.places[place].sets != now
	}).holder(l, place)
}

// beneath returns the value that a place has without l and all that lies above it: what l
// found there, unless something beneath has changed since, by a layer that was laid or one
// that was taken away. What lies under the highest layer in place cannot be seen, and what
// is taken away takes nothing with it that a person has set: that is found by the layers
// laid later, and so comes back with them.
func (all layers[V]) beneath(l *layer[V], place string) V {
	value, last := l.places[place].under, l.begun
	for _, e := range all.eventsUnder(l, place) {
		switch {
		case e.at.Before(last):
			continue
		case e.laid:
			value = e.layer.places[place].sets
		case value == e.layer.places[place].sets:
			value = all.beneath(e.layer, place)
		}
		last = e.at
	}
	return value
}

// buried reports whether what lies beneath above, the lowest layer on l, is no longer what l
// has set: somebody else changed it between the two. A revert of l whose answer was lost did
// not: it has set what lies beneath l.
func (all layers[V]) buried(l, above *layer[V], place string) bool {
	if l.share || above.share {
		return false
	}
	found := all.foundBy(above, l, place)
	return found != l.places[place].sets && found != all.beneath(l, place) && !all.wasUnder(l, place, found)
}

// foundBy returns what above, the lowest layer on l, has found in a place.
func (all layers[V]) foundBy(above, l *layer[V], place string) V {
	return append(slices.Clone(all), *l).beneath(above, place)
}

// seenIn returns the actions whose layers are in place, as what was found in the places shows:
// one whose call is still under way is not there before it has set all of its own.
func (all layers[V]) seenIn(found map[string]V) (ids []string) {
	for i := range all {
		if a := all[i].action; a.Status.InPlace() && (a.AppliedAt != nil || all[i].setsAll(found)) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// setsAll reports whether the values that were found are those of the layer.
func (l *layer[V]) setsAll(found map[string]V) bool {
	for place, s := range l.places {
		if value, there := found[place]; there && value != s.sets {
			return false
		}
	}
	return true
}

// cameBetween reports whether a place has its value of a layer beneath l that was laid after
// l was prepared, when those known were in place: it is what l finds, even if it is what l
// wants.
func (all layers[V]) cameBetween(l *layer[V], place string, known []string, value V) bool {
	ground := all.ground(l, place)
	return ground != nil && ground.places[place].sets == value && !slices.Contains(known, ground.action.ID)
}

// layerEvent is that a layer came or went.
type layerEvent[V comparable] struct {
	at    time.Time
	laid  bool
	layer *layer[V]
}

// eventsUnder returns what became of the layers beneath l, as far as it can be seen, in
// order.
func (all layers[V]) eventsUnder(l *layer[V], place string) (list []layerEvent[V]) {
	ground := all.ground(l, place)
	for i := range all {
		o := &all[i]
		if !o.liesUnder(l, place) || (ground != nil && o.under(ground)) {
			continue
		}
		if at, laid := o.laid(); laid {
			list = append(list, layerEvent[V]{at, true, o})
		}
		if at, gone := o.gone(); gone {
			list = append(list, layerEvent[V]{at, false, o})
		}
	}
	slices.SortStableFunc(list, func(a, b layerEvent[V]) int { return a.at.Compare(b.at) })
	return list
}

// ground returns the highest layer in place beneath l that sets the value of a place, nil
// when there is none.
func (all layers[V]) ground(l *layer[V], place string) *layer[V] {
	var highest *layer[V]
	for i := range all {
		o := &all[i]
		if o.liesUnder(l, place) && o.action.Status.InPlace() && (highest == nil || highest.under(o)) {
			highest = o
		}
	}
	return highest
}

// liesUnder reports whether l sets the value of a place beneath another. The moves of a run
// do not lie on one another: each takes the place of the one before.
func (l *layer[V]) liesUnder(above *layer[V], place string) bool {
	_, sets := l.places[place]
	sameRun := l.share && above.share && l.action.Ladder == above.action.Ladder
	return sets && l.under(above) && !sameRun
}

// wasUnder reports whether a value is that of a layer that lay beneath l and was taken away
// since l was laid. A revert of l that came before that has set it, when nobody heard of it.
func (all layers[V]) wasUnder(l *layer[V], place string, value V) bool {
	for i := range all {
		o := &all[i]
		if at, gone := o.gone(); gone && !at.Before(l.begun) && o.liesUnder(l, place) && o.places[place].sets == value {
			return true
		}
	}
	return false
}

// leftAbove reports whether a value is that of a layer above l which is no longer in place, and
// which left it because else no target would have had a weight.
func (all layers[V]) leftAbove(l *layer[V], place string, value V) bool {
	return slices.ContainsFunc(all, func(o layer[V]) bool {
		s, sets := o.places[place]
		return sets && s.sets == value && l.under(&o) && o.action.Status == gatewarden.ActionLeft
	})
}

// laid returns when a layer came to be, false when it never did.
func (l *layer[V]) laid() (time.Time, bool) {
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

// gone returns when a layer was taken away, false when it was not, or was left as it is
// because somebody else had changed it. One that never came to be as far as the guard
// heard may have been found by another all the same: its answer was lost.
func (l *layer[V]) gone() (time.Time, bool) {
	a := l.action
	if a.EndedAt == nil || a.Status == gatewarden.ActionReplaced {
		return time.Time{}, false
	}
	return *a.EndedAt, true
}
