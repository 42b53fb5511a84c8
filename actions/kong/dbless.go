package kong

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	gokong "github.com/kong/go-kong/kong"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// A Kong without a database takes one write: a whole configuration that replaces the one
// before (POST /config). What would be a write of one entity is made of that: the
// configuration is read, changed in one place and written back, everything else as it was
// read. Kong has no way to write only if nothing has changed, and check_hash only spares it
// the work when the new one is like the old one; so its hash is looked at before the
// reading, after it and right before the writing, and between the last look and the write
// lies one round trip. Everything else, the reading above all, is as with a database.

// declareRounds is how often it starts over when somebody else writes meanwhile.
const declareRounds = 5

// alone returns an executor that holds the only right to write the configuration, until leave is
// called: what would wait for it between its look and its write would lose what somebody else has
// changed meanwhile. With a database it is e itself.
func (e *Executor) alone(ctx context.Context) (_ *Executor, leave func(), err error) {
	if !e.client.dbless {
		return e, func() {}, nil
	}
	leave, err = e.client.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	holder, holding := *e, *e.client
	holding.holds, holder.client = true, &holding
	return &holder, leave, nil
}

// enter waits for the only right to write the configuration.
func (c *client) enter(ctx context.Context) (leave func(), err error) {
	if c.holds {
		return func() {}, nil
	}
	select {
	case c.declaring <- struct{}{}:
		return func() { <-c.declaring }, nil
	case <-ctx.Done():
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "another change of Kong's configuration is not over yet: %w", ctx.Err())
	}
}

// redeclare makes a write by way of the whole configuration.
func (c *client) redeclare(ctx context.Context, method, path string, body any) error {
	leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for range declareRounds {
		hash, err := c.configHash(ctx)
		if err != nil {
			return err
		}
		doc, err := c.declared(ctx)
		if err != nil {
			return err
		}
		changed, err := doc.change(method, path, body)
		if err != nil || !changed {
			return err
		}
		text, err := doc.text()
		if err != nil {
			return err
		}
		if now, err := c.configHash(ctx); err != nil {
			return err
		} else if now != hash {
			continue
		}
		_, err = c.send(ctx, http.MethodPost, "/config", &checkHash{1}, object{"config": text})
		if refused, ok := errors.AsType[*gokong.APIError](err); ok && refused.Code() == http.StatusNotModified {
			return nil // it was so already
		}
		return err
	}
	return gatewarden.Errorf(gatewarden.Unavailable, "the configuration at %s/config kept being written by somebody else", c.url)
}

type checkHash struct {
	Check int `url:"check_hash"`
}

// takes returns an error when changes are not made in the way that a Kong takes them.
func (c *client) takes(info Info) error {
	switch {
	case info.DBLess && !c.dbless:
		return gatewarden.Errorf(gatewarden.Invalid, "the Kong at %s runs without a database, so its Admin API takes no single changes", c.url).
			WithHint("kong: {dbless: true} lets the guard rewrite its whole configuration; or use mode: observe with this one")
	case info.Version != "" && !info.DBLess && c.dbless:
		return gatewarden.Errorf(gatewarden.Invalid, "kong.dbless is set, but the Kong at %s has a database", c.url).WithHint("leave kong.dbless out")
	}
	return nil
}

// redeclarable returns an error when the configuration as a whole can't be read, or does
// not say when somebody else has written it. Whether it may be written only a write tells.
func (c *client) redeclarable(ctx context.Context) error {
	if _, err := c.configHash(ctx); err != nil {
		return err
	}
	_, err := c.declared(ctx)
	return err
}

// configHash returns what Kong calls the configuration that it runs.
func (c *client) configHash(ctx context.Context) (string, error) {
	raw, err := c.send(ctx, http.MethodGet, "/status", nil, nil)
	if err != nil {
		return "", err
	}
	var status struct {
		Hash string `json:"configuration_hash"`
	}
	if err := json.Unmarshal(raw, &status); err != nil || status.Hash == "" {
		return "", gatewarden.Errorf(gatewarden.Invalid, "%s/status tells no configuration_hash, so somebody else's writes could not be seen", c.url).
			WithHint("kong.dbless is for a Kong without a database")
	}
	return status.Hash, nil
}

// declaration is a whole configuration, as Kong wrote it.
type declaration struct{ root *yaml.Node }

func (c *client) declared(ctx context.Context) (*declaration, error) {
	raw, err := c.send(ctx, http.MethodGet, "/config", nil, nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Config string `json:"config"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "GET %s/config: %w", c.url, err)
	}
	return parseDeclaration(answer.Config)
}

// parseDeclaration reads a configuration. It is not touched where it is not changed: a
// number that Kong wrote stays the text that it is.
func parseDeclaration(text string) (*declaration, error) {
	doc := &yaml.Node{}
	if err := yaml.Unmarshal([]byte(text), doc); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "Kong's configuration is not readable: %w", err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "Kong's configuration is no record")
	}
	return &declaration{doc.Content[0]}, nil
}

func (d *declaration) text() (string, error) {
	b, err := yaml.Marshal(d.root)
	if err != nil {
		return "", gatewarden.Errorf(gatewarden.Internal, "writing Kong's configuration: %w", err)
	}
	return string(b), nil
}

// change does to the declaration what the Admin API would do to the database, for the writes
// that the guard makes, and reports whether that changes anything. Errors: as the Admin
// API's.
func (d *declaration) change(method, path string, body any) (bool, error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) == 4 && parts[2] == "targets" {
		parts = parts[2:]
	}
	if len(parts) != 2 {
		return false, gatewarden.Errorf(gatewarden.Internal, "%s %s cannot be done without a database", method, path)
	}
	table, id := parts[0], parts[1]
	fields, err := plain(body)
	if err != nil {
		return false, err
	}
	values, _ := fields.(object)
	switch {
	case method == http.MethodDelete:
		return d.remove(table, id), nil
	case method == http.MethodPut && table == "plugins":
		return true, d.put(table, id, values)
	case method == http.MethodPatch:
		e := d.find(table, id)
		if e == nil {
			return false, gatewarden.Errorf(gatewarden.NotFound, "%s %s is not in Kong's configuration", strings.TrimSuffix(table, "s"), id)
		}
		merge(e, values, true)
		return true, nil
	default:
		return false, gatewarden.Errorf(gatewarden.Internal, "%s %s cannot be done without a database", method, path)
	}
}

// list returns a table, nil when there is none.
func (d *declaration) list(table string) *yaml.Node {
	if list := valueOf(d.root, table); list != nil && list.Kind == yaml.SequenceNode {
		return list
	}
	return nil
}

func (d *declaration) find(table, id string) *yaml.Node {
	list := d.list(table)
	if list == nil {
		return nil
	}
	for _, e := range list.Content {
		if e.Kind == yaml.MappingNode && textOf(e, "id") == id {
			return e
		}
	}
	return nil
}

func (d *declaration) remove(table, id string) bool {
	list, e := d.list(table), d.find(table, id)
	if e == nil {
		return false
	}
	list.Content = slices.DeleteFunc(list.Content, func(n *yaml.Node) bool { return n == e })
	return true
}

// put puts a plugin in the place of the one of that id, if there is one. Kong does not look
// whether two plugins of one name are in one scope when they are declared, so that is done
// here, and answered as it would be with a database.
func (d *declaration) put(table, id string, values object) error {
	fresh := &yaml.Node{Kind: yaml.MappingNode}
	merge(fresh, object{"id": id}, true)
	merge(fresh, without(values, "id"), true)
	list := d.list(table)
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode}
		if old := valueOf(d.root, table); old != nil {
			*old = *list
			list = old
		} else {
			d.root.Content = append(d.root.Content, scalar(table), list)
		}
	}
	for _, e := range list.Content {
		if e.Kind == yaml.MappingNode && textOf(e, "id") != id && scopeKey(e) == scopeKey(fresh) {
			return gatewarden.Errorf(gatewarden.Conflict, "a plugin %s with another id (%s) is in that scope already", textOf(e, "name"), textOf(e, "id"))
		}
	}
	if old := d.find(table, id); old != nil {
		*old = *fresh
		return nil
	}
	list.Content = append(list.Content, fresh)
	return nil
}

// foreignKeys are the fields of entities that hold the id of another one: a text here, a
// record with an id in the Admin API.
var foreignKeys = []string{"service", "route", "consumer", "consumer_group"}

func scopeKey(plugin *yaml.Node) string {
	key := []string{textOf(plugin, "name")}
	for _, f := range foreignKeys {
		key = append(key, textOf(plugin, f))
	}
	return strings.Join(key, " ")
}

// valueOf returns the value of a key of a record, nil when it has none.
func valueOf(record *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(record.Content); i += 2 {
		if record.Content[i].Value == key {
			return record.Content[i+1]
		}
	}
	return nil
}

// textOf returns the text of a field, "" for null and for what is none.
func textOf(record *yaml.Node, key string) string {
	v := valueOf(record, key)
	if v == nil || v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
		return ""
	}
	return v.Value
}

// merge sets fields of a record, as a PATCH does: records field by field, everything else as
// a whole. At the top of an entity, foreign keys are ids.
func merge(record *yaml.Node, values object, top bool) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		if ref, isRecord := value.(object); isRecord && top && slices.Contains(foreignKeys, key) {
			value = stringIn(ref, "id")
		}
		old := valueOf(record, key)
		inner, isRecord := value.(object)
		switch {
		case old != nil && isRecord && old.Kind == yaml.MappingNode:
			merge(old, inner, false)
		case old != nil:
			*old = *node(value)
		default:
			record.Content = append(record.Content, scalar(key), node(value))
		}
	}
}

// node writes a JSON value. Texts are quoted, so that none is taken for something else.
func node(value any) *yaml.Node {
	switch v := value.(type) {
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}
	case string:
		return scalar(v)
	case []any:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			list.Content = append(list.Content, node(item))
		}
		return list
	default:
		record := &yaml.Node{Kind: yaml.MappingNode}
		inner, _ := value.(object)
		merge(record, inner, false)
		return record
	}
}

func scalar(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s}
}

// byHand returns a command that makes a write by way of the whole configuration.
func (c *client) byHand(method, path string, body []byte) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	table, id := parts[len(parts)-2], parts[len(parts)-1]
	entity := fmt.Sprintf(`(.%s[] | select(.id == "%s"))`, table, id)
	edit := "del" + entity
	if values, err := parseObject(body); err == nil {
		for _, key := range foreignKeys {
			if other := refIn(values, key); other != "" {
				values[key] = other
			}
		}
		body = []byte(compact(values))
	}
	switch method {
	case http.MethodPut:
		edit = entity + " = " + string(body)
	case http.MethodPatch:
		edit = entity + " *= " + string(body)
	}
	get, post := "curl -s"+c.tokenFlag()+" '"+c.url+"/config'", "curl -X POST"+c.tokenFlag()
	return get + " | jq -r .config | yq '" + strings.ReplaceAll(edit, "'", `'\''`) + "' | " + post + " -H 'Content-Type: text/yaml' --data-binary @- '" + c.url + "/config'"
}
