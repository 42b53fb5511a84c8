package state

import (
	"io"
	"net"
	"sync"
	"testing"
)

// link is the way from one guard's server to another's, which can be cut.
type link struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	isCut bool
	conns map[net.Conn]bool
	ended sync.WaitGroup
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, to: to, conns: make(map[net.Conn]bool)}
	l.ended.Go(l.serve)
	return l
}

func (l *link) serve() {
	for {
		from, err := l.listener.Accept()
		if err != nil {
			return
		}
		if !l.add(from) {
			continue
		}
		to, err := net.Dial("tcp", l.to)
		if err != nil || !l.add(to) {
			from.Close()
			continue
		}
		l.ended.Go(func() { _, _ = io.Copy(to, from); from.Close(); to.Close() })
		l.ended.Go(func() { _, _ = io.Copy(from, to); from.Close(); to.Close() })
	}
}

// add keeps a connection for the cut, or closes it when that was made.
func (l *link) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

// cut ends all connections and takes no more, until it is healed.
func (l *link) cut(isCut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = isCut
	if isCut {
		for c := range l.conns {
			c.Close()
		}
		clear(l.conns)
	}
}

func (l *link) close() {
	l.listener.Close()
	l.cut(true)
	l.ended.Wait()
}
