package kong

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// Target is one target of an upstream.
type Target struct {
	Target string // "10.0.0.7:8080", as Kong lists it
	Weight int
	Tags   []string
}

// Targets lists the targets of an upstream, named by its name or id, on all its pages.
// Errors: NotFound when there is no such upstream, Unavailable when Kong does not answer.
func (e *Executor) Targets(ctx context.Context, upstream string) ([]Target, error) {
	up, err := e.client.named(ctx, "upstream", "upstreams", "name", upstream)
	if err != nil {
		return nil, err
	}
	all, err := e.client.targets(ctx, stringIn(up, "id"))
	if err != nil {
		return nil, err
	}
	out := make([]Target, len(all))
	for i, t := range all {
		out[i] = Target{Target: t.Target, Weight: t.Weight, Tags: t.Tags}
	}
	return out, nil
}

// shareMemo is what must be known to take a move of a run back, and to make the next one.
type shareMemo struct {
	Upstream string        `json:"upstream"` // its id
	Next     bool          `json:"next,omitempty"`
	Targets  []shareTarget `json:"targets"`
}

// shareTarget is one target of either track.
type shareTarget struct {
	ID     string           `json:"id"`
	Target string           `json:"target"`
	Track  gatewarden.Track `json:"track"`
	Before int              `json:"before"` // its weight before the run
	Found  int              `json:"found"`  // before this move
	Set    int              `json:"set"`
}

// goesBackTo returns the weight that the target gets when the move is taken back: one
// that never came about leaves the moves before it in place.
func (m *shareMemo) goesBackTo(a *gatewarden.Action, t *shareTarget) int {
	if a.AppliedAt == nil {
		return t.Found
	}
	return t.Before
}

func (m *shareMemo) find(id string) *shareTarget {
	for i := range m.Targets {
		if m.Targets[i].ID == id {
			return &m.Targets[i]
		}
	}
	return nil
}

// prepareShare finds the targets of both tracks and the weights to set. a.Memo is that
// of the run's move before, if any. Errors: Invalid when a track is not one of targets,
// or both have a target in common; NotFound when the upstream does not exist or a track
// has no target; Conflict when a target of neither track takes part in the traffic.
func (e *Executor) prepareShare(ctx context.Context, a gatewarden.Action) (*shareMemo, error) {
	step := a.Spec.Share
	for track, s := range step.Tracks {
		if !s.Targets() {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "the %s is known by %s, so weights of targets cannot move it", gatewarden.Track(track), s).WithHint("use target or target_tag, or leave the steps out")
		}
	}
	up, err := e.client.named(ctx, "upstream", "upstreams", "name", step.Upstream)
	if err != nil {
		return nil, err
	}
	m := &shareMemo{Upstream: stringIn(up, "id")}
	all, err := e.client.targets(ctx, m.Upstream)
	if err != nil {
		return nil, err
	}
	if err := m.assign(step, all); err != nil {
		return nil, err
	}
	before := &shareMemo{}
	if m.Next, err = decode(a, before); err != nil {
		return nil, err
	}
	m.see(e.weightsOf(m.Upstream), &a)
	return m, m.plan(step.Percent, before)
}

// assign fills in the targets of both tracks.
func (m *shareMemo) assign(step *gatewarden.ShareStep, all []target) error {
	var names, neither []string
	var size [2]int
	for _, t := range all {
		names = append(names, t.Target)
		inBaseline, inCanary := selects(step.Tracks[gatewarden.TrackBaseline], t), selects(step.Tracks[gatewarden.TrackCanary], t)
		track := gatewarden.TrackBaseline
		switch {
		case inBaseline && inCanary:
			return gatewarden.Errorf(gatewarden.Invalid, "target %s of upstream %s is in both tracks", t.Target, step.Upstream).WithHint("select the baseline by something that the canary has not")
		case inCanary:
			track = gatewarden.TrackCanary
		case !inBaseline:
			if t.Weight > 0 {
				neither = append(neither, t.Target)
			}
			continue
		}
		size[track]++
		m.Targets = append(m.Targets, shareTarget{ID: t.ID, Target: t.Target, Track: track, Before: t.Weight, Found: t.Weight})
	}
	for track, n := range size {
		if n > 0 || (step.Percent == 0 && gatewarden.Track(track) == gatewarden.TrackCanary) {
			continue // a canary that is gone gets nothing
		}
		s := step.Tracks[track]
		return gatewarden.Errorf(gatewarden.NotFound, "upstream %s has no target of the %s (%s)", step.Upstream, gatewarden.Track(track), s).WithHint("%s", suggest(strings.Join(s.Values, ", "), names))
	}
	if neither != nil && step.Percent > 0 { // a bad canary gets nothing whatever else there is
		return gatewarden.Errorf(gatewarden.Conflict, "target %s of upstream %s is in neither track, so the canary's share of the requests cannot be set", neither[0], step.Upstream).WithHint("let the baseline or the canary select it too, or set its weight to 0")
	}
	return nil
}

// selects reports whether a track's selector means the target. As in Kong, a missing
// port is 8000.
func selects(s gatewarden.Selector, t target) bool {
	return slices.ContainsFunc(s.Values, func(value string) bool {
		step := gatewarden.WeightStep{TargetTag: value}
		if s.Kind == gatewarden.ByTarget {
			step = gatewarden.WeightStep{Target: value}
		}
		return value != "" && fits(&step, t)
	})
}

// see puts in place of a weight that a higher layer sets the one beneath it.
func (m *shareMemo) see(all layers[int], a *gatewarden.Action) {
	self := bare[int](a)
	for i := range m.Targets {
		t := &m.Targets[i]
		if above := all.holder(&self, t.ID); above != nil {
			t.Found = all.beneath(above, t.ID)
			t.Before = t.Found
		}
	}
}

// plan sets the weights that give the canary its share. Parts within a track are those
// from before the run, unless somebody has changed weights since the last move.
func (m *shareMemo) plan(percent float64, before *shareMemo) error {
	var base [2][]int
	for i := range m.Targets {
		t := &m.Targets[i]
		part := t.Found
		if b := before.find(t.ID); b != nil {
			t.Before = b.Before
			if t.Found == b.Set {
				part = b.Before
			}
		}
		base[t.Track] = append(base[t.Track], part)
	}
	weights, err := divide(percent, base)
	if err != nil {
		return err
	}
	var next [2]int
	for i := range m.Targets {
		t := &m.Targets[i]
		t.Set = weights[t.Track][next[t.Track]]
		next[t.Track]++
	}
	return nil
}

func (e *Executor) applyShare(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	m, err := memoOf(ctx, a, save, e.prepareShare)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	now, err := e.current(ctx, m.Upstream)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	free, held := e.freeTargets(&a, m, now)
	if m.refresh(free, now) {
		if err := saveMemo(m, save); err != nil {
			return gatewarden.Outcome{}, err
		}
	}
	wanted := make(map[string]int)
	for _, t := range free {
		wanted[t.ID] = t.Set
	}
	if err := leavesAny(a.Spec.Share.Upstream, now, wanted, held); err != nil {
		return gatewarden.Outcome{}, err
	}
	if err := e.setWeights(ctx, m.Upstream, now, wanted); err != nil {
		return gatewarden.Outcome{}, err
	}
	return e.verifyShare(ctx, a, m, held)
}

// freeTargets returns the targets that are there and may be set, and why others may not.
func (e *Executor) freeTargets(a *gatewarden.Action, m *shareMemo, now map[string]int) (free []*shareTarget, held []string) {
	all, self := e.weightsOf(m.Upstream), bare[int](a)
	for i := range m.Targets {
		t := &m.Targets[i]
		w, there := now[t.ID]
		if !there {
			continue
		}
		if above := all.holderNow(&self, t.ID, w); above != nil {
			held = append(held, fmt.Sprintf("%s has set the weight of %s to %d, and it gets %d when that is undone", above.action.ID, t.Target, above.places[t.ID].sets, t.Set))
			continue
		}
		free = append(free, t)
	}
	return free, held
}

// refresh takes up what somebody changed between Prepare and now. What is from before
// the run stays so.
func (m *shareMemo) refresh(free []*shareTarget, now map[string]int) (changed bool) {
	for _, t := range free {
		w := now[t.ID]
		if w == t.Set || w == t.Found {
			continue
		}
		t.Found, changed = w, true
		if !m.Next {
			t.Before = w
		}
	}
	return changed
}

// leavesAny refuses weights after which no target of the upstream would have one: Kong
// would answer every request with 503.
func leavesAny(upstream string, now, wanted map[string]int, held []string) error {
	for id, w := range now {
		if set, changes := wanted[id]; changes {
			w = set
		}
		if w > 0 {
			return nil
		}
	}
	why := "Kong would answer every request with 503"
	if held != nil {
		why += "; " + strings.Join(held, "; ")
	}
	return gatewarden.Errorf(gatewarden.Conflict, "upstream %s would be left without any target of weight above 0", upstream).WithHint("%s", why)
}

// setWeights sets weights, the larger ones first, so that at no time none is left.
func (e *Executor) setWeights(ctx context.Context, upstream string, now, wanted map[string]int) error {
	for _, raises := range []bool{true, false} {
		for _, id := range slices.Sorted(maps.Keys(wanted)) {
			w, current := wanted[id], now[id]
			if current == w || (w > current) != raises {
				continue
			}
			if err := e.client.setWeight(ctx, upstream, id, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyShare reads the weights back.
func (e *Executor) verifyShare(ctx context.Context, a gatewarden.Action, m *shareMemo, held []string) (gatewarden.Outcome, error) {
	now, err := e.current(ctx, m.Upstream)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	step := a.Spec.Share
	free, _ := e.freeTargets(&a, m, now)
	changes := []string{fmt.Sprintf("the canary's share of upstream %s: %v %%", step.Upstream, step.Percent)}
	var undo []string
	for _, t := range free {
		if w := now[t.ID]; w != t.Set {
			return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Conflict, "the weight of %s in upstream %s is %d right after it was set to %d", t.Target, step.Upstream, w, t.Set).WithHint("does something else set weights?")
		}
		changes = append(changes, fmt.Sprintf("weight of %s: %d → %d", t.Target, t.Found, t.Set))
		undo = append(undo, e.undoWeight(m.Upstream, t.ID, t.Before))
	}
	out := gatewarden.Outcome{
		Status: gatewarden.ActionApplied, Reason: "the weights are set; Kong uses them at once",
		Change: strings.Join(changes, "; "), Undo: strings.Join(undo, "\n"), Details: strings.Join(held, "\n"),
	}
	if len(free) == 0 && held == nil {
		out.Status, out.Reason = gatewarden.ActionLeft, "the targets are no longer in the upstream, so nothing was done"
		out.Change = "upstream " + step.Upstream + ": left"
	}
	return out, nil
}

func (e *Executor) undoWeight(upstream, id string, weight int) string {
	return e.client.curl(http.MethodPatch, "/upstreams/"+upstream+"/targets/"+id, []byte(`{"weight":`+strconv.Itoa(weight)+`}`))
}

// revertShare puts each weight back that is still what the run has set.
func (e *Executor) revertShare(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	m := &shareMemo{}
	found, err := decode(a, m)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	name := a.Spec.Share.Upstream
	if !found {
		return reverted("nothing had been changed", "upstream "+name+": as before"), nil
	}
	u, err := e.undoing(ctx, &a, m.Upstream)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	for _, t := range m.Targets {
		to := m.goesBackTo(&a, &t)
		u.target(slice[int]{t.Target, to, t.Set}, t.ID, func(w int) bool {
			return w == t.Set || w == to || setByRun(u.all, &a, t.ID, w) || u.all.leftAbove(&u.self, t.ID, w)
		})
	}
	return u.finish(ctx, name)
}

// setByRun reports whether another move of the same run has given the target that weight.
func setByRun(all layers[int], a *gatewarden.Action, id string, weight int) bool {
	return slices.ContainsFunc(all, func(l layer[int]) bool {
		s, sets := l.places[id]
		return sets && l.share && l.action.Ladder == a.Ladder && s.sets == weight
	})
}
