package main

import (
	"context"
	"fmt"
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
// release harms all of orders: half of them fail, whatever is done about it. One that is worse harms
// v2 alone, all of whose orders fail.
type chaosShop struct {
	gateway *chaos.Gateway
	worse   bool
	weights [2]atomic.Int64 // of v1 and v2, a moment ago
	failing atomic.Bool
	silent  atomic.Bool  // Kong's log does not come, and is lost
	off     atomic.Int64 // how far the clock of the log is off, in nanoseconds

	mu sync.Mutex
	to *process
}

func openChaosShop(t *testing.T, gateway *chaos.Gateway, to *process, worse bool) *chaosShop {
	s := &chaosShop{gateway: gateway, to: to, worse: worse}
	s.weights[0].Store(chaos.Weight)
	s.weights[1].Store(chaos.Weight)
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

// follow keeps an eye on the weights, which Kong obeys at once.
func (s *chaosShop) follow(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i, version := range []string{"v1", "v2"} {
			if w, err := s.gateway.WeightOf(ctx, version); err == nil {
				s.weights[i].Store(int64(w))
			}
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
			Client: fmt.Sprint("203.0.113.", n%199), // what one client alone meets is no evidence against a canary
		}
		v1, v2 := s.weights[0].Load(), s.weights[1].Load()
		second := int64(n*37%100)*(v1+v2) < 100*v2
		if second {
			l.Target = chaos.Targets()["v2"]
		}
		bad := n%2 == 1
		if s.worse {
			bad = second
		}
		if bad && s.failing.Load() {
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
