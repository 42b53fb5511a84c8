package kong

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// orphan returns what nobody accounts for, which is one plugin.
func (b *bench) orphan() actions.Orphan {
	b.t.Helper()
	list, err := b.exec.Orphans(b.t.Context(), func(string) bool { return false })
	if err != nil || len(list) != 1 {
		b.t.Fatal(list, err)
	}
	return list[0]
}

// TestAnOrphanThatNobodyHasChangedIsRemoved makes plugins of several kinds, in several ways.
func TestAnOrphanThatNobodyHasChangedIsRemoved(t *testing.T) {
	one := func(step gatewarden.PluginStep) func(*bench) {
		return func(b *bench) { b.mustRun(pluginAction("a-1", step)) }
	}
	for name, do := range map[string]func(*bench){
		"a limit":            one(rateLimit(200)),
		"nothing set":        one(gatewarden.PluginStep{Name: "request-termination", Service: "recommendations"}),
		"numbers as in YAML": one(gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: map[string]any{"minute": 5.5, "hour": 90000.0}}),
		"records, lists, maps": one(gatewarden.PluginStep{Name: "http-log", Config: map[string]any{
			"http_endpoint": "http://127.0.0.1:9/log", "headers": map[string]any{"X-A": "1"}, "queue": map[string]any{"max_entries": 7},
		}}),
		"a list": one(gatewarden.PluginStep{Name: "cors", Config: map[string]any{"origins": []string{"https://shop.example"}}}),
		"another lies on it": func(b *bench) {
			first := pluginAction("a-1", rateLimit(200))
			b.laid(first, 1)
			b.laid(pluginAction("a-2", gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: map[string]any{"hour": 90000}}), 2, first)
			b.among()
		},
		"a limit that has moved": func(b *bench) {
			r := adaptiveAction("a-1", 1)
			b.mustRun(r)
			r.goTo(80)
			b.mustAdjust(r)
		},
	} {
		for kind, made := range map[string]func(*testing.T) *bench{"": func(t *testing.T) *bench { return newBench(t, fakekong.Config{}) }, ", without a database": newDBLess} {
			t.Run(name+kind, func(t *testing.T) {
				b := made(t)
				before := b.get("/plugins")
				do(b)
				if err := b.exec.RemoveOrphan(t.Context(), b.orphan()); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(before, b.get("/plugins")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestWhatWasLeftStaysWhenItsActionIsForgotten: a plugin that was left alone because somebody had
// changed it is still that when the journal no longer goes back so far.
func TestWhatWasLeftStaysWhenItsActionIsForgotten(t *testing.T) {
	for name, body := range map[string]string{
		"a setting of the step":   `{"config":{"second":500}}`,
		"another setting":         `{"config":{"hour":90000}}`,
		"one in a record":         `{"config":{"redis":{"host":"10.1.1.1"}}}`,
		"one with a default":      `{"config":{"fault_tolerant":false}}`,
		"it is off":               `{"enabled":false}`,
		"it has a tag of its own": `{"tags":["gatewarden","gatewarden-action:a-1","mine"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			r := pluginAction("a-1", rateLimit(200))
			b.mustRun(r)
			b.send(http.MethodPatch, "/plugins/"+pluginID(r.ID), body)
			theirs := b.get("/plugins")
			out := b.mustRevert(r)
			wantStatus(t, out, gatewarden.ActionLeft)
			if want := "to keep it, take the tag gatewarden-action:a-1 off it; else remove it: curl -X DELETE"; !strings.Contains(out.Reason, want) {
				t.Errorf("%q does not say %q", out.Reason, want)
			}
			wantCode(t, b.exec.RemoveOrphan(t.Context(), b.orphan()), gatewarden.Conflict, "not as the guard made it")
			if diff := cmp.Diff(theirs, b.get("/plugins")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
