package kong

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// newDBLess is a bench whose gateway has no database.
func newDBLess(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, fakekong.Config{DBLess: true})
	b.exec = b.executor(Config{DBLess: true})
	return b
}

// config is the gateway's configuration without the times of changes.
func (b *bench) config() any {
	b.t.Helper()
	d, err := b.exec.client.declared(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var v any
	if err := d.root.Decode(&v); err != nil {
		b.t.Fatal(err)
	}
	dropTimes(v)
	return v
}

func TestStepsOnAKongWithoutADatabaseAreDoneAndUndone(t *testing.T) {
	for name, c := range map[string]struct {
		action *record
		theirs string // a plugin that was there before
		look   string
		holds  string // while it is in place
	}{
		"a plugin": {pluginAction("a-1", rateLimit(200)), "", "/plugins", `"second":200`},
		"a plugin of theirs": {
			pluginAction("a-1", rateLimit(200)),
			`{"name":"rate-limiting","route":{"id":"ROUTE"},"config":{"minute":20000,"policy":"local"},"tags":["yes","no: \"1e3\""]}`,
			"/plugins", `"second":200`,
		},
		"a drain":   {weightAction("a-1", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}), "", "/upstreams/orders-up/targets", `"weight":0`},
		"a divert":  {divertAction("a-1"), "", "/routes/orders-list/service", `"name":"recommendations"`},
		"a service": {serviceAction("a-1", false), "", "/services/recommendations", `"enabled":false`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newDBLess(t)
			if c.theirs != "" {
				route, err := b.exec.client.named(t.Context(), "route", "routes", "name", "orders-list")
				if err != nil {
					t.Fatal(err)
				}
				body, err := parseObject([]byte(strings.ReplaceAll(c.theirs, "ROUTE", stringIn(route, "id"))))
				if err != nil {
					t.Fatal(err)
				}
				if err := b.exec.client.redeclare(t.Context(), http.MethodPut, "/plugins/0b1c3a52-91d5-4c33-8a61-2f4f5b8a0a11", body); err != nil {
					t.Fatal(err)
				}
			}
			before := b.config()
			if err := b.exec.Preflight(t.Context(), c.action.Spec); err != nil {
				t.Error(err)
			}
			for range 2 {
				out := b.mustRun(c.action)
				wantStatus(t, out, gatewarden.ActionApplied)
				if !strings.HasPrefix(out.Undo, "curl -s '"+b.url+"/config' | jq -r .config | yq '") || !strings.Contains(out.Undo, "--data-binary @- '"+b.url+"/config'") {
					t.Errorf("undo %q", out.Undo)
				}
				if got := b.get(c.look); !strings.Contains(got, c.holds) {
					t.Errorf("%s: %s", c.look, got)
				}
			}
			for range 2 {
				wantStatus(t, b.mustRevert(c.action), gatewarden.ActionReverted)
				if diff := cmp.Diff(before, b.config()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// meddler writes a configuration of its own right before the guard's last look at the hash,
// so many times.
type meddler struct {
	b     *bench
	left  int
	looks int
}

func (m *meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/status" {
		if m.looks++; m.looks%2 == 0 && m.left > 0 {
			m.left--
			d, err := m.b.exec.client.declared(r.Context())
			if err == nil {
				upstream := d.list("targets").Content[0]
				merge(upstream, object{"tags": []any{"meddled", fmt.Sprint(m.left)}}, true)
				text, _ := d.text()
				_, err = m.b.exec.client.send(r.Context(), http.MethodPost, "/config", nil, object{"config": text})
			}
			if err != nil {
				m.b.t.Error(err)
			}
		}
	}
	return m.b.wire.RoundTrip(r)
}

func TestWhatOthersWriteIntoTheConfigurationIsNotLost(t *testing.T) {
	for name, c := range map[string]struct {
		times int
		code  gatewarden.Code
	}{
		"once":                {1, ""},
		"all but the last":    {declareRounds - 1, ""},
		"again and again":     {1 << 30, gatewarden.Unavailable},
		"nobody else does so": {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newDBLess(t)
			e, err := New(Config{AdminURL: b.url, DBLess: true, Transport: &meddler{b: b, left: c.times}})
			if err != nil {
				t.Fatal(err)
			}
			r := pluginAction("a-1", rateLimit(200))
			memo, err := e.Prepare(t.Context(), r.Action)
			if err != nil {
				t.Fatal(err)
			}
			r.Memo = memo
			out, err := e.Apply(t.Context(), r.Action, r.save)
			if c.code != "" {
				wantCode(t, err, c.code, "somebody else")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, out, gatewarden.ActionApplied)
			if got := b.get("/upstreams/orders-up/targets"); strings.Contains(got, "meddled") != (c.times > 0) {
				t.Errorf("what somebody else wrote is gone: %s", got)
			}
		})
	}
}

func TestAKongThatIsNotAsConfiguredIsRefusedBefore(t *testing.T) {
	step := serviceAction("", false).Spec
	for name, c := range map[string]struct {
		is, set bool
		want    string
	}{
		"a database, and dbless is set":      {false, true, "has a database"},
		"no database, and dbless is not set": {true, false, "{dbless: true}"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{DBLess: c.is})
			wantCode(t, b.executor(Config{DBLess: c.set}).Preflight(t.Context(), step), gatewarden.Invalid, c.want)
		})
	}
	b := newBench(t, fakekong.Config{DBLess: true})
	_, err := b.run(serviceAction("a-1", false))
	wantCode(t, err, gatewarden.Invalid, "kong.dbless")
}

// TestAnExportIsWrittenBackAsItWas takes what a real Kong 3.9.1 exported.
func TestAnExportIsWrittenBackAsItWas(t *testing.T) {
	export, err := os.ReadFile("testdata/config-export.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseDeclaration(string(export))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := d.change(http.MethodPatch, "/upstreams/2568aedf-4971-5ee8-a406-e2f385e0e149/targets/1938dede-133c-588f-ac78-0ad885065f8f", object{"weight": 0})
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	got, err := d.text()
	if err != nil {
		t.Fatal(err)
	}
	// Other spaces than Kong's are no change: values and their order are compared.
	flat := func(text string) string {
		var out []string
		for line := range strings.Lines(text) {
			out = append(out, strings.ReplaceAll(strings.TrimSpace(line), "- ", ""))
		}
		return strings.Join(out, "\n")
	}
	want := strings.Replace(string(export), "weight: 10\n", "weight: 0\n", 1)
	if diff := cmp.Diff(flat(want), flat(got)); diff != "" {
		t.Error(diff)
	}
	var a, b any
	if yaml.Unmarshal([]byte(want), &a) != nil || yaml.Unmarshal([]byte(got), &b) != nil {
		t.Fatal("not readable")
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
}

func TestDeclarationsAreChangedAsADatabaseWouldBe(t *testing.T) {
	const text = "_format_version: '3.0'\nplugins:\n- {id: p1, name: rate-limiting, service: s1, route: ~, config: {second: 5, redis: {host: a, port: 1}}}\n- {id: p2, name: cors, service: ~}\nroutes:\n- {id: r1, service: s1}\n"
	for name, c := range map[string]struct {
		method, path string
		body         any
		holds        string
		code         gatewarden.Code
	}{
		"records merge, the rest is replaced": {"PATCH", "/plugins/p1", object{"config": object{"redis": object{"host": "b"}}}, `host: "b"`, ""},
		"a foreign key is an id":              {"PATCH", "/routes/r1", object{"service": object{"id": "s2"}}, `service: "s2"`, ""},
		"and may be none":                     {"PATCH", "/routes/r1", object{"service": nil}, "service: null", ""},
		"words that YAML knows stay texts":    {"PATCH", "/routes/r1", object{"name": "yes"}, `"name": "yes"`, ""},
		"a new plugin":                        {"PUT", "/plugins/p3", object{"name": "cors", "service": object{"id": "s1"}}, `"id": "p3"`, ""},
		"one in the same scope":               {"PUT", "/plugins/p3", object{"name": "rate-limiting", "service": object{"id": "s1"}}, "", gatewarden.Conflict},
		"what is not there is not changed":    {"PATCH", "/services/s9", object{"enabled": false}, "", gatewarden.NotFound},
		"what the guard never does":           {"PATCH", "/a/b/c", object{}, "", gatewarden.Internal},
		"nor this":                            {"PUT", "/services/s1", object{}, "", gatewarden.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := parseDeclaration(text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = d.change(c.method, c.path, c.body); gatewarden.ErrorCode(err) != c.code {
				t.Fatal(err)
			}
			if got, _ := d.text(); !strings.Contains(got, c.holds) {
				t.Errorf("%q is not in\n%s", c.holds, got)
			}
		})
	}
	d, err := parseDeclaration(text)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		changed, err := d.change(http.MethodDelete, "/plugins/p2", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := d.text(); strings.Contains(got, "cors") {
			t.Error(got, changed)
		}
	}
}

func FuzzDeclaration(f *testing.F) {
	export, err := os.ReadFile("testdata/config-export.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(export), "", "a", "plugins: ~", "plugins: [1, {id: [x]}, {id: p1, config: 7}]", "plugins: &a [*a]", "? {a: b}\n: c\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range []struct {
			method, path string
			body         object
		}{
			{"PUT", "/plugins/p1", object{"name": "cors", "config": object{"a": []any{"b", nil}}}},
			{"PATCH", "/plugins/p1", object{"config": object{"a": object{"b": true}}}},
			{"DELETE", "/plugins/p1", nil},
		} {
			d, err := parseDeclaration(text)
			if err != nil {
				return
			}
			if _, err := d.change(c.method, c.path, c.body); err != nil {
				continue
			}
			if out, err := d.text(); err == nil && c.method == "PUT" {
				if again, err := parseDeclaration(out); err == nil && again.find("plugins", "p1") == nil {
					t.Errorf("the plugin is not in\n%s", out)
				}
			}
		}
	})
}

// TestAnOrphanIsLookedAtWhenItsTurnToGoHasCome: somebody may have made it theirs by then.
func TestAnOrphanIsLookedAtWhenItsTurnToGoHasCome(t *testing.T) {
	b := newDBLess(t)
	b.mustRun(pluginAction("a-1", rateLimit(200)))
	o := b.orphan()
	leave, err := b.exec.client.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	sent := b.wire.sent.Load()
	wantCode(t, b.exec.RemoveOrphan(impatient, o), gatewarden.Unavailable, "is not over yet")
	if looks := b.wire.sent.Load() - sent; looks > 0 {
		t.Errorf("%d requests before its turn", looks)
	}
	leave()
	if err := b.exec.RemoveOrphan(t.Context(), o); err != nil {
		t.Error(err)
	}
	if left := b.get("/plugins/" + o.ID); strings.Contains(left, o.ID) {
		t.Errorf("it is still there: %s", left)
	}
}

// TestALimitLooksWhenItsTurnHasCome: what is read before, another step may have changed by then.
func TestALimitLooksWhenItsTurnHasCome(t *testing.T) {
	b := newDBLess(t)
	r := adaptiveAction("adapt-1", 1)
	wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
	leave, err := b.exec.client.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.goTo(80)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	sent := b.wire.sent.Load()
	_, err = b.exec.Adjust(impatient, r.Action)
	wantCode(t, err, gatewarden.Unavailable, "is not over yet")
	if looks := b.wire.sent.Load() - sent; looks > 0 {
		t.Errorf("%d requests before its turn", looks)
	}
	leave()
	wantStatus(t, b.mustAdjust(r), gatewarden.ActionApplied)
	b.wantIn("/plugins", `"second":80`)
}
