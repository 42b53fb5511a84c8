package kong

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// A plugin that the guard made says in a tag with which settings, so that it can be told from
// one that somebody has changed since when nothing else is known of it any more: the names of
// the settings, and a hash of their values. What the tag does not name is as Kong's schema has it.

// sentTag is followed by the hash, a colon, and the names with semicolons between them.
const sentTag = "gatewarden-sent:"

// withSent returns the tags with that of a configuration in the place of the one before. A
// setting whose name cannot be in a tag gets none.
func withSent(tags []any, config object) []any {
	tags = slices.DeleteFunc(slices.Clone(tags), isSent)
	set := map[string]any{}
	if !leaves("", config, set) {
		return tags
	}
	names := slices.Sorted(maps.Keys(set))
	return append(tags, sentTag+hashOf(names, set)+":"+strings.Join(names, ";"))
}

func isSent(t any) bool {
	s, _ := t.(string)
	return strings.HasPrefix(s, sentTag)
}

// lasting drops from a plugin what the guard's own writes change.
func lasting(plugin object) object {
	plugin = without(plugin, "updated_at", "created_at") // a repeated PUT of a plugin of the guard's own sets both anew
	if tags, ok := plugin["tags"].([]any); ok {
		plugin["tags"] = slices.DeleteFunc(slices.Clone(tags), isSent)
	}
	return plugin
}

// leaves collects the values of a record and of the records in it by their paths, and reports
// whether all of these can be in a tag.
func leaves(path string, record object, into map[string]any) bool {
	for name, value := range record {
		if strings.ContainsFunc(name, notInNames) {
			return false
		}
		switch inner, isRecord := value.(object); {
		case isRecord && !leaves(path+name+".", inner, into):
			return false
		case !isRecord && value != nil:
			into[path+name] = value
		}
	}
	return true
}

func notInNames(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
}

// hashOf returns a hash of values in the order of their names.
func hashOf(names []string, values map[string]any) string {
	h := sha256.New()
	for _, name := range names {
		value := values[name]
		if n, isNumber := value.(json.Number); isNumber {
			if f, err := n.Float64(); err == nil {
				value = f // 5 and 5.0 are the same
			}
		}
		_, _ = fmt.Fprintf(h, "%s=%s\n", name, compact(value)) // a hash takes everything
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// asSent reports whether a plugin is still as its tag says that the guard made it.
func (e *Executor) asSent(ctx context.Context, plugin object) (bool, error) {
	i := slices.IndexFunc(stringsIn(plugin["tags"]), func(t string) bool { return isSent(t) })
	if i < 0 || plugin["enabled"] != true || len(unmarked(plugin)) > 0 {
		return false, nil
	}
	hash, list, _ := strings.Cut(strings.TrimPrefix(stringsIn(plugin["tags"])[i], sentTag), ":")
	config, _ := plugin["config"].(object)
	now, sent := map[string]any{}, map[string]bool{}
	leaves("", config, now)
	var names []string
	if list != "" {
		names = strings.Split(list, ";")
	}
	for _, name := range names {
		sent[name] = true
	}
	if hashOf(names, now) != hash {
		return false, nil
	}
	fields, err := e.client.schema(ctx, stringIn(plugin, "name"))
	return err == nil && fields != nil && restByDefault("", config, fields, sent), err
}

// schema returns the fields of a plugin's configuration by their names, as Kong describes them;
// nil when it does not.
func (c *client) schema(ctx context.Context, plugin string) (object, error) {
	raw, err := c.get(ctx, "/schemas/plugins/"+url.PathEscape(plugin))
	if err != nil || raw == nil {
		return nil, err
	}
	schema, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	config, _ := fieldsOf(schema)["config"].(object)
	return fieldsOf(config), nil
}

// fieldsOf returns the fields of a record of a schema, which lists them as records of one field.
func fieldsOf(record object) object {
	fields := object{}
	list, _ := record["fields"].([]any)
	for _, item := range list {
		one, _ := item.(object)
		maps.Copy(fields, one)
	}
	return fields
}

// holdsNothing reports whether a value is null or has no items: Kong writes an empty list as {}.
func holdsNothing(v any) bool {
	list, _ := v.([]any)
	record, _ := v.(object)
	return v == nil || list != nil && len(list) == 0 || record != nil && len(record) == 0
}

// restByDefault reports whether all settings that were not sent are as the schema has them.
// What is not in the schema are other names for what is.
func restByDefault(path string, config, fields object, sent map[string]bool) bool {
	for name, f := range fields {
		field, _ := f.(object)
		at := path + name
		inner, isRecord := config[name].(object)
		switch {
		case sent[at]:
		case field["type"] == "record":
			if isRecord && !restByDefault(at+".", inner, fieldsOf(field), sent) {
				return false
			}
		case isRecord && slices.ContainsFunc(slices.Collect(maps.Keys(sent)), func(s string) bool { return strings.HasPrefix(s, at+".") }):
			for key := range inner {
				if !sent[at+"."+key] {
					return false
				}
			}
		case holdsNothing(config[name]) && holdsNothing(field["default"]):
		case !same(config[name], field["default"]):
			return false
		}
	}
	return true
}
