package page_test

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden/api/page"
)

func get(t *testing.T, h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// files are the paths of all files of the page, as a browser asks for them.
func files(t *testing.T) []string {
	t.Helper()
	list := []string{"/"}
	err := filepath.WalkDir("static", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, "/page/"+strings.TrimPrefix(filepath.ToSlash(name), "static/"))
		}
		return err
	})
	if err != nil || len(list) < 10 {
		t.Fatalf("%d files found: %v", len(list), err)
	}
	return list
}

func TestEveryFileIsServedWithItsTypeAndThePolicy(t *testing.T) {
	site := page.Handler()
	for _, path := range files(t) {
		w := get(t, site, path)
		h := w.Header()
		if w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: a browser may guess its type", path)
		}
		if want := map[string]string{".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", "": "text/"}[filepath.Ext(path)]; !strings.HasPrefix(h.Get("Content-Type"), want) {
			t.Errorf("%s is a %s", path, h.Get("Content-Type"))
		}
	}
	if w := get(t, site, "/page/nope.js"); w.Code != 404 {
		t.Errorf("what is not there is %d", w.Code)
	}
	if w := get(t, site, "/page/../page.go"); w.Code != 404 {
		t.Errorf("what is beside it is %d", w.Code)
	}
}

// The whole page must stay small enough for a phone in the night.
const mostBytes = 200_000

func TestThePageIsSmallOverTheWire(t *testing.T) {
	site := page.Handler()
	sum := 0
	for _, path := range files(t) {
		w := get(t, site, path, "Accept-Encoding", "gzip, br")
		if w.Header().Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(w.Header().Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("%s is not compressed", path)
		}
		sum += w.Body.Len()
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(z)
		if plain := get(t, site, path).Body.String(); err != nil || string(unpacked) != plain {
			t.Errorf("%s: compressed it is another file (%v)", path, err)
		}
	}
	t.Logf("%d bytes over the wire", sum)
	if sum > mostBytes {
		t.Errorf("%d bytes over the wire, at most %d", sum, mostBytes)
	}
}

func TestAFileThatTheBrowserHasIsNotSentAgain(t *testing.T) {
	site := page.Handler()
	first := get(t, site, "/page/page.css", "Accept-Encoding", "gzip")
	again := get(t, site, "/page/page.css", "Accept-Encoding", "gzip", "If-None-Match", first.Header().Get("ETag"))
	if again.Code != 304 || again.Body.Len() != 0 {
		t.Errorf("%d with %d bytes, want 304 without any", again.Code, again.Body.Len())
	}
	if other := get(t, site, "/page/page.css", "If-None-Match", first.Header().Get("ETag")); other.Code != 200 {
		t.Errorf("the tag of the compressed file is taken for the plain one: %d", other.Code)
	}
}

// elsewhere finds what would be loaded from another place, and scripts in the markup.
var elsewhere = regexp.MustCompile(`(?i)(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(\s*["']?(?:https?:)?//|<script>|\son\w+\s*=\s*["']`)

func TestNothingIsLoadedFromElsewhere(t *testing.T) {
	site := page.Handler()
	for _, path := range files(t) {
		if strings.HasSuffix(path, ".html") || strings.HasSuffix(path, ".css") || path == "/" {
			if found := elsewhere.FindString(get(t, site, path).Body.String()); found != "" {
				t.Errorf("%s: %s", path, found)
			}
		}
	}
	if !elsewhere.MatchString(`<link href="https://cdn.example/x.css">`) || !elsewhere.MatchString(`<a onclick="x()">`) {
		t.Error("the test does not see what it looks for")
	}
}

var imported = regexp.MustCompile(`(?m)^import .* from "(\.[^"]+)";$`)

// A module that the page does not announce would be found only when the one that imports
// it has come, which costs a round trip.
func TestEveryModuleIsAnnouncedInTheHead(t *testing.T) {
	site := page.Handler()
	index := get(t, site, "/").Body.String()
	seen := 0
	for _, path := range files(t) {
		if !strings.HasPrefix(path, "/page/js/") {
			continue
		}
		seen++
		if !strings.Contains(index, `"`+strings.TrimPrefix(path, "/")+`"`) {
			t.Errorf("index.html does not name %s", path)
		}
		for _, m := range imported.FindAllStringSubmatch(get(t, site, path).Body.String(), -1) {
			if to := filepath.Join("static", strings.TrimPrefix(filepath.Dir(path), "/page/"), m[1]); !exists(to) {
				t.Errorf("%s imports %s, which is not there", path, m[1])
			}
		}
	}
	if seen < 8 {
		t.Fatalf("only %d modules found", seen)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
