package kong

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// scope is where a plugin applies, by Kong's ids; "" is anywhere.
type scope struct {
	Service  string `json:"service,omitempty"`
	Route    string `json:"route,omitempty"`
	Consumer string `json:"consumer,omitempty"`
}

// resolve looks up the ids behind a step's names.
func (c *client) resolve(ctx context.Context, p *gatewarden.PluginStep) (scope, error) {
	var s scope
	for _, part := range []struct {
		kind, table, name, nameField string
		id                           *string
	}{
		{"service", "services", p.Service, "name", &s.Service},
		{"route", "routes", p.Route, "name", &s.Route},
		{"consumer", "consumers", p.Consumer, "username", &s.Consumer},
	} {
		if part.name == "" {
			continue
		}
		o, err := c.named(ctx, part.kind, part.table, part.nameField, part.name)
		if err != nil {
			return scope{}, err
		}
		*part.id = stringIn(o, "id")
	}
	return s, nil
}

// named returns the entity of that name. When there is none, the error lists
// those that exist.
func (c *client) named(ctx context.Context, kind, table, nameField, name string) (object, error) {
	raw, err := c.get(ctx, "/"+table+"/"+url.PathEscape(name))
	if err != nil {
		return nil, err
	}
	if raw != nil {
		return parseObject(raw)
	}
	missing := gatewarden.Errorf(gatewarden.NotFound, "Kong has no %s %q", kind, name)
	list, err := c.list(ctx, "/"+table)
	if err != nil {
		return nil, missing
	}
	var names []string
	for _, raw := range list {
		if o, err := parseObject(raw); err == nil && stringIn(o, nameField) != "" {
			names = append(names, stringIn(o, nameField))
		}
	}
	return nil, missing.WithHint("%s", suggest(name, names))
}

// maxNames bounds how many names an error lists.
const maxNames = 20

// suggest says which name may have been meant, and which there are.
func suggest(name string, names []string) string {
	if len(names) == 0 {
		return "there are none at all"
	}
	slices.Sort(names)
	best, distance := "", len(name)/2+1
	for _, n := range names {
		if d := editDistance(strings.ToLower(name), strings.ToLower(n)); d < distance {
			best, distance = n, d
		}
	}
	more := ""
	if len(names) > maxNames {
		names, more = names[:maxNames], ", …"
	}
	there := "there are: " + strings.Join(names, ", ") + more
	if best != "" {
		return "did you mean " + best + "? " + there
	}
	return there
}

// editDistance is Levenshtein's: how many letters must be put in, taken out or
// exchanged.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// covers reports whether the plugin is in exactly this scope.
func (s scope) covers(plugin object) bool {
	return refIn(plugin, "service") == s.Service && refIn(plugin, "route") == s.Route &&
		refIn(plugin, "consumer") == s.Consumer && refIn(plugin, "consumer_group") == ""
}

// references returns the scope as a plugin's body has it.
func (s scope) references() object {
	ref := func(id string) any {
		if id == "" {
			return nil
		}
		return object{"id": id}
	}
	return object{"service": ref(s.Service), "route": ref(s.Route), "consumer": ref(s.Consumer)}
}

// pluginIn returns the plugin of that name in exactly that scope, nil when there
// is none. Kong ignores ?name=, so the narrowest list is searched.
func (c *client) pluginIn(ctx context.Context, name string, s scope) (object, error) {
	path := "/plugins"
	switch {
	case s.Route != "":
		path = "/routes/" + s.Route + path
	case s.Service != "":
		path = "/services/" + s.Service + path
	case s.Consumer != "":
		path = "/consumers/" + s.Consumer + path
	}
	list, err := c.list(ctx, path)
	if err != nil {
		return nil, err
	}
	for _, raw := range list {
		o, err := parseObject(raw)
		if err != nil {
			return nil, err
		}
		if stringIn(o, "name") == name && s.covers(o) {
			return o, nil
		}
	}
	return nil, nil
}

// plugin returns the plugin with that id, nil when there is none.
func (c *client) plugin(ctx context.Context, id string) (object, error) {
	raw, err := c.get(ctx, "/plugins/"+id)
	if err != nil || raw == nil {
		return nil, err
	}
	return parseObject(raw)
}

// write sends a plugin and returns it as it can be read back afterwards.
func (c *client) write(ctx context.Context, method, id string, body object) (object, error) {
	if _, err := c.do(ctx, method, "/plugins/"+id, nil, body); err != nil {
		return nil, err
	}
	o, err := c.plugin(ctx, id)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, gatewarden.Errorf(gatewarden.Conflict, "plugin %s was gone right after it was written", id).WithHint("does something else, such as deck sync, remove plugins that it does not know?")
	}
	return o, nil
}
