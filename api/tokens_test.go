package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhoBearsATokenIsLetIn(t *testing.T) {
	for sentence, c := range map[string]struct {
		authorization, target string
		users                 bool
		status                int
		want                  string
	}{
		"who bears one": {"Bearer of-jenkins", "/api/v1/status", false, 200, "inner"},
		"who bears one, where there are users too": {"Bearer of-jenkins", "/api/v1/status", true, 200, "inner"},
		"who bears another":                        {"Bearer of-nobody", "/api/v1/status", false, 401, "none of those"},
		"who bears another, where there are users": {"Bearer of-nobody", "/api/v1/status", true, 401, "none of those"},
		"who writes the scheme otherwise":          {"bearer of-jenkins", "/api/v1/status", false, 200, "inner"},
		"who bears an empty one":                   {"Bearer ", "/api/v1/status", false, 401, "none of those"},
		"who bears none":                           {"", "/api/v1/status", false, 401, "--token-file"},
		"who has a password that nobody looks at":  {"Basic YWRhOng=", "/api/v1/status", false, 401, "--token-file"},
		"who bears none, where there are users":    {"Basic YWRhOng=", "/api/v1/status", true, 200, "others"},
		"metrics":                                  {"", "/metrics", false, 401, "--token-file"},
		"a probe":                                  {"", "/-/ready", false, 200, "others"},
		"another probe":                            {"", "/-/healthy", false, 200, "others"},
		"a probe, where there are users":           {"", "/-/ready", true, 200, "others"},
		"an order that only looks like a probe":    {"", "/-/reload", false, 401, "--token-file"},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := &Tokens{
				All:   func() (map[string]string, error) { return map[string]string{"jenkins": "of-jenkins", "empty": ""}, nil },
				Inner: text("inner"), Others: text("others"), Users: func() bool { return c.users },
			}
			r := httptest.NewRequest("GET", c.target, nil)
			if c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, c.status, c.want)
			}
			if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("it does not say how: %v", w.Header())
			}
		})
	}
}

func TestTheTimelineSaysWhoseTokenItWas(t *testing.T) {
	for body, want := range map[string]string{
		`{"by":"ada","reason":"drill"}`:     "pause ada (token of jenkins) drill",
		`{"by":"jenkins","reason":"drill"}`: "pause jenkins drill",
		`{"reason":"drill"}`:                "pause jenkins drill",
	} {
		g := &guard{}
		h := &Tokens{All: func() (map[string]string, error) { return map[string]string{"jenkins": "of-jenkins"}, nil }, Inner: serve(g), Users: func() bool { return false }}
		r := httptest.NewRequest("POST", "/api/v1/pause", io.NopCloser(strings.NewReader(body)))
		r.Header.Set("Authorization", "Bearer of-jenkins")
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if diff := cmp.Diff([]string{want}, g.calls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}
