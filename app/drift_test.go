package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/store"
)

const driftingRules = `
slos: [{name: orders, service: orders, objective: 99, window: 1d, sli: {availability: {}}}]
drift: {grace: 30s, on_drift: [tell-team]}
actions:
  - {name: tell-team, mode: enforce, steps: [{webhook: {url: "http://team/"}}]}
  - {name: shed, mode: enforce, on_alert: [{a: b}], steps: [{plugin: {name: request-termination, service: recommendations, route: search}}]}
  - {name: shed-more, mode: observe, on_alert: [{a: b}], steps: [{plugin: {name: request-termination, service: payments}}]}
`

// gatewayOfTwo is a Kong of two nodes, and a team that is told.
type gatewayOfTwo struct {
	mu       sync.Mutex
	versions [2]string
	err      error
	services []string
	told     []string
}

func (g *gatewayOfTwo) node(i int) func(context.Context) (gatewarden.Node, error) {
	return func(context.Context) (gatewarden.Node, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return gatewarden.Node{ID: string(rune('a' + i)), Version: g.versions[i], Plugins: []string{"acl"}}, g.err
	}
}

func (g *gatewayOfTwo) Has(_ context.Context, table, name string) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return table != "services" || slices.Contains(g.services, name), g.err
}

func (g *gatewayOfTwo) Prepare(context.Context, gatewarden.Action) (json.RawMessage, error) {
	return nil, nil
}

func (g *gatewayOfTwo) Apply(_ context.Context, a gatewarden.Action, _ func(json.RawMessage) error) (gatewarden.Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = append(g.told, a.Trigger.Reason)
	return gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: "told"}, nil
}

func (g *gatewayOfTwo) Revert(context.Context, gatewarden.Action) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{}, nil
}

// drifting is a guard before that gateway.
type drifting struct {
	t       *testing.T
	gateway *gatewayOfTwo
	loop    *loop
	journal *journal.Journal
}

func newDrifting(t *testing.T, g *gatewayOfTwo, j *journal.Journal) *drifting {
	t.Helper()
	set, reg, logger := loadText(t, driftingRules), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	s := store.New(store.Config{}, reg)
	in := newIntake(s, time.Now, time.Minute, reg)
	in.expect("httplog", "httplog", time.Now())
	l, _, err := newLoop(t.Context(), parts{
		rules: set, store: s, intake: in, journal: j, started: time.Now(), registry: reg,
		gates: gates.Config{Tracks: newTracks(nil, logger), Logger: logger},
		engine: actions.Config{Policies: set.Policies, Executors: map[gatewarden.StepKind]actions.Executor{
			gatewarden.StepWebhook: g, gatewarden.StepPlugin: g,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newDrifts(in.gateway, time.Now, logger)
	w.kong = g
	w.apis = []adminAPI{{"one:8001", g.node(0)}, {"two:8001", g.node(1)}}
	w.SetRules(set)
	if err := w.resume(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	l.drifts = w
	return &drifting{t: t, gateway: g, loop: l, journal: j}
}

// pass lets time pass.
func (d *drifting) pass(length time.Duration) {
	d.t.Helper()
	for end := time.Now().Add(length); time.Now().Before(end); {
		d.loop.drifts.ask(d.t.Context())
		time.Sleep(driftEvery)
		if err := d.loop.Tick(d.t.Context(), time.Now()); err != nil {
			d.t.Fatal(err)
		}
		synctest.Wait()
	}
}

// events are those of drift so far, in words.
func (d *drifting) events() (list []string) {
	d.t.Helper()
	events, err := d.journal.Events(d.t.Context(), journal.Query{Type: gatewarden.EventDrift})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range events {
		list = append(list, e.State+" "+e.Severity+": "+e.Reason)
	}
	return list
}

func TestDriftStartsWhatAnswersItOnceAndIsOverWhenItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gatewayOfTwo{versions: [2]string{"3.9.1", "3.9.1"}, services: []string{"recommendations"}}
		d := newDrifting(t, g, journal.NewMemory())
		d.pass(time.Minute)
		if got := d.events(); len(got) > 0 {
			t.Fatalf("with all alike: %q", got)
		}
		g.versions[1] = "3.8.0"
		d.pass(20 * time.Second)
		if got := d.events(); len(got) > 0 {
			t.Fatalf("within the grace: %q", got)
		}
		d.pass(2 * time.Minute)
		const differ = "the nodes are of different versions: 3.8.0 (two:8001), 3.9.1 (one:8001)"
		want := []string{"breach ticket: " + differ}
		if diff := cmp.Diff(want, d.events()); diff != "" {
			t.Fatalf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{differ}, g.told); diff != "" {
			t.Fatalf("the team was told (-want +got):\n%s", diff)
		}

		g.services = nil
		d.pass(2 * time.Minute)
		want = append(want, "breach ticket: "+differ+"; and 1 more")
		if diff := cmp.Diff(want, d.events()); diff != "" {
			t.Fatalf("with a service gone (-want +got):\n%s", diff)
		}
		if got := d.loop.drifts.current().Findings[1]; got.Reason != "the service recommendations is gone, and the action shed relies on it" {
			t.Errorf("the second finding: %+v", got)
		}
		counts := map[gatewarden.DriftKind]int{"configuration": 0, "version": 1, "plugins": 0, "targets": 0, "entities": 1}
		if diff := cmp.Diff(counts, findings(d.loop.drifts.current())); diff != "" {
			t.Errorf("what the metric says (-want +got):\n%s", diff)
		}

		g.versions[1], g.services = "3.9.1", []string{"recommendations"}
		d.pass(time.Minute)
		want = append(want, "healthy : 2 nodes of Kong's are alike")
		if diff := cmp.Diff(want, d.events()); diff != "" {
			t.Fatalf("once all is well (-want +got):\n%s", diff)
		}
		if len(g.told) != 1 {
			t.Errorf("the team was told %q", g.told)
		}
	})
}

func TestDriftGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gatewayOfTwo{versions: [2]string{"3.9.1", "3.8.0"}, services: []string{"recommendations"}}
		j := journal.NewMemory()
		newDrifting(t, g, j).pass(2 * time.Minute)
		d := newDrifting(t, g, j)
		d.pass(2 * time.Minute)
		if got := d.events(); len(got) != 1 {
			t.Errorf("events: %q, want the breach once", got)
		}
		if len(g.told) != 1 {
			t.Errorf("the team was told %q, want it told once", g.told)
		}
	})
}

// Another guard leads from now on, and has asked nobody yet; or nobody answers it at first.
func TestDriftIsNotOverBecauseANewLeaderKnowsNothingYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gatewayOfTwo{versions: [2]string{"3.9.1", "3.9.1"}}
		j := journal.NewMemory()
		newDrifting(t, g, j).pass(2 * time.Minute)
		d := newDrifting(t, g, j)
		d.loop.drifts.gateway.Saw("kongmetrics", collector.Look{Node: gatewarden.Node{Address: "one:8100", ID: "a", Version: "3.9.1", At: time.Now()}})
		for range 5 {
			if err := d.loop.Tick(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		g.err = gatewarden.Errorf(gatewarden.Unavailable, "no answer")
		d.pass(30 * time.Second)
		g.err = nil
		d.pass(time.Minute)
		if got := d.events(); len(got) != 1 || len(g.told) != 1 {
			t.Errorf("events: %q, want the breach once; the team was told %q", got, g.told)
		}
	})
}

func TestNodesThatFallSilentAreNewsAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gatewayOfTwo{versions: [2]string{"3.9.1", "3.9.1"}, services: []string{"recommendations"}}
		d := newDrifting(t, g, journal.NewMemory())
		d.pass(time.Minute)
		g.err = gatewarden.Errorf(gatewarden.Unavailable, "no answer")
		d.pass(50 * time.Second)
		if got := d.events(); len(got) > 0 {
			t.Fatalf("at first: %q", got)
		}
		d.pass(3 * time.Minute)
		g.err = nil
		d.pass(time.Minute)
		want := []string{"inconclusive : none of 2 nodes of Kong's gives an answer", "healthy : 2 nodes of Kong's are alike"}
		if diff := cmp.Diff(want, d.events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestWhatANodeSaysAtItsMetricsAndByItsAdminAPIIsOneNode(t *testing.T) {
	g := newGateway(nil)
	g.nodes[nodeKey{"kongmetrics", "one:8100"}] = gatewarden.Node{Address: "one:8100", ID: "a", Problem: "it gave no answer in time"}
	g.nodes[nodeKey{"kongmetrics", "two:8100"}] = gatewarden.Node{Address: "two:8100", ID: "b", Version: "3.9.1"}
	w := newDrifts(g, time.Now, slog.New(slog.DiscardHandler))
	w.sawNode("one:8001", gatewarden.Node{ID: "a", Version: "3.9.1", Plugins: []string{"acl"}}, nil)
	w.sawNode("two:8001", gatewarden.Node{ID: "b", Version: "3.9.0", Plugins: []string{"acl", "cors"}, ConfigHash: "beef"}, nil)
	w.sawNode("two:8001", gatewarden.Node{}, gatewarden.Errorf(gatewarden.Unavailable, "refused"))
	w.sawNode("three:8001", gatewarden.Node{}, gatewarden.Errorf(gatewarden.Unavailable, "refused"))
	type line struct {
		Address, ID, Problem, Version, Hash string
		Plugins                             int
	}
	var got []line
	for _, n := range w.view(time.Now()).Nodes {
		got = append(got, line{n.Address, n.ID, n.Problem, n.Version, n.ConfigHash, len(n.Plugins)})
	}
	// What only an Admin API says stays while that is silent and the metrics are not.
	want := []line{{"one:8100", "a", "", "3.9.1", "", 1}, {"two:8100", "b", "", "3.9.1", "beef", 2}, {"three:8001", "", "refused", "", "", 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNodesBehindABalancerAreToldApartAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDrifts(newGateway(nil), time.Now, slog.New(slog.DiscardHandler))
		for i := range 10 {
			w.sawNode("lb:8001", gatewarden.Node{ID: string(rune('a' + i%2)), Version: "3.9.1"}, nil)
			time.Sleep(driftEvery)
		}
		if n := len(w.view(time.Now()).Nodes); n != 2 {
			t.Fatalf("%d nodes, want 2", n)
		}
		for range 30 {
			w.sawNode("lb:8001", gatewarden.Node{ID: "a", Version: "3.9.1"}, nil)
			time.Sleep(driftEvery)
		}
		if n := len(w.view(time.Now()).Nodes); n != 1 {
			t.Errorf("%d nodes, want the one that answers", n)
		}
	})
}

func TestWhatAnAdaptiveStepNamesIsLookedFor(t *testing.T) {
	w := newDrifts(nil, time.Now, slog.New(slog.DiscardHandler))
	w.kong = &gatewayOfTwo{}
	var got []string
	for _, n := range w.needsOf(loadText(t, `
slos: [{name: orders, service: orders, objective: 99, window: 1d, sli: {availability: {}}, on_outage: [adapt, adapt-list]}]
actions:
  - {name: adapt, mode: enforce, steps: [{adaptive: {slo: orders, service: orders, floor: 5, ceiling: 500}}]}
  - {name: adapt-list, mode: approve, steps: [{adaptive: {slo: orders, service: orders, route: orders-list, floor: 5, ceiling: 500}}]}
`)) {
		got = append(got, n.entity+": "+strings.Join(n.by, ", "))
	}
	want := []string{"the service orders: the action adapt, the action adapt-list", "the route orders-list: the action adapt-list"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is looked for (-want +got):\n%s", diff)
	}
}
