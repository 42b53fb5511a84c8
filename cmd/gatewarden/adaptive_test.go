package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

// sale is a service that bears so many requests a second: with more let through, it
// answers none of them well. Kong lets through what the plugin at limited says, and logs
// the rest as its own 429.
type sale struct {
	shop    *shop
	guard   *process
	limited string       // path of the plugin in the Admin API
	load    atomic.Int64 // requests a second
	shed    atomic.Int64 // so far
}

const bearable = 60 // requests a second

// run posts the log of each tick as it passes.
func (s *sale) run(ctx context.Context) {
	const ticks = int(time.Second / tickEvery)
	tick, writer := time.NewTicker(tickEvery), loglines.NewWriter()
	defer tick.Stop()
	for id := uint64(1); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		came := int(s.load.Load()) / ticks
		through, err := s.through(came, ticks)
		if err != nil {
			s.shop.t.Error(err)
			return
		}
		var lines [][]byte
		for i := range came {
			l := loglines.Line{ID: id, At: time.Now(), Service: "orders", Status: http.StatusOK, Millis: 5}
			switch {
			case i >= through:
				l.Status, l.Kong = http.StatusTooManyRequests, true
				s.shed.Add(1)
			case through > bearable/ticks:
				l.Status = http.StatusServiceUnavailable
			}
			lines = append(lines, writer.Append(nil, l))
			id++
		}
		if status, answer, err := s.guard.post("/ingest/kong", jsonArray(lines)); err != nil || status != http.StatusOK {
			s.shop.t.Errorf("posting the log: %d %s %v", status, answer, err)
			return
		}
	}
}

// through returns how many of those that came in a tick Kong lets through.
func (s *sale) through(came, ticks int) (int, error) {
	limit, err := s.limit()
	if err != nil || limit == 0 {
		return came, err
	}
	return min(came, max(limit/ticks, 1)), nil
}

// limit returns what the plugin lets through in a second, 0 when it is not limited by the
// second.
func (s *sale) limit() (int, error) {
	var plugin struct{ Config struct{ Second int } }
	err := s.shop.askOr(http.MethodGet, s.limited, "", &plugin)
	return plugin.Config.Second, err
}

// steps returns the status of the one action, and how often its limit has moved.
func (s *sale) steps() (status gatewarden.ActionStatus, moved int, err error) {
	events, err := s.guard.events(0)
	for _, e := range events {
		if e.Action == nil || e.Action.Step == 0 {
			continue
		}
		status = e.Action.Status
		if strings.Contains(e.Reason, "the limit of ") && strings.Contains(e.Reason, " goes from ") {
			moved++
		}
	}
	return status, moved, err
}

// presetOfAdaptive is the shipped preset for orders, in force and in a hurry.
func presetOfAdaptive(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../examples/presets/adaptive.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, change := range [][2]string{
		{"checkout", "orders"}, {"mode: observe", "mode: enforce"}, {"ceiling: 2000", "ceiling: 2000, settle: 2s"}, {"revert: {after: 5m}", "revert: {after: 1s}"},
	} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("the preset has no %q any more", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	return text
}

// TestAnAdaptiveLimitFromItsBeginningToItsEnd lets more customers come than orders bears.
// The guard limits them, by a plugin that is the user's own; the limit moves until orders
// are well under the same load; and when that falls the plugin is as it was.
func TestAnAdaptiveLimitFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	shop := openShop(t, presetOfAdaptive(t), 0)
	var own struct{ ID string }
	shop.ask(http.MethodPost, "/services/orders/plugins", `{"name":"rate-limiting","tags":["team:orders"],"config":{"hour":900000,"policy":"local","error_message":"über"}}`, &own)
	s := &sale{shop: shop, guard: startProcess(t, shop.config), limited: "/plugins/" + own.ID}
	before := shop.plugin(s.limited)
	s.load.Store(40)
	ctx, stop := context.WithCancel(t.Context())
	var open sync.WaitGroup
	open.Go(func() { s.run(ctx) })
	t.Cleanup(func() { stop(); open.Wait() })

	s.until("orders-in-time", gatewarden.Healthy)
	s.load.Store(100)
	s.until("orders-in-time", gatewarden.Breach)
	eventually(t, "the limit to be in place and to have moved", func() error {
		status, moved, err := s.steps()
		if err == nil && (status != gatewarden.ActionApplied || moved == 0) {
			err = fmt.Errorf("the action is %q, and the limit has moved %d times", status, moved)
		}
		return err
	})
	s.until("orders-in-time", gatewarden.Healthy)
	limit, err := s.limit()
	if err != nil || limit < 20 || limit > bearable || s.shed.Load() == 0 {
		t.Errorf("orders are well with a limit of %d requests a second and %d kept back (%v)", limit, s.shed.Load(), err)
	}
	if status, _, err := s.steps(); status != gatewarden.ActionApplied {
		t.Errorf("with requests kept back the action is %q (%v)", status, err)
	}

	s.load.Store(20)
	eventually(t, "the limit to be taken back", func() error {
		status, _, err := s.steps()
		if err == nil && status != gatewarden.ActionReverted {
			err = fmt.Errorf("the action is %q", status)
		}
		return err
	})
	if diff := cmp.Diff(before, shop.plugin(s.limited)); diff != "" {
		t.Errorf("the user's plugin is not byte for byte what it was (-before +after):\n%s", diff)
	}
	if left := shop.pluginsOfGuard(); len(left) > 0 {
		t.Errorf("plugins of the guard are left: %q", left)
	}
	if diff := cmp.Diff(shop.ownBefore, shop.plugin(shop.own)); diff != "" {
		t.Errorf("the user's plugin on the route has changed (-before +after):\n%s", diff)
	}
}

// until waits for a state of an SLO.
func (s *sale) until(slo string, state gatewarden.State) {
	s.shop.t.Helper()
	eventually(s.shop.t, slo+" to be "+state.String(), func() error {
		is, err := s.guard.slo(slo)
		if err == nil && is.Verdict.State != state {
			err = fmt.Errorf("it is %s: %s", is.Verdict.State, is.Verdict.Reason)
		}
		return err
	})
}
