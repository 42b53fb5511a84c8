package elasticsearch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden"
)

// look finds out the layout of an index of which _field_caps says these fields: name to
// types, with commas.
func look(t *testing.T, fields map[string]string, change func(*Settings)) (*layout, error) {
	t.Helper()
	var list []string
	for name, types := range fields {
		var each []string
		for kind := range strings.SplitSeq(types, ",") {
			each = append(each, fmt.Sprintf(`%q:{"type":%q}`, kind, kind))
		}
		list = append(list, fmt.Sprintf(`%q:{%s}`, name, strings.Join(each, ",")))
	}
	s := newSource(t, newGuard(), &standin{caps: `{"fields":{` + strings.Join(list, ",") + `}}`}, change)
	return s.index.look(t.Context(), &s.settings)
}

func TestEachShippersDocumentsAreUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		fields                    map[string]string
		prefix, ingested, service string
		whole, buckets            bool
	}{
		"Logstash, flat, with a template": {map[string]string{
			"@timestamp": "date", "event.ingested": "date", "response.status": "short", "service.name": "keyword", "latencies.request": "double",
		}, "", "event.ingested", "service.name", false, true},
		"Filebeat, nested, mapped by itself": {map[string]string{
			"@timestamp": "date", "kong.response.status": "long", "kong.service.name": "text", "kong.service.name.keyword": "keyword", "kong.latencies.request": "long", "message": "text",
		}, "kong", "", "kong.service.name.keyword", true, true},
		"a long in one index and a float in another": {map[string]string{
			"@timestamp": "date", "response.status": "long", "latencies.request": "long,float",
		}, "", "", "", true, true},
		"fluent-bit, a string": {map[string]string{"@timestamp": "date", "log": "text", "log.keyword": "keyword"}, "log", "", "", false, false},
		"nanoseconds": {map[string]string{
			"@timestamp": "date_nanos", "event.ingested": "date_nanos", "response.status": "keyword", "latencies.request": "scaled_float",
		}, "", "event.ingested", "", false, true},
		"fields of new indices only": {map[string]string{"@timestamp": "date,unmapped", "response.status": "short,unmapped"}, "", "", "", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := look(t, c.fields, nil)
			if err != nil {
				t.Fatal(err)
			}
			service := ""
			if len(l.service) > 0 {
				service = l.service[0].name
			}
			if l.prefix != c.prefix || l.ingested.name != c.ingested || service != c.service || l.latency[0].whole != c.whole || (l.problem == nil) != c.buckets {
				t.Errorf("prefix %q, ingested %q, service %q, whole %v, problem %v; want %+v", l.prefix, l.ingested.name, service, l.latency[0].whole, l.problem, c)
			}
		})
	}
}

func TestIndicesThatCannotBeReadAreRefusedWithTheReason(t *testing.T) {
	for name, c := range map[string]struct {
		fields map[string]string
		code   gatewarden.Code
		says   string
		change func(*Settings)
	}{
		"no documents yet":                {nil, gatewarden.NotFound, "yet", nil},
		"none of Kong's":                  {map[string]string{"@timestamp": "date", "user": "keyword"}, gatewarden.Invalid, "prefix: kong", nil},
		"another prefix":                  {map[string]string{"@timestamp": "date", "response.status": "long"}, gatewarden.Invalid, "no field", func(s *Settings) { s.Prefix = "gateway" }},
		"no event time":                   {map[string]string{"response.status": "long"}, gatewarden.Invalid, "no field @timestamp", nil},
		"an event time that is a keyword": {map[string]string{"@timestamp": "keyword", "response.status": "long"}, gatewarden.Invalid, "which is no date", nil},
		"mapped differently":              {map[string]string{"@timestamp": "date,keyword", "response.status": "long"}, gatewarden.Conflict, "as date and keyword", nil},
		"the time of indexing, too":       {map[string]string{"@timestamp": "date", "event.ingested": "date,text", "response.status": "long"}, gatewarden.Conflict, "event.ingested", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := look(t, c.fields, c.change); gatewarden.ErrorCode(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v, want code %s and %q", err, c.code, c.says)
			}
		})
	}
}

// Documents can be read where buckets cannot be made.
func TestFieldsThatCannotBeCountedByAreAProblemOfBucketsOnly(t *testing.T) {
	for name, c := range map[string]struct{ field, types, says string }{
		"a status that is a number here and a word there": {"response.status", "long,keyword", "as keyword and long"},
		"a status that is text only":                      {"response.status", "text", "no number"},
		"a service that is text only":                     {"service.name", "text", "no keyword"},
		"a service that is a keyword in some":             {"service.name", "text,keyword", "as keyword and text"},
		"a latency that is a word":                        {"latencies.proxy", "keyword", "no number"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := map[string]string{"@timestamp": "date", "response.status": "long", c.field: c.types}
			l, err := look(t, fields, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(fmt.Sprint(l.problem), c.says) {
				t.Errorf("problem %v, want one that says %q", l.problem, c.says)
			}
		})
	}
}
