package app

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestAPostThatNoSourceTakesIsTold posts where a mistyped http_endpoint leads. Kong logs no
// more than "404", so the guard has to say what is wrong, and not once for each batch.
func TestAPostThatNoSourceTakesIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		paths []string
		path  string
		says  string
	}{
		"one letter is missing": {[]string{"/ingest/kong", "/api/v2/spans"}, "/ingest/kon", "the sources here take /ingest/kong, /api/v2/spans"},
		"there is no source":    {nil, "/ingest/kong", "no source of gatewarden.yaml listens here"},
		"a path without an end": {[]string{"/ingest/kong"}, "/" + strings.Repeat("x", 5000), "xx… ("},
	} {
		t.Run(name, func(t *testing.T) {
			mux, log := http.NewServeMux(), &bytes.Buffer{}
			for _, p := range c.paths {
				mux.HandleFunc(p, func(http.ResponseWriter, *http.Request) {})
			}
			now := noon
			in := &ingest{sources: mux, paths: c.paths, log: slog.New(slog.NewTextHandler(log, nil)), now: func() time.Time { return now }}
			post := func(path string) *httptest.ResponseRecorder {
				rec := httptest.NewRecorder()
				in.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader("[]")))
				return rec
			}
			for range 3 {
				rec := post(c.path)
				var answer struct {
					Error struct{ Code, Message, Hint string }
				}
				if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusNotFound || answer.Error.Code != "not_found" || answer.Error.Hint == "" {
					t.Fatalf("%d %s %v", rec.Code, rec.Body, err)
				}
			}
			if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), c.says) || log.Len() > 1000 {
				t.Errorf("three posts at once make %d lines:\n%s\nwant one that says %q", lines, log, c.says)
			}
			log.Reset()
			for _, p := range c.paths {
				if rec := post(p); rec.Code != http.StatusOK || log.Len() > 0 {
					t.Errorf("%s is a source's: %d %s", p, rec.Code, log)
				}
			}
			now = now.Add(time.Minute)
			if post(c.path); !strings.Contains(log.String(), "refused_before_unlogged=2") {
				t.Errorf("after a minute it is told again, with how many were held back: %s", log)
			}
		})
	}
}
