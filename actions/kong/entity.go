package kong

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// object is a JSON object whose numbers keep their text.
type object = map[string]any

func parseObject(raw json.RawMessage) (object, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "Kong's answer is no object: %w", err)
	}
	return o, nil
}

// plain brings values from a rules file into the form that parsed JSON has.
func plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the plugin's config cannot be written as JSON: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "reading back the plugin's config: %w", err)
	}
	return out, nil
}

// without returns o less some fields.
func without(o object, fields ...string) object {
	o = maps.Clone(o)
	for _, f := range fields {
		delete(o, f)
	}
	return o
}

// same reports whether two JSON values are equal. Numbers are compared as Kong
// writes them, 5 and 5.0 being the same.
func same(a, b any) bool { return len(differences("", a, b)) == 0 }

// differences lists where b differs from a, as a person would read it:
// "config.minute: 100 → 150".
func differences(path string, a, b any) []string {
	x, xIsObject := a.(object)
	y, yIsObject := b.(object)
	if xIsObject && yIsObject {
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		var out []string
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			out = append(out, differences(strings.TrimPrefix(path+"."+key, "."), x[key], y[key])...)
		}
		return out
	}
	if equalValues(a, b) {
		return nil
	}
	if secretPath(path) && (!empty(a) || !empty(b)) || holdsSecret(a) || holdsSecret(b) {
		return []string{path + ": (a secret) → (another)"}
	}
	return []string{fmt.Sprintf("%s: %s → %s", path, compact(a), compact(b))}
}

func equalValues(a, b any) bool {
	if m, ok := a.(json.Number); ok {
		if n, ok := b.(json.Number); ok {
			x, errX := m.Float64()
			y, errY := n.Float64()
			return m == n || errX == nil && errY == nil && x == y
		}
	}
	p, aIsList := a.([]any)
	q, bIsList := b.([]any)
	if aIsList && bIsList {
		return slices.EqualFunc(p, q, same)
	}
	return reflect.DeepEqual(a, b)
}

// includes lists where got does not have what wanted asks for. Fields that wanted
// does not name don't matter.
func includes(path string, wanted, got any) []string {
	w, isObject := wanted.(object)
	g, _ := got.(object)
	if !isObject {
		return differences(path, wanted, got)
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(w)) {
		out = append(out, includes(strings.TrimPrefix(path+"."+key, "."), w[key], g[key])...)
	}
	return out
}

func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// stringsIn returns the strings of a JSON list.
func stringsIn(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func stringIn(o object, field string) string {
	s, _ := o[field].(string)
	return s
}

// refIn returns the id that a foreign key of o holds, "" when it is null.
func refIn(o object, field string) string {
	ref, _ := o[field].(object)
	return stringIn(ref, "id")
}
