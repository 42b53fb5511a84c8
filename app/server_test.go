package app

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/rules"
)

// onePipe is a listener of one connection, which buffers nothing.
type onePipe struct {
	conn chan net.Conn
	done chan struct{}
}

func (p onePipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conn:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p onePipe) Close() error   { close(p.done); return nil }
func (p onePipe) Addr() net.Addr { return &net.TCPAddr{} }

// TestWhoReadsNoAnswerHoldsNoConnection asks what is not in package api, which limits its
// answers itself.
func TestWhoReadsNoAnswerHoldsNoConnection(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	for name, h := range map[string]http.Handler{
		"a path that no source takes": newIngest(http.NewServeMux(), nil, logger, time.Now),
		"a token that is nobody's": &api.Tokens{
			All: func() (map[string]string, error) { return nil, nil }, Users: func() bool { return false },
		},
		"an answer that is large": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 64<<20)) }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, closed := newServer(h, logger), make(chan struct{})
				server.ConnState = func(_ net.Conn, s http.ConnState) {
					if s == http.StateClosed {
						close(closed)
					}
				}
				p := onePipe{make(chan net.Conn, 1), make(chan struct{})}
				go func() { _ = serveWeb(p, server, rules.Web{}, logger) }()
				defer server.Close()
				here, there := net.Pipe()
				defer here.Close()
				p.conn <- there
				if _, err := io.WriteString(here, "POST /x HTTP/1.1\r\nHost: guard\r\nContent-Length: 0\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				select {
				case <-closed:
				case <-time.After(time.Hour):
					t.Error("after an hour the connection is still there")
				}
			})
		})
	}
}
