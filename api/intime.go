package api

import (
	"net/http"
	"time"
)

// partSize is how much of an answer must be read within one time limit, in bytes: whoever
// reads 3.3 kB a second gets any answer whole.
const partSize = 64 << 10

// inTime lets nobody who does not read an answer of h keep a connection, and what works on
// it, for good. How long h takes is its own affair: only what is written must be read, each
// part within so long.
func inTime(h http.Handler, within time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := limited{stream{w, http.NewResponseController(w), within}}
		_ = answer.limit(time.Time{})                               // that of the answer before, or of the server
		defer func() { _ = answer.limit(time.Now().Add(within)) }() // the rest of it is sent when h is through
		h.ServeHTTP(answer, r)
	})
}

// limited is an answer that must be read in time.
type limited struct{ stream }

func (l limited) Header() http.Header    { return l.w.Header() }
func (l limited) WriteHeader(status int) { l.w.WriteHeader(status) }

// Unwrap is for http.ResponseController.
func (l limited) Unwrap() http.ResponseWriter { return l.w }

// Write writes in time, or not.
func (l limited) Write(p []byte) (n int, err error) {
	for {
		if err := l.limit(time.Now().Add(l.within)); err != nil {
			return n, err
		}
		m, err := l.w.Write(p[n:min(len(p), n+partSize)])
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError sends what is written.
func (l limited) FlushError() error { return l.write("") }
