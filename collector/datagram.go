package collector

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
)

// DatagramConfig is how Datagrams are set up.
type DatagramConfig struct {
	Listen     string
	ReadBuffer ByteSize // asked of the kernel for the socket
	// Open returns the frame that a datagram holds; nil when datagrams are frames.
	Open func(datagram []byte) []byte
}

// Datagrams takes frames over UDP, one a datagram.
type Datagrams struct {
	cfg     DatagramConfig
	feed    *Feed
	log     *slog.Logger
	metrics *datagramMetrics
	conn    *net.UDPConn
	drops   uint32 // as the kernel said last
	quiet   Quiet
	now     func() time.Time

	mu      sync.Mutex
	changed sync.Cond
	waiting Block // received and not yet taken
	ended   bool
}

// ListenDatagrams listens. The error has the code Conflict when the address is taken.
func ListenDatagrams(env Env, cfg DatagramConfig, feed *Feed) (*Datagrams, error) {
	metrics, err := newDatagramMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "%s: cannot register metrics: %w", env.Name, err)
	}
	s := &Datagrams{cfg: cfg, feed: feed, log: env.Log.With("source", env.Name), metrics: metrics, now: time.Now}
	s.changed.L = &s.mu
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(context.Background(), "udp", cfg.Listen)
	if err != nil {
		return nil, listening(cfg.Listen, err)
	}
	s.conn = conn.(*net.UDPConn)
	s.prepare()
	return s, nil
}

// prepare asks the kernel for a buffer and for the number of what it drops. Neither
// is a reason not to listen.
func (s *Datagrams) prepare() {
	if err := s.conn.SetReadBuffer(int(s.cfg.ReadBuffer)); err != nil {
		s.log.Warn("the socket's buffer cannot be set", "err", err)
	}
	got, err := countDrops(s.conn)
	if err != nil {
		s.log.Warn("the kernel does not say what it drops", "err", err)
		return
	}
	s.metrics.buffer.Set(float64(got))
	// Linux doubles what it is asked for, for its own book-keeping.
	if got > 0 && got < 2*int(s.cfg.ReadBuffer) {
		s.log.Info("the socket's buffer is smaller than asked for: bursts may be dropped", "read_buffer", s.cfg.ReadBuffer.String(),
			"got", ByteSize(got/2).String(), "hint", "raise net.core.rmem_max with sysctl")
	}
}

// Addr returns where it listens.
func (s *Datagrams) Addr() net.Addr { return s.conn.LocalAddr() }

// Close ends listening. Run does that by itself.
func (s *Datagrams) Close() error {
	if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run serves until ctx is done, and then until what has arrived is counted.
func (s *Datagrams) Run(ctx context.Context) error {
	defer func() { _ = s.Close() }() // nobody is served by it any more
	// What the kernel has received by then counts.
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(s.now().Add(lastWords)) })()
	var counting sync.WaitGroup
	defer counting.Wait()
	counting.Go(func() { s.count(ctx) })
	defer s.end()
	buf, control := make([]byte, 64<<10), make([]byte, 128) // no datagram is larger
	for {
		n, controlled, _, _, err := s.conn.ReadMsgUDPAddrPort(buf, control)
		switch {
		case err == nil:
			s.receive(buf[:n], control[:controlled])
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return gatewarden.Errorf(gatewarden.Internal, "%s no longer listens: %w", s.cfg.Listen, err)
		default:
			if due, held := s.quiet.Due(s.now()); due {
				s.log.Warn("cannot receive", "err", err, "times_before_unlogged", held)
			}
			select {
			case <-ctx.Done():
			case <-time.After(firstPause):
			}
		}
	}
}

// receive keeps a datagram for count.
func (s *Datagrams) receive(datagram, control []byte) {
	s.metrics.received.Inc()
	if total, ok := dropped(control); ok && total != s.drops {
		n := total - s.drops // it may wrap around
		s.drops = total
		s.metrics.dropped.Add(float64(n))
		if due, held := s.quiet.Due(s.now()); due {
			s.log.Warn("the kernel dropped datagrams: they came faster than they are counted", "dropped", n, "times_before_unlogged", held,
				"hint", "raise read_buffer and net.core.rmem_max, or use a transport that waits, such as http-log")
		}
	}
	if s.cfg.Open != nil {
		datagram = s.cfg.Open(datagram)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting.Data) >= largeBuffer { // the kernel's buffer takes over, and counts
		s.changed.Wait()
	}
	s.waiting.Add(datagram)
	s.changed.Broadcast()
}

func (s *Datagrams) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.changed.Broadcast()
}

// count takes what has been received, so that many datagrams that come at once are
// one batch, and one that comes alone does not wait.
func (s *Datagrams) count(ctx context.Context) {
	var batch Block
	for {
		s.mu.Lock()
		for len(s.waiting.Data) == 0 && !s.ended {
			s.changed.Wait()
		}
		batch, s.waiting = s.waiting, batch
		s.changed.Broadcast()
		s.mu.Unlock()
		if len(batch.Data) == 0 {
			return
		}
		// It fails only when ctx is done; then what cannot be counted is lost with the
		// process, and the next batch is the last.
		_ = s.feed.Take(ctx, batch, nil)
		batch.Reset()
	}
}
