package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// Check says how a gateway differs from what it was before plus what the actions that are
// in place do. Entities at the paths of except are not looked at, nor what its actions have put.
func (g *Gateway) Check(before, now Snapshot, inPlace []gatewarden.Action, except map[string]bool) []string {
	want := Snapshot{}
	for path, e := range before {
		want[path] = clone(e)
	}
	var problems []string
	for i := range inPlace {
		if err := g.carry(want, now, &inPlace[i]); err != nil && !except[inPlace[i].ID] {
			problems = append(problems, fmt.Sprintf("%s is in place, but %v", inPlace[i].ID, err))
		}
	}
	paths := maps.Clone(want)
	maps.Copy(paths, now)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if !except[path] {
			problems = append(problems, differences(path, want[path], now[path])...)
		}
	}
	return problems
}

// carry changes a snapshot as an action changes the gateway.
func (g *Gateway) carry(want, now Snapshot, a *gatewarden.Action) error {
	s := &a.Spec
	switch {
	case s.Share != nil:
		return g.carryShare(want, a)
	case s.Weight != nil:
		weight := float64(s.Weight.Weight)
		if s.Kind == gatewarden.StepDrain {
			weight = 0
		}
		for path, e := range want {
			if strings.HasPrefix(path, g.targetsPath()) && slices.Contains(tagsOf(e), s.Weight.TargetTag) {
				e["weight"] = weight
			}
		}
	case s.Divert != nil:
		return set(want, "/routes/", s.Divert.Route, "service", map[string]any{"id": idOf(want, "/services/", s.Divert.To)})
	case s.Service != nil:
		return set(want, "/services/", s.Service.Name, "enabled", s.Service.Enabled)
	case s.Plugin != nil:
		return carryPlugin(want, now, a)
	case s.Adaptive != nil && a.Limit != nil:
		return carryLimit(want, now, a)
	}
	return nil
}

// carryShare carries a move of a canary. What it gives each target is in its memo: which weights
// come to a share is the guard's own affair, and for its own tests.
func (g *Gateway) carryShare(want Snapshot, a *gatewarden.Action) error {
	var memo struct {
		Targets []struct {
			ID  string
			Set float64
		}
	}
	if err := json.Unmarshal(a.Memo, &memo); err != nil {
		return fmt.Errorf("its memo is not readable: %w", err)
	}
	for _, t := range memo.Targets {
		if e := want[g.targetsPath()+"/"+t.ID]; e != nil {
			e["weight"] = t.Set
		}
	}
	return nil
}

// carryLimit carries the plugin of an adaptive step. Its limit is the one that the journal
// has, or, while the call is on its way, the one before.
func carryLimit(want, now Snapshot, a *gatewarden.Action) error {
	var err error
	for _, limit := range []int{a.Limit.Value, a.Limit.Before} {
		plugin, as := *a.Spec.Puts(), *a
		plugin.Config = map[string]any{"policy": "local", "limit_by": "service", "second": float64(a.Spec.Adaptive.PerNode(limit))}
		as.Spec = gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &plugin}
		if err = carryPlugin(want, now, &as); err == nil {
			return nil
		}
	}
	return err
}

// carryPlugin changes the user's plugin of that name and scope, or, where there is none,
// looks for the guard's own and takes it for wanted when it is as the action says.
func carryPlugin(want, now Snapshot, a *gatewarden.Action) error {
	p := a.Spec.Plugin
	scope := map[string]string{
		"service": idOf(want, "/services/", p.Service), "route": idOf(want, "/routes/", p.Route), "consumer": "",
	}
	inScope := func(e Entity) bool {
		for field, id := range scope {
			if ref, _ := e[field].(map[string]any); id == "" && ref != nil || id != "" && (ref == nil || ref["id"] != id) {
				return false
			}
		}
		return e["name"] == p.Name
	}
	for path, e := range want {
		if strings.HasPrefix(path, "/plugins/") && inScope(e) {
			config, _ := e["config"].(map[string]any)
			merge(config, inPlaceOf(p))
			tags, _ := e["tags"].([]any)
			e["enabled"], e["tags"] = true, append(append(slices.Clone(tags), "gatewarden"), append(guardMarks(now[path]), actionTag+a.ID)...)
			return nil
		}
	}
	for path, e := range now {
		if actionOf(e) != a.ID {
			continue
		}
		config, _ := e["config"].(map[string]any)
		wanted := clone(config)
		merge(wanted, p.Config)
		if !inScope(e) || e["enabled"] != true || !reflect.DeepEqual(map[string]any(wanted), config) {
			return fmt.Errorf("its plugin is not as the step says: %v", e)
		}
		want[path] = clone(e)
		return nil
	}
	return fmt.Errorf("its plugin is not there")
}

// inPlaceOf returns what a step sets on the user's plugin: a limit that says whom it counts
// together takes the place of all limits that are there; docs/kong.md says so.
func inPlaceOf(p *gatewarden.PluginStep) map[string]any {
	set := map[string]any{}
	if p.Name == "rate-limiting" && (p.Config["limit_by"] != nil || p.Config["policy"] != nil) {
		for _, window := range []string{"second", "minute", "hour", "day", "month", "year"} {
			set[window] = nil
		}
	}
	maps.Copy(set, p.Config)
	return set
}

// guardMarks returns the tag with the name of the guards' state, which only they know.
func guardMarks(e Entity) (marks []any) {
	for _, t := range tagsOf(e) {
		if strings.HasPrefix(t, "gatewarden-guard:") {
			marks = append(marks, t)
		}
	}
	return marks
}

// merge lays one configuration over another, as Kong does with a PATCH.
func merge(config, over map[string]any) {
	for key, value := range over {
		inner, both := config[key].(map[string]any)
		if o, ok := value.(map[string]any); ok && both {
			merge(inner, o)
		} else {
			config[key] = value
		}
	}
}

// set sets a field of a named entity.
func set(s Snapshot, table, name, field string, value any) error {
	for path, e := range s {
		if strings.HasPrefix(path, table) && e["name"] == name {
			e[field] = value
			return nil
		}
	}
	return fmt.Errorf("there is nothing called %s at %s", name, table)
}

// idOf returns the id of a named entity, "" for no name.
func idOf(s Snapshot, table, name string) string {
	for _, e := range s {
		if name != "" && e["name"] == name {
			if id, _ := e["id"].(string); s[table+id] != nil {
				return id
			}
		}
	}
	return ""
}

func clone(e Entity) Entity {
	c := make(Entity, len(e))
	for k, v := range e {
		if inner, ok := v.(map[string]any); ok {
			v = map[string]any(clone(inner))
		}
		c[k] = v
	}
	return c
}

// differences compares two entities in all but the time of the last change.
func differences(path string, want, got Entity) (out []string) {
	switch {
	case want == nil:
		return []string{fmt.Sprintf("%s is there, and should not be: %s %v", path, got["name"], got["tags"])}
	case got == nil:
		return []string{fmt.Sprintf("%s is gone: %s %v", path, want["name"], want["tags"])}
	}
	fields := maps.Clone(want)
	maps.Copy(fields, got)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if field != "updated_at" && !reflect.DeepEqual(want[field], got[field]) {
			out = append(out, fmt.Sprintf("%s (%v): %s is %v, want %v", path, want["name"], field, got[field], want[field]))
		}
	}
	return out
}
