package main

import (
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// wire is the network between a gate and a guard, which can be cut: what is under way is
// lost, and whoever calls then gets no answer.
type wire struct {
	url string
	to  string // the guard's address

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool // that are open
}

// layWire lays a wire to a guard.
func layWire(t *testing.T, guard *process) *wire {
	t.Helper()
	// The listener of a test server, which needs no handler: it is on loopback, and free.
	s := httptest.NewUnstartedServer(nil)
	w := &wire{url: "http://" + s.Listener.Addr().String(), to: strings.TrimPrefix(guard.api, "http://"), conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := s.Listener.Accept()
			if err != nil {
				return // closed
			}
			all.Go(func() { w.carry(conn) })
		}
	})
	t.Cleanup(func() {
		s.Listener.Close()
		w.setCut(false) // which ends those that wait
		w.closeAll()
		all.Wait()
	})
	return w
}

// setCut cuts the wire, or mends it. Connections do not outlive either.
func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	w.cut = cut
	w.mu.Unlock()
	w.closeAll()
}

func (w *wire) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		conn.Close()
	}
}

// keep remembers a connection, and reports whether it leads anywhere.
func (w *wire) keep(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[conn] = true
	return !w.cut
}

func (w *wire) drop(conn net.Conn) {
	conn.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, conn)
}

func (w *wire) carry(near net.Conn) {
	defer w.drop(near)
	if !w.keep(near) {
		_, _ = io.Copy(io.Discard, near) // until it is closed
		return
	}
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer w.drop(far)
	if !w.keep(far) {
		return // cut meanwhile
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far)
		near.Close()
	})
	_, _ = io.Copy(far, near)
	far.Close()
	back.Wait()
}
