// Package posts answers the posts of Kong's http-log, one record in each by default,
// without what net/http does for requests of any kind. It stands between the ingest
// listener and the server:
//
//	Kong ──▶ Listener ──a plain post──▶ Handler (the source httplog) ──▶ sink
//	             └──anything else, with the connection──▶ net/http's server
//
// A post is plain when net/http could not read it in any other way: HTTP/1.1, a path of
// harmless characters, one Content-Length, one Host, nothing that changes how the body is
// to be read, and a body of at most Largest. Whatever is not so clear is not judged here: the
// connection goes to net/http for good, with every byte that was read, and so does one
// whose body the handler does not take. So there is one way to refuse, and one to be slow.
package posts

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden/collector"
)

// Handler is a handler of the server's mux that can answer a post by its body alone.
type Handler interface {
	http.Handler
	// Buffer returns memory for a body of n bytes, and what gives it back; nil when the
	// body is too large, or too many are there.
	Buffer(n int) (body []byte, free func())
	// Post takes a body and appends what is to be answered with a 200, as JSON. With
	// false ServeHTTP is to take the body once more, which does nothing twice, and to say
	// what is wrong with it. It must not keep body.
	Post(ctx context.Context, body, answer []byte, client net.Addr) ([]byte, bool)
}

const (
	// Room is how large a post is, head and body, that is read into the memory of its
	// connection, which is as much as one of net/http's has. Of the records that were
	// captured from Kong the longest has 6,473 bytes.
	Room = 8 << 10
	// Largest is the largest body that is answered here: batches of 200 records or so.
	Largest = 512 << 10
	// bodyWithin is how long the rest of such a body may take.
	bodyWithin = 10 * time.Second
	// idleFor is how long a connection may say nothing.
	idleFor = 2 * time.Minute
	// idleSlack is by how much less that may be: it spares setting a timer for each post.
	idleSlack = 15 * time.Second
	// closeWithin is how long Close waits for posts that are being answered.
	closeWithin = 3 * time.Second
)

// Config is how a Listener is set up.
type Config struct {
	MaxConnections int // beyond it, new ones are closed; those of net/http count, too
	Log            *slog.Logger
	Metrics        prometheus.Registerer
	Now            func() time.Time
}

// Listener answers plain posts on the connections of another listener, and hands the
// other connections on.
type Listener struct {
	net.Listener
	mux *http.ServeMux
	log *slog.Logger
	now func() time.Time

	ctx    context.Context // ends when nothing is to be waited for any more
	cancel context.CancelFunc
	others chan net.Conn // for net/http
	failed chan error    // from the other listener's Accept
	closed chan struct{}
	date   atomic.Pointer[date]

	mu      sync.Mutex
	conns   map[*conn]struct{} // nil once it is closed
	serving sync.WaitGroup
}

// Listen begins to answer the posts that come in at l to the Handlers of mux. The
// listener it returns is for a server that serves the same mux; closing it closes l.
func Listen(l net.Listener, mux *http.ServeMux, cfg Config) *Listener {
	m := newMetrics(cfg.Metrics)
	p := &Listener{
		Listener: collector.Limited(l, collector.Limit{Most: cfg.MaxConnections, Open: m.connections, Refused: m.refused, Log: cfg.Log, Now: cfg.Now}),
		mux:      mux, log: cfg.Log, now: cfg.Now,
		others: make(chan net.Conn), failed: make(chan error), closed: make(chan struct{}), conns: map[*conn]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.serving.Go(p.acceptAll)
	return p
}

// Accept returns the next connection that is not answered here.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.others:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// acceptAll accepts until the listener is closed or broken for good. Who calls Accept is
// told of what fails, and when to try again is for them to say, by calling it again.
func (l *Listener) acceptAll() {
	for {
		raw, err := l.Listener.Accept()
		if err == nil {
			l.begin(raw)
			continue
		}
		select {
		case l.failed <- err:
		case <-l.closed:
			return
		}
	}
}

// begin begins to serve a connection.
func (l *Listener) begin(raw net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		raw.Close()
		return
	}
	c := &conn{Conn: raw, listener: l, buf: make([]byte, 0, Room)}
	l.conns[c] = struct{}{}
	l.serving.Go(c.serve)
}

// leave forgets a connection.
func (l *Listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// handOn gives a connection to net/http.
func (l *Listener) handOn(c net.Conn) {
	select {
	case l.others <- c:
	case <-l.closed:
		c.Close()
	}
}

// Close stops listening, closes the connections that wait for a post, and returns when
// the posts that are being answered are, or after closeWithin. What is counted and not
// answered would come again.
func (l *Listener) Close() error {
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	if conns == nil {
		return nil
	}
	close(l.closed)
	err := l.Listener.Close()
	for c := range conns {
		c.stop()
	}
	done := make(chan struct{})
	go func() {
		l.serving.Wait()
		close(done)
	}()
	timer := time.NewTimer(closeWithin)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		l.log.Warn("posts were still being answered at the stop", "waited", closeWithin)
	}
	l.cancel()
	return err
}

// date is the value of a Date header.
type date struct {
	second int64
	text   string
}

// dateOf returns the Date header of an instant. It is written once a second.
func (l *Listener) dateOf(at time.Time) string {
	if d := l.date.Load(); d != nil && d.second == at.Unix() {
		return d.text
	}
	d := &date{at.Unix(), at.UTC().Format(http.TimeFormat)}
	l.date.Store(d)
	return d.text
}
