package kong

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Plugin steps of several actions on one plugin lie on top of one another. The plugin's
// tags say which of them are laid; their memos and steps say what each has set. At the
// bottom, the ground, lies the user's plugin, or nothing. What is in place is that, with the
// configurations of the layers merged into it, the later ones over the earlier: a layer is
// laid by a merge, and taken away by writing what the rest comes to. When somebody else
// changes a plugin with layers on it, that is the ground of those laid later, and the
// earlier ones leave it alone.

// pluginLayer is one such action.
type pluginLayer struct {
	action gatewarden.Action // as a plugin step
	memo   *pluginMemo
}

// pluginStep returns the action as the plugin step that it is.
func pluginStep(a gatewarden.Action) gatewarden.Action {
	if a.Spec.Adaptive != nil {
		return asPlugin(a)
	}
	return a
}

// pluginLayers returns the other actions that are known to have changed a plugin, the
// lowest first.
func (e *Executor) pluginLayers(plugin string) (all []pluginLayer) {
	for i := range e.others {
		if e.others[i].Spec.Puts() == nil {
			continue
		}
		m := &pluginMemo{}
		if found, err := decode(e.others[i], m); err != nil || !found || m.Plugin != plugin {
			continue
		}
		all = append(all, pluginLayer{pluginStep(e.others[i]), m})
	}
	slices.SortFunc(all, pluginLayer.compare)
	return all
}

// compare orders layers from below.
func (l pluginLayer) compare(o pluginLayer) int {
	return cmp.Or(cmp.Compare(l.memo.Ground, o.memo.Ground), begunAt(&l.action).Compare(begunAt(&o.action)), cmp.Compare(l.action.ID, o.action.ID))
}

// beside returns those of the layers on the same ground.
func (e *Executor) beside(m *pluginMemo) []pluginLayer {
	return slices.DeleteFunc(e.pluginLayers(m.Plugin), func(l pluginLayer) bool { return !bytes.Equal(l.memo.Before, m.Before) })
}

// laidBeside returns those of them that lie on the plugin now.
func (e *Executor) laidBeside(m *pluginMemo, plugin object) []pluginLayer {
	return slices.DeleteFunc(e.beside(m), func(l pluginLayer) bool { return !l.on(plugin) })
}

// buries returns a later layer on the plugin that has another ground than m, and so lies on what
// somebody else made of it.
func (e *Executor) buries(m *pluginMemo, plugin object) (pluginLayer, bool) {
	for _, l := range e.pluginLayers(m.Plugin) {
		if l.on(plugin) && l.memo.Ground > m.Ground && !bytes.Equal(l.memo.Before, m.Before) {
			return l, true
		}
	}
	return pluginLayer{}, false
}

// on reports whether the layer lies on the plugin.
func (l *pluginLayer) on(plugin object) bool {
	return l.action.Status.InPlace() && slices.Contains(actionsOf(plugin), l.action.ID)
}

func begunAt(a *gatewarden.Action) time.Time {
	if a.StartedAt == nil {
		return time.Time{}
	}
	return *a.StartedAt
}

// actionsOf returns the ids of the actions that a plugin's tags name.
func actionsOf(plugin object) (ids []string) {
	for _, t := range stringsIn(plugin["tags"]) {
		if id, ok := strings.CutPrefix(t, actionTag); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// prepareOn makes the memo of a step on a plugin that has layers already.
func (e *Executor) prepareOn(a gatewarden.Action, m *pluginMemo, found object) (*pluginMemo, error) {
	laid := slices.DeleteFunc(e.pluginLayers(m.Plugin), func(l pluginLayer) bool { return !l.on(found) })
	if stranger := strangerOn(found, laid); stranger != "" {
		conflict := gatewarden.Errorf(gatewarden.Conflict, "plugin %s %s is held by action %s", a.Spec.Plugin.Name, where(a.Spec.Plugin), stranger)
		if stranger == a.ID {
			return nil, conflict.WithHint("what was there before it is not known any more; take the tag %s off the plugin to make it yours as it is", actionTag+a.ID)
		}
		return nil, conflict.WithHint("it comes free when that action is reverted; if no such action is in place any more, take the tag %s off the plugin", actionTag+stranger)
	}
	top := laid[len(laid)-1]
	m.Ground = top.memo.Ground
	changed, err := e.touched(top.action, top.memo, found)
	if err != nil {
		return nil, err
	}
	if len(changed) > 0 {
		m.Ground++
		m.Before, err = encode(found, nil)
		return m, err
	}
	m.Before = top.memo.Before
	for _, l := range laid {
		m.Maker = cmp.Or(m.Maker, l.memo.Maker)
		if l.memo.Plugin == pluginID(l.action.ID) {
			m.Maker = l.action.ID
		}
	}
	return m, nil
}

// strangerOn returns an action that the plugin's tags name and that is neither one of the
// layers nor part of the ground of the highest, "" when there is none.
func strangerOn(plugin object, laid []pluginLayer) string {
	var ground []string
	if n := len(laid); n > 0 && !laid[n-1].memo.own() {
		if before, err := parseObject(laid[n-1].memo.Before); err == nil {
			ground = actionsOf(before)
		}
	}
	for _, id := range actionsOf(plugin) {
		if !slices.Contains(ground, id) && !slices.ContainsFunc(laid, func(l pluginLayer) bool { return l.action.ID == id }) {
			return id
		}
	}
	return ""
}

// layOn lays the step on the layers that are there already, or between them.
func (e *Executor) layOn(ctx context.Context, a gatewarden.Action, m *pluginMemo, laid []pluginLayer, current, config object, save func(*pluginMemo) error) (object, error) {
	all := append(slices.Clone(laid), pluginLayer{a, m})
	slices.SortFunc(all, pluginLayer.compare)
	whole, err := e.composed(a.Spec.Plugin, m, all)
	if err != nil {
		return nil, err
	}
	if all[len(all)-1].action.ID != a.ID { // beneath one that was faster
		return e.client.write(ctx, http.MethodPut, m.Plugin, whole)
	}
	tags, _ := current["tags"].([]any)
	tags = append(slices.Clone(tags), actionTag+a.ID)
	if m.own() {
		config, _ := whole["config"].(object)
		tags = withSent(tags, config)
	}
	body := object{"enabled": true, "tags": tags}
	if config != nil {
		body["config"] = config
	}
	written, err := e.client.write(ctx, http.MethodPatch, m.Plugin, body)
	if !badRequest(err) {
		return written, err
	}
	e.log.Warn("the step's configuration does not merge with what other steps have set, so it replaces it", "action", a.ID, "plugin", m.Plugin, "error", err)
	m.Alone = true
	if err := save(m); err != nil {
		return nil, err
	}
	if whole, err = e.composed(a.Spec.Plugin, m, all); err != nil {
		return nil, err
	}
	return e.client.write(ctx, http.MethodPut, m.Plugin, whole)
}

// composed returns the body of the plugin with these layers on it, the lowest first.
func (e *Executor) composed(step *gatewarden.PluginStep, m *pluginMemo, layers []pluginLayer) (object, error) {
	body := m.Scope.references()
	body["name"] = step.Name
	var config object
	if !m.own() {
		before, err := parseObject(m.Before)
		if err != nil {
			return nil, err
		}
		body = timeless(before)
		if before["enabled"] != false { // what was switched off stays so
			config, _ = before["config"].(object)
		}
	}
	tags, _ := body["tags"].([]any)
	tags = append(slices.Clone(tags), e.marks()...)
	set, made := object{}, false
	for _, l := range layers {
		own, err := l.memo.settings(l.action.Spec.Plugin)
		if err != nil {
			return nil, err
		}
		if l.memo.Alone {
			config = nil
		}
		config, set = over(config, own), over(set, own)
		tags = append(tags, actionTag+l.action.ID)
		made = made || m.Plugin == pluginID(l.action.ID)
	}
	if m.own() && !made && m.Maker != "" {
		tags = append(tags, makerTag+m.Maker)
	}
	for key := range config {
		// Kong shows some nested fields a second time under a flat name: what follows
		// from a field that is set anew must not contradict it.
		if _, isSet := set[key]; !isSet && follows(key, set) {
			delete(config, key)
		}
	}
	if m.own() {
		tags = withSent(tags, config)
	}
	body["tags"], body["enabled"] = tags, true
	if len(config) > 0 {
		body["config"] = config
	}
	return body, nil
}

// over returns a with b merged into it, as Kong merges a PATCH: records field by field,
// everything else as a whole.
func over(a, b object) object {
	out := maps.Clone(a)
	if out == nil {
		out = object{}
	}
	for key, value := range b {
		inner, isRecord := value.(object)
		if was, wasRecord := out[key].(object); isRecord && wasRecord {
			value = over(was, inner)
		}
		out[key] = value
	}
	return out
}

// takeOff takes the step from a plugin on which others lie, too, and writes what the rest
// comes to.
func (e *Executor) takeOff(ctx context.Context, a gatewarden.Action, m *pluginMemo, current object, laid []pluginLayer) (gatewarden.Outcome, error) {
	what := fmt.Sprintf("plugin %s %s", a.Spec.Plugin.Name, where(a.Spec.Plugin))
	var ids []string
	for _, l := range laid {
		ids = append(ids, l.action.ID)
	}
	rest := "what " + strings.Join(ids, " and ") + " has set"
	if m.Plugin == pluginID(a.ID) {
		made := *m
		made.Maker, m = a.ID, &made
	}
	whole, err := e.composed(a.Spec.Plugin, m, laid)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if !slices.Contains(actionsOf(current), a.ID) {
		out := reverted("nothing of it is there; "+rest+" stays", what+": "+rest)
		if ours, err := e.tookOff(a, m, current, whole); err != nil || !ours {
			return out, err
		}
		out.Memo, err = e.noted(m, current)
		return out, err
	}
	changed, err := e.touched(a, m, current)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if len(changed) > 0 {
		undo, err := e.putByHand(a, m, whole)
		return left("somebody else changed the plugin since", what, changed, undo), err
	}
	now, err := e.client.write(ctx, http.MethodPut, m.Plugin, whole)
	if badRequest(err) {
		// The rest alone is nothing that Kong takes: it stays as it is, without the mark.
		e.log.Warn("what other steps have set is not valid by itself, so what this one had set stays until they are undone", "action", a.ID, "plugin", m.Plugin, "error", err)
		now, err = e.client.write(ctx, http.MethodPatch, m.Plugin, object{"tags": whole["tags"]})
	}
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	out := reverted("it is taken away; "+rest+" stays", what+": "+rest)
	out.Memo, err = e.noted(m, now)
	return out, err
}

// tookOff reports whether the plugin, which has no mark of the step any more, is as the guard
// writes it when it takes the step off: it did so, and did not hear of it.
func (e *Executor) tookOff(a gatewarden.Action, m *pluginMemo, current, whole object) (bool, error) {
	last := e.latest(m)
	if len(last.Written) == 0 {
		return false, nil
	}
	written, err := parseObject(last.Written)
	if err != nil {
		return false, err
	}
	set, err := e.setByAll(a, m)
	if err != nil || len(touchedAround(written, current, set)) > 0 {
		return false, err
	}
	asWritten := same(written["config"], current["config"]) && same(whole["tags"], current["tags"]) // the rest alone was nothing that Kong takes
	body, err := plain(whole)
	return asWritten || len(includes("", body, current)) == 0, err
}

// setByAll returns what the step and those beside it set, one over the other. What one sets to
// null has the value that another sets, or that it had before all of them.
func (e *Executor) setByAll(a gatewarden.Action, m *pluginMemo) (set object, err error) {
	ground, err := m.ground()
	if err != nil {
		return nil, err
	}
	nulls := object{}
	for _, l := range append(e.beside(m), pluginLayer{a, m}) {
		own, err := l.memo.settings(l.action.Spec.Plugin)
		if err != nil {
			return nil, err
		}
		for key, value := range own {
			if value == nil {
				nulls[key] = ground[key]
				delete(own, key)
			}
		}
		set = over(set, own)
	}
	return over(nulls, set), nil
}

// noted returns the memo of a step that ended with what Kong shows now, for those that stay.
func (e *Executor) noted(m *pluginMemo, now object) (_ json.RawMessage, err error) {
	after := *m
	after.Seq = e.nextSeq(m)
	if after.Written, err = encode(now, nil); err != nil {
		return nil, err
	}
	return encode(after, nil)
}

// nextSeq returns the number of the next write of a plugin.
func (e *Executor) nextSeq(m *pluginMemo) int {
	last := m.Seq
	for _, l := range e.pluginLayers(m.Plugin) {
		last = max(last, l.memo.Seq)
	}
	return last + 1
}

// latest returns the memo with what was written last to the plugin, be it by another step.
func (e *Executor) latest(m *pluginMemo) *pluginMemo {
	last := *m
	for _, l := range e.beside(m) {
		if l.memo.Seq > last.Seq && len(l.memo.Written) > 0 {
			last.Seq, last.Written = l.memo.Seq, l.memo.Written
		}
	}
	return &last
}

// touched lists what somebody else has changed of a plugin with several layers. While one
// of these is on its way, what it may have written is not held against anybody.
func (e *Executor) touched(a gatewarden.Action, m *pluginMemo, current object) ([]string, error) {
	last := e.latest(m)
	if len(last.Written) == 0 {
		return nil, nil
	}
	written, err := parseObject(last.Written)
	if err != nil {
		return nil, err
	}
	changed := differences("", lasting(written), lasting(current))
	if len(changed) == 0 || len(m.Written) > 0 && a.Limit == nil && !e.unsettled(m) {
		return changed, nil
	}
	set, err := e.setByAll(a, m)
	return touchedAround(written, current, set), err
}

// touchedAround lists what somebody else has changed of a plugin of which the guard may have
// written the fields that are set, and the marks, since.
func touchedAround(written, current, set object) []string {
	out := touchedBeside(written, current, set)
	out = append(out, differences("enabled", written["enabled"], current["enabled"])...)
	return append(out, differences("tags", unmarked(written), unmarked(current))...)
}

// unmarked returns the tags of a plugin that are not the guard's.
func unmarked(plugin object) []any {
	tags, _ := plugin["tags"].([]any)
	return slices.DeleteFunc(slices.Clone(tags), func(t any) bool {
		s, _ := t.(string)
		return s == tag || strings.HasPrefix(s, actionTag) || strings.HasPrefix(s, makerTag) || strings.HasPrefix(s, guardTag) || isSent(t)
	})
}

// changed lists how a plugin on which nothing else lies differs from what the guard wrote.
func (e *Executor) changed(a gatewarden.Action, m *pluginMemo, current object) ([]string, error) {
	changed, err := changedSince(a, m, current)
	if err != nil || len(changed) == 0 || len(m.Written) == 0 || !e.unsettled(m) {
		return changed, err
	}
	written, err := parseObject(m.Written)
	if err != nil {
		return nil, err
	}
	set, err := e.setByAll(a, m)
	return touchedAround(written, current, set), err
}

// unsettled reports whether the plugin may have been written without that being noted: by a
// step beside the one of m that is on its way, or by one whose limit moves.
func (e *Executor) unsettled(m *pluginMemo) bool {
	return slices.ContainsFunc(e.beside(m), func(l pluginLayer) bool {
		return l.action.Status == gatewarden.ActionStarted || l.action.Status == gatewarden.ActionReverting || l.action.Limit != nil
	})
}

// putByHand returns the command that writes a plugin whole; where that would show a secret,
// the guard's own.
func (e *Executor) putByHand(a gatewarden.Action, m *pluginMemo, body object) (string, error) {
	if holdsSecret(body) {
		return "gatewarden actions revert " + a.ID, nil
	}
	raw, err := encode(body, nil)
	return e.client.curl(http.MethodPut, "/plugins/"+m.Plugin, raw), err
}
