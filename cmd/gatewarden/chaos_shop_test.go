package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden/internal/chaos"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

// chaosShop is the log of the customers of orders, posted as Kong does it: in order, each
// batch again until it is taken. Orders go where the weights in Kong lead them. The bad
// release harms all of orders: half of them fail, whatever is done about it.
type chaosShop struct {
	gateway *chaos.Gateway
	weight  atomic.Int64 // of v2, a moment ago
	failing atomic.Bool
	silent  atomic.Bool  // Kong's log does not come, and is lost
	off     atomic.Int64 // how far the clock of the log is off, in nanoseconds

	mu sync.Mutex
	to *process
}

func openChaosShop(t *testing.T, gateway *chaos.Gateway, to *process) *chaosShop {
	s := &chaosShop{gateway: gateway, to: to}
	s.weight.Store(chaos.Weight)
	ctx, stop := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() { s.run(ctx) })
	open.Go(func() { s.follow(ctx) })
	t.Cleanup(func() { stop(); open.Wait() })
	return s
}

// logTo makes the log go to another life of the guard.
func (s *chaosShop) logTo(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = p
}

// follow keeps an eye on the weight of v2, which Kong obeys at once.
func (s *chaosShop) follow(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if w, err := s.gateway.WeightOf(ctx, "v2"); err == nil {
			s.weight.Store(int64(w))
		}
	}
}

func (s *chaosShop) run(ctx context.Context) {
	var queue [][]byte
	writer, tick := loglines.NewWriter(), time.NewTicker(tickEvery)
	defer tick.Stop()
	for n := uint64(0); ; n += perTick {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		batch := s.batch(writer, n)
		if s.silent.Load() {
			queue = nil
			continue
		}
		for queue = append(queue, batch); len(queue) > 0 && s.post(queue[0]); {
			queue = queue[1:]
		}
	}
}

func (s *chaosShop) batch(w *loglines.Writer, first uint64) []byte {
	body := []byte("[")
	for n := first; n < first+perTick; n++ {
		if n > first {
			body = append(body, ',')
		}
		l := loglines.Line{
			ID: n, At: time.Now().Add(time.Duration(s.off.Load())), Service: s.gateway.Name("orders"), Target: chaos.Targets()["v1"], Status: http.StatusOK, Millis: 5,
		}
		if w := s.weight.Load(); int64(n*37%100)*(chaos.Weight+w) < 100*w {
			l.Target = chaos.Targets()["v2"]
		}
		if n%2 == 1 && s.failing.Load() {
			l.Status = http.StatusInternalServerError
		}
		body = w.Append(body, l)
	}
	return append(body, ']')
}

func (s *chaosShop) post(body []byte) bool {
	s.mu.Lock()
	to := s.to
	s.mu.Unlock()
	if to.ingest == "" || to.over() {
		return false
	}
	status, _, err := to.post("/ingest/kong", body)
	return err == nil && status == http.StatusOK
}
