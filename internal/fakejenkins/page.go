package fakejenkins

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
)

// page answers as Jenkins does to a person: in HTML, also where a program asked.
func page(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/html;charset=utf-8")
	w.WriteHeader(status)
	title := "Jenkins"
	if status >= http.StatusBadRequest {
		title = fmt.Sprintf("Error %d %s", status, http.StatusText(status))
	}
	fmt.Fprintf(w, "<html><head><title>%[1]s</title></head><body><h1>%[1]s</h1><p>%[2]s</p></body></html>", title, message)
}

func notFound(w http.ResponseWriter, r *http.Request) {
	page(w, http.StatusNotFound, "Not Found: "+r.URL.EscapedPath())
}

func denied(w http.ResponseWriter, who user, p Permission) {
	h := w.Header()
	h.Set("X-You-Are-Authenticated-As", who.displayName())
	h.Set("X-Required-Permission", string(p))
	h.Add("X-Permission-Implied-By", "hudson.security.Permission.GenericUpdate")
	h.Add("X-Permission-Implied-By", "hudson.model.Hudson.Administer")
	page(w, http.StatusForbidden, who.displayName()+" is missing the permission "+string(p))
}

func requirePOST(w http.ResponseWriter) {
	w.Header().Set("Allow", http.MethodPost)
	page(w, http.StatusMethodNotAllowed, "This URL requires POST")
}

func redirect(w http.ResponseWriter, status int, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

// recorder keeps an answer until it is known what becomes of it.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

// Header returns the answer's headers.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader keeps the first status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write keeps b.
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, b...)
	return len(b), nil
}

func (r *recorder) copyTo(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(max(r.status, http.StatusOK))
	_, _ = w.Write(r.body)
}
