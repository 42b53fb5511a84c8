package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// Kong's delays, as captured from a real Kong 3.9 with its default configuration: each
// worker takes changes up every 5 s, and a node other than the one that was written to
// learns of them every 5 s. Its log comes a second late.
const (
	workersOfNode = 2
	kongTick      = 5 * time.Second
	logDelay      = time.Second
)

// gateway is a Kong of some nodes. Its Admin API is the stand-in's; which limit a request
// meets is decided here, for virtual time.
type gateway struct {
	clock  *clock
	rng    *rand.Rand
	admin  *fakekong.Kong
	strict bool // worker_consistency=strict: changes are in force at once
	nodes  []*node
	calls  int // of the Admin API that were looked at
	writes int
	states []state // what was configured when, the oldest first
	log    func([]gatewarden.Record)
	lines  []gatewarden.Record
}

// node counts for itself, as rate-limiting's local policy does.
type node struct {
	polls  time.Duration // its phase of learning of changes; none for the one that is written to
	ticks  [workersOfNode]time.Duration
	second int64
	count  int
}

// state is what the Admin API says from an instant on.
type state struct {
	since time.Time
	limit int // requests a second of each node, 0 for none
	shut  bool
}

func newGateway(c *clock, rng *rand.Rand, nodes int, strict bool, log func([]gatewarden.Record)) (*gateway, error) {
	g := &gateway{clock: c, rng: rng, strict: strict, log: log, admin: fakekong.New(fakekong.Config{Now: c.Now, Seed: 1 + rng.Uint64()>>1})}
	err := g.admin.Load(fakekong.Setup{Services: []fakekong.Service{
		{Name: shop, URL: "http://10.0.0.1:8080", Routes: []fakekong.Route{{Name: shop, Paths: []string{"/" + shop}}}},
	}})
	if err != nil {
		return nil, fmt.Errorf("setting up the stand-in for Kong: %w", err)
	}
	for i := range nodes {
		n := &node{polls: -1}
		if i > 0 {
			n.polls = g.phase()
		}
		first := g.phase()
		for w := range n.ticks {
			n.ticks[w] = first + time.Duration(w)*kongTick/40 // within 150 ms of one another
		}
		g.nodes = append(g.nodes, n)
	}
	g.states = []state{{since: c.now}}
	return g, nil
}

func (g *gateway) phase() time.Duration { return time.Duration(g.rng.Int64N(int64(kongTick))) }

// nextTick returns the first tick of a phase after an instant.
func nextTick(at time.Time, phase time.Duration) time.Time {
	next := at.Truncate(kongTick).Add(phase)
	if !next.After(at) {
		next = next.Add(kongTick)
	}
	return next
}

// reaches returns when a state is in force in a worker.
func (g *gateway) reaches(s *state, n *node, worker int) time.Time {
	at := s.since
	if g.strict {
		return at
	}
	if n.polls >= 0 {
		at = nextTick(at, n.polls)
	}
	return nextTick(at, n.ticks[worker])
}

// inForce returns what a worker goes by.
func (g *gateway) inForce(n *node, worker int) *state {
	for i := len(g.states) - 1; i > 0; i-- {
		if !g.reaches(&g.states[i], n, worker).After(g.clock.now) {
			return &g.states[i]
		}
	}
	return &g.states[0]
}

// admit lets a request meet the plugins, and returns the status of one that answers it.
func (g *gateway) admit() (status int) {
	n := g.nodes[g.rng.IntN(len(g.nodes))]
	s := g.inForce(n, g.rng.IntN(workersOfNode))
	if second := g.clock.now.Unix(); second != n.second {
		n.second, n.count = second, 0
	}
	switch {
	case s.limit > 0 && n.count >= s.limit:
		return http.StatusTooManyRequests
	case s.shut:
		return http.StatusServiceUnavailable
	}
	n.count++
	return 0
}

// write logs a request that has its answer.
func (g *gateway) write(status int, origin gatewarden.Origin, took time.Duration) {
	if len(g.lines) == 0 {
		g.clock.after(logDelay, func() {
			lines := g.lines
			g.lines = nil
			g.log(lines)
		})
	}
	g.lines = append(g.lines, gatewarden.Record{
		At: g.clock.now, Service: shop, Route: shop, Status: status, Origin: origin,
		Latency: gatewarden.Latency{Request: took, Upstream: gatewarden.NoLatency, Kong: 0}, Weight: 1,
	})
}

// look takes in what was changed by the Admin API since the last look.
func (g *gateway) look(ctx context.Context) error {
	calls := g.admin.Calls()
	changed := false
	for _, c := range calls[g.calls:] {
		if c.Method != http.MethodGet {
			changed = true
			g.writes++
		}
	}
	g.calls = len(calls)
	if !changed {
		return nil
	}
	s, err := g.read(ctx)
	if err == nil {
		g.states = append(g.states, s)
		g.calls = len(g.admin.Calls())
	}
	return err
}

// read asks the Admin API what is configured.
func (g *gateway) read(ctx context.Context) (state, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL+"/plugins", http.NoBody)
	if err != nil {
		return state{}, err
	}
	resp, err := g.RoundTrip(req)
	if err != nil {
		return state{}, err
	}
	defer func() { _ = resp.Body.Close() }() // there is nothing behind it
	var list struct {
		Data []struct {
			Name    string
			Enabled bool
			Config  struct{ Second float64 }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return state{}, fmt.Errorf("reading the plugins: %w", err)
	}
	s := state{since: g.clock.now}
	for _, p := range list.Data {
		switch {
		case !p.Enabled:
		case p.Name == "rate-limiting":
			s.limit = int(p.Config.Second)
		case p.Name == "request-termination":
			s.shut = true
		}
	}
	return s, nil
}

const adminURL = "http://kong:8001"

// RoundTrip carries a request to the Admin API without a network.
func (g *gateway) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	answer := &recorder{header: http.Header{}, status: http.StatusOK}
	g.admin.Admin().ServeHTTP(answer, req)
	return &http.Response{
		StatusCode: answer.status, Status: http.StatusText(answer.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.header, Body: io.NopCloser(&answer.body), ContentLength: int64(answer.body.Len()), Request: req,
	}, nil
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
