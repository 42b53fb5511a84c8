package fakekong

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAdminBody bounds what the Admin API reads of a request.
const maxAdminBody = 16 << 20

// maxCalls is how many calls are remembered; beyond it the older half is forgotten.
const maxCalls = 100_000

// reply is an answer of the Admin API.
type reply struct {
	status int
	body   any    // nil for none
	text   string // instead of body
	ctype  string // of text
	allow  string // for OPTIONS
}

func ok(body any) reply { return reply{status: http.StatusOK, body: body} }

func refuse(r *refusal) reply { return reply{status: r.status, body: r.body()} }

// answer makes a reply of what a write returned.
func answer(status int, e entity, refused *refusal) reply {
	if refused != nil {
		return refuse(refused)
	}
	if e == nil {
		return reply{status: status}
	}
	return reply{status: status, body: e}
}

// ask is one request to the Admin API, taken apart.
type ask struct {
	method string
	path   []string // unescaped segments
	query  url.Values
	ctype  string
	raw    []byte
	body   entity // of POST, PUT and PATCH
}

// Admin returns the Admin API, /metrics included.
func (k *Kong) Admin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			k.serveMetrics(w)
			return
		}
		begun := k.cfg.Now()
		call := Call{At: begun, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
		call.Body = string(body)
		defer k.note(&call)
		if !k.suffer(w, r) {
			return
		}
		rep := k.admit(r, body, err)
		call.Status = rep.status
		k.write(w, r, rep, k.cfg.Now().Sub(begun))
	})
}

func (k *Kong) note(c *Call) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.calls) >= maxCalls {
		k.calls = append([]Call(nil), k.calls[maxCalls/2:]...)
	}
	k.calls = append(k.calls, *c)
}

// suffer lets the faults in force happen, and reports whether the request still
// gets an answer.
func (k *Kong) suffer(w http.ResponseWriter, r *http.Request) bool {
	k.mu.Lock()
	f := k.faults
	k.mu.Unlock()
	switch {
	case f.Hang:
		k.sleep(r.Context(), -1)
		return false
	case f.Reset:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close() // the point is that nothing comes
		}
		return false
	case f.Delay > 0:
		return k.sleep(r.Context(), f.Delay)
	}
	return true
}

// sleep waits for d, or forever when it is negative; false when the client or the
// gateway went away first.
func (k *Kong) sleep(ctx context.Context, d time.Duration) bool {
	var over <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
		return true
	case <-ctx.Done():
	case <-k.ctx.Done():
	}
	return false
}

// admit takes a request apart and answers it.
func (k *Kong) admit(r *http.Request, body []byte, readErr error) reply {
	if readErr != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(readErr, &tooLarge) {
			return reply{status: http.StatusRequestEntityTooLarge, text: htmlPage(http.StatusRequestEntityTooLarge), ctype: htmlType}
		}
		return refuse(badRequest(0, "", "Cannot parse JSON body", nil))
	}
	a := ask{method: r.Method, query: r.URL.Query(), ctype: r.Header.Get("Content-Type"), raw: body}
	for segment := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		s, err := url.PathUnescape(segment)
		if err != nil {
			return refuse(notFound())
		}
		a.path = append(a.path, s)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.faults.Status != 0 {
		return refuse(&refusal{status: k.faults.Status, message: "An unexpected error occurred"})
	}
	if k.cfg.Token != "" && r.Header.Get("Kong-Admin-Token") != k.cfg.Token {
		if r.Header.Get("Kong-Admin-Token") == "" {
			return refuse(&refusal{status: http.StatusUnauthorized, message: "Invalid credentials. Token or User credentials required"})
		}
		return refuse(&refusal{status: http.StatusForbidden, message: "Unauthorized"})
	}
	return k.answer(a)
}

// write sends a reply with Kong's headers.
func (k *Kong) write(w http.ResponseWriter, r *http.Request, rep reply, took time.Duration) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("X-Kong-Admin-Latency", strconv.FormatInt(took.Milliseconds(), 10))
	h.Set("Server", "kong/3.9.1")
	if rep.allow != "" {
		h.Set("Allow", rep.allow)
		h.Set("Access-Control-Allow-Methods", rep.allow)
		h.Set("Access-Control-Allow-Headers", "Content-Type")
	}
	var b []byte
	switch {
	case rep.text != "":
		h.Set("Content-Type", rep.ctype)
		b = []byte(rep.text)
	case rep.body != nil:
		h.Set("Content-Type", "application/json; charset=utf-8")
		b = appendJSON(nil, rep.body)
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if len(b) == 0 {
		h["Content-Length"] = nil
	}
	w.WriteHeader(rep.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // the client's loss
	}
}

const htmlType = "text/html; charset=UTF-8"

// htmlPage is the page that Kong answers with where the framework below it does.
func htmlPage(status int) string {
	title := strconv.Itoa(status) + " " + http.StatusText(status)
	return "<html>\n<head><title>" + title + "</title></head>\n<body>\n<center><h1>" + title + "</h1></center>\n</body>\n</html>\n"
}
