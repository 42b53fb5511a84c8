package kong

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

var createdAt = regexp.MustCompile(`"created_at":[0-9.]+,?`)

func TestAGatewayThatIsNotWellIsUnavailable(t *testing.T) {
	for name, f := range map[string]fakekong.Faults{
		"no database":       {DatabaseDown: true},
		"500":               {Status: 500},
		"503":               {Status: 503},
		"slow":              {Delay: 10 * shortTimeout},
		"half-open":         {Hang: true},
		"connections reset": {Reset: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			b.exec = b.executor(Config{Timeout: shortTimeout})
			before := b.get("/plugins")
			r := pluginAction("a-1", rateLimit(200))
			b.kong.SetFaults(f)
			_, err := b.run(r)
			wantCode(t, err, gatewarden.Unavailable)
			_, err = b.exec.Revert(context.Background(), r.Action)
			wantCode(t, err, gatewarden.Unavailable)
			b.kong.SetFaults(fakekong.Faults{})
			b.exec = b.executor(Config{})
			wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
			wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
			if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	e, err := New(Config{AdminURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Prepare(t.Context(), pluginAction("a-1", rateLimit(1)).Action)
	wantCode(t, err, gatewarden.Unavailable, "did not answer", "reachable")
}

// TestEveryStatusHasACode spells the border out: what is worth another try, and
// what is not.
func TestEveryStatusHasACode(t *testing.T) {
	special := map[int]gatewarden.Code{
		404: gatewarden.NotFound, 410: gatewarden.NotFound, 409: gatewarden.Conflict, 412: gatewarden.Conflict,
		408: gatewarden.Unavailable, 423: gatewarden.Unavailable, 425: gatewarden.Unavailable, 429: gatewarden.Unavailable,
		501: gatewarden.Invalid, 505: gatewarden.Invalid, 511: gatewarden.Invalid,
	}
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://elsewhere/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"message":"as told"}`)
	}))
	defer server.Close()
	e, err := New(Config{AdminURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for status = 200; status < 600; status++ {
		want, found := special[status]
		switch {
		case found:
		case status == 204 || status == 304:
			continue // no body may follow
		case status < 300:
			want = ""
		case status >= 500:
			want = gatewarden.Unavailable
		default:
			want = gatewarden.Invalid
		}
		_, err := e.client.do(t.Context(), http.MethodGet, "/plugins/x", nil, nil)
		if got := gatewarden.ErrorCode(err); got != want {
			t.Errorf("%d: %q, want %q: %v", status, got, want, err)
		}
		if status >= 400 && !strings.Contains(err.Error(), "as told") {
			t.Errorf("%d: Kong's own words are missing: %v", status, err)
		}
	}
}

// TestWhatIsNotFoundBySomethingElseThanKongIsStillThere has a proxy before the Admin API, or
// Kong's own, that knows no way to it for a while.
func TestWhatIsNotFoundBySomethingElseThanKongIsStillThere(t *testing.T) {
	for name, answer := range map[string]string{
		"a proxy":            "404 page not found\n",
		"Kong's own proxy":   "{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"5f1a\"\n}",
		"nothing at all":     "",
		"some other program": `{"error":"not found"}`,
		"a page":             "<html><body>404 Not Found</body></html>",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			before := b.get("/plugins") + b.get("/upstreams/orders-up/targets")
			away := false
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if away {
					w.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(w, answer)
					return
				}
				b.kong.Admin().ServeHTTP(w, r)
			}))
			t.Cleanup(front.Close)
			e, err := New(Config{AdminURL: front.URL})
			if err != nil {
				t.Fatal(err)
			}
			b.exec = e
			all := []*record{
				pluginAction("a-1", gatewarden.PluginStep{Name: "request-termination", Service: "recommendations"}), divertAction("a-2"),
				weightAction("a-3", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}),
			}
			for _, r := range all {
				b.mustRun(r)
			}
			away = true
			for _, r := range all {
				_, err := e.Revert(t.Context(), r.Action)
				wantCode(t, err, gatewarden.Unavailable, "something else than Kong's Admin API")
				_, err = e.Inspect(t.Context(), r.Action)
				wantCode(t, err, gatewarden.Unavailable)
			}
			away = false
			for _, r := range all {
				wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
			}
			if diff := cmp.Diff(before, b.get("/plugins")+b.get("/upstreams/orders-up/targets")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestATokenIsSentAndNeverShown(t *testing.T) {
	b := newBench(t, fakekong.Config{Token: "s3cret"})
	r := pluginAction("a-1", rateLimit(200))
	_, err := b.run(r)
	wantCode(t, err, gatewarden.Invalid, "401", "token_file")
	b.exec = b.executor(Config{Token: "s3cret"})
	out := b.mustRun(r)
	if strings.Contains(compact(out), "s3cret") || !strings.Contains(out.Undo, "$KONG_ADMIN_TOKEN") {
		t.Error(out.Undo)
	}
	e, err := New(Config{AdminURL: "http://me:hidden@127.0.0.1:1/", Token: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Info(t.Context())
	wantCode(t, err, gatewarden.Unavailable)
	if strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}

func TestAnAdminURLThatIsNone(t *testing.T) {
	for _, s := range []string{"", "kong:8001", "ftp://kong", "http://", "://", "http://a b"} {
		_, err := New(Config{AdminURL: s})
		wantCode(t, err, gatewarden.Invalid)
	}
}

func TestPreflight(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/plugins") + b.get("/upstreams/orders-up/targets")
	for name, c := range map[string]struct {
		step  gatewarden.Step
		code  gatewarden.Code
		words []string
	}{
		"a step that would work":     {pluginAction("", rateLimit(5)).Spec, "", nil},
		"a drain that would work":    {weightAction("", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}).Spec, "", nil},
		"a step for Jenkins":         {gatewarden.Step{Kind: gatewarden.StepJenkins}, "", nil},
		"a plugin that Kong has not": {pluginAction("", gatewarden.PluginStep{Name: "rate-limitting"}).Spec, gatewarden.Invalid, []string{"did you mean rate-limiting?"}},
		"a config against the schema": {pluginAction("", gatewarden.PluginStep{Name: "rate-limiting", Config: map[string]any{"minute": -1}}).Spec,
			gatewarden.Invalid, []string{"config.minute: value must be greater than 0", "on the whole gateway"}},
		"no such route":      {pluginAction("", gatewarden.PluginStep{Name: "cors", Route: "order-list"}).Spec, gatewarden.NotFound, []string{"did you mean orders-list?"}},
		"a drain of all":     {weightAction("", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v9"}).Spec, gatewarden.NotFound, nil},
		"a scope it forbids": {pluginAction("", gatewarden.PluginStep{Name: "cors", Consumer: "zoë"}).Spec, gatewarden.Invalid, []string{"consumer: value must be null"}},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, b.exec.Preflight(t.Context(), c.step), c.code, c.words...) })
	}
	if diff := cmp.Diff(before, b.get("/plugins")+b.get("/upstreams/orders-up/targets")); diff != "" {
		t.Error(diff)
	}
}

func TestAKongWithoutADatabaseIsFoundAtStart(t *testing.T) {
	b := newBench(t, fakekong.Config{DBLess: true})
	wantCode(t, b.exec.Preflight(t.Context(), pluginAction("", rateLimit(5)).Spec), gatewarden.Invalid, "without a database", "mode: observe")
	_, err := b.run(pluginAction("a-1", rateLimit(5)))
	wantCode(t, err, gatewarden.Invalid, "405", "without a database")
	_, err = b.run(weightAction("a-2", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"}))
	wantCode(t, err, gatewarden.Invalid, "405")
}

func TestInfo(t *testing.T) {
	b := newBench(t, fakekong.Config{Tick: 3 * time.Second, Strict: true})
	b.send("POST", "/plugins", `{"name":"prometheus"}`)
	info, err := b.exec.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Plugins) < 30 {
		t.Errorf("plugins %v", info.Plugins)
	}
	info.Plugins = nil
	want := Info{Version: "3.9.1", Consistency: "strict", Role: "traditional", Tick: 3 * time.Second, Configured: []string{"prometheus"}}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"hello":1}`) }))
	defer web.Close()
	e, err := New(Config{AdminURL: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Info(t.Context())
	wantCode(t, err, gatewarden.Invalid, "8001")
}

func TestOrphans(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.send("POST", "/plugins", `{"name":"cors","service":{"name":"orders"},"tags":["a"]}`)
	for _, r := range []*record{
		pluginAction("known-1", rateLimit(1)),
		pluginAction("lost-1", gatewarden.PluginStep{Name: "request-termination", Service: "recommendations"}),
		pluginAction("lost-2", gatewarden.PluginStep{Name: "cors", Service: "orders"}), // the user's, changed
	} {
		b.mustRun(r)
	}
	found, err := b.exec.Orphans(t.Context(), func(id string) bool { return id == "known-1" })
	if err != nil {
		t.Fatal(err)
	}
	byAction := map[string]actions.Orphan{}
	for _, o := range found {
		byAction[o.Action] = o
	}
	if len(byAction) != 2 || byAction["lost-1"].ID != pluginID("lost-1") {
		t.Fatalf("orphans %+v", found)
	}
	for range 2 {
		if err := b.exec.RemoveOrphan(t.Context(), byAction["lost-1"]); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, b.exec.RemoveOrphan(t.Context(), byAction["lost-2"]), gatewarden.Conflict, "not the guard's own")
	plugins := b.get("/plugins")
	if strings.Contains(plugins, "request-termination") || strings.Count(plugins, `"instance_name"`) != 2 {
		t.Error(plugins)
	}
}

// TestOrphansOfAKongWithoutADatabase has one plugin that nobody knows, and one without tags, as
// long as which such a Kong does not list plugins by a tag.
func TestOrphansOfAKongWithoutADatabase(t *testing.T) {
	b := newDBLess(t)
	if err := b.exec.client.redeclare(t.Context(), http.MethodPut, "/plugins/0b1c3a52-91d5-4c33-8a61-2f4f5b8a0a11", object{"name": "prometheus"}); err != nil {
		t.Fatal(err)
	}
	before := b.config()
	b.mustRun(pluginAction("lost-1", gatewarden.PluginStep{Name: "request-termination", Service: "recommendations"}))
	found, err := b.exec.Orphans(t.Context(), func(string) bool { return false })
	if err != nil || len(found) != 1 || found[0].Action != "lost-1" {
		t.Fatalf("%+v %v", found, err)
	}
	if err := b.exec.RemoveOrphan(t.Context(), found[0]); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, b.config()); diff != "" {
		t.Error(diff)
	}
}

// TestWhatAnotherGuardHasPutInPlaceIsTheirs has several guards on one Kong.
func TestWhatAnotherGuardHasPutInPlaceIsTheirs(t *testing.T) {
	for name, c := range map[string]struct {
		maker, looks Config
		found        int
		told         string
	}{
		"its own":                              {Config{Guard: "one"}, Config{Guard: "one"}, 1, ""},
		"another's":                            {Config{Guard: "one"}, Config{Guard: "two"}, 0, "guard=one action=lost-1"},
		"of a guard that marked nothing":       {Config{}, Config{Guard: "two"}, 0, `guard="" action=lost-1`},
		"its own, and it only observes by now": {Config{Guard: "one"}, Config{Guard: "one", Observes: true}, 0, "guard=one action=lost-1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			b.exec = b.executor(c.maker)
			r := pluginAction("lost-1", rateLimit(200))
			b.mustRun(r)
			var told strings.Builder
			c.looks.Logger = slog.New(slog.NewTextHandler(&told, nil))
			looks := b.executor(c.looks)
			found, err := looks.Orphans(t.Context(), func(string) bool { return false })
			if err != nil || len(found) != c.found || !strings.Contains(told.String(), c.told) || (told.Len() > 0) != (c.told != "") {
				t.Errorf("%+v %v\n%s", found, err, &told)
			}
			wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
		})
	}
}

// TestAPluginKeepsTheMarkOfItsGuard lays two steps on the user's plugin, and takes them off.
func TestAPluginKeepsTheMarkOfItsGuard(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.exec = b.executor(Config{Guard: "one"})
	b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":60000},"tags":["theirs"]}`)
	before := b.get("/plugins")
	first, second := pluginAction("a-1", rateLimit(200)), pluginAction("a-2", rateLimit(50))
	b.laid(first, 1)
	b.wantIn("/plugins", `"tags":["theirs","gatewarden","gatewarden-guard:one","gatewarden-action:a-1"]`)
	b.laid(second, 2, first)
	b.wantIn("/plugins", `"tags":["theirs","gatewarden","gatewarden-guard:one","gatewarden-action:a-1","gatewarden-action:a-2"]`)
	wantStatus(t, b.takenBack(first, 3, second), gatewarden.ActionReverted)
	b.wantIn("/plugins", `"tags":["theirs","gatewarden","gatewarden-guard:one","gatewarden-action:a-2"]`)
	wantStatus(t, b.takenBack(second, 4, first), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

// TestTheRequestsAreThoseThatTheCapturedKongTook lists every request of an action's
// life. Each is of a form that is in the captures: PUT /plugins/{id}
// (104), PATCH /plugins/{id} (113), PATCH .../targets/{id} (154), and reads.
func TestTheRequestsAreThoseThatTheCapturedKongTook(t *testing.T) {
	b := newBench(t, fakekong.Config{Seed: 1})
	b.kong.ResetCalls()
	r := pluginAction("a-1", gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: map[string]any{"status_code": 503}})
	b.mustRun(r)
	b.mustRevert(r)
	w := weightAction("a-2", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"})
	b.mustRun(w)
	b.mustRevert(w)
	var got []string
	names := map[string]string{pluginID("a-1"): "PLUGIN"}
	for i, c := range b.kong.Calls() {
		line := c.Method + " " + c.Path
		if c.Query != "" {
			line += "?" + c.Query
		}
		if c.Body != "" {
			line += " " + c.Body
		}
		line = sentHash.ReplaceAllString(line, "gatewarden-sent:SENT:")
		got = append(got, uuids.ReplaceAllStringFunc(line, func(id string) string {
			if names[id] == "" {
				names[id] = "ID"
			}
			return names[id]
		}))
		if c.Status >= 300 && c.Status != 404 {
			t.Errorf("request %d: %+v", i, c)
		}
	}
	want := []string{
		"GET /services/recommendations", "GET /services/ID/plugins?size=1000",
		"GET /plugins/PLUGIN",
		`PUT /plugins/PLUGIN {"config":{"status_code":503},"consumer":null,"enabled":true,"name":"request-termination","route":null,"service":{"id":"ID"},"tags":["gatewarden","gatewarden-action:a-1","gatewarden-sent:SENT:status_code"]}`,
		"GET /plugins/PLUGIN",
		"GET /plugins/PLUGIN", "DELETE /plugins/PLUGIN", "GET /plugins/PLUGIN",
		"GET /upstreams/orders-up", "GET /upstreams/ID/targets?size=1000",
		"GET /upstreams/ID/targets?size=1000",
		`PATCH /upstreams/ID/targets/ID {"weight":0}`, "GET /upstreams/ID/targets?size=1000",
		"GET /upstreams/ID/targets?size=1000", `PATCH /upstreams/ID/targets/ID {"weight":10}`, "GET /upstreams/ID/targets?size=1000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

var sentHash = regexp.MustCompile(`gatewarden-sent:[0-9a-f]{16}:`)

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

func TestThePluginsIDIsTheActions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		if !uuids.MatchString(pluginID(a)) || pluginID(a)[14] != '5' {
			t.Fatalf("%q is no UUID of version 5", pluginID(a))
		}
		if (a == b) != (pluginID(a) == pluginID(b)) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

// TestWhateverTheUsersPluginWasItComesBack draws the user's plugin and the step.
func TestWhateverTheUsersPluginWasItComesBack(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	rate := rapid.Custom(func(t *rapid.T) map[string]any {
		config := map[string]any{rapid.SampledFrom([]string{"second", "minute", "hour"}).Draw(t, "period"): rapid.IntRange(1, 1000).Draw(t, "limit")}
		for key, g := range map[string]*rapid.Generator[any]{
			"limit_by":            rapid.SampledFrom([]any{"ip", "service", "consumer"}),
			"error_message":       rapid.SampledFrom([]any{nil, "slow down", "langsam, \"bitte\" \\ ü"}),
			"hide_client_headers": rapid.SampledFrom([]any{true, false}),
			"redis":               rapid.SampledFrom([]any{map[string]any{"host": "10.0.0.1"}, map[string]any{"port": 1, "timeout": 2}}),
		} {
			if rapid.Bool().Draw(t, "has "+key) {
				config[key] = g.Draw(t, key)
			}
		}
		return config
	})
	tags := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z:-]{1,8}`), 0, 3, rapid.ID)
	rapid.Check(t, func(rt *rapid.T) {
		theirs := map[string]any{
			"name": "rate-limiting", "service": map[string]any{"name": "orders"}, "config": rate.Draw(rt, "theirs"),
			"tags": tags.Draw(rt, "tags"), "enabled": rapid.Bool().Draw(rt, "enabled"),
		}
		created := b.send("POST", "/plugins", compact(theirs))
		var plugin struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(created), &plugin); err != nil {
			rt.Fatal(err)
		}
		defer b.send("DELETE", "/plugins/"+plugin.ID, "")
		before := b.get("/plugins")
		r := pluginAction("a-1", gatewarden.PluginStep{Name: "rate-limiting", Service: "orders", Config: rate.Draw(rt, "ours")})
		out, err := b.run(r)
		if err != nil {
			rt.Fatal(err)
		}
		if out.Status != gatewarden.ActionApplied {
			rt.Fatalf("%+v", out)
		}
		if out, err = b.exec.Revert(context.Background(), r.Action); err != nil || out.Status != gatewarden.ActionReverted {
			rt.Fatalf("%+v %v", out, err)
		}
		if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
			rt.Fatal(diff)
		}
	})
}

// FuzzHostileAnswers has an Admin API that answers anything to everything.
func FuzzHostileAnswers(f *testing.F) {
	f.Add(200, `{"id":"x","data":[{"id":"y","name":"rate-limiting"}],"offset":"z"}`, `{"plugin":"p","before":{"id":1}}`)
	f.Add(200, `{"data":[[],null,1,{"tags":{}}]}`, `{"targets":[{"id":"a"}],"upstream":"u"}`)
	f.Add(200, `[`, `7`)
	f.Add(200, `{"id":"`+pluginID("a-1")+`","enabled":true,"tags":["gatewarden-action:a-1","gatewarden-sent:e3b0c44298fc1c14:"],`+
		`"config":{"a":{"b":1}},"fields":[7,{"config":{"fields":[{"a":{"type":"record","fields":[{"b":{"default":[]}}]}}]}}]}`, `null`)
	f.Add(404, `{}`, `{"plugin":"../..","written":[1]}`)
	f.Fuzz(func(t *testing.T, status int, body, memo string) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200 + max(status, -status)%400)
			_, _ = io.WriteString(w, body)
		}))
		defer server.Close()
		e, err := New(Config{AdminURL: server.URL, Logger: slog.New(slog.DiscardHandler), Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*record{
			pluginAction("a-1", rateLimit(1)),
			weightAction("a-2", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "u", Target: "a"}),
		} {
			r.Memo = json.RawMessage(memo)
			if _, err := e.Prepare(t.Context(), r.Action); err != nil && gatewarden.ErrorCode(err) == "" {
				t.Error("an error without a code")
			}
			_, _ = e.Apply(t.Context(), r.Action, r.save) // must return, whatever it says
			_, _ = e.Revert(t.Context(), r.Action)
		}
		_, _ = e.Orphans(t.Context(), func(string) bool { return false })
		_ = e.RemoveOrphan(t.Context(), actions.Orphan{ID: pluginID("a-1"), Action: "a-1"})
		_, _ = e.Info(t.Context())
	})
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	b := newBench(t, fakekong.Config{})
	b.exec = b.executor(Config{Registerer: registry})
	b.mustRun(pluginAction("a-1", rateLimit(1)))
	b.wire.cutAfter(0, false)
	_, err := b.exec.Info(t.Context())
	wantCode(t, err, gatewarden.Unavailable)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	want := `
# HELP gatewarden_kong_requests_total Requests to the Admin API by method and status; the status is none when no answer came.
# TYPE gatewarden_kong_requests_total counter
gatewarden_kong_requests_total{method="GET",status="200"} 3
gatewarden_kong_requests_total{method="GET",status="404"} 1
gatewarden_kong_requests_total{method="GET",status="none"} 1
gatewarden_kong_requests_total{method="PUT",status="200"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "gatewarden_kong_requests_total"); err != nil {
		t.Error(err)
	}
}
