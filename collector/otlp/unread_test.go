package otlp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden/collector"
)

// onePipe is a listener of one connection, which buffers nothing and tells when it is closed.
type onePipe struct {
	conn   chan net.Conn
	done   chan struct{}
	closed chan struct{}
}

func (p onePipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conn:
		return told{c, p.closed}, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p onePipe) Close() error   { close(p.done); return nil }
func (p onePipe) Addr() net.Addr { return &net.TCPAddr{} }

type told struct {
	net.Conn
	closed chan struct{}
}

func (c told) Close() error {
	select {
	case c.closed <- struct{}{}:
	default: // it was told
	}
	return c.Conn.Close()
}

func TestWhoReadsNoAnswerIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, err := New(collector.Env{Name: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewPedanticRegistry()}, Settings{})
		if err != nil {
			t.Fatal(err)
		}
		p := onePipe{make(chan net.Conn, 1), make(chan struct{}), make(chan struct{}, 1)}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- made.(*Source).serveHTTP(ctx, p) }()
		here, there := net.Pipe()
		defer here.Close()
		p.conn <- there
		if _, err := io.WriteString(here, "POST /v1/traces HTTP/1.1\r\nHost: guard\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.closed:
		case <-time.After(time.Hour):
			t.Error("after an hour the connection is still there")
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
