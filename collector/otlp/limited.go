package otlp

import (
	"net"
	"sync"
)

// limited is a listener whose connections are at most so many: further ones are closed at
// once.
type limited struct {
	net.Listener
	slots   chan struct{}
	metrics *metrics
}

func newLimited(l net.Listener, most int, m *metrics) *limited {
	return &limited{l, make(chan struct{}, most), m}
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
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			l.metrics.connections.Inc()
			_ = conn.Close()
		}
	}
}

// counted is a connection that gives its slot back.
type counted struct {
	net.Conn
	leave func()
}

// Close ends the connection.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
