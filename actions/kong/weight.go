package kong

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// weightMemo is what must be known to take a weight or drain step back.
type weightMemo struct {
	Upstream string       `json:"upstream"` // its id
	Targets  []targetMemo `json:"targets"`
	On       []string     `json:"on,omitempty"` // the actions that were seen to have changed weights of it
}

// targetMemo is one target that the step changes.
type targetMemo struct {
	ID     string `json:"id"`
	Target string `json:"target"`
	Before int    `json:"before"` // its weight
}

// target is a target as the Admin API lists it.
type target struct {
	ID     string   `json:"id"`
	Target string   `json:"target"`
	Weight int      `json:"weight"`
	Tags   []string `json:"tags"`
}

// wantedWeight returns what the step sets.
func wantedWeight(a gatewarden.Action) int {
	if a.Spec.Kind == gatewarden.StepDrain {
		return 0
	}
	return a.Spec.Weight.Weight
}

// prepareWeight finds the step's targets. Errors: NotFound when the upstream does
// not exist or no target fits, Conflict when no target of the upstream would be
// left with a weight.
func (e *Executor) prepareWeight(ctx context.Context, a gatewarden.Action) (*weightMemo, error) {
	step := a.Spec.Weight
	if w := wantedWeight(a); w < 0 || w > 65535 {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "weight %d is not between 0 and 65535", w)
	}
	up, err := e.client.named(ctx, "upstream", "upstreams", "name", step.Upstream)
	if err != nil {
		return nil, err
	}
	m := &weightMemo{Upstream: stringIn(up, "id")}
	all, err := e.client.targets(ctx, m.Upstream)
	if err != nil {
		return nil, err
	}
	var names []string
	found := make(map[string]int, len(all))
	for _, t := range all {
		names, found[t.ID] = append(names, t.Target), t.Weight
		if fits(step, t) {
			m.Targets = append(m.Targets, targetMemo{ID: t.ID, Target: t.Target, Before: t.Weight})
		}
	}
	if len(m.Targets) == 0 {
		what := "target " + step.Target
		if step.Target == "" {
			what = "target with the tag " + step.TargetTag
		}
		return nil, gatewarden.Errorf(gatewarden.NotFound, "upstream %s has no %s", step.Upstream, what).WithHint("%s", suggest(step.Target, names))
	}
	m.On = e.weightsOf(m.Upstream).seenIn(found)
	return m, e.leavesSome(a, m, all)
}

// targets lists the targets of an upstream.
func (c *client) targets(ctx context.Context, upstream string) ([]target, error) {
	list, err := c.list(ctx, "/upstreams/"+upstream+"/targets")
	if err != nil {
		return nil, err
	}
	out := make([]target, len(list))
	for i, raw := range list {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, gatewarden.Errorf(gatewarden.Unavailable, "a target that Kong lists is not readable: %w", err)
		}
	}
	return out, nil
}

// fits reports whether the step means the target. As in Kong, a missing port is 8000.
func fits(step *gatewarden.WeightStep, t target) bool {
	if step.Target != "" {
		return t.Target == step.Target || t.Target == withPort(step.Target)
	}
	for _, tag := range t.Tags {
		if tag == step.TargetTag && tag != "" {
			return true
		}
	}
	return false
}

func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), "8000")
}

// leavesSome refuses a step after which no target of the upstream would have a
// weight: Kong would answer every request with 503.
func (e *Executor) leavesSome(a gatewarden.Action, m *weightMemo, all []target) error {
	if wantedWeight(a) > 0 {
		return nil
	}
	for _, t := range all {
		if t.Weight > 0 && m.find(t.ID) == nil {
			return nil
		}
	}
	return gatewarden.Errorf(gatewarden.Conflict, "upstream %s would be left without any target of weight above 0", a.Spec.Weight.Upstream).WithHint("Kong would answer every request with 503; give another target a weight first")
}

func (m *weightMemo) find(id string) *targetMemo {
	for i := range m.Targets {
		if m.Targets[i].ID == id {
			return &m.Targets[i]
		}
	}
	return nil
}

func (e *Executor) applyWeight(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	m, err := memoOf(ctx, a, save, e.prepareWeight)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	now, err := e.current(ctx, m.Upstream)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if err := e.refresh(a, m, now, save); err != nil {
		return gatewarden.Outcome{}, err
	}
	wanted := wantedWeight(a)
	all, self := e.weightsOf(m.Upstream), bare[int](&a)
	for _, t := range m.Targets {
		if w, there := now[t.ID]; there && w != wanted && all.holderNow(&self, t.ID, w) == nil {
			if err := e.client.setWeight(ctx, m.Upstream, t.ID, wanted); err != nil {
				return gatewarden.Outcome{}, err
			}
		}
	}
	return e.verifyWeight(ctx, a, m)
}

// current returns the weights of an upstream's targets by id.
func (e *Executor) current(ctx context.Context, upstream string) (map[string]int, error) {
	all, err := e.client.targets(ctx, upstream)
	if err != nil {
		return nil, err
	}
	now := map[string]int{}
	for _, t := range all {
		now[t.ID] = t.Weight
	}
	return now, nil
}

// refresh takes up what somebody changed between Prepare and now, and looks once
// more whether a target would be left.
func (e *Executor) refresh(a gatewarden.Action, m *weightMemo, now map[string]int, save func(json.RawMessage) error) error {
	wanted, changed := wantedWeight(a), false
	all := make([]target, 0, len(now))
	for id, w := range now {
		all = append(all, target{ID: id, Weight: w})
	}
	if err := e.leavesSome(a, m, all); err != nil {
		return err
	}
	layers := e.weightsOf(m.Upstream)
	self, _ := weightLayer(&a, m.Upstream)
	for i := range m.Targets {
		t := &m.Targets[i]
		w, there := now[t.ID]
		above := layers.holderNow(&self, t.ID, w)
		if above != nil && !above.share {
			w = layers.foundBy(above, &self, t.ID)
		}
		switch {
		case !there, w == t.Before:
		case w != wanted, above == nil && layers.cameBetween(&self, t.ID, m.On, w):
			t.Before, changed = w, true
		}
	}
	if !changed {
		return nil
	}
	m.On = layers.seenIn(now)
	return saveMemo(m, save)
}

func (c *client) setWeight(ctx context.Context, upstream, id string, weight int) error {
	_, err := c.do(ctx, http.MethodPatch, "/upstreams/"+url.PathEscape(upstream)+"/targets/"+url.PathEscape(id), nil, object{"weight": weight})
	return err
}

// verifyWeight reads the weights back.
func (e *Executor) verifyWeight(ctx context.Context, a gatewarden.Action, m *weightMemo) (gatewarden.Outcome, error) {
	now, err := e.current(ctx, m.Upstream)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	wanted := wantedWeight(a)
	all, self := e.weightsOf(m.Upstream), bare[int](&a)
	var changes, undo, gone []string
	for _, t := range m.Targets {
		w, there := now[t.ID]
		switch {
		case !there:
			gone = append(gone, t.Target)
			continue
		case all.holderNow(&self, t.ID, w) != nil:
			changes = append(changes, fmt.Sprintf("weight of %s in upstream %s: %d, set by %s", t.Target, a.Spec.Weight.Upstream, w, all.holderNow(&self, t.ID, w).action.ID))
			continue
		case w != wanted:
			return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Conflict, "the weight of %s in upstream %s is %d right after it was set to %d", t.Target, a.Spec.Weight.Upstream, w, wanted).WithHint("does something else set weights?")
		}
		changes = append(changes, weightChange(a, t, t.Before, wanted))
		undo = append(undo, e.undoWeight(m.Upstream, t.ID, t.Before))
	}
	out := gatewarden.Outcome{
		Status: gatewarden.ActionApplied, Reason: "the weights are set; Kong uses them at once",
		Change: strings.Join(changes, "; "), Undo: strings.Join(undo, "\n"),
	}
	if gone != nil {
		out.Details = "No longer in the upstream: " + strings.Join(gone, ", ")
	}
	if changes == nil {
		out.Status, out.Reason = gatewarden.ActionLeft, "the targets are no longer in the upstream, so nothing was done"
		out.Change = "upstream " + a.Spec.Weight.Upstream + ": left"
	}
	return out, nil
}

func weightChange(a gatewarden.Action, t targetMemo, from, to int) string {
	return fmt.Sprintf("weight of %s in upstream %s: %d → %d", t.Target, a.Spec.Weight.Upstream, from, to)
}

// revertWeight puts each weight back that is still what the step set. When a run has
// moved its canary meanwhile, that is what the run has set.
func (e *Executor) revertWeight(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	m := &weightMemo{}
	found, err := decode(a, m)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	name := a.Spec.Weight.Upstream
	if !found {
		return reverted("nothing had been changed", "upstream "+name+": as before"), nil
	}
	u, err := e.undoing(ctx, &a, m.Upstream)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	wanted := wantedWeight(a)
	for _, t := range m.Targets {
		u.target(slice[int]{t.Target, u.all.beneath(&u.self, t.ID), wanted}, t.ID, func(w int) bool {
			return w == wanted || u.all.wasUnder(&u.self, t.ID, w) || u.all.leftAbove(&u.self, t.ID, w)
		})
	}
	return u.finish(ctx, name)
}
