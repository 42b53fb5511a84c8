package fakekong

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

type counter struct{ atomic.Int64 }

// hopHeaders are not handed on by a proxy.
var hopHeaders = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// maxProxyBody bounds a request's body, which is kept for retries.
const maxProxyBody = 32 << 20

// exchange is one request on its way through the proxy, and all that its log line
// tells.
type exchange struct {
	k          *Kong
	w          http.ResponseWriter
	r          *http.Request
	view       *view
	id         string
	worker     int
	started    time.Time
	body       []byte
	route      entity
	service    entity
	consumer   entity
	credential entity
	strip      string // the part of the path that the route matched

	headers     http.Header // to be added to the response: those of plugins
	upstreamURI string
	tries       []entity  // nil when nothing was ever tried, [] when the request got as far as a service
	codes       []string  // of the tries, for upstream_status
	lastTry     time.Time // when the last try began
	firstByte   time.Time // when its response's head was there
	status      int
	source      string // kong or upstream
	respHeader  http.Header
	respSize    int
}

// Proxy returns the proxy side: what clients of the gateway talk to.
func (k *Kong) Proxy() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.requests.Add(1)
		x := &exchange{k: k, w: w, r: r, started: k.cfg.Now(), headers: http.Header{}, source: "kong"}
		k.mu.Lock()
		x.worker = k.workerOf(r)
		x.view = k.viewOf(x.worker, x.started)
		x.id = strings.ReplaceAll(k.newUUID(), "-", "")
		k.mu.Unlock()
		x.serve()
		x.account()
	})
}

func (x *exchange) serve() {
	m := x.view.route(x.r)
	if m == nil {
		x.exit(http.StatusNotFound, x.message("no Route matched with those values"), "")
		return
	}
	x.route, x.strip, x.tries = m.route, m.prefix, []entity{}
	x.service = x.view.tables["services"][refID(x.route, "service")]
	x.upstreamURI = x.rewrite()
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxProxyBody))
	if err != nil {
		x.exit(http.StatusBadRequest, fmt.Sprintf("Bad request\nrequest_id: %s\n", x.id), plainType)
		return
	}
	x.body = body
	if x.access() {
		return
	}
	if x.service == nil {
		x.exit(http.StatusServiceUnavailable, x.message("no Service found with those values"), "")
		return
	}
	x.balance()
}

const (
	jsonType  = "application/json; charset=utf-8"
	plainType = "text/plain; charset=utf-8"
)

// message is the body of Kong's own errors.
func (x *exchange) message(text string) string {
	return fmt.Sprintf("{\n  \"message\":%s,\n  \"request_id\":\"%s\"\n}", appendString(nil, text), x.id)
}

// exit answers in the place of the upstream, before anything was proxied.
func (x *exchange) exit(status int, body, contentType string) {
	if contentType == "" {
		contentType = jsonType
	}
	h := x.headers.Clone()
	h.Set("Content-Type", contentType)
	h.Set("X-Kong-Response-Latency", milliseconds(x.k.cfg.Now().Sub(x.started)))
	h.Set("Server", "kong/3.9.1")
	x.respond(status, h, []byte(body))
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// respond writes a whole response and remembers it for the log.
func (x *exchange) respond(status int, h http.Header, body []byte) {
	h.Set("X-Kong-Request-Id", x.id)
	if x.r.Method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified {
		h.Set("Content-Length", fmt.Sprint(len(body)))
	}
	maps.Copy(x.w.Header(), h)
	x.status, x.respHeader = status, h
	x.respSize = headSize(h) + len(body)
	if status < 100 || status > 999 {
		status = http.StatusBadGateway // net/http can't send it; the log still tells what came
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // the client's loss
}

// headSize is about what a head of these headers takes on the wire.
func headSize(h http.Header) int {
	n := len("HTTP/1.1 200 OK\r\n\r\n")
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// rewrite returns the URI that the upstream is asked for.
func (x *exchange) rewrite() string {
	path := x.r.URL.Path
	if x.route["strip_path"] == true && x.strip != "/" {
		path = strings.TrimPrefix(path, x.strip)
	}
	base := ""
	if x.service != nil {
		base, _ = x.service["path"].(string)
	}
	path = strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(path, "/")
	if path != "/" && strings.TrimPrefix(x.r.URL.Path, x.strip) == "" && base != "" {
		path = strings.TrimSuffix(path, "/")
	}
	u := url.URL{Path: path, RawQuery: x.r.URL.RawQuery}
	return u.RequestURI()
}

// balance tries peers until one answers or the retries are used up.
func (x *exchange) balance() {
	retries := 5
	if n, ok := x.service["retries"].(float64); ok {
		retries = int(n)
	}
	for {
		before := x.k.cfg.Now()
		p, up, err := x.k.pickPeer(x.service, x.worker)
		if err != nil {
			x.noPeer(err)
			return
		}
		if x.try(p, up, before, len(x.tries) < retries) {
			return
		}
	}
}

// noPeer answers when the balancer has nobody to ask.
func (x *exchange) noPeer(err error) {
	if len(x.tries) == 0 {
		x.exit(http.StatusServiceUnavailable, x.message(err.Error()), "")
		return
	}
	now := x.k.cfg.Now()
	x.codes[len(x.codes)-1] += " : "
	x.tries = append(x.tries, entity{"balancer_start": float64(now.UnixMilli()), "balancer_start_ns": float64(now.UnixNano())})
	x.failed(http.StatusServiceUnavailable, "The upstream server is currently unavailable")
}

// try asks one peer. It reports false when the next one should be asked.
func (x *exchange) try(p *peer, up entity, before time.Time, more bool) (done bool) {
	now := x.k.cfg.Now()
	attempt := entity{
		"balancer_start": float64(before.UnixMilli()), "balancer_start_ns": float64(before.UnixNano()),
		"balancer_latency": float64(now.UnixMilli() - before.UnixMilli()), "balancer_latency_ns": float64(now.Sub(before).Nanoseconds() &^ 0xff),
		"ip": p.ip, "port": float64(p.port),
	}
	x.tries = append(x.tries, attempt)
	x.lastTry = now
	resp, sent, err := x.roundTrip(p)
	if err == nil {
		defer func() { _ = resp.Body.Close() }() // read to its end or given up
		x.k.report(up, p.target, resp.StatusCode)
		x.codes = append(x.codes, fmt.Sprint(resp.StatusCode))
		x.relay(resp)
		return true
	}
	if x.r.Context().Err() != nil {
		x.codes = append(x.codes, "-")
		x.status, x.source, x.respHeader = 499, "upstream", http.Header{"Connection": {"keep-alive"}}
		return true
	}
	code, text := http.StatusBadGateway, "An invalid response was received from the upstream server"
	seen := 0
	if errors.As(err, new(timeoutError)) {
		code, text, seen = http.StatusGatewayTimeout, "The upstream server is timing out", -1
	}
	x.k.report(up, p.target, seen)
	x.codes = append(x.codes, fmt.Sprint(code))
	// nginx does not repeat a request that may already have changed something.
	once := sent && !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace}, x.r.Method)
	if !once {
		attempt["state"], attempt["code"] = "failed", float64(code)
	}
	if more && !once {
		return false
	}
	x.failed(code, text)
	return true
}

func (k *Kong) report(up, target entity, code int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.observe(up, target, code)
}

// failed answers when the tries came to nothing.
func (x *exchange) failed(status int, text string) {
	now := x.k.cfg.Now()
	x.firstByte = now
	body, ctype := fmt.Sprintf("%s\nrequest_id: %s\n", text, x.id), plainType
	if strings.Contains(x.r.Header.Get("Accept"), "application/json") {
		body, ctype = x.message(text), jsonType
	}
	h := x.headers.Clone()
	h.Set("Content-Type", ctype)
	h.Set("Server", "kong/3.9.1")
	x.stampLatencies(h)
	x.respond(status, h, []byte(body))
}

func (x *exchange) stampLatencies(h http.Header) {
	h.Set("Via", "1.1 kong/3.9.1")
	h.Set("X-Kong-Upstream-Latency", milliseconds(x.firstByte.Sub(x.lastTry)))
	h.Set("X-Kong-Proxy-Latency", milliseconds(x.lastTry.Sub(x.started)))
}

// roundTrip sends the request to the peer, with the service's timeouts, and says
// whether it left for it. As in nginx, the read timeout is between two reads.
func (x *exchange) roundTrip(p *peer) (resp *http.Response, sent bool, err error) {
	timeout := func(name string) time.Duration {
		ms, set := x.service[name].(float64)
		if !set {
			return time.Minute
		}
		return time.Duration(ms) * time.Millisecond
	}
	read := timeout("read_timeout")
	ctx, cancel := context.WithCancelCause(x.r.Context())
	timer := time.AfterFunc(timeout("connect_timeout"), func() { cancel(timeoutError{}) })
	release := func() { timer.Stop(); cancel(nil) }
	var wrote atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { timer.Reset(read) },
		WroteRequest: func(httptrace.WroteRequestInfo) { wrote.Store(true) },
	})
	req, err := http.NewRequestWithContext(traced, x.r.Method, "http://"+p.address()+x.upstreamURI, newReader(x.body))
	if err != nil {
		release()
		return nil, false, err
	}
	req.Header = x.forwardHeaders()
	req.Host = p.address()
	if x.route["preserve_host"] == true {
		req.Host = x.r.Host
	}
	resp, err = x.k.transport.RoundTrip(req)
	if err != nil {
		if errors.As(context.Cause(ctx), new(timeoutError)) {
			err = timeoutError{}
		}
		release()
		return nil, wrote.Load(), err
	}
	resp.Body = &upstreamBody{ReadCloser: resp.Body, progress: func() { timer.Reset(read) }, release: release}
	return resp, true, nil
}

// timeoutError is a peer's silence.
type timeoutError struct{}

func (timeoutError) Error() string { return "the upstream timed out" }

// upstreamBody keeps the read timeout going, and frees what the request holds
// when it is closed.
type upstreamBody struct {
	io.ReadCloser
	progress, release func()
}

func (b *upstreamBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		b.progress()
	}
	return n, err
}

func (b *upstreamBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

func newReader(b []byte) io.Reader {
	if len(b) == 0 {
		return http.NoBody
	}
	return strings.NewReader(string(b))
}

func (x *exchange) forwardHeaders() http.Header {
	h := x.r.Header.Clone()
	for _, name := range hopHeaders {
		h.Del(name)
	}
	ip, _, _ := net.SplitHostPort(x.r.RemoteAddr)
	forwarded := ip
	if before := h.Get("X-Forwarded-For"); before != "" {
		forwarded = before + ", " + ip
	}
	h.Set("X-Forwarded-For", forwarded)
	h.Set("X-Forwarded-Proto", "http")
	h.Set("X-Forwarded-Host", x.r.Host)
	h.Set("X-Forwarded-Path", x.r.URL.Path)
	h.Set("X-Real-Ip", x.clientIP())
	h.Set("X-Kong-Request-Id", x.id)
	if x.consumer != nil {
		if name, ok := x.consumer["username"].(string); ok {
			h.Set("X-Consumer-Username", name)
		}
		h.Set("X-Consumer-Id", x.consumer["id"].(string))
	}
	return h
}

// clientIP is what Kong takes for the client's address; it trusts X-Real-IP from
// anybody here, as the captured one was told to.
func (x *exchange) clientIP() string {
	if ip := x.r.Header.Get("X-Real-Ip"); ip != "" && net.ParseIP(ip) != nil {
		return ip
	}
	ip, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		return x.r.RemoteAddr
	}
	return ip
}

// relay hands an upstream's response to the client.
func (x *exchange) relay(resp *http.Response) {
	x.firstByte = x.k.cfg.Now()
	x.source = "upstream"
	h := resp.Header.Clone()
	for _, name := range hopHeaders {
		h.Del(name)
	}
	maps.Copy(h, x.headers)
	h.Set("X-Kong-Request-Id", x.id)
	x.stampLatencies(h)
	maps.Copy(x.w.Header(), h)
	x.status, x.respHeader = resp.StatusCode, h
	x.w.WriteHeader(resp.StatusCode)
	n, _ := io.Copy(x.w, resp.Body) // a response cut short is the client's to see
	x.respSize = headSize(h) + int(n)
}
