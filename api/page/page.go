// Package page is the live page: what a person sees who opens the guard in a browser.
// It is files, embedded as they are written: HTML, CSS, JavaScript modules and a vendored
// chart library, with no build step and nothing loaded from elsewhere. The page asks the
// same JSON API as everybody else (package api) and knows nothing that it does not say;
// this package only serves the files.
//
//	api.Server ── /api/v1/live (SSE), /api/v1/… ──▶ static/js/live.js ──▶ views ──▶ the screen
package page

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// contentSecurityPolicy lets the page load and ask nothing but its own guard, and run no
// script that is not one of its files: a name or a reason that is hostile stays a text.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page itself at "/" and its files below "/page/".
func Handler() http.Handler {
	files := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, below := strings.CutPrefix(r.URL.Path, "/page/")
		if !below {
			name = "index.html"
		}
		f, ok := files[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	})
}

// file is one file of the page, as it goes over the wire.
type file struct {
	contentType string
	tag         string // changes with the content
	plain       []byte
	packed      []byte // the same with gzip
}

// load reads the embedded files. They are part of the program, so what is wrong with one
// is a defect that every start of every test would show.
func load() map[string]*file {
	files := map[string]*file{}
	packer, _ := gzip.NewWriterLevel(nil, gzip.BestCompression) // the level is a valid one; a writer for each file would be megabytes
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		files[strings.TrimPrefix(name, "static/")] = newFile(name, content, packer)
		return nil
	})
	if err != nil {
		panic("the embedded page cannot be read: " + err.Error())
	}
	return files
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
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // asked for anew each time, and sent only when it is another
	h.Add("Vary", "Accept-Encoding")
	body := f.plain
	tag := f.tag
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
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
