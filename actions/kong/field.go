package kong

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gatewarden/gatewarden"
)

// A divert and a service step change one field of one entity: which service a route
// leads to, and whether a service is served at all.

// fieldMemo is what must be known to take such a step back.
type fieldMemo struct {
	Path   string          `json:"path"` // of the entity, by its id
	What   string          `json:"what"` // the entity, for people
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before"`
	Wanted json.RawMessage `json:"wanted"`
	Change string          `json:"change"` // from what to what, for people
}

// prepareField looks up what the step names. Errors: NotFound for what does not exist,
// Conflict when another action has changed the same field.
func (e *Executor) prepareField(ctx context.Context, a gatewarden.Action) (*fieldMemo, error) {
	look := e.lookService
	if a.Spec.Kind == gatewarden.StepDivert {
		look = e.lookRoute
	}
	m, err := look(ctx, &a.Spec)
	if err != nil {
		return nil, err
	}
	for i := range e.others {
		other := &fieldMemo{}
		found, err := decode(e.others[i], other)
		if err != nil {
			return nil, err
		}
		if found && e.others[i].Status.InPlace() && other.Path == m.Path && other.Field == m.Field {
			return nil, gatewarden.Errorf(gatewarden.Conflict, "%s is held by action %s", m.What, e.others[i].ID).WithHint("it comes free when that action is reverted")
		}
	}
	return m, nil
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

// holds reports whether two values of a field are the same.
func holds(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && same(x, y)
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
	case !holds(now, value):
		return gatewarden.Errorf(gatewarden.Conflict, "%s is not as it was written: %s, not %s", m.What, now, value).WithHint("does something else write the same?")
	}
	return nil
}

// undoField is the command that puts the field back by hand.
func (e *Executor) undoField(m *fieldMemo) string {
	return e.client.curl(http.MethodPatch, m.Path, fmt.Appendf(nil, `{"%s":%s}`, m.Field, m.Before))
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
	case holds(now, m.Wanted):
	case !holds(now, m.Before):
		return left("somebody else changed "+m.What+" meanwhile", m.What, []string{fmt.Sprintf("%s: %s → %s", m.Field, m.Before, now)}, ""), nil
	default:
		if err := e.setField(ctx, m, m.Wanted); err != nil {
			return gatewarden.Outcome{}, err
		}
	}
	return gatewarden.Outcome{
		Status: gatewarden.ActionApplied, Change: m.Change, Undo: e.undoField(m),
		Reason: m.What + " is changed; Kong's workers take it up within seconds",
	}, nil
}

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
	switch {
	case err != nil:
		return gatewarden.Outcome{}, err
	case !there:
		return left("somebody else deleted it since", m.What, nil, ""), nil
	case holds(now, m.Before):
		return reverted(m.What+" is as it was before", m.What+": as before"), nil
	case !holds(now, m.Wanted):
		return left("somebody else changed "+m.What+" since", m.What, []string{fmt.Sprintf("%s: %s → %s", m.Field, m.Wanted, now)}, e.undoField(m)), nil
	}
	if err := e.setField(ctx, m, m.Before); err != nil {
		return gatewarden.Outcome{}, err
	}
	return reverted(m.What+" is as it was before", m.What+": as before"), nil
}
