package kong

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

func TestAPluginOfOurOwnComesAndGoes(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/plugins")
	r := pluginAction("protect-orders-1", rateLimit(200))
	for range 2 { // again is the same as once
		out := b.mustRun(r)
		wantStatus(t, out, gatewarden.ActionApplied)
		if want := `plugin rate-limiting on route orders-list: added {"limit_by":"service","policy":"local","second":200}`; out.Change != want {
			t.Errorf("change %q, want %q", out.Change, want)
		}
		if want := "curl -X DELETE '" + b.url + "/plugins/" + pluginID(r.ID) + "'"; out.Undo != want {
			t.Errorf("undo %q, want %q", out.Undo, want)
		}
	}
	plugin := b.get("/plugins/" + pluginID(r.ID))
	for _, part := range []string{`"tags":["gatewarden","gatewarden-action:protect-orders-1","gatewarden-sent:`, `:limit_by;policy;second"]`, `"second":200`, `"enabled":true`} {
		if !strings.Contains(plugin, part) {
			t.Errorf("%s is not in %s", part, plugin)
		}
	}
	for range 2 {
		wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	}
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

func TestTheUsersOwnPluginComesBackByteForByte(t *testing.T) {
	for name, c := range map[string]struct {
		theirs string
		step   gatewarden.PluginStep
	}{
		"a limit made stricter": {
			`{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":600,"hour":9000},"tags":["team:shop","a"],"instance_name":"orders-limit"}`,
			gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: map[string]any{"minute": 10}},
		},
		"one that was switched off": {
			`{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":5.5},"enabled":false}`,
			gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: map[string]any{"minute": 2}},
		},
		"keys that the step adds do not stay": {
			`{"name":"http-log","config":{"http_endpoint":"http://127.0.0.1:9/log","headers":{"X-A":"1"},"queue":{"max_batch_size":10}}}`,
			gatewarden.PluginStep{Name: "http-log", Config: map[string]any{"custom_fields_by_lua": map[string]any{"a": "return 1"}, "queue": map[string]any{"max_entries": 7}}},
		},
		"a message beside a body, which do not go together": {
			`{"name":"request-termination","service":{"name":"recommendations"},"config":{"status_code":418,"content_type":"text/plain","body":"short and stout","trigger":"X-Maintenance"}}`,
			gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: map[string]any{"status_code": 503, "message": "shed"}},
		},
		"a redis host, which Kong shows twice": {
			`{"name":"rate-limiting","service":{"name":"orders"},"config":{"minute":600,"policy":"redis","redis":{"host":"10.1.1.1"}}}`,
			gatewarden.PluginStep{Name: "rate-limiting", Service: "orders", Config: map[string]any{"redis": map[string]any{"host": "10.2.2.2"}}},
		},
		"a whole gateway's plugin": {
			`{"name":"cors","config":{"origins":["https://shop.example"]},"protocols":["http","https"],"tags":[]}`,
			gatewarden.PluginStep{Name: "cors", Config: map[string]any{"origins": []string{"*"}}},
		},
		"a consumer's": {
			`{"name":"rate-limiting","consumer":{"username":"zoë"},"config":{"minute":3}}`,
			gatewarden.PluginStep{Name: "rate-limiting", Consumer: "zoë", Config: map[string]any{"minute": 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			b.send("POST", "/plugins", c.theirs)
			before := b.get("/plugins")
			r := pluginAction("protect-orders-1", c.step)
			for range 2 {
				wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
			}
			if during := b.get("/plugins"); during == before || !strings.Contains(during, `"gatewarden-action:protect-orders-1"`) || strings.Count(during, `"instance_name"`) != 1 {
				t.Errorf("while applied: %s", during)
			}
			for range 2 {
				wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
			}
			if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestALimitIsCountedAsTheUsersUnlessTheStepSaysHow has steps of the same limit on a limit of the user's.
func TestALimitIsCountedAsTheUsersUnlessTheStepSaysHow(t *testing.T) {
	for name, c := range map[string]struct {
		theirs, step map[string]any
		want         string
	}{
		"only a window, beside the user's": {
			map[string]any{"minute": 6000, "limit_by": "ip"}, map[string]any{"second": 200}, "ip second=200 minute=6000",
		},
		"only a window, and one of the user's cannot be beside it": {
			map[string]any{"minute": 60, "hour": 9000, "limit_by": "ip"}, map[string]any{"second": 200}, "ip second=200 hour=9000",
		},
		"only a window, longer than one of the user's that is above it": {
			map[string]any{"second": 50, "minute": 600, "limit_by": "ip"}, map[string]any{"minute": 30}, "ip minute=30",
		},
		"whom it counts": {
			map[string]any{"minute": 6000, "limit_by": "ip"}, map[string]any{"second": 200, "limit_by": "service"}, "service second=200",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			b.send("POST", "/plugins", compact(object{"name": "rate-limiting", "route": object{"name": "orders-list"}, "config": c.theirs}))
			before := b.get("/plugins")
			r := pluginAction("a-1", gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: c.step})
			wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
			during, err := parseObject(json.RawMessage(b.get("/plugins")))
			if err != nil {
				t.Fatal(err)
			}
			config := during["data"].([]any)[0].(object)["config"].(object)
			got := stringIn(config, "limit_by")
			for _, window := range windows {
				if config[window] != nil {
					got += " " + window + "=" + compact(config[window])
				}
			}
			if got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
			wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
			if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatSomebodyElseChangedMeanwhileIsLeft(t *testing.T) {
	theirs := `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":600}}`
	for name, c := range map[string]struct {
		theirs string
		change func(b *bench, id string)
		status gatewarden.ActionStatus
		says   string
	}{
		"their plugin, set to something else": {theirs, func(b *bench, id string) { b.send("PATCH", "/plugins/"+id, `{"config":{"minute":1}}`) }, gatewarden.ActionLeft, "config.minute: 10 → 1"},
		"their plugin, deleted":               {theirs, func(b *bench, id string) { b.send("DELETE", "/plugins/"+id, "") }, gatewarden.ActionLeft, "deleted"},
		"their plugin, put back by themselves": {theirs, func(b *bench, id string) {
			b.send("PATCH", "/plugins/"+id, `{"config":{"minute":600},"tags":null}`)
		}, gatewarden.ActionReverted, "as it was"},
		"our plugin, set to something else":   {"", func(b *bench, id string) { b.send("PATCH", "/plugins/"+id, `{"config":{"minute":1}}`) }, gatewarden.ActionLeft, "config.minute: 10 → 1"},
		"our plugin, something added":         {"", func(b *bench, id string) { b.send("PATCH", "/plugins/"+id, `{"config":{"hour":1000}}`) }, gatewarden.ActionLeft, "config.hour: null → 1000"},
		"our plugin, its mark taken off":      {"", func(b *bench, id string) { b.send("PATCH", "/plugins/"+id, `{"tags":["mine"]}`) }, gatewarden.ActionLeft, "tags"},
		"our plugin, swept away by deck sync": {"", func(b *bench, id string) { b.send("DELETE", "/plugins/"+id, "") }, gatewarden.ActionReverted, "nothing to undo"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			if c.theirs != "" {
				b.send("POST", "/plugins", c.theirs)
			}
			r := pluginAction("a-1", gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: map[string]any{"minute": 10}})
			b.mustRun(r)
			m := &pluginMemo{}
			if _, err := decode(r.Action, m); err != nil {
				t.Fatal(err)
			}
			c.change(b, m.Plugin)
			changed := b.get("/plugins")
			out := b.mustRevert(r)
			wantStatus(t, out, c.status)
			if !strings.Contains(out.Reason+out.Details, c.says) {
				t.Errorf("%q is not said: %+v", c.says, out)
			}
			if diff := cmp.Diff(changed, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPluginThatAppearsBetweenPrepareAndApplyIsTheUsers(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	r := pluginAction("a-1", rateLimit(200))
	memo, err := b.exec.Prepare(context.Background(), r.Action)
	if err != nil {
		t.Fatal(err)
	}
	r.Memo = memo
	b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":60000}}`)
	before := b.get("/plugins")
	wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

func TestAUsersPluginThatChangesBetweenPrepareAndApplyComesBackAsItWasLast(t *testing.T) {
	for name, change := range map[string]string{"changed": "PATCH", "deleted": "DELETE"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			b.send("PUT", "/plugins/5a21e5d6-8f0c-4f60-8a3c-0c4bb1f0c111", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":60000}}`)
			r := pluginAction("a-1", rateLimit(200))
			memo, err := b.exec.Prepare(context.Background(), r.Action)
			if err != nil {
				t.Fatal(err)
			}
			r.Memo = memo
			b.send(change, "/plugins/5a21e5d6-8f0c-4f60-8a3c-0c4bb1f0c111", `{"config":{"minute":70000}}`)
			before := b.get("/plugins")
			wantStatus(t, b.mustRun(r), gatewarden.ActionApplied)
			wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
			if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTwoActionsDoNotStackOnOnePlugin(t *testing.T) {
	for name, theirs := range map[string]string{"of the guard": "", "of the user": `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":60000}}`} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			if theirs != "" {
				b.send("POST", "/plugins", theirs)
			}
			before := b.get("/plugins")
			first, second := pluginAction("first-1", rateLimit(200)), pluginAction("second-1", rateLimit(100))
			b.mustRun(first)
			_, err := b.run(second)
			wantCode(t, err, gatewarden.Conflict, "held by action first-1")
			wantStatus(t, b.mustRevert(first), gatewarden.ActionReverted)
			wantStatus(t, b.mustRun(second), gatewarden.ActionApplied)
			wantStatus(t, b.mustRevert(second), gatewarden.ActionReverted)
			if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAScopeThatDoesNotExistIsNamedWithThoseThatDo(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	for name, c := range map[string]struct {
		step  gatewarden.PluginStep
		words []string
	}{
		"a service":  {gatewarden.PluginStep{Name: "cors", Service: "recomendations"}, []string{`no service "recomendations"`, "did you mean recommendations?", "there are: orders, recommendations"}},
		"a route":    {gatewarden.PluginStep{Name: "cors", Route: "orders/list"}, []string{`no route "orders/list"`, "did you mean orders-list?"}},
		"a consumer": {gatewarden.PluginStep{Name: "cors", Consumer: "x"}, []string{`no consumer "x"`, "there are: zoë"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.run(pluginAction("a-1", c.step))
			wantCode(t, err, gatewarden.NotFound, c.words...)
		})
	}
}

func TestRevertWithoutAMemoTouchesNothing(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	before := b.get("/plugins") + b.get("/upstreams/orders-up/targets")
	wantStatus(t, b.mustRevert(pluginAction("a-1", rateLimit(1))), gatewarden.ActionReverted)
	wantStatus(t, b.mustRevert(weightAction("a-2", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", Target: "10.0.0.8:8080"})), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")+b.get("/upstreams/orders-up/targets")); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsOfTheUsersPluginAreNotShown(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.send("POST", "/plugins", `{"name":"rate-limiting","route":{"name":"orders-list"},"config":{"minute":600,"policy":"redis","redis":{"host":"10.1.1.1","password":"hunter2"}}}`)
	before := b.get("/plugins")
	r := pluginAction("a-1", gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: map[string]any{"minute": 10, "redis": map[string]any{"password": "hunter3"}}})
	out := b.mustRun(r)
	if shown := compact(out); strings.Contains(shown, "hunter") || out.Undo != "gatewarden actions revert a-1" {
		t.Error(shown)
	}
	wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
	if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
		t.Error(diff)
	}
}

// TestSecretsInListsAreNotShown has the two shapes in which plugins of Kong's keep secrets but as
// one text: a list below the name, and headers.
func TestSecretsInListsAreNotShown(t *testing.T) {
	for name, config := range map[string]string{
		"a list":            `{"issuer":"https://id.example","client_secret":["hunter2"]}`,
		"a list of records": `{"credentials":[{"id":"a","value":"hunter2"}]}`,
		"headers":           `{"add":{"headers":["X-A:1","Authorization:Bearer hunter2"]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			config, err := parseObject([]byte(config))
			if err != nil {
				t.Fatal(err)
			}
			if !holdsSecret(config) {
				t.Error("no secret is seen in it")
			}
			for _, other := range []any{nil, object{}, object{"add": nil}} {
				for _, shown := range [][]string{differences("config", config, other), differences("config", other, config)} {
					if strings.Contains(strings.Join(shown, " "), "hunter2") {
						t.Error(shown)
					}
				}
			}
		})
	}
	for _, config := range []string{`{"hide_credentials":true,"token_ttl":60,"secrets":[],"add":{"headers":["X-Token:","X-A:1"]}}`, `{"second":1}`} {
		if config, err := parseObject([]byte(config)); err != nil || holdsSecret(config) {
			t.Errorf("there is no secret in %v: %v", config, err)
		}
	}
}

// TestAListOfHeadersWithASecretIsNotShown is TestSecretsOfTheUsersPluginAreNotShown with one.
func TestAListOfHeadersWithASecretIsNotShown(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	b.send("POST", "/plugins", `{"name":"request-transformer","service":{"name":"orders"},"config":{"add":{"headers":["X-A:1","Authorization:Bearer hunter2"]}}}`)
	r := pluginAction("a-1", gatewarden.PluginStep{Name: "request-transformer", Service: "orders", Config: map[string]any{"add": map[string]any{"headers": []any{"Authorization:Bearer hunter3"}}}})
	out := b.mustRun(r)
	if shown := compact(out); strings.Contains(shown, "hunter") || out.Undo != "gatewarden actions revert a-1" {
		t.Error(shown)
	}
}
