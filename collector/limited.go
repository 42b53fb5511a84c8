package collector

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limit bounds the connections of a listener.
type Limit struct {
	Most    int
	Open    prometheus.Gauge // how many there are; nil when nobody asks
	Refused prometheus.Counter
	Log     *slog.Logger
	Now     func() time.Time
}

// Limited returns a listener of which at most so many connections are open: further ones are
// closed at once.
func Limited(l net.Listener, limit Limit) net.Listener {
	return &limited{Listener: l, limit: limit, slots: make(chan struct{}, limit.Most)}
}

type limited struct {
	net.Listener
	limit Limit
	slots chan struct{} // one for each connection that is open
	quiet Quiet
}

// Accept returns the next connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			l.add(1)
			return &counted{Conn: conn, in: l}, nil
		default:
			l.limit.Refused.Inc()
			if due, held := l.quiet.Due(l.limit.Now()); due {
				l.limit.Log.Warn("refused a connection: there are too many", "client", conn.RemoteAddr(), "max_connections", l.limit.Most, "times_before_unlogged", held)
			}
			_ = conn.Close()
		}
	}
}

func (l *limited) add(n float64) {
	if l.limit.Open != nil {
		l.limit.Open.Add(n)
	}
}

// counted is a connection that gives its slot back.
type counted struct {
	net.Conn
	in    *limited
	leave sync.Once
}

// Close ends the connection.
func (c *counted) Close() error {
	defer c.leave.Do(func() {
		<-c.in.slots
		c.in.add(-1)
	})
	return c.Conn.Close()
}
