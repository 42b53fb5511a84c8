// Package page is the live page: what a person sees who opens the guard in a browser.
// It is files, embedded as they are written: HTML, CSS, JavaScript modules and a vendored
// chart library, with no build step and nothing loaded from elsewhere. The page asks the
// same JSON API as everybody else (package api) and knows nothing that it does not say;
// this package only serves the files.
//
// What a browser needs to show the first figures comes in one answer: the HTML carries the
// sheet, the modules as one script, and what the stream would say first. Whatever a browser
// asks for besides is another turn between its processes, which costs more than what it gets.
//
//	api.Server ── "/": HTML with an api.First ─────────────▶ static/js/live.js ──▶ views ──▶ the screen
//	           ── /api/v1/live (SSE), /api/v1/… ─────────────────▲
package page

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/gatewarden/gatewarden/api"
)

//go:embed static
var static embed.FS

// policy lets the page load and ask nothing but its own guard, and run no script that is not
// one of its files, or its own in the HTML, known by its digest: a name or a reason that is
// hostile stays a text.
const policy = "default-src 'none'; script-src 'self'%s; style-src 'self'%s; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Site is the page with its files.
type Site struct {
	files        map[string]*file
	before       []byte // the HTML up to what is shown first
	after        []byte
	policy       string // of the HTML
	policyOfFile string
	packers      sync.Pool // of *gzip.Writer
}

var _ api.Page = (*Site)(nil)

// Handler returns the page. Its files are part of the program, so what is wrong with one is a
// defect that every start of every test would show.
func Handler() *Site {
	root, err := fs.Sub(static, "static")
	if err != nil {
		panic("the page is not embedded: " + err.Error())
	}
	s := &Site{files: map[string]*file{}, policyOfFile: fmt.Sprintf(policy, "", "")}
	s.packers.New = func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a valid level
		return w
	}
	if err := s.assemble(root); err != nil {
		panic("the page cannot be put together: " + err.Error())
	}
	if err := s.load(root); err != nil {
		panic("the embedded page cannot be read: " + err.Error())
	}
	return s
}

// Where index.html leaves room.
const (
	roomForSheet  = "<style></style>"
	roomForFirst  = `<script type="application/json" id="first"></script>`
	roomForScript = "<script></script>"
)

// sheets are in the HTML, in this order.
var sheets = []string{"page.css", "vendor/uplot/uplot.min.css"}

// assemble puts sheets and modules into the HTML.
func (s *Site) assemble(root fs.FS) error {
	html, err := fs.ReadFile(root, "index.html")
	if err != nil {
		return err
	}
	var sheet strings.Builder
	for _, name := range sheets {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		sheet.Write(text)
	}
	script, err := join(root, "js/main.js")
	if err != nil {
		return err
	}
	if strings.Contains(script, "</script") || strings.Contains(script, "<!--") || strings.Contains(sheet.String(), "</style") {
		return fmt.Errorf("a module or a sheet has what would end it within HTML")
	}
	start, rest, style := strings.Cut(string(html), roomForSheet)
	middle, rest, first := strings.Cut(rest, roomForFirst)
	between, end, last := strings.Cut(rest, roomForScript)
	if !style || !first || !last {
		return fmt.Errorf("index.html has no room for %s, %s and %s, in this order", roomForSheet, roomForFirst, roomForScript)
	}
	data, closing, _ := strings.Cut(roomForFirst, "</")
	s.before = []byte(start + "<style>" + sheet.String() + "</style>" + middle + data)
	s.after = []byte("</" + closing + between + "<script>" + script + "</script>" + end)
	s.policy = fmt.Sprintf(policy, digest(script), digest(sheet.String()))
	return nil
}

// digest lets a policy know a text within the HTML.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// ServeHTTP answers with the files of the page, below "/page/".
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := s.files[strings.TrimPrefix(r.URL.Path, "/page/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	protect(w, s.policyOfFile)
	f.serve(w, r)
}

// Show answers with the page, and what it shows first. That is of now and of nobody else's
// business, so nobody keeps it.
func (s *Site) Show(w http.ResponseWriter, r *http.Request, first []byte) {
	protect(w, s.policy)
	h := w.Header()
	h.Set("Content-Type", types[".html"])
	h.Set("Cache-Control", "no-store")
	parts := [][]byte{s.before, first, s.after}
	if !takesGzip(r) {
		_, _ = w.Write(bytes.Join(parts, nil)) // a browser that is gone needs no page
		return
	}
	h.Set("Content-Encoding", "gzip")
	packer, _ := s.packers.Get().(*gzip.Writer)
	defer s.packers.Put(packer)
	packer.Reset(w)
	for _, part := range parts {
		_, _ = packer.Write(part)
	}
	_ = packer.Close()
	packer.Reset(io.Discard) // the answer is not kept
}

// protect sets what every answer of the page tells a browser.
func protect(w http.ResponseWriter, policy string) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Add("Vary", "Accept-Encoding")
}

func takesGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

// file is one file of the page, as it goes over the wire.
type file struct {
	contentType string
	tag         string // changes with the content
	plain       []byte
	packed      []byte // the same with gzip
}

// load reads the files that a browser asks for besides the HTML.
func (s *Site) load(root fs.FS) error {
	packer, _ := gzip.NewWriterLevel(nil, gzip.BestCompression) // the level is a valid one; a writer for each file would be megabytes
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) == ".html" || path.Ext(name) == ".css" || strings.HasPrefix(name, "js/") {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		s.files[name] = newFile(name, content, packer)
		return nil
	})
}

// types are those of the files here: a machine's own table may lack or twist them.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func newFile(name string, content []byte, packer *gzip.Writer) *file {
	sum := sha256.Sum256(content)
	f := &file{contentType: cmp.Or(types[path.Ext(name)], "text/plain; charset=utf-8"), tag: `"` + hex.EncodeToString(sum[:8]) + `"`, plain: content}
	var packed bytes.Buffer
	packer.Reset(&packed)
	_, _ = packer.Write(content) // to memory
	_ = packer.Close()
	f.packed = packed.Bytes()
	return f
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache") // asked for anew each time, and sent only when it is another
	body := f.plain
	tag := f.tag
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body, tag = f.packed, strings.TrimSuffix(f.tag, `"`)+`-gz"`
	}
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(body)
}
