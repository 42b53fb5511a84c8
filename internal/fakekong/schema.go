package fakekong

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// entity is one object of the Admin API, and any object in it.
type entity = map[string]any

// schemaFiles holds the schemas that the captured Kong answered at
// /schemas/plugins/{name} and, in the same language, those of the core entities.
//
//go:embed schemas
var schemaFiles embed.FS

// schema describes the fields of an entity in the language of Kong's own schemas.
type schema struct {
	fields []*field
	checks []entityCheck
}

// field is one field of a schema; unset rules are zero.
type field struct {
	name        string
	Type        string              `json:"type"`
	Required    bool                `json:"required"`
	Default     *json.RawMessage    `json:"default"`
	Elements    *field              `json:"elements"`
	Keys        *field              `json:"keys"`
	Values      *field              `json:"values"`
	RawFields   []map[string]*field `json:"fields"`
	Shorthands  []map[string]*field `json:"shorthand_fields"`
	OneOf       []any               `json:"one_of"`
	Between     []float64           `json:"between"`
	GreaterThan *float64            `json:"gt"`
	LenMin      *int                `json:"len_min"`
	Match       string              `json:"match"`
	MatchNone   []struct {
		Pattern string `json:"pattern"`
		Err     string `json:"err"`
	} `json:"match_none"`
	StartsWith  string          `json:"starts_with"`
	Eq          json.RawMessage `json:"eq"` // only ever null: the field must not be set
	UUID        bool            `json:"uuid"`
	Auto        bool            `json:"auto"`
	Timestamp   bool            `json:"timestamp"`
	Reference   string          `json:"reference"`
	Unique      bool            `json:"unique"`
	Deprecation *struct {
		ReplacedWith []struct {
			Path []string `json:"path"`
		} `json:"replaced_with"`
	} `json:"deprecation"`

	// Not in the captured schemas, which cannot show functions.
	Tag       bool `json:"tag"`
	UTF8Name  bool `json:"utf8_name"`
	RoutePath bool `json:"route_path"`

	fields     []*field
	shorthands []*field // of Shorthands
}

// entityCheck is a rule over several fields.
type entityCheck struct {
	AtLeastOneOf []string `json:"at_least_one_of"`
	OnlyOneOf    []string `json:"only_one_of"`
	Conditional  *struct {
		IfField string `json:"if_field"`
		IfMatch struct {
			Eq any `json:"eq"`
		} `json:"if_match"`
		ThenField string `json:"then_field"`
	} `json:"conditional"`
}

// schemas returns the parsed schemas by file name without its ending. They are
// constant, so all gateways of a process share them.
var schemas = sync.OnceValue(func() map[string]*schema {
	all := map[string]*schema{}
	for _, name := range append([]string{"services", "routes", "upstreams", "targets", "consumers", "plugins", "keyauth_credentials"}, pluginFiles()...) {
		b, err := schemaFiles.ReadFile("schemas/" + name + ".json")
		if err != nil {
			panic(err)
		}
		s, err := parseSchema(b)
		if err != nil {
			panic(fmt.Errorf("schema of %s: %w", name, err))
		}
		all[name] = s
	}
	return all
})

func pluginFiles() []string {
	entries, err := schemaFiles.ReadDir("schemas")
	if err != nil {
		panic(err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && strings.HasPrefix(name, "plugin-") {
			names = append(names, name)
		}
	}
	return names
}

func parseSchema(b []byte) (*schema, error) {
	var raw struct {
		Fields []map[string]*field `json:"fields"`
		Checks []entityCheck       `json:"entity_checks"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, err
	}
	return &schema{fields: named(raw.Fields), checks: raw.Checks}, nil
}

// named flattens Kong's lists of one-field objects.
func named(list []map[string]*field) []*field {
	var fields []*field
	for _, item := range list {
		for name, f := range item {
			f.name = name
			f.fields, f.shorthands = named(f.RawFields), named(f.Shorthands)
			for _, inner := range []*field{f.Elements, f.Values, f.Keys} {
				if inner != nil {
					inner.fields = named(inner.RawFields)
				}
			}
			fields = append(fields, f)
		}
	}
	return fields
}

func (s *schema) field(name string) *field {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// pluginSchema returns the schema of a plugin's own fields, nil when none was
// captured: its configuration is then taken as it comes.
func pluginSchema(name string) *schema { return schemas()["plugin-"+name] }

// defaultOf returns a fresh copy of f's default.
func (f *field) defaultOf() (any, bool) {
	if f.Default == nil {
		return nil, false
	}
	var v any
	if err := json.Unmarshal(*f.Default, &v); err != nil {
		panic(err)
	}
	return v, true
}

// fill adds to e what a created entity has without saying so: defaults, records
// with their own defaults, and null for everything else. A null that was given
// stays.
func fill(fields []*field, e entity) {
	for _, f := range fields {
		given, ok := e[f.name]
		switch {
		case ok && f.Type == "record":
			if record, isRecord := given.(entity); isRecord {
				fill(f.fields, record)
			}
		case ok:
		default:
			if v, has := f.defaultOf(); has {
				e[f.name] = v
			} else if f.Type == "record" && f.Required {
				record := entity{}
				fill(f.fields, record)
				e[f.name] = record
			} else {
				e[f.name] = nil
			}
		}
	}
}

// readShorthands turns deprecated flat fields of a configuration, such as
// redis_host, into the nested ones that replaced them. The nested one wins.
func readShorthands(shorthands []*field, config entity) {
	for _, f := range shorthands {
		v, given := config[f.name]
		delete(config, f.name)
		if !given || v == nil || f.Deprecation == nil {
			continue
		}
		for _, r := range f.Deprecation.ReplacedWith {
			at := config
			for _, name := range r.Path[:len(r.Path)-1] {
				inner, ok := at[name].(entity)
				if !ok {
					inner = entity{}
					at[name] = inner
				}
				at = inner
			}
			if last := r.Path[len(r.Path)-1]; at[last] == nil {
				at[last] = v
			}
		}
	}
}

// writeShorthands adds the deprecated flat fields to a configuration that is
// shown.
func writeShorthands(shorthands []*field, config entity) {
	for _, f := range shorthands {
		config[f.name] = nil
		if f.Deprecation == nil || len(f.Deprecation.ReplacedWith) == 0 {
			continue
		}
		var at any = config
		for _, name := range f.Deprecation.ReplacedWith[0].Path {
			if inner, ok := at.(entity); ok {
				at = inner[name]
			}
		}
		config[f.name] = at
	}
}

// shorthandsOf returns the deprecated flat fields of a plugin's configuration.
func shorthandsOf(plugin string) []*field {
	s := pluginSchema(plugin)
	if s == nil {
		return nil
	}
	if config := s.field("config"); config != nil {
		return config.shorthands
	}
	return nil
}
