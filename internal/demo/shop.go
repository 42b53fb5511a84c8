package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// backend is one instance of a service of the shop: a real HTTP server.
type backend struct {
	service string
	addr    string
	version atomic.Pointer[string]
	broken  atomic.Bool // answers 500 to everything
}

// ServeHTTP answers as a small service does: in a few milliseconds.
func (b *backend) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	time.Sleep(time.Duration(2+rand.IntN(8)) * time.Millisecond) // the work
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Backend-Version", *b.version.Load())
	status, body := http.StatusOK, map[string]string{"service": b.service, "version": *b.version.Load()}
	if b.broken.Load() {
		status, body["error"] = http.StatusInternalServerError, "cannot read the price of a basket"
	}
	w.WriteHeader(status)
	// The client may be gone, and then there is nobody to tell.
	_ = json.NewEncoder(w).Encode(body)
}

// shop is the shop's services.
type shop struct {
	backends map[string]*backend // by service and slot: "orders/v1"
	stops    []func()
}

// openShop starts every instance on a port of its own.
func openShop(ctx context.Context) (*shop, error) {
	s := &shop{backends: map[string]*backend{}}
	for _, instance := range []struct{ service, version string }{
		{"orders", "v1"}, {"orders", "v2"}, {"payments", "v1"}, {"inventory", "v1"}, {"recommendations", "v1"},
	} {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, fmt.Errorf("opening the shop's %s: %w", instance.service, err)
		}
		b := &backend{service: instance.service, addr: l.Addr().String()}
		b.version.Store(&instance.version)
		s.backends[instance.service+"/"+instance.version] = b
		s.stops = append(s.stops, serveOn(l, b))
	}
	return s, nil
}

func (s *shop) close() {
	for _, stop := range s.stops {
		stop()
	}
}

// traffic is the shop's customers: a steady stream of requests through the gateway.
type traffic struct {
	gateway string
	client  *http.Client

	mu     sync.Mutex
	counts map[string]*outcomes // by service, since the last look
}

// outcomes counts what the customers of one service got.
type outcomes struct{ ok, failed, shed int }

// perSecond is how many customers ask each service.
var perSecond = []struct {
	service string
	rate    int
}{{"orders", 100}, {"payments", 20}, {"inventory", 10}, {"recommendations", 20}}

func newTraffic(gateway string) *traffic {
	return &traffic{
		gateway: gateway, counts: map[string]*outcomes{},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
}

// run sends requests until ctx ends, evenly spread over each second.
func (t *traffic) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, c := range perSecond {
		all.Go(func() {
			var requests sync.WaitGroup
			defer requests.Wait()
			tick := time.NewTicker(time.Second / time.Duration(c.rate))
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					requests.Go(func() { t.ask(ctx, c.service) })
				}
			}
		})
	}
	all.Wait()
}

func (t *traffic) ask(ctx context.Context, service string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.gateway+"/"+service+"/items", nil)
	if err != nil {
		return
	}
	resp, err := t.client.Do(req)
	if ctx.Err() != nil {
		return
	}
	status := 0
	if err == nil {
		status = resp.StatusCode
		resp.Body.Close()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.counts[service]
	if !ok {
		c = &outcomes{}
		t.counts[service] = c
	}
	switch status {
	case http.StatusOK:
		c.ok++
	case shedStatus:
		c.shed++
	default:
		c.failed++
	}
}

// take returns what the customers got since the last call.
func (t *traffic) take() map[string]outcomes {
	t.mu.Lock()
	defer t.mu.Unlock()
	got := make(map[string]outcomes, len(t.counts))
	for service, c := range t.counts {
		got[service] = *c
	}
	clear(t.counts)
	return got
}
