package kong

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// TestTheWaysToAnAdminAPI does and undoes steps through what may stand before an Admin API,
// or be asked for by it.
func TestTheWaysToAnAdminAPI(t *testing.T) {
	for name, c := range map[string]struct {
		base   string // of admin_url
		prefix string // of all paths that get through
		config Config
		hides  []string // paths that are not there
		undo   string   // is part of the command
	}{
		"as it is":                  {"", "", Config{}, nil, "'URL/plugins/"},
		"below a path":              {"/admin", "/admin", Config{}, nil, "'URL/admin/plugins/"},
		"a path with a slash":       {"/admin/", "/admin", Config{}, nil, "'URL/admin/plugins/"},
		"a workspace and its token": {"", "/shop", Config{Workspace: "shop", Token: "s3cret"}, nil, `-H "Kong-Admin-Token: $KONG_ADMIN_TOKEN" 'URL/shop/plugins/`},
		"a workspace below a path":  {"/admin", "/admin/shop", Config{Workspace: "shop", Token: "s3cret"}, nil, "'URL/admin/shop/plugins/"},
		"a token that sees only its workspace": {
			"", "/shop", Config{Workspace: "shop", Token: "s3cret"}, []string{"/shop/"}, "'URL/shop/plugins/",
		},
		"a Konnect": {
			"/v2/control-planes/5f1a/core-entities", "/v2/control-planes/5f1a/core-entities", Config{},
			[]string{"/v2/control-planes/5f1a/core-entities/", "/v2/control-planes/5f1a/core-entities/kong", "/v2/control-planes/5f1a/core-entities/schemas/plugins/validate"},
			"'URL/v2/control-planes/5f1a/core-entities/plugins/",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{Token: c.config.Token})
			b.exec = b.executor(Config{Token: c.config.Token})
			before := map[string]string{}
			for _, path := range []string{"/plugins", "/upstreams/orders-up/targets", "/routes"} {
				before[path] = b.ask(path, c.config.Token)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rest, ok := strings.CutPrefix(r.URL.Path, c.prefix)
				for _, hidden := range c.hides {
					ok = ok && r.URL.Path != hidden
				}
				if rest == "/kong" {
					rest = "/"
				}
				if !ok {
					http.Error(w, `{"message":"Not found"}`, http.StatusNotFound)
					return
				}
				r.URL.Path, r.URL.RawPath = rest, ""
				b.kong.Admin().ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			c.config.AdminURL = server.URL + c.base
			e, err := New(c.config)
			if err != nil {
				t.Fatal(err)
			}
			b.exec = e
			for _, r := range []*record{
				pluginAction("a-1", rateLimit(200)), divertAction("a-2"),
				weightAction("a-3", gatewarden.StepDrain, gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}),
			} {
				if err := e.Preflight(t.Context(), r.Spec); err != nil {
					t.Error(err)
				}
				out := b.mustRun(r)
				wantStatus(t, out, gatewarden.ActionApplied)
				if want := strings.ReplaceAll(c.undo, "URL", server.URL); r.Spec.Plugin != nil && !strings.Contains(out.Undo, want) {
					t.Errorf("undo %q has no %q", out.Undo, want)
				}
				wantStatus(t, b.mustRevert(r), gatewarden.ActionReverted)
			}
			for path, want := range before {
				if diff := cmp.Diff(want, b.ask(path, c.config.Token)); diff != "" {
					t.Errorf("%s: %s", path, diff)
				}
			}
		})
	}
}

// ask returns what the Admin API itself answers to whoever has the token.
func (b *bench) ask(path, token string) string {
	b.t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.Header.Set("Kong-Admin-Token", token)
	rec := httptest.NewRecorder()
	b.kong.Admin().ServeHTTP(rec, req)
	return untimed(b.t, rec.Body.Bytes())
}
