package unit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/rules/unit"
)

const someRules = `
slos:
  - {name: orders, service: orders, objective: 99, sli: {availability: {}}}
  - {name: spans, service: payments, objective: 99, sli: {traces: {operation: pay}}}
actions: [{name: tell, on_alert: [{a: b}], steps: [{slack: {url_file: x}}]}]
`

// load writes the files and reads the tests.
func load(t *testing.T, tests string) (*unit.Suite, rules.Problems) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"r.yaml": someRules, "t_test.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, set, problems := unit.Load(filepath.Join(dir, "t_test.yaml"))
	if set == nil || s == nil {
		t.Fatal("nothing came back")
	}
	return s, problems
}

func TestASuiteIsReadWhole(t *testing.T) {
	s, problems := load(t, `
rules: [r.yaml]
tests:
  - name: one
    start: 2026-03-01T10:00:00Z
    targets: [{target: "10.0.0.7:80", weight: 10, tags: [v1]}]
    traffic:
      - {service: orders, route: list, status: 503, latency: 1s, source: kong, rps: 2x1}
      - {slo: spans, rps: 1x2s, target: "10.0.0.7:80", response_headers: {X-Version: v2}}
    expect:
      - {at: 9s, slos: {orders: [page, outage]}, actions: {tell: []}}
      - {at: 3s, slos: {spans: healthy}, actions: {tell: slack}}
`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	test := s.Tests[0]
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	if test.Name != "one" || !test.Start.Equal(at) || test.Length != 9*time.Second || test.Line != 4 {
		t.Errorf("%+v", test)
	}
	want := []unit.Expectation{
		{At: 3 * time.Second, Line: 12, SLOs: map[string][]string{"spans": {"healthy"}}, Actions: map[string][]string{"tell": {"slack"}}, Runs: map[string]string{}},
		{At: 9 * time.Second, Line: 11, SLOs: map[string][]string{"orders": {"outage", "page"}}, Actions: map[string][]string{"tell": {}}, Runs: map[string]string{}},
	}
	if diff := cmp.Diff(want, test.Expect); diff != "" {
		t.Errorf("expectations (-want +got):\n%s", diff)
	}
	shed := gatewarden.Record{
		At: at.Add(250 * time.Millisecond), Service: "orders", Route: "list", Status: 503, Origin: gatewarden.OriginKong, Weight: 1,
		Latency: gatewarden.Latency{Request: time.Second, Upstream: gatewarden.NoLatency, Kong: time.Second},
	}
	again := shed
	again.At = at.Add(750 * time.Millisecond)
	span := gatewarden.Record{
		Signal: gatewarden.SignalTraces, At: at.Add(750 * time.Millisecond), Service: "payments", Route: "pay", Tags: []string{"server"}, Status: 200, LastTry: 200,
		Origin: gatewarden.OriginUpstream, Weight: 1, Latency: gatewarden.Latency{Request: 20 * time.Millisecond, Upstream: 20 * time.Millisecond},
		Tries: []gatewarden.Try{{Target: "10.0.0.7:80"}}, Headers: []gatewarden.Header{{Response: true, Name: "x-version", Value: "v2"}},
	}
	if diff := cmp.Diff([]gatewarden.Record{shed, again, span}, test.Records(nil, 0, time.Second, false)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestRequestsByThemselvesHaveClientsOfTheirOwn(t *testing.T) {
	s, problems := load(t, "rules: [r.yaml]\ntests: [{name: x, traffic: [{service: orders, rps: 50x60}], expect: [{at: 1s, slos: {orders: healthy}}]}]")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	list := s.Tests[0].Records(nil, 0, time.Minute, true)
	clients, last := map[string]bool{}, time.Time{}
	for _, r := range list {
		if r.Weight != 1 || r.At.Before(last) {
			t.Fatalf("%+v after %s", r, last)
		}
		clients[r.ClientIP], last = true, r.At
	}
	if len(list) != 3000 || len(clients) != 3000 {
		t.Errorf("%d records of %d clients, want 3000 of 3000", len(list), len(clients))
	}
}

func TestWhatIsWrongWithTestsIsSaid(t *testing.T) {
	const head = "rules: [r.yaml]\ntests: [{name: x, traffic: [{service: orders, rps: 1x9}], expect: "
	for sentence, c := range map[string]struct{ text, want string }{
		"an empty file":                  {"", "the file is empty"},
		"no rules":                       {"tests: []", "the tests do not say of which rules they are"},
		"rules that are not there":       {"rules: [nowhere.yaml]\ntests: []", "no such file"},
		"no test":                        {"rules: [r.yaml]\ntests: []", "there is no test"},
		"a test without anything":        {"rules: [r.yaml]\ntests: [{}]", "the test has no name"},
		"a test that can't fail":         {"rules: [r.yaml]\ntests: [{name: x}]", "the test expects nothing"},
		"two of a name":                  {head + "[]}, {name: x}]", `there is a test "x" already`},
		"an unknown slo":                 {head + "[{at: 1s, slos: {order: healthy}}]}]", `did you mean "orders"?`},
		"an unknown action":              {head + "[{at: 1s, actions: {told: []}}]}]", `there is no action "told"`},
		"an unknown word":                {head + "[{at: 1s, slos: {orders: breach}}]}]", `an slo can't be "breach"`},
		"an slo that is healthy and not": {head + "[{at: 1s, slos: {orders: [healthy, page]}}]}]", `an slo can't be "healthy, page"`},
		"an slo without a word":          {head + "[{at: 1s, slos: {orders: []}}]}]", "it does not say how the slo is to be"},
		"no instant":                     {head + "[{slos: {orders: healthy}}]}]", "it does not say when"},
		"an instant between two seconds": {head + "[{at: 500ms, slos: {orders: healthy}}]}]", "must be whole seconds"},
		"a run that nobody begins":       {head + "[{at: 1s, runs: {orders: pass}}]}]", "nobody begins a run of orders"},
		"a latency that can't be":        {strings.Replace(head, "rps", "latency: 5h, rps", 1) + "[]}]", "a request can't take 5h"},
		"a status that can't be":         {strings.Replace(head, "rps", "status: 42, rps", 1) + "[]}]", "42 is no status of HTTP"},
		"a source that can't be":         {strings.Replace(head, "rps", "source: nginx, rps", 1) + "[]}]", `source can't be "nginx"`},
		"traffic of nothing":             {strings.Replace(head, "service: orders, ", "", 1) + "[]}]", "the traffic does not say of what it is"},
		"traffic of an unknown slo":      {strings.Replace(head, "service: orders", "slo: order", 1) + "[]}]", `there is no slo "order"`},
		"traffic without a rate":         {strings.Replace(head, ", rps: 1x9", "", 1) + "[]}]", "the traffic does not say how much of it there is"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, problems := load(t, c.text)
			var b strings.Builder
			if err := problems.Write(&b); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), c.want) || len(problems.Errors()) == 0 {
				t.Errorf("problems:\n%s\nwant %s", b.String(), c.want)
			}
		})
	}
}
