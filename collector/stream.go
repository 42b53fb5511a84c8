package collector

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
)

// StreamConfig is how a Stream is set up.
type StreamConfig struct {
	Listen         string
	TLS            *TLSFiles // nil for none
	MaxConnections int
	IdleTimeout    time.Duration  // without a whole frame
	Framing        func() Framing // of one connection
}

// Stream takes frames over TCP connections, as many at a time as it may.
type Stream struct {
	cfg      StreamConfig
	feed     *Feed
	log      *slog.Logger
	metrics  *streamMetrics
	listener net.Listener
	quiet    Quiet
	now      func() time.Time
}

// ListenStream listens. The error has the code Conflict when the address is taken, and
// Invalid when the certificate cannot be read.
func ListenStream(env Env, cfg StreamConfig, feed *Feed) (*Stream, error) {
	metrics, err := newStreamMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "%s: cannot register metrics: %w", env.Name, err)
	}
	s := &Stream{cfg: cfg, feed: feed, log: env.Log.With("source", env.Name), metrics: metrics, now: time.Now}
	listener, err := Listen(env, cfg.Listen, cfg.TLS)
	if err != nil {
		return nil, err
	}
	s.listener = Limited(listener, Limit{Most: cfg.MaxConnections, Open: metrics.connections, Refused: metrics.refused, Log: s.log, Now: s.now})
	return s, nil
}

// Addr returns where it listens.
func (s *Stream) Addr() net.Addr { return s.listener.Addr() }

// Close ends listening. Run does that by itself.
func (s *Stream) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run serves until ctx is done, and then until what has arrived is counted.
func (s *Stream) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := s.listener.Accept()
		switch {
		case err == nil:
			open.Go(func() { s.serve(ctx, conn) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return gatewarden.Errorf(gatewarden.Internal, "%s no longer listens: %w", s.cfg.Listen, err)
		default: // such as too many open files
			if due, held := s.quiet.Due(s.now()); due {
				s.log.Warn("cannot accept a connection", "err", err, "times_before_unlogged", held)
			}
			select {
			case <-ctx.Done():
			case <-time.After(firstPause):
			}
		}
	}
}

// What a connection gets at a stop, to hand over what is on its way.
const (
	lastWords  = 250 * time.Millisecond
	lastMoment = time.Second
)

// serve counts what comes over a connection.
func (s *Stream) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	s.metrics.accepted.Inc()
	defer context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(s.now().Add(lastWords))
		time.AfterFunc(lastMoment, func() { _ = conn.Close() }) // whatever the deadline is by then
	})()
	// Not after each byte: who sends a line bit by bit would hold the connection for ever.
	wait := func() { _ = conn.SetReadDeadline(s.now().Add(s.cfg.IdleTimeout)) }
	wait()
	if ctx.Err() != nil {
		return
	}
	err := s.feed.Pump(ctx, conn, s.cfg.Framing(), wait)
	switch {
	case err == nil, ctx.Err() != nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.metrics.timedOut.Inc()
		s.log.Debug("closed a connection that was idle", "client", conn.RemoteAddr(), "idle_timeout", s.cfg.IdleTimeout)
	default:
		s.metrics.failed.Inc()
		if due, held := s.quiet.Due(s.now()); due {
			s.log.Warn("a connection ended with an error", "client", conn.RemoteAddr(), "err", err, "times_before_unlogged", held)
		}
	}
}
