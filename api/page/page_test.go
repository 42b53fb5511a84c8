package page_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
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

// shownPage asks for the page as the API has it shown.
func shownPage(first string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	page.Handler().Show(w, r, []byte(first))
	return w
}

// source returns the text of a file of the page, as it is written.
func source(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("static", name))
	check(t, err)
	return string(text)
}

// sources are the paths of all files that the page is made of.
func sources(t *testing.T) (list []string) {
	t.Helper()
	err := filepath.WalkDir("static", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(filepath.ToSlash(name), "static/"))
		}
		return err
	})
	if err != nil || len(list) < 10 {
		t.Fatalf("%d files found: %v", len(list), err)
	}
	return list
}

// asked are the files that a browser asks for besides the page itself.
var asked = []string{"/page/icon.svg", "/page/vendor/uplot/uplot.min.js", "/page/vendor/uplot/LICENSE"}

func TestEveryFileIsServedWithItsTypeAndThePolicy(t *testing.T) {
	site := page.Handler()
	answers := map[string]*httptest.ResponseRecorder{"/": shownPage("{}")}
	for _, path := range asked {
		answers[path] = get(t, site, path)
	}
	for path, w := range answers {
		h := w.Header()
		if w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'; script-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: a browser may guess its type", path)
		}
		if want := map[string]string{".js": "text/javascript", ".svg": "image/svg+xml", "": "text/"}[filepath.Ext(path)]; !strings.HasPrefix(h.Get("Content-Type"), want) {
			t.Errorf("%s is a %s", path, h.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/page/nope.js", "/page/../page.go", "/page/index.html", "/page/js/main.js"} {
		if w := get(t, site, path); w.Code != 404 {
			t.Errorf("%s, which nothing asks for, is %d", path, w.Code)
		}
	}
}

// A sheet or a script within the HTML is let run by its digest, and there is one of each.
func TestThePolicyKnowsWhatIsWithinThePage(t *testing.T) {
	w := shownPage(`{"a":"\u003c/script>"}`)
	policy := w.Header().Get("Content-Security-Policy")
	for tag, directive := range map[string]string{"script": "script-src 'self'", "style": "style-src 'self'"} {
		parts := strings.Split(w.Body.String(), "<"+tag+">")
		if len(parts) != 2 {
			t.Fatalf("%d of <%s>", len(parts)-1, tag)
		}
		text, _, _ := strings.Cut(parts[1], "</"+tag+">")
		sum := sha256.Sum256([]byte(text))
		if want := directive + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; len(text) < 1000 || !strings.Contains(policy, want) {
			t.Errorf("of the %d bytes in <%s> the policy %q does not know %q", len(text), tag, policy, want)
		}
	}
	if css := source(t, "page.css"); !strings.Contains(w.Body.String(), css) {
		t.Error("the sheet within the page is another than page.css")
	}
}

func TestThePageComesWithWhatItShowsFirst(t *testing.T) {
	for want, w := range map[string]*httptest.ResponseRecorder{
		`<script type="application/json" id="first">{"status":{}}</script>`: shownPage(`{"status":{}}`),
		`<script type="application/json" id="first"></script>`:              shownPage(""),
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("there is no %s in the page", want)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("the state of the guard may be kept: %q", got)
		}
	}
}

// The whole page must stay small enough for a phone in the night.
const mostBytes = 200_000

func TestThePageIsSmallOverTheWire(t *testing.T) {
	site := page.Handler()
	sum := 0
	for _, path := range append(asked, "/") {
		ask := func(headers ...string) *httptest.ResponseRecorder {
			if path == "/" {
				return shownPage("{}", headers...)
			}
			return get(t, site, path, headers...)
		}
		w := ask("Accept-Encoding", "gzip, br")
		if w.Header().Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(w.Header().Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("%s is not compressed", path)
		}
		sum += w.Body.Len()
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(z)
		if plain := ask().Body.String(); err != nil || string(unpacked) != plain {
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
	first := get(t, site, "/page/icon.svg", "Accept-Encoding", "gzip")
	again := get(t, site, "/page/icon.svg", "Accept-Encoding", "gzip", "If-None-Match", first.Header().Get("ETag"))
	if again.Code != 304 || again.Body.Len() != 0 {
		t.Errorf("%d with %d bytes, want 304 without any", again.Code, again.Body.Len())
	}
	if other := get(t, site, "/page/icon.svg", "If-None-Match", first.Header().Get("ETag")); other.Code != 200 {
		t.Errorf("the tag of the compressed file is taken for the plain one: %d", other.Code)
	}
}

// elsewhere finds what would be loaded from another place, and scripts in the markup.
var elsewhere = regexp.MustCompile(`(?i)(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(\s*["']?(?:https?:)?//|\son\w+\s*=\s*["']`)

func TestNothingIsLoadedFromElsewhere(t *testing.T) {
	for _, name := range sources(t) {
		if strings.HasSuffix(name, ".html") || strings.HasSuffix(name, ".css") {
			if found := elsewhere.FindString(source(t, name)); found != "" {
				t.Errorf("%s: %s", name, found)
			}
		}
	}
	if !elsewhere.MatchString(`<link href="https://cdn.example/x.css">`) || !elsewhere.MatchString(`<a onclick="x()">`) {
		t.Error("the test does not see what it looks for")
	}
}

// What is written and not sent is dead, or was forgotten.
func TestEveryModuleIsInThePage(t *testing.T) {
	html, seen := shownPage("").Body.String(), 0
	for _, name := range sources(t) {
		if !strings.HasPrefix(name, "js/") {
			continue
		}
		seen++
		if n := strings.Count(html, "\n// "+name+"\n"); n != 1 {
			t.Errorf("%s is %d times in the page", name, n)
		}
	}
	if seen < 8 {
		t.Fatalf("only %d modules found", seen)
	}
}
