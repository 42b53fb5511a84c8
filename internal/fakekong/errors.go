package fakekong

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// refusal is an answer of the Admin API that is not the one hoped for.
type refusal struct {
	status  int
	code    int // Kong's own; 0 when the body has only a message
	name    string
	message string
	more    entity // further keys: fields or options
}

func (r *refusal) body() entity {
	b := entity{"message": r.message}
	if r.code != 0 {
		b["code"], b["name"] = r.code, r.name
	}
	maps.Copy(b, r.more)
	return b
}

func notFound() *refusal { return &refusal{status: 404, message: "Not found"} }

func notAllowed() *refusal { return &refusal{status: 405, message: "Method not allowed"} }

func databaseDown() *refusal { return &refusal{status: 500, message: "An unexpected error occurred"} }

func badRequest(code int, name, message string, more entity) *refusal {
	return &refusal{status: 400, code: code, name: name, message: message, more: more}
}

func invalidOption(option, what string) *refusal {
	return badRequest(11, "invalid options", fmt.Sprintf("invalid option (%s: %s)", option, what), entity{"options": entity{option: what}})
}

// unsupported is what a Kong without a database says to a write.
func unsupported(verb, table, by string) *refusal {
	return &refusal{status: 405, code: 12, name: "operation unsupported",
		message: fmt.Sprintf("cannot %s '%s' entities%s when not using a database", verb, table, by)}
}

// uniqueViolation says that another entity has these values.
func uniqueViolation(values entity) *refusal {
	return &refusal{status: 409, code: 5, name: "unique constraint violation",
		message: "UNIQUE violation detected on '" + luaKey(values) + "'", more: entity{"fields": values}}
}

// luaKey writes an object as Kong does in messages: {name="orders",route=null}.
func luaKey(e entity) string {
	keys := make([]string, 0, len(e))
	for key := range e {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var b strings.Builder
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key + "=")
		switch v := e[key].(type) {
		case nil:
			b.WriteString("null")
		case entity:
			b.WriteString(luaKey(v))
		case string:
			b.WriteString(strconv.Quote(v))
		default:
			b.Write(appendJSON(nil, v))
		}
	}
	return "{" + b.String() + "}"
}

// schemaViolation says which fields are wrong.
func schemaViolation(wrong violations) *refusal {
	var lines []string
	for name, v := range wrong {
		if name != "@entity" {
			lines = append(lines, violationLines(name, v)...)
		}
	}
	slices.Sort(lines)
	lines = append(violationLines("@entity", wrong["@entity"]), lines...)
	head := "schema violation"
	if len(lines) > 1 {
		head = fmt.Sprintf("%d schema violations", len(lines))
	}
	return badRequest(2, "schema violation", head+" ("+strings.Join(lines, "; ")+")", entity{"fields": wrong})
}

// violationLines flattens one level of a field's violations; deeper ones are
// written as Lua tables.
func violationLines(name string, v any) []string {
	var lines []string
	switch v := v.(type) {
	case violations:
		for sub, inner := range v {
			lines = append(lines, name+"."+sub+": "+luaPretty(inner))
		}
	case []any:
		for i, inner := range v {
			switch {
			case inner == nil:
			case name == "@entity":
				lines = append(lines, luaPretty(inner))
			default:
				lines = append(lines, fmt.Sprintf("%s.%d: %s", name, i+1, luaPretty(inner)))
			}
		}
	case string:
		lines = append(lines, name+": "+v)
	}
	return lines
}

// luaPretty writes a table as Penlight's pretty.write does, and a string as it is.
func luaPretty(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return luaTable(v, "\n", "  ", " = ", "")
}

// luaTable writes v as a Lua table: items on lines of their own, or, with an empty
// line, all in one.
func luaTable(v any, line, step, equals, indent string) string {
	var items []string
	inner := indent + step
	switch v := v.(type) {
	case string:
		return `"` + v + `"`
	case entity:
		for key, item := range v {
			if !luaName(key) {
				key = `["` + key + `"]`
			}
			items = append(items, key+equals+luaTable(item, line, step, equals, inner))
		}
		slices.Sort(items)
	case []any:
		sparse := slices.Contains(v, nil)
		for i, item := range v {
			text := luaTable(item, line, step, equals, inner)
			switch {
			case item == nil:
			case sparse:
				items = append(items, fmt.Sprintf("[%d]%s%s", i+1, equals, text))
			default:
				items = append(items, text)
			}
		}
	default:
		return string(appendJSON(nil, v))
	}
	return "{" + line + inner + strings.Join(items, ","+line+inner) + line + indent + "}"
}

func luaName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
