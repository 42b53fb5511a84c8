package doctest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/notify"
	"github.com/gatewarden/gatewarden/api"
)

// shapes are what a block of JSON can be; the word stands behind json in its fence.
func shapes() map[string]any {
	return map[string]any{
		"action": &gatewarden.Action{}, "event": &gatewarden.Event{}, "slo": &api.SLO{}, "history": &api.History{}, "breakdown": &api.Breakdown{}, "status": &api.Status{},
		"error": &api.ErrorBody{}, "done": &struct {
			Done string `json:"done"`
		}{}, "webhook": &notify.Message{}, "run": &gatewarden.Run{}, "canary": &api.Canary{},
	}
}

// decode reads text as the named shape; a field that the shape has not is an error.
func decode(shape, text string) error {
	into, ok := shapes()[shape]
	if !ok {
		return fmt.Errorf("%q is no shape of JSON", shape)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func TestTheJSONOfTheDocumentsIsTheProgramsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range manual(t) {
		for _, b := range blocks(d.name, d.text) {
			shape, isJSON := strings.CutPrefix(b.info, "json")
			if !isJSON {
				continue
			}
			shape = strings.TrimSpace(shape)
			seen[shape] = true
			if err := decode(shape, b.text); err != nil {
				t.Errorf("%s line %d: %v", b.file, b.line, err)
			}
		}
	}
	for shape := range shapes() {
		if !seen[shape] {
			t.Errorf("no document shows the JSON of a %s", shape)
		}
	}
}

func TestJSONThatIsNotTheProgramsOwnIsFound(t *testing.T) {
	for _, c := range [][2]string{{"event", `{"sequence": 1}`}, {"event", `{"seq": "x"}`}, {"thing", `{}`}, {"status", `{`}} {
		if decode(c[0], c[1]) == nil {
			t.Errorf("%s passes as a %s", c[1], c[0])
		}
	}
}

// fieldsOf adds the names that a type has in JSON, those of what it holds among them.
func fieldsOf(t reflect.Type, names map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		fieldsOf(t.Elem(), names)
	case reflect.Struct:
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			names[name] = true
			fieldsOf(f.Type, names)
		}
	default: // holds no fields
	}
}

func TestEveryFieldOfTheAPIIsDocumented(t *testing.T) {
	names := map[string]bool{}
	for _, shape := range shapes() {
		fieldsOf(reflect.TypeOf(shape), names)
	}
	var list []string
	for name := range names {
		list = append(list, name)
	}
	if len(list) < 50 {
		t.Fatalf("only %d fields found: the test does not see them", len(list))
	}
	slices.Sort(list)
	for _, name := range undocumented(list, read(t, "docs/api.md"), read(t, "docs/rules.md")) {
		t.Errorf("the field %s is in neither docs/api.md nor docs/rules.md", name)
	}
}

var (
	endpoint = regexp.MustCompile(`(GET|POST) (/[\w./{}-]*)`)
	listed   = regexp.MustCompile(`(?m)(/(?:api|-|metrics)[\w/-]*)`)
)

func TestEveryEndpointOfTheDocumentAnswers(t *testing.T) {
	base := startGuard(t)
	doc := read(t, "docs/api.md")
	asked := map[string]bool{}
	for _, row := range rows(doc.text) {
		for _, m := range endpoint.FindAllStringSubmatch(row[0], -1) {
			asked[m[0]] = true
			path := strings.NewReplacer("{name}", "x", "{id}", "x").Replace(m[2])
			if status, body := ask(t, m[1], base+path); strings.Contains(body, "nothing answers") {
				t.Errorf("%s: %d %s", m[0], status, body)
			}
		}
	}
	if len(asked) < 12 {
		t.Fatalf("only %d endpoints found: the test does not see them", len(asked))
	}
	if status, body := ask(t, http.MethodGet, base+"/api/v1/nowhere"); status != http.StatusNotFound || !strings.Contains(body, "nothing answers") {
		t.Errorf("what does not exist is %d %s", status, body)
	}
	_, index := ask(t, http.MethodGet, base+"/")
	for _, path := range listed.FindAllString(index, -1) {
		path = strings.NewReplacer("/NAME", "/{name}", "/ID", "/{id}").Replace(path)
		if !strings.Contains(doc.text, path) {
			t.Errorf("GET / lists %s, and docs/api.md does not", path)
		}
	}
}
