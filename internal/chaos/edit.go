package chaos

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Edit is what somebody else does to the gateway.
type Edit string

// The edits. Each is made once in a run at most.
const (
	EditOwn     Edit = "somebody changes the user's own plugin"
	EditChange  Edit = "somebody changes the guard's plugin"
	EditDelete  Edit = "somebody deletes the guard's plugin"
	EditWeight  Edit = "somebody sets the weight of v2"
	EditRoute   Edit = "somebody leads a route elsewhere"
	EditService Edit = "somebody enables or disables a service"
	EditBeside  Edit = "somebody adds a plugin of their own"
)

// foreignTag is on what somebody else adds.
const foreignTag = "somebody-else"

// Foreign is an edit that was made.
type Foreign struct {
	Edit  Edit
	At    time.Time
	Path  string   // of the entity
	Field []string // what was set, none of a whole entity
	Value any      // nil when the entity was deleted

	Action string // whose plugin it was, "" when it was not the guard's
}

// Make makes an edit, while no request of the guard is with the gateway, and returns nil when there is nothing to edit now, such as a plugin
// of the guard's.
func (g *Gateway) Make(ctx context.Context, edit Edit) (*Foreign, error) {
	f := &Foreign{Edit: edit, At: time.Now()}
	now, err := g.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	switch edit {
	case EditOwn:
		f.Path, f.Field, f.Value = g.own, []string{"config", "hour"}, 600_000.0
	case EditWeight:
		f.Path, f.Field, f.Value = g.targetsPath()+"/"+g.ids["target v2"], []string{"weight"}, 37.0
	case EditRoute:
		f.Path, f.Field, f.Value = "/routes/"+g.ids["route queue"], []string{"service"}, map[string]any{"id": g.ids["service recommendations"]}
	case EditService:
		f.Path, f.Field = "/services/"+g.ids["service search"], []string{"enabled"}
		f.Value = now[f.Path]["enabled"] != true
	case EditBeside:
		made, err := g.Ask(ctx, http.MethodPost, "/services/"+g.ids["service queue"]+"/plugins", Entity{
			"name": "request-size-limiting", "tags": []string{foreignTag}, "config": Entity{"allowed_payload_size": 8},
		})
		f.Path, f.Field, f.Value = "/plugins/"+fmt.Sprint(made["id"]), []string{"name"}, "request-size-limiting"
		return f, err
	case EditChange, EditDelete:
		if f.Path = g.guards(now); f.Path == "" {
			return nil, nil
		}
		f.Action = actionOf(now[f.Path])
		if edit == EditDelete {
			_, err := g.Ask(ctx, http.MethodDelete, f.Path, nil)
			return f, err
		}
		f.Field, f.Value = []string{"config", "message"}, "ours by now"
		if now[f.Path]["name"] == "rate-limiting" {
			f.Field[1] = "error_message"
		}
	}
	return f, g.write(ctx, f)
}

// guards returns the path of a plugin that the guard has added, "" when there is none.
func (g *Gateway) guards(now Snapshot) string {
	for path, e := range now {
		if actionOf(e) != "" && path != g.own {
			return path
		}
	}
	return ""
}

func (g *Gateway) write(ctx context.Context, f *Foreign) error {
	body := f.Value
	for _, name := range slices.Backward(f.Field) {
		body = map[string]any{name: body}
	}
	_, err := g.Ask(ctx, http.MethodPatch, f.Path, body)
	if err != nil && strings.Contains(err.Error(), "404") {
		return nil // it went just now; Survived sees what is left
	}
	return err
}

// Survived reports whether an edit is still there, or was lost within the one round trip
// between the guard's look and its write, for which Kong has no compare-and-set. calls are
// those of the guard.
func (f *Foreign) Survived(now Snapshot, calls []Call) error {
	e := now[f.Path]
	var value any
	if e != nil {
		value = map[string]any(e)
		for _, name := range f.Field {
			inner, _ := value.(map[string]any)
			value = inner[name]
		}
	}
	switch {
	case f.Value == nil && e == nil, f.Value != nil && reflect.DeepEqual(value, f.Value), f.raced(calls):
		return nil
	default:
		return fmt.Errorf("%s at %s: %s %v was set to %v and is %v", f.Edit, f.At.Format(clockFormat), f.Path, f.Field, f.Value, value)
	}
}

// Beside says how the edited entity differs from before in what the edit did not set: the
// guard's own change of it, which stays only when the guard has left it alone and says so.
func (f *Foreign) Beside(before, now Snapshot) []string {
	was, is := before[f.Path], now[f.Path]
	if was == nil && is == nil {
		return nil
	}
	if was != nil && is != nil {
		is = clone(is)
		set, old := map[string]any(is), map[string]any(was)
		for _, name := range f.Field[:len(f.Field)-1] {
			set, _ = set[name].(map[string]any)
			old, _ = old[name].(map[string]any)
		}
		last := f.Field[len(f.Field)-1]
		set[last] = old[last]
	}
	return differences(f.Path, was, is)
}

const clockFormat = "15:04:05.000"

// raced reports whether a write of the guard to the entity after the edit had been
// decided on before it: with no look at the entity in between.
func (f *Foreign) raced(calls []Call) bool {
	if f.Edit == EditService && f.unread(calls) {
		return true
	}
	looked, compared := false, false
	for _, c := range calls {
		switch {
		case c.Status == 0 || !c.At.After(f.At):
		case c.Changes && strings.HasPrefix(c.Path, f.Path):
			return !looked
		case slices.Contains(c.Touched, path.Base(f.Path)):
			// A whole configuration is made of what was read before its hash was looked at for
			// the last time.
			return !looked || !compared
		case !c.Changes && f.seenBy(&c):
			looked = true
		case c.Path == "/status":
			compared = true
		}
	}
	return false
}

// unread reports whether the edit fell between a write of the guard to the entity and its
// look at what came of it. A switch that is then as it was before is a write that did not
// take, as far as anybody can tell, and is written once more.
func (f *Foreign) unread(calls []Call) (written bool) {
	for _, c := range calls {
		switch {
		case c.At.After(f.At):
			return written
		case c.Changes && strings.HasPrefix(c.Path, f.Path), slices.Contains(c.Touched, path.Base(f.Path)):
			written = true
		case f.seenBy(&c):
			written = false
		}
	}
	return written
}

// seenBy reports whether a look of the guard shows the entity.
func (f *Foreign) seenBy(c *Call) bool {
	return c.Path == f.Path || c.Path == path.Dir(f.Path)
}
