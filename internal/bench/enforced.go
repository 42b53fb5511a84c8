package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

const (
	enforcedRounds   = 3               // for each delay of the log
	enforcedAtOnce   = 5               // services, each of which breaks at an instant of its own
	enforcedBroken   = 5 * time.Second // over before the guard tries v2 again
	enforcedRevert   = 5 * time.Second // revert.after
	enforcedPatience = time.Minute
)

// enforced prints how long after the onset of a failure the traffic has left the broken
// version, and how long after the end of the breach everything is back: what customers
// see, and not what an API answered.
func enforced(ctx context.Context) error {
	heading("From a failure to traffic that has left, and back", fmt.Sprintf(
		"%d services at %d requests/s through the stand-in's proxy, with a real Kong's delays: weights at once, plugins at the\n"+
			"workers' next look, every 5s. Half of the requests go to v2, which begins to fail at a random instant; it is drained, and a\n"+
			"spare service is shed by a plugin. v2 is mended %s later. revert: {after: %s, stepwise: false}.", enforcedRounds*enforcedAtOnce, requestsASecond, enforcedBroken, enforcedRevert))
	for _, delay := range []time.Duration{coalescing, coalescing / 5} {
		seen := &enforcedTimes{}
		for range enforcedRounds {
			if err := enforcedRound(ctx, delay, seen); err != nil {
				return err
			}
		}
		fmt.Printf("  queue.max_coalescing_delay: %s\n", delay)
		spread("from the first failure: the weight set (journal)", seen.applied)
		spread("the last request at the broken version", seen.left)
		spread("the first response of the shed", seen.shed)
		spread("from the end of the breach: v2 has requests again", seen.back)
		spread("the last response of the shed", seen.unshed)
	}
	return nil
}

// enforcedTimes are the measurements of some rounds.
type enforcedTimes struct{ applied, left, shed, back, unshed []time.Duration }

// version is an instance of a service: a real HTTP server.
type version struct {
	address string
	broken  atomic.Bool

	mu    sync.Mutex
	first time.Time // request that failed
	last  time.Time // request that failed
	again time.Time // first request since it was mended
}

func (v *version) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.broken.Load():
		if v.last = now; v.first.IsZero() {
			v.first = now
		}
		w.WriteHeader(http.StatusInternalServerError)
	case !v.first.IsZero() && v.again.IsZero():
		v.again = now
	}
}

// enforcedService is a service with two versions, and a spare one that is shed for it.
type enforcedService struct {
	name   string
	v1, v2 version

	mu     sync.Mutex
	shed   time.Time // first response of the shed
	unshed time.Time // last response of the shed
}

func enforcedRound(ctx context.Context, delay time.Duration, seen *enforcedTimes) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()

	var shop []*enforcedService
	var setup fakekong.Setup
	for i := range enforcedAtOnce {
		s := &enforcedService{name: service(i)}
		for _, v := range []*version{&s.v1, &s.v2} {
			if err := serveVersion(ctx, &running, v); err != nil {
				return err
			}
		}
		shop = append(shop, s)
		s.declare(&setup)
	}
	kong := fakekong.New(fakekong.Config{Seed: 1})
	defer kong.Close()
	if err := kong.Load(setup); err != nil {
		return err
	}
	addresses := make(chan [2]string, 1)
	running.Go(func() {
		err := kong.Serve(ctx, "127.0.0.1:0", "127.0.0.1:0", func(admin, proxy net.Addr) {
			addresses <- [2]string{"http://" + admin.String(), "http://" + proxy.String()}
		})
		if err != nil {
			fmt.Println("  the stand-in for Kong ended:", err)
		}
	})
	at := <-addresses
	g, err := start(ctx, at[0], enforcedRules())
	if err != nil {
		return err
	}
	err = kong.Load(fakekong.Setup{Plugins: []fakekong.Plugin{{Name: "http-log", Config: map[string]any{
		"http_endpoint": "http://" + g.Addr("ingest") + "/ingest/kong",
		"queue":         map[string]any{"max_batch_size": batchSize, "max_coalescing_delay": delay.Seconds()},
	}}}})
	if err != nil {
		return firstError(err, g.end())
	}
	for _, s := range shop {
		running.Go(func() { s.customers(ctx, at[1]+"/"+s.name, requestsASecond, func(int) {}) })
		running.Go(func() { s.customers(ctx, at[1]+"/spare-"+s.name, requestsASecond/5, s.spareAnswered) })
	}
	breakAll(ctx, shop)
	events, err := untilReverted(ctx, g)
	time.Sleep(7 * time.Second) // the last workers take up that the sheds are gone
	stop()
	running.Wait()
	if err := firstError(err, g.end()); err != nil {
		return err
	}
	for _, s := range shop {
		s.measure(events, seen)
	}
	return nil
}

func serveVersion(ctx context.Context, running *sync.WaitGroup, v *version) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	v.address = l.Addr().String()
	server := &http.Server{Handler: v, ReadHeaderTimeout: time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	running.Go(func() {
		_ = server.Serve(l) // ErrServerClosed, at the end
	})
	return nil
}

// declare adds the service and its spare to what Kong holds.
func (s *enforcedService) declare(setup *fakekong.Setup) {
	setup.Upstreams = append(setup.Upstreams, fakekong.Upstream{Name: s.name, Targets: []fakekong.Target{
		{Target: s.v1.address, Weight: 50}, {Target: s.v2.address, Weight: 50, Tags: []string{"version:v2"}},
	}})
	setup.Services = append(setup.Services,
		fakekong.Service{Name: s.name, Host: s.name, Routes: []fakekong.Route{{Name: s.name, Paths: []string{"/" + s.name}}}},
		fakekong.Service{Name: "spare-" + s.name, URL: "http://" + s.v1.address, Routes: []fakekong.Route{{Name: "spare-" + s.name, Paths: []string{"/spare-" + s.name}}}})
}

func enforcedRules() string {
	var slos, policies strings.Builder
	for i := range enforcedAtOnce {
		fmt.Fprintf(&slos, "  - {name: %s, service: %s, objective: 99.9, window: 30d, sli: {availability: {}}, on_outage: [answer-%s]}\n", service(i), service(i), service(i))
		fmt.Fprintf(&policies, "  - {name: answer-%s, mode: enforce, revert: {after: %s, stepwise: false}, steps: [{drain: {upstream: %s, target_tag: 'version:v2'}}, "+
			"{plugin: {name: request-termination, service: spare-%s, config: {status_code: 503}}}]}\n", service(i), enforcedRevert, service(i), service(i))
	}
	return "slos:\n" + slos.String() + "actions:\n" + policies.String()
}

// customers ask at a steady rate until ctx ends.
func (s *enforcedService) customers(ctx context.Context, url string, rate int, answered func(status int)) {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		if resp, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			answered(resp.StatusCode)
		}
	}
}

func (s *enforcedService) spareAnswered(status int) {
	if status != http.StatusServiceUnavailable {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unshed = time.Now(); s.shed.IsZero() {
		s.shed = s.unshed
	}
}

// breakAll breaks v2 of each service at an instant of its own, and mends it later.
func breakAll(ctx context.Context, shop []*enforcedService) {
	var all sync.WaitGroup
	for _, s := range shop {
		all.Go(func() {
			for _, broken := range []bool{true, false} {
				wait := enforcedBroken
				if broken {
					wait = healthyFor + rand.N(5*time.Second) // any phase of Kong's workers
				}
				select {
				case <-time.After(wait):
				case <-ctx.Done():
				}
				s.v2.broken.Store(broken)
			}
		})
	}
	all.Wait()
}

// untilReverted waits until everything that was done is taken back.
func untilReverted(ctx context.Context, g *guard) ([]gatewarden.Event, error) {
	deadline := time.Now().Add(enforcedPatience)
	for {
		events, err := g.events(ctx)
		if err != nil {
			return nil, err
		}
		reverted := 0
		for _, e := range events {
			if e.State == string(gatewarden.ActionReverted) {
				reverted++
			}
		}
		if reverted >= 2*enforcedAtOnce {
			return events, nil
		}
		if time.Now().After(deadline) {
			return events, fmt.Errorf("%d of %d changes were taken back after %s", reverted, 2*enforcedAtOnce, enforcedPatience)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// measure adds what customers of the service saw.
func (s *enforcedService) measure(events []gatewarden.Event, seen *enforcedTimes) {
	seen.left = append(seen.left, s.v2.last.Sub(s.v2.first))
	seen.shed = append(seen.shed, s.shed.Sub(s.v2.first))
	var over time.Time
	applied := false
	for _, e := range events {
		switch {
		case e.Type == gatewarden.EventSLO && e.Name == s.name && e.Severity == gatewarden.SeverityOutage.String() && e.State == gatewarden.Healthy.String():
			over = e.At
		case e.Action != nil && e.Action.Trigger.Name == s.name && e.Action.Step == 1 && !applied && e.State == string(gatewarden.ActionApplied):
			applied = true // said again when its effect shows
			seen.applied = append(seen.applied, e.At.Sub(s.v2.first))
		}
	}
	if over.IsZero() {
		fmt.Println("  no end of the breach of", s.name, "in the journal")
		return
	}
	seen.back = append(seen.back, s.v2.again.Sub(over))
	seen.unshed = append(seen.unshed, s.unshed.Sub(over))
}
