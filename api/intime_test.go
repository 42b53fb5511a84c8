package api

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// serveUntilClosed serves h, and tells when a connection is closed. Of every server of the
// program's the answers have a limit that is set anew by each request.
func serveUntilClosed(t *testing.T, h http.Handler) (p pipes, closed chan struct{}) {
	p, closed = pipes{make(chan net.Conn), make(chan struct{})}, make(chan struct{}, 10)
	server := &http.Server{Handler: h, WriteTimeout: 2 * time.Minute, Protocols: new(http.Protocols), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(p) }()
	t.Cleanup(func() { _ = server.Close() })
	return p, closed
}

func TestWhoReadsNoAnswerIsLetGo(t *testing.T) {
	reg := prometheus.NewRegistry()
	leads := New(&guard{}, reg, slog.New(slog.DiscardHandler)).Handler()
	alone := NewPasser("guard-2", &led{}, reg, nil, slog.New(slog.DiscardHandler))
	alone.guard.(*led).by.Store("")
	for name, c := range map[string]struct {
		h       http.Handler
		request string
	}{
		"a list":                        {leads, "GET /api/v1/slos"},
		"what there is":                 {leads, "GET /"},
		"a probe":                       {leads, "GET /-/healthy"},
		"a place that is not there":     {leads, "GET /nowhere"},
		"a way that it is not asked in": {leads, "DELETE /api/v1/slos"},
		"an order that is none":         {leads, "POST /api/v1/pause"},
		"an answer without a body":      {leads, "HEAD /api/v1/slos"},
		"metrics":                       {leads, "GET /metrics"},
		"metrics by themselves":         {MetricsHandler(reg), "GET /metrics"},
		"no guard leads":                {alone.Handler(), "GET /api/v1/slos"},
		"metrics where another leads":   {alone.Handler(), "GET /metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, closed := serveUntilClosed(t, c.h)
				conn, _ := p.dial(t.Context(), "", "")
				defer conn.Close()
				begun := time.Now()
				if _, err := io.WriteString(conn, c.request+" HTTP/1.1\r\nHost: guard\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				select {
				case <-closed:
				case <-time.After(time.Hour):
					t.Fatal("after an hour the connection is still there")
				}
				if took := time.Since(begun); took < writeWithin || took > writeWithin+time.Second {
					t.Errorf("let go after %s", took)
				}
			})
		})
	}
}

// Whoever reads slowly gets all of it, and who takes long to answer may.
func TestALongAnswerMayBeReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB in one piece
		p, _ := serveUntilClosed(t, inTime(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(10 * time.Minute)
			if n, err := w.Write(long); n != len(long) || err != nil {
				t.Errorf("wrote %d bytes, %v", n, err)
			}
		}), writeWithin))
		conn, _ := p.dial(t.Context(), "", "")
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: guard\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for part := make([]byte, 8<<10); err == nil; {
			time.Sleep(2 * time.Second) // 4 kB a second
			var n int
			n, err = io.ReadFull(resp.Body, part)
			got = append(got, part[:n]...)
		}
		if !bytes.Equal(got, long) {
			t.Errorf("got %d bytes of %d, %v", len(got), len(long), err)
		}
	})
}

func TestAConnectionGoesOnAfterAnAnswer(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				busy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(5 * time.Minute)
					_, _ = io.WriteString(w, r.URL.Path)
				})
				p, closed := serveUntilClosed(t, inTime(busy, writeWithin))
				transport := &http.Transport{DialContext: p.dial, Protocols: new(http.Protocols)}
				transport.Protocols.SetHTTP1(!h2)
				transport.Protocols.SetUnencryptedHTTP2(h2)
				defer transport.CloseIdleConnections()
				for _, path := range []string{"/one", "/two", "/three"} {
					req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "guard", Path: path}, Header: http.Header{}}
					resp, err := transport.RoundTrip(req.WithContext(t.Context()))
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					if string(body) != path || err != nil {
						t.Errorf("%s: %q, %v", path, body, err)
					}
					resp.Body.Close()
					time.Sleep(writeWithin * 2)
				}
				if len(closed) > 0 {
					t.Error("it was closed in between")
				}
			})
		})
	}
}

// The same over a real socket, whose buffers take some of an answer.
func TestWhoReadsNoLargeAnswerIsLetGo(t *testing.T) {
	through := make(chan error, 1)
	server := httptest.NewServer(inTime(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 64<<20)) // more than sockets buffer
		through <- err
	}), 100*time.Millisecond))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: guard\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-through; err == nil {
		t.Error("an answer that nobody reads was written")
	}
}
