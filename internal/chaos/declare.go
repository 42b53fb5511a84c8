package chaos

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Kong without a database is changed by way of its whole configuration: what somebody else
// does there is to read it, to change one entity of it and to write it back. It does so
// while no request of the guard is on its way (Proxy.Alone), or it would undo that.

// declaration is a whole configuration, table by table.
type declaration map[string]any

// parseDeclaration reads the answer of GET /config, or the body of a POST.
func parseDeclaration(body []byte) (declaration, error) {
	var in struct {
		Config string `json:"config"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	return parseYAML(in.Config)
}

func parseYAML(text string) (declaration, error) {
	doc := map[string]any{} // a named type would become that of the records in it, too
	err := yaml.Unmarshal([]byte(text), &doc)
	return doc, err
}

// rows returns the entities of a table by their ids.
func (d declaration) rows(table string) map[string]Entity {
	rows := map[string]Entity{}
	list, _ := d[table].([]any)
	for _, row := range list {
		if e, ok := row.(map[string]any); ok {
			rows[fmt.Sprint(e["id"])] = e
		}
	}
	return rows
}

// changed returns the ids of the entities in which two configurations differ.
func (d declaration) changed(to declaration) (ids []string) {
	tables := maps.Clone(d)
	maps.Copy(tables, to)
	for table := range tables {
		before, after := d.rows(table), to.rows(table)
		all := maps.Clone(before)
		maps.Copy(all, after)
		for id := range all {
			if b, a := timeless(before[id]), timeless(after[id]); !reflect.DeepEqual(b, a) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// timeless returns an entity without the times that a write sets.
func timeless(e Entity) Entity {
	e = maps.Clone(e)
	delete(e, "updated_at")
	delete(e, "created_at")
	return e
}

// declare makes a change of one entity by way of the whole configuration, and returns that.
func (g *Gateway) declare(ctx context.Context, method, path string, body any) (Entity, error) {
	fields, err := plain(body)
	if err != nil {
		return nil, err
	}
	doc := declaration{"_format_version": "3.0"}
	answer, err := g.send(ctx, http.MethodGet, "/config", nil)
	if err != nil {
		return nil, err
	}
	if text, _ := answer["config"].(string); text != "" {
		if doc, err = parseYAML(text); err != nil {
			return nil, err
		}
	}
	made, err := doc.change(method, strings.Split(strings.Trim(path, "/"), "/"), fields)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(doc) // which is YAML
	if err != nil {
		return nil, err
	}
	_, err = g.send(ctx, http.MethodPost, "/config", Entity{"config": string(text)})
	return made, err
}

// plain writes a body as JSON has it, with foreign keys as a configuration has them.
func plain(body any) (Entity, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var e Entity
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	for field, value := range e {
		if ref, ok := value.(map[string]any); ok && len(ref) == 1 && ref["id"] != nil {
			e[field] = ref["id"]
		}
	}
	return e, nil
}

// change does what the Admin API of a Kong with a database does. path is that of a list, for a POST,
// or of an entity; either may be that of something else: /services/ID/plugins.
func (d declaration) change(method string, path []string, fields Entity) (Entity, error) {
	if method == http.MethodPost {
		table := path[len(path)-1]
		made := Entity{"id": newID()}
		if len(path) == 3 {
			made[strings.TrimSuffix(path[0], "s")] = path[1]
		}
		maps.Copy(made, fields)
		list, _ := d[table].([]any)
		d[table] = append(list, map[string]any(made))
		return made, nil
	}
	table, id := path[len(path)-2], path[len(path)-1]
	e := d.rows(table)[id]
	switch {
	case method == http.MethodDelete:
		d.remove(table, id) // one that is gone already is no error there either
		return nil, nil
	case e == nil:
		return nil, fmt.Errorf("%s /%s: 404: it is not declared", method, strings.Join(path, "/"))
	}
	merge(e, fields)
	return e, nil
}

// remove takes an entity out, and what belongs to it.
func (d declaration) remove(table, id string) {
	for of := range d {
		list, isTable := d[of].([]any)
		if !isTable {
			continue
		}
		d[of] = slices.DeleteFunc(list, func(row any) bool {
			e, _ := row.(map[string]any)
			return of == table && e["id"] == id || e[strings.TrimSuffix(table, "s")] == id
		})
	}
}

// newID returns a UUID of version 4.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
