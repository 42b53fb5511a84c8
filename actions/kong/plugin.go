package kong

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	gokong "github.com/kong/go-kong/kong"

	"github.com/gatewarden/gatewarden"
)

// Tags of every plugin that is in place for an action.
const (
	tag       = "gatewarden"
	actionTag = "gatewarden-action:"
	guardTag  = "gatewarden-guard:"   // whose actions these are
	makerTag  = "gatewarden-made-by:" // of a plugin that the guard made for an action which is gone, while others lie on it
)

// namespace is the UUID of the ids that are made from actions' ids, drawn once.
var namespace = [16]byte{0x5b, 0x0e, 0x1d, 0x6a, 0x2f, 0x0c, 0x4e, 0x0d, 0x9a, 0x39, 0x67, 0x1b, 0x5e, 0x8c, 0x77, 0x21}

// pluginID returns the id of the plugin that an action puts: a UUID of version 5
// (RFC 9562, 5.5) of the action's id.
func pluginID(action string) string {
	sum := sha1.Sum(append(namespace[:], action...))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// pluginMemo is what must be known to take a plugin step back.
type pluginMemo struct {
	Plugin  string          `json:"plugin"` // its id: made from the action's, or the user's
	Scope   scope           `json:"scope"`
	Before  json.RawMessage `json:"before,omitempty"`  // the user's plugin; none when the guard made its own
	Alone   bool            `json:"alone,omitempty"`   // the step's configuration replaced the user's, because the two do not merge
	Written json.RawMessage `json:"written,omitempty"` // as Kong showed it once the step was done
	Seq     int             `json:"seq,omitempty"`     // which write of the plugin Written is of, among all its layers
	Ground  int             `json:"ground,omitempty"`  // how often somebody else had changed the plugin under layers before
	Maker   string          `json:"maker,omitempty"`   // the action whose plugin it is, when that is another one
}

func (m *pluginMemo) own() bool { return len(m.Before) == 0 }

// windows are the settings of rate-limiting that say how many requests are let through.
var windows = []string{"second", "minute", "hour", "day", "month", "year"}

// settings returns what a step sets on the plugin of the memo, nil when it sets nothing. It is
// more than its configuration in two ways. A limit that says whom it counts together takes the
// place of all limits that are there: Kong would count those of one client, too, for all clients
// together, and refuse far more than anybody has asked for. One that does not say so is counted
// as the user's are, and takes the place of those that Kong has not beside it. And a plugin of
// the user's that refuses with a status of its own refuses with the step's meanwhile, by which
// the guard knows its own refusals.
func (m *pluginMemo) settings(step *gatewarden.PluginStep) (object, error) {
	raw, err := plain(step.Config)
	if err != nil {
		return nil, err
	}
	config, _ := raw.(object)
	limits := func(key string) bool { return config[key] != nil }
	ground, err := m.ground()
	if err != nil {
		return nil, err
	}
	if step.Name == "rate-limiting" && slices.ContainsFunc(windows, limits) {
		counts := limits("limit_by") || limits("policy")
		for i, key := range windows {
			if _, set := config[key]; !set && (counts || clashes(i, ground, config)) {
				config[key] = nil
			}
		}
	}
	key, status := step.StatusKey()
	if own := json.Number(strconv.Itoa(status)); ground[key] != nil && !equalValues(ground[key], own) && config[key] == nil {
		config = over(config, object{key: own})
	}
	return config, nil
}

// clashes reports whether Kong refuses the limit of a window that is there, beside one that a
// step sets: a longer window must not have a lower limit (validate_periods_order in the plugin's
// schema, Kong 3.9.1).
func clashes(window int, there, set object) bool {
	n, ok := number(there[windows[window]])
	if !ok {
		return false
	}
	for i, key := range windows {
		if m, isSet := number(set[key]); isSet && (i < window && n < m || i > window && n > m) {
			return true
		}
	}
	return false
}

func number(v any) (float64, bool) {
	n, _ := v.(json.Number)
	f, err := n.Float64()
	return f, err == nil
}

// ground returns the configuration of the user's plugin, nil when there is none.
func (m *pluginMemo) ground() (object, error) {
	if m.own() {
		return nil, nil
	}
	before, err := parseObject(m.Before)
	if err != nil {
		return nil, err
	}
	config, _ := before["config"].(object)
	return config, nil
}

// preparePlugin finds out what is in the scope. Errors: NotFound for a scope that
// does not exist, Conflict when another action's plugin is there.
func (e *Executor) preparePlugin(ctx context.Context, a gatewarden.Action) (*pluginMemo, error) {
	step := a.Spec.Plugin
	s, err := e.client.resolve(ctx, step)
	if err != nil {
		return nil, err
	}
	found, err := e.client.pluginIn(ctx, step.Name, s)
	if err != nil {
		return nil, err
	}
	m := &pluginMemo{Plugin: pluginID(a.ID), Scope: s}
	if found == nil || stringIn(found, "id") == m.Plugin {
		return m, nil
	}
	m.Plugin = stringIn(found, "id")
	if len(actionsOf(found)) > 0 {
		return e.prepareOn(a, m, found)
	}
	m.Before, err = encode(found, nil)
	return m, err
}

// where says the step's scope in words.
func where(p *gatewarden.PluginStep) string {
	var parts []string
	for _, part := range [][2]string{{"service", p.Service}, {"route", p.Route}, {"consumer", p.Consumer}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+part[1])
		}
	}
	if parts == nil {
		return "on the whole gateway"
	}
	return "on " + strings.Join(parts, ", ")
}

// rounds is how often Apply starts over when somebody else changes the scope
// between its look and its write.
const rounds = 3

func (e *Executor) applyPlugin(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	m := &pluginMemo{}
	found, err := decode(a, m)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	for range rounds {
		if !found {
			if m, err = e.preparePlugin(ctx, a); err != nil {
				return gatewarden.Outcome{}, err
			}
			if err := saveMemo(m, save); err != nil {
				return gatewarden.Outcome{}, err
			}
		}
		written, again, err := e.putPlugin(ctx, a, m, save)
		if err != nil {
			return gatewarden.Outcome{}, err
		}
		if again {
			found = false
			continue
		}
		m.Seq = e.nextSeq(m)
		if m.Written, err = encode(written, nil); err != nil {
			return gatewarden.Outcome{}, err
		}
		if err := saveMemo(m, save); err != nil {
			return gatewarden.Outcome{}, err
		}
		return e.pluginOutcome(a, m)
	}
	return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Conflict, "plugin %s %s kept being changed by somebody else", a.Spec.Plugin.Name, where(a.Spec.Plugin))
}

// putPlugin writes the plugin unless it is in place already, and verifies it. It
// asks to start over when what the memo says is not what is there.
func (e *Executor) putPlugin(ctx context.Context, a gatewarden.Action, m *pluginMemo, save func(json.RawMessage) error) (written object, again bool, err error) {
	config, err := m.settings(a.Spec.Plugin)
	if err != nil {
		return nil, false, err
	}
	current, err := e.client.plugin(ctx, m.Plugin)
	if err != nil {
		return nil, false, err
	}
	marked := slices.Contains(actionsOf(current), a.ID)
	laid := e.laidBeside(m, current)
	_, buried := e.buries(m, current)
	switch {
	case current != nil && len(missing(a, m, config, current)) == 0, marked && (buried || len(laid) > 0):
		return current, false, nil
	case buried, len(laid) > 0 && strangerOn(current, laid) != "", len(laid) == 0 && !marked && m.own() && m.Plugin != pluginID(a.ID):
		return nil, true, nil // not as it was when the memo was made
	case len(laid) > 0:
		if pluginLayer.compare(laid[len(laid)-1], pluginLayer{a, m}) > 0 {
			config = nil // a later layer may have set the same
		}
		written, err = e.layOn(ctx, a, m, laid, current, config, func(m *pluginMemo) error { return saveMemo(m, save) })
	case m.own():
		written, err = e.client.write(ctx, http.MethodPut, m.Plugin, e.ownBody(a, m.Scope, config))
		if gatewarden.ErrorCode(err) == gatewarden.Conflict && written == nil {
			again, lookErr := e.occupied(ctx, a, m)
			if lookErr != nil || again {
				return nil, again, lookErr
			}
		}
	default:
		before, parseErr := parseObject(m.Before)
		if parseErr != nil {
			return nil, false, parseErr
		}
		if current == nil || !marked && !same(timeless(before), timeless(current)) {
			return nil, true, nil
		}
		written, err = e.patchPlugin(ctx, a, m, before, config, save)
	}
	if err != nil {
		return nil, false, err
	}
	if wrong := missing(a, m, config, written); len(wrong) > 0 {
		return nil, false, gatewarden.Errorf(gatewarden.Conflict, "plugin %s %s is not as it was written: %s", a.Spec.Plugin.Name, where(a.Spec.Plugin), strings.Join(wrong, "; ")).WithHint("does something else write the same plugin?")
	}
	return written, false, nil
}

// occupied reports whether a plugin of somebody else is in the scope by now.
func (e *Executor) occupied(ctx context.Context, a gatewarden.Action, m *pluginMemo) (bool, error) {
	found, err := e.client.pluginIn(ctx, a.Spec.Plugin.Name, m.Scope)
	return found != nil && stringIn(found, "id") != m.Plugin, err
}

// timeless drops what every write changes.
func timeless(plugin object) object { return without(plugin, "updated_at") }

// missing lists what the action wants and the plugin has not.
func missing(a gatewarden.Action, m *pluginMemo, config, plugin object) []string {
	wanted := object{"name": a.Spec.Plugin.Name, "enabled": true}
	if config != nil {
		wanted["config"] = config
	}
	out := includes("", wanted, plugin)
	if !m.Scope.covers(plugin) {
		out = append(out, "the scope: not "+where(a.Spec.Plugin))
	}
	if !slices.Contains(actionsOf(plugin), a.ID) {
		out = append(out, "tags: no "+actionTag+a.ID)
	}
	return out
}

func (e *Executor) ownBody(a gatewarden.Action, s scope, config object) object {
	body := s.references()
	body["name"], body["enabled"], body["tags"] = a.Spec.Plugin.Name, true, withSent(append(e.marks(), actionTag+a.ID), config)
	if config != nil {
		body["config"] = config
	}
	return body
}

// patchPlugin changes the user's plugin. Kong merges the configuration; where the
// two cannot be together, such as a message beside a body, ours stands alone, and so it does
// on a plugin that is switched off: its settings must not come into force with it.
func (e *Executor) patchPlugin(ctx context.Context, a gatewarden.Action, m *pluginMemo, before, config object, save func(json.RawMessage) error) (object, error) {
	id := stringIn(before, "id")
	body := object{"enabled": true, "tags": e.tagged(before, a.ID)}
	if config != nil {
		body["config"] = config
	}
	var refused error
	if before["enabled"] != false {
		written, err := e.client.write(ctx, http.MethodPatch, id, body)
		if !badRequest(err) {
			return written, err
		}
		e.log.Warn("the step's configuration does not merge with the plugin's own, so it replaces it", "action", a.ID, "plugin", id, "error", err)
		refused = err
	}
	m.Alone = true
	if err := saveMemo(m, save); err != nil {
		return nil, err
	}
	whole := without(before, "updated_at", "config")
	maps.Copy(whole, body)
	written, err := e.client.write(ctx, http.MethodPut, id, whole)
	if refused != nil && badRequest(err) {
		return nil, refused // the merge's error is the one that tells about the rules file
	}
	return written, err
}

// badRequest reports whether Kong found the body wrong, and not the caller.
func badRequest(err error) bool {
	refused, ok := errors.AsType[*gokong.APIError](err)
	return ok && refused.Code() == http.StatusBadRequest
}

func (e *Executor) tagged(before object, action string) []any {
	tags, _ := before["tags"].([]any)
	return append(append(slices.Clone(tags), e.marks()...), actionTag+action)
}

// marks returns the tags of whatever the guard has changed.
func (e *Executor) marks() []any {
	if e.guard == "" {
		return []any{tag}
	}
	return []any{tag, guardTag + e.guard}
}

func (e *Executor) pluginOutcome(a gatewarden.Action, m *pluginMemo) (gatewarden.Outcome, error) {
	step := a.Spec.Plugin
	out := gatewarden.Outcome{Status: gatewarden.ActionApplied}
	written, err := parseObject(m.Written)
	if err != nil {
		return out, err
	}
	what := fmt.Sprintf("plugin %s %s", step.Name, where(step))
	settings := ""
	if config, err := plain(step.Config); err == nil && len(step.Config) > 0 && !holdsSecret(config) {
		settings = " " + compact(config)
	}
	if others := e.laidBeside(m, written); len(others) > 0 {
		rest, err := e.composed(step, m, others)
		if err != nil {
			return gatewarden.Outcome{}, err
		}
		var ids []string
		for _, l := range others {
			ids = append(ids, l.action.ID)
		}
		out.Reason = "it lies on what " + strings.Join(ids, " and ") + " has set; Kong's workers take it up within seconds"
		out.Change = what + ": changed, on top of " + strings.Join(ids, ", ") + settings
		out.Undo, err = e.putByHand(a, m, rest)
		return out, err
	}
	if m.own() {
		out.Reason = "the plugin is in place; Kong's workers take it up within seconds"
		out.Change = what + ": added" + settings
		out.Undo = e.client.curl(http.MethodDelete, "/plugins/"+m.Plugin, nil)
		return out, nil
	}
	before, err := parseObject(m.Before)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	out.Undo, err = e.putByHand(a, m, timeless(before))
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	out.Reason = "the plugin that was there is changed; Kong's workers take it up within seconds"
	out.Change = what + ": " + strings.Join(differences("", without(before, "updated_at", "tags"), without(written, "updated_at", "tags")), "; ")
	return out, nil
}

func (e *Executor) revertPlugin(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	m := &pluginMemo{}
	found, err := decode(a, m)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if !found {
		m.Plugin = pluginID(a.ID) // nothing was written without a memo, but looking is cheap
	}
	current, err := e.client.plugin(ctx, m.Plugin)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if above, buried := e.buries(m, current); buried {
		return left("somebody else changed the plugin before "+above.action.ID+" did", "plugin "+a.Spec.Plugin.Name+" "+where(a.Spec.Plugin), nil, ""), nil
	}
	if laid := e.laidBeside(m, current); len(laid) > 0 {
		return e.takeOff(ctx, a, m, current, laid)
	}
	m = e.latest(m)
	if m.own() {
		return e.removeOwn(ctx, a, m, current)
	}
	return e.giveBack(ctx, a, m, current)
}

// removeOwn deletes the plugin that the action put, unless somebody made it theirs.
func (e *Executor) removeOwn(ctx context.Context, a gatewarden.Action, m *pluginMemo, current object) (gatewarden.Outcome, error) {
	what := fmt.Sprintf("plugin %s %s", a.Spec.Plugin.Name, where(a.Spec.Plugin))
	if current == nil {
		return reverted("the plugin was not there any more, so there was nothing to undo", what+": gone"), nil
	}
	changed, err := e.changed(a, m, current)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	undo := e.client.curl(http.MethodDelete, "/plugins/"+m.Plugin, nil)
	if len(changed) > 0 {
		out := left("somebody else changed the plugin since", what, changed, undo)
		out.Reason += "; " + keepOrRemove(a.ID, undo)
		return out, nil
	}
	if _, err := e.client.do(ctx, http.MethodDelete, "/plugins/"+m.Plugin, nil, nil); err != nil && gatewarden.ErrorCode(err) != gatewarden.NotFound {
		return gatewarden.Outcome{}, err
	}
	still, err := e.client.plugin(ctx, m.Plugin)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if still != nil {
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Unavailable, "%s is still there after it was deleted", what)
	}
	return reverted("the plugin is removed", what+": removed"), nil
}

// giveBack puts the user's plugin back as it was, unless somebody changed it.
func (e *Executor) giveBack(ctx context.Context, a gatewarden.Action, m *pluginMemo, current object) (gatewarden.Outcome, error) {
	what := fmt.Sprintf("plugin %s %s", a.Spec.Plugin.Name, where(a.Spec.Plugin))
	before, err := parseObject(m.Before)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	body := timeless(before)
	undo, err := e.putByHand(a, m, body)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if current == nil {
		return left("somebody else deleted the plugin since", what, nil, undo), nil
	}
	if same(without(body, "created_at"), without(current, "created_at", "updated_at")) {
		return reverted("the plugin is as it was before", what+": as before"), nil
	}
	changed, err := e.changed(a, m, current)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if len(changed) > 0 {
		return left("somebody else changed the plugin since", what, changed, undo), nil
	}
	// PUT, because it leaves nothing to a merge. Kong keeps the created_at that a PUT
	// brings and makes a new one only when it is missing.
	now, err := e.client.write(ctx, http.MethodPut, m.Plugin, body)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if wrong := differences("", without(body, "created_at"), without(now, "created_at", "updated_at")); len(wrong) > 0 {
		return left("Kong did not take the plugin back as it was", what, wrong, undo), nil
	}
	return reverted("the plugin is as it was before", what+": as before"), nil
}

// changedSince lists how the plugin differs from what the action wrote. When the
// guard died before it had noted that, it compares with what the action would
// have written.
func changedSince(a gatewarden.Action, m *pluginMemo, current object) ([]string, error) {
	if len(m.Written) > 0 {
		written, err := parseObject(m.Written)
		if err != nil {
			return nil, err
		}
		return differences("", lasting(written), lasting(current)), nil
	}
	if !slices.Contains(actionsOf(current), a.ID) {
		return []string{"tags: no " + actionTag + a.ID}, nil
	}
	config, err := m.settings(a.Spec.Plugin)
	if err != nil {
		return nil, err
	}
	if m.Plugin == "" || m.Scope == (scope{}) && hasScope(a.Spec.Plugin) {
		return nil, nil // no memo at all: the mark must do
	}
	changed := missing(a, m, config, current)
	if m.own() || m.Alone {
		return changed, nil
	}
	before, err := parseObject(m.Before)
	if err != nil {
		return nil, err
	}
	return append(changed, touchedBeside(before, current, config)...), nil
}

func hasScope(p *gatewarden.PluginStep) bool {
	return p.Service != "" || p.Route != "" || p.Consumer != ""
}

// touchedBeside lists what is different from before although the step does not set
// it.
func touchedBeside(before, current, config object) []string {
	ours := []string{"config", "enabled", "tags", "updated_at", "created_at"} // a PUT of a plugin of the guard's own sets the times anew
	out := differences("", without(before, ours...), without(current, ours...))
	was, _ := before["config"].(object)
	is, _ := current["config"].(object)
	return append(out, besides("config", was, is, config)...)
}

// besides lists the differences between two records at the fields that set does
// not have, or has to be null and are not. Kong shows some nested fields a second time under a flat name
// (redis.host as redis_host): one follows the other.
func besides(path string, was, is, set object) []string {
	var out []string
	keys := maps.Clone(was)
	maps.Copy(keys, is)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		inner, isRecord := set[key].(object)
		_, isSet := set[key]
		before, _ := was[key].(object)
		now, _ := is[key].(object)
		switch {
		case isRecord && before != nil && now != nil:
			out = append(out, besides(path+"."+key, before, now, inner)...)
		case isSet && (set[key] != nil || is[key] == nil), follows(key, set):
		default:
			out = append(out, differences(path+"."+key, was[key], is[key])...)
		}
	}
	return out
}

func follows(key string, set object) bool {
	for name := range set {
		if strings.HasPrefix(key, name+"_") || strings.HasPrefix(name, key+"_") {
			return true
		}
	}
	return false
}

func reverted(reason, change string) gatewarden.Outcome {
	return gatewarden.Outcome{Status: gatewarden.ActionReverted, Reason: reason, Change: change}
}

func left(reason, what string, changed []string, undo string) gatewarden.Outcome {
	out := gatewarden.Outcome{Status: gatewarden.ActionLeft, Reason: reason + ", so it was left alone", Change: what + ": left", Undo: undo}
	if len(changed) > 0 {
		out.Details = "What differs from what the guard wrote:\n" + strings.Join(changed, "\n")
	}
	return out
}
