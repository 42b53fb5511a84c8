package api

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

// pipes are a listener of connections without any buffer, which live in a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// serveOnPipes serves h, and tells of each request that is handled.
func serveOnPipes(t *testing.T, h http.Handler) (p pipes, handled chan struct{}) {
	p, handled = pipes{make(chan net.Conn), make(chan struct{})}, make(chan struct{}, 10)
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { handled <- struct{}{} }() // also of an answer that was cut
		h.ServeHTTP(w, r)
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(p) }()
	t.Cleanup(func() { _ = server.Close() })
	return p, handled
}

func TestAFollowerThatReadsNothingIsLetGo(t *testing.T) {
	for _, target := range []string{"/api/v1/events?follow=true", "/api/v1/runs/orders-1/events", "/api/v1/live"} {
		t.Run(target, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &changing{guard: guard{live: make(chan gatewarden.Event)}}
				p, handled := serveOnPipes(t, New(g, nil, slog.New(slog.DiscardHandler)).WithGates(&gates{now: aRun}).Handler())
				conn, _ := p.dial(t.Context(), "", "")
				defer conn.Close()
				begun := time.Now()
				if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: guard\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				select {
				case <-handled:
				case <-time.After(time.Hour):
					t.Fatal("after an hour it is still written to")
				}
				if took := time.Since(begun); took > writeWithin+time.Second {
					t.Errorf("let go after %s", took)
				}
			})
		})
	}
}

// The same at a guard that passes it on, in real time: what passes it on holds a mutex while
// it writes. A connection that is read from goes on.
func TestAFollowerThatReadsNothingIsLetGoWhereItsRequestIsPassedOn(t *testing.T) {
	for _, target := range []string{"/api/v1/events?follow=true", "/api/v1/runs/orders-1/events", "/api/v1/live"} {
		t.Run(target, func(t *testing.T) {
			g := &changing{guard: guard{live: make(chan gatewarden.Event)}}
			leader, _ := serveOnPipes(t, New(g, nil, slog.New(slog.DiscardHandler)).WithGates(&gates{now: aRun}).Handler())
			passer := NewPasser("guard-2", at("http://guard-1"), nil, &http.Transport{DialContext: leader.dial, DisableKeepAlives: true}, slog.New(slog.DiscardHandler))
			passer.within = 100 * time.Millisecond
			p, handled := serveOnPipes(t, passer.Handler())
			conn, _ := p.dial(t.Context(), "", "")
			defer conn.Close()
			ask := func(target string) {
				t.Helper()
				if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: guard\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
			}
			lines := bufio.NewReader(conn)
			for range 2 {
				ask("/api/v1/slos")
				resp, err := http.ReadResponse(lines, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("%s, %v", resp.Status, err)
				}
				<-handled
				time.Sleep(2 * passer.within) // a limit that was left behind passes
			}
			ask(target)
			select {
			case <-handled:
			case <-time.After(10 * time.Second):
				t.Error("it is still written to")
			}
		})
	}
}

func TestAFollowerToWhomNothingHappensIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guard{live: make(chan gatewarden.Event)}
		p, _ := serveOnPipes(t, serve(g))
		transport := &http.Transport{DialContext: p.dial, Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true) // where a deadline that has passed ends a stream that is idle
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://guard/api/v1/events?follow=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		time.Sleep(time.Hour)
		go func() { g.live <- gatewarden.Event{Seq: 7, Type: gatewarden.EventSLO} }()
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, `{"seq":7,`) || resp.ProtoMajor != 2 {
			t.Errorf("over %s: %q, %v", resp.Proto, line, err)
		}
	})
}

func TestTooManyFollowersAreRefusedAndCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := New(&guard{live: make(chan gatewarden.Event)}, nil, slog.New(slog.DiscardHandler)).WithGates(&gates{now: aRun}).WithMetrics(reg)
	for range maxFollowers {
		leave, err := s.follows.take(maxFollowers, "")
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	for _, target := range []string{"/api/v1/events?follow=true", "/api/v1/runs/orders-1/events"} {
		if w := do(s.Handler(), "GET", target, "", ""); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "100 streams are followed already") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	expected := `
# HELP gatewarden_api_followers Streams of events and of runs that are open.
# TYPE gatewarden_api_followers gauge
gatewarden_api_followers 100
# HELP gatewarden_api_followers_refused_total Streams of events and of runs that were refused because too many are open.
# TYPE gatewarden_api_followers_refused_total counter
gatewarden_api_followers_refused_total 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(expected), "gatewarden_api_followers", "gatewarden_api_followers_refused_total"); err != nil {
		t.Error(err)
	}
}
