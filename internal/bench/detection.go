package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const (
	rounds          = 3  // guards, one after the other
	servicesAtOnce  = 10 // each of them a round of its own: it fails at an instant of its own
	requestsASecond = 100
	healthyFor      = 6 * time.Second
	failingFor      = 6 * time.Second
	coalescing      = time.Second // Kong's default queue.max_coalescing_delay
	batchSize       = 200
)

// detection prints how long after the onset of a failure the guard acts.
func detection(ctx context.Context) error {
	heading("From a failure to the Admin API", fmt.Sprintf(
		"%d services at %d requests/s, logs posted as Kong's queue does (up to %s late). Half of a service's\nrequests begin to fail at a random instant; its canary target is drained. Times from the first failed request.",
		rounds*servicesAtOnce, requestsASecond, coalescing))
	var decided, applied []time.Duration
	for range rounds {
		d, a, err := detectionRound(ctx)
		if err != nil {
			return err
		}
		decided, applied = append(decided, d...), append(applied, a...)
	}
	spread("the Admin API call on its way (action started)", decided)
	spread("the weight set and read back (action applied)", applied)
	if missing := rounds*servicesAtOnce - len(decided); missing > 0 {
		return fmt.Errorf("%d of %d failures were not answered", missing, rounds*servicesAtOnce)
	}
	return nil
}

func detectionRound(ctx context.Context) (decided, applied []time.Duration, err error) {
	kong := fakekong.New(fakekong.Config{Seed: 1})
	defer kong.Close()
	if err := kong.Load(upstreams()); err != nil {
		return nil, nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	admin := &http.Server{Handler: kong.Admin(), ReadHeaderTimeout: time.Second}
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = admin.Serve(l) // ErrServerClosed, at the end
	})
	defer serving.Wait()
	defer admin.Close()

	g, err := start(ctx, "http://"+l.Addr().String(), detectionRules())
	if err != nil {
		return nil, nil, err
	}
	onsets := feedAll(ctx, "http://"+g.Addr("ingest")+"/ingest/kong")
	events, err := g.events(ctx)
	if err := firstError(err, g.end()); err != nil {
		return nil, nil, err
	}
	for _, e := range events {
		if e.Action == nil {
			continue
		}
		after := e.At.Sub(onsets[e.Action.Trigger.Name])
		switch gatewarden.ActionStatus(e.State) {
		case gatewarden.ActionStarted:
			decided = append(decided, after)
		case gatewarden.ActionApplied:
			applied = append(applied, after)
		default: // what comes after
		}
	}
	return decided, applied, nil
}

func service(i int) string { return fmt.Sprintf("service-%02d", i) }

func upstreams() fakekong.Setup {
	var s fakekong.Setup
	for i := range servicesAtOnce {
		s.Upstreams = append(s.Upstreams, fakekong.Upstream{Name: service(i), Targets: []fakekong.Target{
			{Target: "127.0.0.1:9101", Weight: 50}, {Target: "127.0.0.1:9102", Weight: 50, Tags: []string{"version:v2"}},
		}})
	}
	return s
}

func detectionRules() string {
	var slos, policies strings.Builder
	for i := range servicesAtOnce {
		fmt.Fprintf(&slos, "  - {name: %s, service: %s, objective: 99.9, window: 30d, sli: {availability: {}}, on_outage: [drain-%s]}\n", service(i), service(i), service(i))
		fmt.Fprintf(&policies, "  - {name: drain-%s, mode: enforce, steps: [{drain: {upstream: %s, target_tag: 'version:v2'}}]}\n", service(i), service(i))
	}
	return "slos:\n" + slos.String() + "actions:\n" + policies.String()
}

// feedAll posts the logs of all services and returns when each began to fail.
func feedAll(ctx context.Context, url string) map[string]time.Time {
	var (
		mu     sync.Mutex
		onsets = map[string]time.Time{}
		all    sync.WaitGroup
	)
	for i := range servicesAtOnce {
		all.Go(func() {
			onset := feed(ctx, url, service(i), uint64(i)<<40)
			mu.Lock()
			defer mu.Unlock()
			onsets[service(i)] = onset
		})
	}
	all.Wait()
	return onsets
}

// feed posts the log of one service: healthy first, then half of it fails.
func feed(ctx context.Context, url, name string, id uint64) (onset time.Time) {
	lines := loglines.NewWriter()
	client := &http.Client{Timeout: 5 * time.Second}
	tick := time.NewTicker(time.Second / requestsASecond)
	defer tick.Stop()
	fails := time.Now().Add(healthyFor + rand.N(time.Second))
	end := fails.Add(failingFor)
	var (
		batch    []byte
		entries  int
		since    time.Time // when the oldest entry of the batch was queued
		requests int
	)
	for now := range tick.C {
		if now.After(end) || ctx.Err() != nil {
			return onset
		}
		l := loglines.Line{ID: id + uint64(requests), At: now, Service: name, Status: 200, Millis: 5}
		if requests++; !now.Before(fails) && requests%2 == 0 {
			if l.Status = 500; onset.IsZero() {
				onset = now
			}
		}
		if entries == 0 {
			batch, since = append(batch[:0], '['), now
		} else {
			batch = append(batch, ',')
		}
		batch = lines.Append(batch, l)
		if entries++; entries == batchSize || now.Sub(since) >= coalescing {
			batch = append(batch, ']')
			if err := post(ctx, client, url, batch); err != nil {
				fmt.Println("  a batch was not taken:", err)
			}
			entries = 0
		}
	}
	return onset
}
