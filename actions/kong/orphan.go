package kong

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

// Orphans implements actions.OrphanRemover: the plugins that carry the guard's own mark
// and an action that nobody knows. Those with the mark of another guard, or with none, are
// another's to look after, and are only told.
func (e *Executor) Orphans(ctx context.Context, known func(actionID string) bool) ([]actions.Orphan, error) {
	list, err := e.client.list(ctx, "/plugins")
	if err != nil {
		return nil, err
	}
	var orphans []actions.Orphan
	for _, raw := range list {
		o, err := parseObject(raw)
		if err != nil {
			return nil, err
		}
		ids := actionsOf(o)
		if !slices.Contains(stringsIn(o["tags"]), tag) {
			continue
		}
		if slices.ContainsFunc(ids, known) {
			continue // that one takes care of the others
		}
		action := makerOf(o)
		if action == "" && len(ids) > 0 {
			action = ids[0]
		}
		if guard := guardOf(o); guard != e.guard || e.observes {
			e.log.Warn("a plugin that is in place for no action of this guard's is left alone", "plugin", stringIn(o, "id"), "name", stringIn(o, "name"), "guard", guard, "action", action)
			continue
		}
		orphans = append(orphans, actions.Orphan{ID: stringIn(o, "id"), Action: action, Change: orphanChange(o, action)})
	}
	return orphans, nil
}

// guardOf returns the mark of the guard that put a plugin in place, "" when it has none.
func guardOf(plugin object) string {
	for _, t := range stringsIn(plugin["tags"]) {
		if guard, ok := strings.CutPrefix(t, guardTag); ok {
			return guard
		}
	}
	return ""
}

// makerOf returns the action for which the guard made a plugin, "" when that was there
// before.
func makerOf(plugin object) string {
	for _, t := range stringsIn(plugin["tags"]) {
		for _, prefix := range []string{actionTag, makerTag} {
			if id, ok := strings.CutPrefix(t, prefix); ok && pluginID(id) == stringIn(plugin, "id") {
				return id
			}
		}
	}
	return ""
}

func orphanChange(plugin object, action string) string {
	change := fmt.Sprintf("plugin %s (%s)", stringIn(plugin, "name"), stringIn(plugin, "id"))
	if stringIn(plugin, "id") != pluginID(action) {
		change += ", which was there before the guard changed it"
	}
	return change
}

// keepOrRemove says what to do with a plugin of the guard's that somebody has changed.
func keepOrRemove(action, remove string) string {
	return fmt.Sprintf("to keep it, take the tag %s off it; else remove it: %s", actionTag+action, remove)
}

// RemoveOrphan implements actions.OrphanRemover. It deletes what the guard made
// itself and nobody has changed. A plugin that was there before and that the guard only changed is never
// deleted: what it was is not known any more, so that is a Conflict for a person.
func (e *Executor) RemoveOrphan(ctx context.Context, o actions.Orphan) error {
	if o.Action == "" || o.ID != pluginID(o.Action) {
		return gatewarden.Errorf(gatewarden.Conflict, "%s is not the guard's own, and what it was before is not known any more", o.Change).WithHint("put it right by hand, then take the tags %s and %s off it", tag, actionTag+o.Action)
	}
	e, leave, err := e.alone(ctx)
	if err != nil {
		return err
	}
	defer leave()
	current, err := e.client.plugin(ctx, o.ID)
	if err != nil || current == nil {
		return err
	}
	if makerOf(current) != o.Action {
		return nil // somebody took the mark off, so it is theirs
	}
	asSent, err := e.asSent(ctx, current)
	if err != nil {
		return err
	}
	if !asSent {
		return gatewarden.Errorf(gatewarden.Conflict, "%s is not as the guard made it, so it is left alone", o.Change).WithHint("%s", keepOrRemove(o.Action, e.client.curl(http.MethodDelete, "/plugins/"+o.ID, nil)))
	}
	e.log.Warn("removing a plugin of an action that nobody knows", "action", o.Action, "plugin", o.ID)
	_, err = e.client.do(ctx, http.MethodDelete, "/plugins/"+o.ID, nil, nil)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		return nil
	}
	return err
}
