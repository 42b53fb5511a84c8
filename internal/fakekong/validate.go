package fakekong

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// violations maps field names to what is wrong: a string, violations of a record,
// or a list with nil for the elements that are right.
type violations = map[string]any

// validate checks the fields of e, which were filled with defaults before.
func validate(fields []*field, e entity) violations {
	wrong := violations{}
	for name, v := range e {
		i := slices.IndexFunc(fields, func(f *field) bool { return f.name == name })
		if i < 0 {
			wrong[name] = "unknown field"
			continue
		}
		if err := fields[i].check(v); err != nil {
			wrong[name] = err
		}
	}
	return wrong
}

// check returns what is wrong with the value v of f, nil if nothing.
func (f *field) check(v any) any {
	if v == nil {
		if f.Required {
			return "required field missing"
		}
		return nil
	}
	if f.Eq != nil {
		return "value must be null"
	}
	if wrong := f.checkType(v); wrong != nil {
		return wrong
	}
	return f.checkRules(v)
}

func (f *field) checkType(v any) any {
	switch f.Type {
	case "string":
		if _, ok := v.(string); !ok {
			return "expected a string"
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return "expected a boolean"
		}
	case "number":
		if _, ok := v.(float64); !ok {
			return "expected a number"
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != math.Trunc(n) {
			return "expected an integer"
		}
	case "array", "set":
		list, ok := v.([]any)
		if !ok {
			return map[string]string{"array": "expected an array", "set": "expected a set"}[f.Type]
		}
		return f.checkElements(list)
	case "map":
		return f.checkMap(v)
	case "record":
		return f.checkRecord(v)
	case "foreign":
		ref, ok := v.(entity)
		if id, isString := ref["id"].(string); !ok || !isString || id == "" {
			return violations{"id": "missing primary key"}
		}
	}
	return nil
}

func (f *field) checkElements(list []any) any {
	if f.Elements == nil {
		return nil
	}
	var wrong []any
	for i, item := range list {
		err := f.Elements.check(item)
		if item == nil {
			err = "required field missing"
		}
		if err != nil {
			wrong = append(append(wrong, make([]any, i-len(wrong))...), err)
		}
	}
	if wrong == nil {
		return nil
	}
	return wrong
}

func (f *field) checkMap(v any) any {
	m, ok := v.(entity)
	if !ok {
		return "expected a map"
	}
	for key, item := range m {
		if f.Keys != nil {
			if err := f.Keys.check(key); err != nil {
				return err
			}
		}
		if f.Values != nil {
			if err := f.Values.check(item); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *field) checkRecord(v any) any {
	record, ok := v.(entity)
	if !ok {
		return "expected a record"
	}
	if f.fields == nil { // the configuration of a plugin without a captured schema
		return nil
	}
	if wrong := validate(f.fields, record); len(wrong) > 0 {
		return wrong
	}
	return nil
}

func (f *field) checkRules(v any) any {
	switch n, isNumber := v.(float64); {
	case len(f.OneOf) > 0 && !slices.Contains(f.OneOf, v):
		return "expected one of: " + join(f.OneOf)
	case isNumber && len(f.Between) == 2 && (n < f.Between[0] || n > f.Between[1]):
		return fmt.Sprintf("value should be between %.0f and %.0f", f.Between[0], f.Between[1])
	case isNumber && f.GreaterThan != nil && n <= *f.GreaterThan:
		return fmt.Sprintf("value must be greater than %.0f", *f.GreaterThan)
	}
	if list, ok := v.([]any); ok && f.LenMin != nil && len(list) < *f.LenMin {
		return fmt.Sprintf("length must be at least %d", *f.LenMin)
	}
	if s, ok := v.(string); ok && f.Type == "string" {
		if wrong := f.checkString(s); wrong != "" {
			return wrong
		}
	}
	return nil
}

func join(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(appendJSON(nil, v))
		if s, ok := v.(string); ok {
			words[i] = s
		}
	}
	return strings.Join(words, ", ")
}

func (f *field) checkString(s string) string {
	switch {
	case f.UUID && !isUUID(s):
		return "expected a valid UUID"
	case s == "" && (f.LenMin == nil || *f.LenMin > 0):
		return "length must be at least 1"
	case f.Tag:
		return checkTag(s)
	case f.UTF8Name && !namePattern.MatchString(s):
		return "invalid value '" + s + "': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
	case f.RoutePath && !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "~/"):
		return "should start with: / (fixed path) or ~/ (regex path)"
	case f.StartsWith != "" && !strings.HasPrefix(s, f.StartsWith):
		return "should start with: " + f.StartsWith
	case f.Match != "" && !luaPattern(f.Match).MatchString(s):
		return "invalid value: " + s
	}
	for _, none := range f.MatchNone {
		if luaPattern(none.Pattern).MatchString(s) {
			return none.Err
		}
	}
	return ""
}

var namePattern = regexp.MustCompile(`^[\p{L}\p{N}._~-]+$`)

// luaPattern translates the Lua patterns that occur in the captured schemas.
func luaPattern(p string) *regexp.Regexp {
	return regexp.MustCompile(strings.NewReplacer("%u", "[A-Z]", "%-", "-").Replace(p))
}

func checkTag(s string) string {
	if strings.ContainsAny(s, ",/") || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 127 }) {
		return "invalid tag '" + s + "': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
	}
	return ""
}

// checkEntity applies the rules over several fields.
func checkEntity(checks []entityCheck, e entity, wrong violations) {
	add := func(format string, args ...any) {
		list, _ := wrong["@entity"].([]any)
		wrong["@entity"] = append(list, fmt.Sprintf(format, args...))
	}
	for _, c := range checks {
		switch {
		case c.AtLeastOneOf != nil && countSet(e, c.AtLeastOneOf) == 0:
			add("at least one of these fields must be non-empty: %s", quoted(c.AtLeastOneOf))
		case c.OnlyOneOf != nil && countSet(e, c.OnlyOneOf) > 1:
			add("exactly one of these fields must be non-empty: %s", quoted(c.OnlyOneOf))
		case c.Conditional != nil:
			if v, _ := lookup(e, c.Conditional.IfField); v == c.Conditional.IfMatch.Eq {
				if then, _ := lookup(e, c.Conditional.ThenField); then == nil {
					add("failed conditional validation given value of field '%s'", c.Conditional.IfField)
					setAt(wrong, strings.Split(c.Conditional.ThenField, "."), "required field missing")
				}
			}
		}
	}
}

func countSet(e entity, paths []string) int {
	n := 0
	for _, path := range paths {
		v, _ := lookup(e, path)
		if list, ok := v.([]any); v != nil && (!ok || len(list) > 0) {
			n++
		}
	}
	return n
}

func quoted(names []string) string { return "'" + strings.Join(names, "', '") + "'" }

// lookup follows a dotted path through records.
func lookup(e entity, path string) (any, bool) {
	var at any = e
	for name := range strings.SplitSeq(path, ".") {
		record, ok := at.(entity)
		if !ok {
			return nil, false
		}
		if at, ok = record[name]; !ok {
			return nil, false
		}
	}
	return at, true
}

func setAt(e entity, path []string, v any) {
	for _, name := range path[:len(path)-1] {
		inner, ok := e[name].(entity)
		if !ok {
			inner = entity{}
			e[name] = inner
		}
		e = inner
	}
	e[path[len(path)-1]] = v
}

// checkPlugin applies the rules that plugins have as Lua functions, so that no
// schema shows them. They run when the fields themselves are right. They are
// written after the captured answers and, for the pairs that request-termination
// excludes, after its documentation.
func checkPlugin(name string, config entity, wrong violations) {
	set := func(key string) bool { return config[key] != nil }
	switch name {
	case "rate-limiting":
		checkRates(config, wrong)
	case "request-termination":
		switch {
		case set("message") && (set("content_type") || set("body")):
			wrong["config"] = "message cannot be used with content_type or body"
		case set("content_type") && !set("body"):
			wrong["config"] = "content_type requires a body"
		}
	case "ip-restriction":
		for _, key := range []string{"allow", "deny"} {
			checkEach(config, wrong, []string{"config", key}, func(s string) string {
				if isAddress(s) {
					return ""
				}
				return "invalid ip or cidr range: '" + s + "'"
			})
		}
	}
}

// periods are rate-limiting's, from the shortest.
var periods = []string{"second", "minute", "hour", "day", "month", "year"}

func checkRates(config entity, wrong violations) {
	shorter, limit := "", 0.0
	for _, p := range periods {
		n, ok := config[p].(float64)
		if !ok {
			continue
		}
		if shorter != "" && n < limit {
			wrong["config"] = fmt.Sprintf("The limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)", p, n, shorter, limit)
			return
		}
		shorter, limit = p, n
	}
}

func isAddress(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(s)
	return err == nil
}

// checkEach adds to wrong, at the path, what bad says about the strings there.
func checkEach(config entity, wrong violations, path []string, bad func(string) string) {
	list, _ := config[path[len(path)-1]].([]any)
	var errs []any
	for i, item := range list {
		if s, ok := item.(string); ok && bad(s) != "" {
			errs = append(append(errs, make([]any, i-len(errs))...), bad(s))
		}
	}
	if errs != nil {
		setAt(wrong, path, errs)
	}
}
