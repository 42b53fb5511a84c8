package fakekong

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// captured exchange of one file: the request as it was sent, the answer of a real
// Kong 3.9.1.
type transcript struct {
	name         string
	method, path string
	header       http.Header
	body         string
	status       int
	contentType  string
	answer       string
}

func readTranscripts(t *testing.T, dir string) []transcript {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", dir, err)
	}
	var all []transcript
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parseTranscript(t, strings.TrimSuffix(filepath.Base(file), ".txt"), string(b)))
	}
	return all
}

func parseTranscript(t *testing.T, name, text string) transcript {
	t.Helper()
	x := transcript{name: name, header: http.Header{}}
	text, _, _ = strings.Cut(text, "\n# elapsed_ms")
	request, response, found := strings.Cut(text, "\n< HTTP/1.1 ")
	if !found {
		t.Fatalf("%s: no answer in the transcript", name)
	}
	head, body, _ := strings.Cut(request, "\n>\n")
	x.body = strings.TrimSuffix(body, "\n")
	for i, line := range strings.Split(head, "\n") {
		line = strings.TrimPrefix(strings.TrimSuffix(line, "\n>"), "> ")
		if i == 0 {
			fields := strings.Fields(line)
			x.method, x.path = fields[0], fields[1]
			continue
		}
		if key, value, ok := strings.Cut(line, ": "); ok {
			x.header.Set(key, value)
		}
	}
	head, x.answer, _ = strings.Cut(response, "\n<\n")
	x.answer = strings.TrimSuffix(x.answer, "\n")
	if _, err := jsonNumber(head[:3], &x.status); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for line := range strings.SplitSeq(head, "\n") {
		if value, ok := strings.CutPrefix(line, "< Content-Type: "); ok {
			x.contentType = value
		}
	}
	return x
}

func jsonNumber(s string, n *int) (string, error) { return s, json.Unmarshal([]byte(s), n) }

// replay sends transcripts to a gateway and compares its answers. It knows which
// id of ours stands for which captured one.
type replay struct {
	kong *Kong
	ids  map[string]string
	now  time.Time
}

func newReplay(t *testing.T, c Config) *replay {
	t.Helper()
	r := &replay{ids: map[string]string{}, now: time.Unix(1795293700, 123e6)}
	c.Now = func() time.Time { return r.now }
	r.kong = New(c)
	t.Cleanup(r.kong.Close)
	return r
}

func (r *replay) send(x transcript) *httptest.ResponseRecorder {
	r.now = r.now.Add(1013 * time.Millisecond)
	path, body := x.path, x.body
	for theirs, ours := range r.ids {
		path, body = strings.ReplaceAll(path, theirs, ours), strings.ReplaceAll(body, theirs, ours)
	}
	req := httptest.NewRequest(x.method, path, strings.NewReader(body))
	req.Header = x.header.Clone()
	rec := httptest.NewRecorder()
	r.kong.Admin().ServeHTTP(rec, req)
	return rec
}

// check sends x and says how the answer differs, "" when it does not.
func (r *replay) check(x transcript, onlyShape bool) string {
	rec := r.send(x)
	if rec.Code != x.status {
		return cmp.Diff(x.status, rec.Code) + x.answer + "\n" + rec.Body.String()
	}
	if got := rec.Header().Get("Content-Type"); got != x.contentType {
		return "Content-Type: " + cmp.Diff(x.contentType, got)
	}
	var want, got any
	if x.answer == "" || x.method == http.MethodHead {
		return cmp.Diff("", rec.Body.String())
	}
	if !strings.Contains(x.contentType, "json") {
		return cmp.Diff(strings.ReplaceAll(x.answer, "\r", ""), strings.TrimSpace(rec.Body.String()))
	}
	if err := json.Unmarshal([]byte(x.answer), &want); err != nil {
		return err.Error()
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		return err.Error() + ": " + rec.Body.String()
	}
	readYAML(want)
	readYAML(got)
	if onlyShape {
		return cmp.Diff(shape(want), shape(got))
	}
	r.learn(want, got)
	return cmp.Diff(r.normal("", want, true), r.normal("", got, false))
}

// readYAML replaces the text of a declarative configuration by what it says.
func readYAML(v any) {
	m, _ := v.(map[string]any)
	text, ok := m["config"].(string)
	var doc any
	if !ok || yaml.Unmarshal([]byte(text), &doc) != nil {
		return
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return
	}
	var plain map[string]any
	if json.Unmarshal(b, &plain) == nil {
		for _, rows := range plain {
			if list, ok := rows.([]any); ok {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(nameOf(a), nameOf(b)) })
			}
		}
		m["config"] = plain
	}
}

func nameOf(e any) string {
	m, _ := e.(map[string]any)
	for _, key := range []string{"name", "target", "username", "key"} {
		if s, ok := m[key].(string); ok {
			return s
		}
	}
	return ""
}

// learn notes the ids of entities that were made here and there.
func (r *replay) learn(want, got any) {
	switch want := want.(type) {
	case map[string]any:
		other, _ := got.(map[string]any)
		r.pair(want, other)
		for _, key := range slices.Sorted(maps.Keys(want)) {
			theirs, isID := want[key].(string)
			id, _ := other[key].(string)
			if (key == "id" || key == "node_id") && isID && isUUID(theirs) && isUUID(id) && r.ids[theirs] == "" {
				r.ids[theirs] = id
			}
			ours := other[key]
			if ours == nil {
				ours = other[r.ids[key]]
			}
			r.learn(want[key], ours)
		}
	case []any:
		other, _ := got.([]any)
		for i := range min(len(want), len(other)) {
			if sameEntity(want[i], other[i]) {
				r.learn(want[i], other[i])
			}
		}
	}
}

// pair learns from objects that are keyed by ids.
func (r *replay) pair(want, got map[string]any) {
	for theirs, a := range want {
		for ours, b := range got {
			if isUUID(theirs) && isUUID(ours) && sameEntity(a, b) {
				r.ids[theirs] = ours
			}
		}
	}
}

// sameEntity reports whether two listed entities may be the same one.
func sameEntity(a, b any) bool {
	x, _ := a.(map[string]any)
	y, _ := b.(map[string]any)
	for _, key := range []string{"name", "target", "username", "key"} {
		if !cmp.Equal(x[key], y[key]) {
			return false
		}
	}
	return true
}

var base64Offset = regexp.MustCompile(`offset=[A-Za-z0-9_-]{40,}`)

// normal replaces what may differ: ids by ours, times by their kind, and puts
// lists of entities into the order of our ids.
func (r *replay) normal(key string, v any, theirs bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, item := range v {
			if theirs && r.ids[k] != "" {
				k = r.ids[k]
			}
			out[k] = r.normal(k, item, theirs)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = r.normal("", item, theirs)
		}
		if key == "data" && r.reordered(out) {
			slices.SortFunc(out, func(a, b any) int { return strings.Compare(idOf(a), idOf(b)) })
		}
		return out
	case float64:
		if key == "created_at" || key == "updated_at" {
			if v == float64(int64(v)) {
				return "a time in seconds"
			}
			return "a time in fractions of seconds"
		}
	case string:
		if theirs {
			for captured, ours := range r.ids {
				v = strings.ReplaceAll(v, captured, ours)
			}
		}
		if key == "offset" && len(v) > 40 {
			return "an offset"
		}
		return base64Offset.ReplaceAllString(v, "offset=X")
	}
	return v
}

// reordered reports whether one of the entities was made here, so that its place
// in an order by id is chance.
func (r *replay) reordered(list []any) bool {
	for theirs, ours := range r.ids {
		if theirs != ours && slices.ContainsFunc(list, func(e any) bool { return idOf(e) == ours }) {
			return true
		}
	}
	return false
}

func idOf(e any) string {
	m, _ := e.(map[string]any)
	id, _ := m["id"].(string)
	return id
}

// shape keeps the keys and kinds of values and drops the values; of lists it keeps
// that they are lists.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, item := range v {
			out[key] = shape(item)
		}
		return out
	case []any:
		return "list"
	case nil:
		return "null"
	case bool:
		return "bool"
	case float64:
		return "number"
	default:
		return "string"
	}
}

// seed puts the entities in place that the captured Kong had.
func seed(t *testing.T, k *Kong) {
	t.Helper()
	b, err := os.ReadFile("testdata/seed.json")
	if err != nil {
		t.Fatal(err)
	}
	var tables map[string][]entity
	if err := json.Unmarshal(b, &tables); err != nil {
		t.Fatal(err)
	}
	for table, rows := range tables {
		for _, e := range rows {
			if config, ok := e["config"].(entity); ok {
				readShorthands(shorthandsOf(e["name"].(string)), config)
			}
			k.db.tables[table][e["id"].(string)] = e
		}
	}
	k.views = []*view{k.db.view(k.started, true)}
}

func mustLoad(t *testing.T, k *Kong, s Setup) {
	t.Helper()
	if err := k.Load(s); err != nil {
		t.Fatal(err)
	}
}

// What of the captures is not replayed, and why.
var leftOut = map[string]string{
	"042-config-post-flatten-errors": "the stand-in does not know flatten_errors, which is for tools that load whole configurations",
	"063-endpoints":                  "the stand-in lists its own endpoints, fewer than Kong's",
	"004-services-size1":             "what is on the page depends on the ids that Kong derives from names",
	"005-services-size1-page2":       "as above",
	"008-targets-size1":              "as above",
	"178-health-after-unhealthy":     "an active health check ran in between and found the target healthy again",
}

// Answers that tell about one machine: only their shape is compared.
var shapeOnly = []string{"001-root", "002-status", "401-dbdown-status"}

func TestAnswersAsTheCapturedKongWithAPostgres(t *testing.T) {
	r := newReplay(t, Config{Seed: 1})
	k := r.kong
	seed(t, k)
	// What was done to the captured Kong between exchanges, by other clients.
	before := map[string]func(){
		"141-form-encoded": func() {
			maps.DeleteFunc(k.db.tables["plugins"], func(_ string, p entity) bool {
				return p["name"] == "cors" && refID(p, "service") == k.db.find("services", "orders")["id"]
			})
		},
		"039-health-hc": func() { k.healthOf(entity{"id": "770eed08-969c-47a5-a809-1abb82d5a411"}).unhealthy = true },
		"301-bad-tags-sparse": func() {
			for id, p := range k.db.tables["plugins"] {
				if p["created_at"].(float64) >= 1795293700 {
					delete(k.db.tables["plugins"], id)
				}
			}
		},
		"333-post-target-hostname": func() {
			mustLoad(t, k, Setup{
				Upstreams: []Upstream{{Name: "dns-up", Healthchecks: map[string]any{"passive": map[string]any{"unhealthy": map[string]any{"tcp_failures": 1}}}}},
				Services:  []Service{{Name: "dns", Host: "dns-up", Routes: []Route{{Name: "dns-route", Paths: []string{"/dns"}}}}},
			})
		},
		"334-health-dns-error": func() { r.now = r.now.Add(6 * time.Second) },
		"337-health-passive-unhealthy": func() {
			k.healthOf(k.db.findTarget(k.db.find("upstreams", "dns-up")["id"].(string), "127.0.0.1:9198")).unhealthy = true
		},
		"342-delete-service-ok": func() { delete(k.db.tables["routes"], k.db.find("routes", "dns-route")["id"].(string)) },
		"350-health-right-after-create": func() {
			mustLoad(t, k, Setup{Upstreams: []Upstream{{Name: "fresh0", Targets: []Target{{Target: "127.0.0.1:9101", Weight: 100}}}}})
		},
		"401-dbdown-status":    func() { k.SetFaults(Faults{DatabaseDown: true}) },
		"410-dbdown-recovered": func() { k.SetFaults(Faults{}) },
	}
	compare(t, r, "admin", before)
}

func TestAnswersAsTheCapturedKongWithoutDatabase(t *testing.T) {
	r := newReplay(t, Config{DBLess: true, Seed: 1})
	for _, x := range readTranscripts(t, "dbless") {
		if x.name == "033-config-post-yaml-in-json" {
			if rec := r.send(x); rec.Code != http.StatusCreated {
				t.Fatalf("the first configuration: %d %s", rec.Code, rec.Body)
			}
		}
	}
	compare(t, r, "dbless", nil)
}

func compare(t *testing.T, r *replay, dir string, before map[string]func()) {
	t.Helper()
	replayed := 0
	all := readTranscripts(t, dir)
	for _, x := range all {
		if leftOut[x.name] != "" {
			continue
		}
		if f := before[x.name]; f != nil {
			f()
		}
		replayed++
		if diff := r.check(x, slices.Contains(shapeOnly, x.name)); diff != "" {
			t.Errorf("%s: %s %s %s\n(-captured +here)\n%s", x.name, x.method, x.path, x.body, diff)
		}
	}
	t.Logf("%d of %d exchanges replayed", replayed, len(all))
}
