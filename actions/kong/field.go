package kong

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gatewarden/gatewarden"
)

// A divert and a service step change one field of one entity: which service a route
// leads to, and whether a service is served at all. Several such steps on one field lie on
// top of one another, as weights do: the last one decides, and each can be taken back.

// fieldMemo is what must be known to take such a step back.
type fieldMemo struct {
	Path   string          `json:"path"` // of the entity, by its id
	What   string          `json:"what"` // the entity, for people
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before"`
	Wanted json.RawMessage `json:"wanted"`
	Change string          `json:"change"`       // from what to what, for people
	On     []string        `json:"on,omitempty"` // the actions that were seen to have changed it
}

// prepareField looks up what the step names. Errors: NotFound for what does not exist.
func (e *Executor) prepareField(ctx context.Context, a gatewarden.Action) (*fieldMemo, error) {
	look := e.lookService
	if a.Spec.Kind == gatewarden.StepDivert {
		look = e.lookRoute
	}
	m, err := look(ctx, &a.Spec)
	if err == nil {
		m.On = e.fieldsOf(m).seenIn(map[string]string{m.place(): normal(m.Before)})
	}
	return m, err
}

// fieldLayer is an action as a layer on the field of m.
func fieldLayer(a *gatewarden.Action, m *fieldMemo) layer[string] {
	l := bare[string](a)
	l.places[m.place()] = slice[string]{m.What, normal(m.Before), normal(m.Wanted)}
	return l
}

// place names the field among all others.
func (m *fieldMemo) place() string { return m.Path + " " + m.Field }

// fieldsOf returns the other changes of the same field.
func (e *Executor) fieldsOf(m *fieldMemo) layers[string] {
	var all layers[string]
	for i := range e.others {
		other := &fieldMemo{}
		if found, err := decode(e.others[i], other); err == nil && found && other.place() == m.place() {
			all = append(all, fieldLayer(&e.others[i], other))
		}
	}
	return all
}

func (e *Executor) lookRoute(ctx context.Context, s *gatewarden.Step) (*fieldMemo, error) {
	route, err := e.client.named(ctx, "route", "routes", "name", s.Divert.Route)
	if err != nil {
		return nil, err
	}
	to, err := e.client.named(ctx, "service", "services", "name", s.Divert.To)
	if err != nil {
		return nil, err
	}
	was := "none"
	if id := refIn(route, "service"); id != "" {
		was = id
		if o, err := e.client.get(ctx, "/services/"+id); err == nil && o != nil {
			if service, err := parseObject(o); err == nil && stringIn(service, "name") != "" {
				was = stringIn(service, "name")
			}
		}
	}
	return newFieldMemo("routes", "the service of route "+s.Divert.Route, "service", route, object{"id": stringIn(to, "id")}, was+" → "+s.Divert.To)
}

func (e *Executor) lookService(ctx context.Context, s *gatewarden.Step) (*fieldMemo, error) {
	service, err := e.client.named(ctx, "service", "services", "name", s.Service.Name)
	if err != nil {
		return nil, err
	}
	word := map[bool]string{true: "enabled", false: "disabled"}
	was, _ := service["enabled"].(bool)
	return newFieldMemo("services", "service "+s.Service.Name, "enabled", service, s.Service.Enabled, word[was]+" → "+word[s.Service.Enabled])
}

func newFieldMemo(table, what, field string, entity object, wanted any, change string) (*fieldMemo, error) {
	before, err := encode(entity[field], nil)
	if err != nil {
		return nil, err
	}
	raw, err := encode(wanted, nil)
	if err != nil {
		return nil, err
	}
	return &fieldMemo{Path: "/" + table + "/" + stringIn(entity, "id"), What: what, Field: field, Before: before, Wanted: raw, Change: what + ": " + change}, nil
}

// field returns what the entity's field holds; found is false when the entity is gone.
func (e *Executor) field(ctx context.Context, m *fieldMemo) (value json.RawMessage, found bool, err error) {
	raw, err := e.client.get(ctx, m.Path)
	if err != nil || raw == nil {
		return nil, false, err
	}
	o, err := parseObject(raw)
	if err != nil {
		return nil, false, err
	}
	value, err = encode(o[m.Field], nil)
	return value, true, err
}

// normal writes a value as it can be compared with others.
func normal(raw json.RawMessage) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return string(raw)
	}
	return compact(v)
}

// setField sets the field and reads it back.
func (e *Executor) setField(ctx context.Context, m *fieldMemo, value json.RawMessage) error {
	if _, err := e.client.do(ctx, http.MethodPatch, m.Path, nil, map[string]json.RawMessage{m.Field: value}); err != nil {
		return err
	}
	now, found, err := e.field(ctx, m)
	switch {
	case err != nil:
		return err
	case !found:
		return gatewarden.Errorf(gatewarden.Conflict, "%s was gone right after it was written", m.What)
	case normal(now) != normal(value):
		return gatewarden.Errorf(gatewarden.Conflict, "%s is not as it was written: %s, not %s", m.What, now, value).WithHint("does something else write the same?")
	}
	return nil
}

// undoField is the command that sets the field by hand.
func (e *Executor) undoField(m *fieldMemo, value string) string {
	return e.client.curl(http.MethodPatch, m.Path, fmt.Appendf(nil, `{"%s":%s}`, m.Field, value))
}

func (e *Executor) applyField(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	m, err := memoOf(ctx, a, save, e.prepareField)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	now, there, err := e.field(ctx, m)
	switch {
	case err != nil:
		return gatewarden.Outcome{}, err
	case !there:
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.NotFound, "%s is gone", m.What)
	}
	all, self := e.fieldsOf(m), fieldLayer(&a, m)
	out := gatewarden.Outcome{
		Status: gatewarden.ActionApplied, Change: m.Change, Undo: e.undoField(m, all.beneath(&self, m.place())),
		Reason: m.What + " is changed; Kong's workers take it up within seconds",
	}
	switch above := all.holderNow(&self, m.place(), normal(now)); {
	case above != nil:
		out.Change = fmt.Sprintf("%s: %s, set by %s", m.What, now, above.action.ID)
		out.Reason = fmt.Sprintf("%s is held by %s, and gets what this step wants when that is undone", m.What, above.action.ID)
		out.Undo = "gatewarden actions revert " + a.ID
		if found := all.foundBy(above, &self, m.place()); found != normal(m.Wanted) && found != normal(m.Before) {
			m.Before = json.RawMessage(found) // changed after Prepare, and before that one was laid
			return out, saveMemo(m, save)
		}
		return out, nil
	case normal(now) == normal(m.Wanted) && !all.cameBetween(&self, m.place(), m.On, normal(now)):
		return out, nil
	case normal(now) != normal(m.Before): // changed since Prepare: that is what comes back
		if m, err = e.prepareField(ctx, a); err != nil {
			return gatewarden.Outcome{}, err
		}
		if err := saveMemo(m, save); err != nil {
			return gatewarden.Outcome{}, err
		}
		out.Change, out.Undo = m.Change, e.undoField(m, normal(m.Before))
	}
	return out, e.setField(ctx, m, m.Wanted)
}

// revertField puts back what is beneath the step, unless a later step or somebody else has
// changed it.
func (e *Executor) revertField(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	m := &fieldMemo{}
	found, err := decode(a, m)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	if !found {
		return reverted("nothing had been changed", ""), nil // nothing is written without a memo
	}
	now, there, err := e.field(ctx, m)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	all, self := e.fieldsOf(m), fieldLayer(&a, m)
	under, value := all.beneath(&self, m.place()), normal(now)
	foreign := []string{fmt.Sprintf("%s: %s → %s", m.Field, m.Wanted, now)}
	switch above := all.holder(&self, m.place()); {
	case !there:
		return left("somebody else deleted it since", m.What, nil, ""), nil
	case above != nil && all.buried(&self, above, m.place()):
		return left("somebody else changed "+m.What+" before "+above.action.ID+" did", m.What, nil, ""), nil
	case above != nil:
		return reverted(fmt.Sprintf("%s is held by %s; it gets %s when that is undone", m.What, above.action.ID, under), m.What+": as set by "+above.action.ID), nil
	case value == under:
		return reverted(m.What+" is as it was before", m.What+": as before"), nil
	case value != normal(m.Wanted) && !all.wasUnder(&self, m.place(), value):
		return left("somebody else changed "+m.What+" since", m.What, foreign, e.undoField(m, under)), nil
	}
	if err := e.setField(ctx, m, json.RawMessage(under)); err != nil {
		return gatewarden.Outcome{}, err
	}
	return reverted(m.What+" is as it was before", m.What+": as before"), nil
}
