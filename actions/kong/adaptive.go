package kong

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

// An adaptive step is a plugin step whose plugin is rate-limiting and whose limit moves:
// what is said of a plugin holds of it, besides that the limit which Kong has may be the
// one of the action or the one before that, because a guard may die between the intent
// and the call.

var _ actions.Adjuster = (*Executor)(nil)

// limitField is where the plugin's configuration has the limit.
const limitField = "second"

// asPlugin returns the action as the plugin step that it is, with the limit it is to have.
func asPlugin(a gatewarden.Action) gatewarden.Action {
	step := *a.Spec.Puts()
	limit := a.Spec.Adaptive.Floor // of a preflight, and until there is one
	if a.Limit != nil {
		limit = a.Limit.Value
	}
	// Counted by each node for itself and for all clients together, unless the step says
	// otherwise: the default of Kong is a limit for each client.
	config := map[string]any{"policy": "local", "limit_by": "service"}
	maps.Copy(config, step.Config)
	config[limitField] = a.Spec.Adaptive.PerNode(limit)
	step.Config = config
	a.Spec = gatewarden.Step{Kind: gatewarden.StepPlugin, After: a.Spec.After, Plugin: &step}
	return a
}

func (e *Executor) applyAdaptive(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	out, err := e.applyPlugin(ctx, asPlugin(a), save)
	if err == nil && out.Status == gatewarden.ActionApplied {
		out.Reason = fmt.Sprintf("the limit is in place, %s; %s steers it from now on", perSecond(a), a.Spec.Adaptive.SLO)
	}
	return out, err
}

// perSecond writes the limit of an action.
func perSecond(a gatewarden.Action) string {
	text := fmt.Sprintf("%d requests a second", a.Limit.Value)
	if nodes := a.Spec.Adaptive.Nodes; nodes > 1 {
		text += fmt.Sprintf(" (%d on each of %d nodes)", a.Spec.Adaptive.PerNode(a.Limit.Value), nodes)
	}
	return text
}

// Adjust implements actions.Adjuster.
func (e *Executor) Adjust(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	if a.Spec.Adaptive == nil || a.Limit == nil {
		return gatewarden.Outcome{}, notMine(a)
	}
	m := &pluginMemo{}
	if found, err := decode(a, m); err != nil || !found {
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Internal, "action %s has no memo to adjust its limit by: %w", a.ID, err)
	}
	e, leave, err := e.alone(ctx)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	defer leave()
	current, err := e.client.plugin(ctx, m.Plugin)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	what := "plugin rate-limiting " + where(a.Spec.Puts())
	if current == nil {
		return left("somebody else deleted the plugin since", what, nil, ""), nil
	}
	laid := e.laidBeside(m, current)
	changed, err := e.foreign(a, m, current, laid)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if above, buried := e.buries(m, current); buried {
		changed = append(changed, "the plugin was changed before "+above.action.ID+" was laid on it")
	}
	if len(changed) > 0 {
		return left("somebody else changed the plugin since", what, changed, ""), nil
	}
	wanted := a.Spec.Adaptive.PerNode(a.Limit.Value)
	out := gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: "the limit is " + perSecond(a), Change: what + ": " + perSecond(a)}
	if above := limitAbove(pluginLayer{asPlugin(a), m}, laid); above != "" {
		out.Reason = "the limit of " + above + " lies on it, and comes first"
		return out, nil // this one is composed anew when that is taken off
	}
	if limitIs(current, wanted) {
		return out, nil
	}
	body := object{"config": object{limitField: wanted}}
	if m.own() {
		all := append(slices.Clone(laid), pluginLayer{asPlugin(a), m})
		slices.SortFunc(all, pluginLayer.compare)
		whole, err := e.composed(a.Spec.Puts(), m, all)
		if err != nil {
			return gatewarden.Outcome{}, err
		}
		tags, _ := current["tags"].([]any)
		config, _ := whole["config"].(object)
		body["tags"] = withSent(tags, config)
	}
	now, err := e.client.write(ctx, http.MethodPatch, m.Plugin, body)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if !limitIs(now, wanted) {
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Conflict, "the limit of %s is not as it was written", what).WithHint("does something else write the same plugin?")
	}
	return out, nil
}

// limitIs reports whether a plugin has a limit.
func limitIs(plugin object, limit int) bool {
	config, _ := plugin["config"].(object)
	return equalValues(config[limitField], json.Number(fmt.Sprint(limit)))
}

// limitAbove returns the action whose limit lies on that of a layer, "" when there is none.
func limitAbove(l pluginLayer, laid []pluginLayer) string {
	for _, o := range laid {
		set, err := o.memo.settings(o.action.Spec.Plugin)
		if _, sets := set[limitField]; err == nil && sets && o.compare(l) > 0 {
			return o.action.ID
		}
	}
	return ""
}

// foreign lists how the plugin differs from what the action wrote, its limit aside when
// that is one of those that the action may have given it.
func (e *Executor) foreign(a gatewarden.Action, m *pluginMemo, current object, laid []pluginLayer) ([]string, error) {
	plugin := asPlugin(a)
	if len(laid) > 0 {
		return e.touched(plugin, m, current)
	}
	noted, err := e.adjusted(a, m, current)
	if err != nil {
		return nil, err
	}
	return changedSince(plugin, noted, current)
}

// ownLimit reports whether the plugin has the limit of the action, or the one before.
func ownLimit(a gatewarden.Action, current object) bool {
	if a.Limit == nil {
		return false
	}
	s := a.Spec.Adaptive
	return limitIs(current, s.PerNode(a.Limit.Value)) || a.Limit.Before > 0 && limitIs(current, s.PerNode(a.Limit.Before))
}

// adjusted returns the memo as if the limit that is there now had been noted, when the
// action may have set it.
func (e *Executor) adjusted(a gatewarden.Action, m *pluginMemo, current object) (*pluginMemo, error) {
	m = e.latest(m)
	if len(m.Written) == 0 || !ownLimit(a, current) {
		return m, nil
	}
	written, err := parseObject(m.Written)
	if err != nil {
		return nil, err
	}
	is, _ := current["config"].(object)
	if was, ok := written["config"].(object); ok {
		was[limitField] = is[limitField]
	}
	m.Seq = e.nextSeq(m)
	m.Written, err = encode(written, nil)
	return m, err
}

func (e *Executor) revertAdaptive(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	plugin := asPlugin(a)
	m := &pluginMemo{}
	found, err := decode(a, m)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if !found || len(m.Written) == 0 {
		return e.revertPlugin(ctx, plugin)
	}
	current, err := e.client.plugin(ctx, m.Plugin)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if current != nil && len(e.laidBeside(m, current)) == 0 {
		if m, err = e.adjusted(a, m, current); err != nil {
			return gatewarden.Outcome{}, err
		}
		if plugin.Memo, err = encode(m, nil); err != nil {
			return gatewarden.Outcome{}, err
		}
	}
	return e.revertPlugin(ctx, plugin)
}
