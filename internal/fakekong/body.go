package fakekong

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// read decodes a's body into a.body. It returns the answer when that fails.
func (a *ask) read(table string) (reply, bool) {
	a.body = entity{}
	kind, _, err := mime.ParseMediaType(a.ctype)
	if a.ctype == "" && len(a.raw) == 0 {
		return reply{}, false
	}
	switch {
	case err == nil && kind == "application/json":
		var v any
		if len(a.raw) > 0 && json.Unmarshal(a.raw, &v) != nil {
			return refuse(badRequest(0, "", "Cannot parse JSON body", nil)), true
		}
		if e, isObject := v.(entity); isObject {
			a.body = e
		}
	case err == nil && kind == "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(a.raw))
		if err != nil {
			return refuse(badRequest(0, "", "Cannot parse JSON body", nil)), true
		}
		a.body = formEntity(table, values)
	default:
		status := http.StatusUnsupportedMediaType
		return reply{status: status, text: htmlPage(status), ctype: htmlType}, true
	}
	return reply{}, false
}

// formEntity makes an entity of form fields: dots nest, [] appends, and values
// take the type that the schema wants.
func formEntity(table string, values url.Values) entity {
	e := entity{}
	for key, list := range values {
		name, isList := strings.CutSuffix(key, "[]")
		var v any = list[0]
		if isList {
			items := make([]any, len(list))
			for i, item := range list {
				items[i] = item
			}
			v = items
		}
		setAt(e, strings.Split(name, "."), v)
	}
	coerce(fieldsFor(table, e), e)
	return e
}

// coerce turns strings into what the fields want, where that is possible.
func coerce(fields []*field, e entity) {
	for name, v := range e {
		i := slices.IndexFunc(fields, func(f *field) bool { return f.name == name })
		if i < 0 {
			continue
		}
		f := fields[i]
		if record, ok := v.(entity); ok && f.Type == "record" {
			coerce(f.fields, record)
		}
		s, ok := v.(string)
		if !ok {
			continue
		}
		switch f.Type {
		case "array", "set":
			e[name] = []any{s}
		case "number", "integer":
			if n, err := strconv.ParseFloat(s, 64); err == nil {
				e[name] = n
			}
		case "boolean":
			if b, err := strconv.ParseBool(s); err == nil {
				e[name] = b
			}
		}
	}
}

// splitURL turns a service's url into protocol, host, port and path.
func splitURL(e entity) *refusal {
	s, ok := e["url"].(string)
	if !ok {
		return nil
	}
	delete(e, "url")
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return schemaViolation(violations{"host": "required field missing"})
	}
	port := 80.0
	if u.Scheme == "https" {
		port = 443
	}
	if n, err := strconv.Atoi(u.Port()); err == nil {
		port = float64(n)
	}
	e["protocol"], e["host"], e["port"] = u.Scheme, u.Hostname(), port
	if u.Path != "" {
		e["path"] = u.Path
	}
	return nil
}
