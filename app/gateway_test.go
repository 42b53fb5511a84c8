package app

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/completeness"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/journal"
)

const checkedRules = `
slos:
  - {name: orders, service: orders, objective: 99, window: 1d, sli: {availability: {}}}
  - {name: payments, service: payments, objective: 99, window: 1d, sli: {availability: {}}}
  - {name: everything, service: "*", objective: 99, window: 1d, sli: {availability: {}}}
`

// checked is a guard whose log is checked against one node's counters.
type checked struct {
	*liveGuard
	last time.Time
}

// pass lets seconds pass; in each, Kong serves 20 requests to orders and 5 to payments,
// of which so many to orders are logged, and all to payments.
func (c *checked) pass(seconds, logged int) {
	c.t.Helper()
	for range seconds {
		now := time.Now()
		records := make([]gatewarden.Record, 0, 25)
		for i := range 25 {
			service := "orders"
			if i >= 20 {
				service = "payments"
			}
			if i < logged || i >= 20 {
				records = append(records, gatewarden.Record{At: now, Service: service, Route: "r", Status: 200, Origin: gatewarden.OriginUpstream, Weight: 1})
			}
		}
		if err := c.app.intake.Accept(c.t.Context(), "httplog", records); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
		look := collector.Look{Node: gatewarden.Node{Address: "kong:8100", ID: "a", At: time.Now()}, Since: c.last, Counts: true}
		if !c.last.IsZero() {
			look.Requests = map[string]uint64{"orders": 20, "payments": 5}
		}
		c.last = look.Node.At
		c.app.intake.gateway.Saw("kongmetrics", look)
		if err := c.app.loop.Tick(c.t.Context(), time.Now()); err != nil {
			c.t.Fatal(err)
		}
	}
}

// states are those of the last verdicts, by SLO.
func (c *checked) states() map[string]string {
	states := map[string]string{}
	for _, v := range c.app.loop.current() {
		states[v.Name] = v.State.String()
	}
	return states
}

func TestWhatTheLogLacksIsNotJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &checked{liveGuard: newLiveGuard(t, checkedRules)}
		c.app.intake.expect("kongmetrics", "kongmetrics", time.Now())
		c.app.intake.gateway.check(completeness.Config{Limit: 0.95, Window: time.Minute, Settle: 10 * time.Second, MinRequests: 50})
		c.app.intake.sources["httplog"].came = &deliveries{}

		well := map[string]string{"orders": "healthy", "payments": "healthy", "everything": "healthy"}
		c.pass(180, 20)
		if diff := cmp.Diff(well, c.states()); diff != "" {
			t.Errorf("while the log is whole (-want +got)\n%s", diff)
		}
		status := statusOf(c.app.intake)
		if s := status.Completeness; s == nil || !s.Whole || s.All.Counted != 1500 || s.All.Logged != 1500 || len(s.Services) != 2 {
			t.Errorf("the status says %+v", s)
		}
		for _, source := range status.Sources {
			switch share := source.Completeness; {
			case source.Silent:
				t.Errorf("%s is said to be silent", source.Name)
			case source.Name == "httplog" && (share == nil || *share != 1):
				t.Errorf("httplog brought %v of it", share)
			case source.Name == "kongmetrics" && share != nil:
				t.Errorf("kongmetrics brings no log, and is said to bring %v", *share)
			}
		}

		c.pass(60, 4)
		if diff := cmp.Diff(map[string]string{"orders": "inconclusive", "payments": "healthy", "everything": "inconclusive"}, c.states()); diff != "" {
			t.Errorf("while most of orders is lost (-want +got)\n%s", diff)
		}
		for _, v := range c.app.loop.current() {
			if v.Name == "orders" && !strings.HasPrefix(v.Reason, "can't judge: of 1200 requests to orders that Kong counted in 1m, the log brought ") {
				t.Errorf("the reason is %q", v.Reason)
			}
		}
		c.pass(100, 20)
		if diff := cmp.Diff(well, c.states()); diff != "" {
			t.Errorf("after the log is whole again (-want +got)\n%s", diff)
		}
		events := aboutTheLog(t, c.app)
		if diff := cmp.Diff([]string{"log:orders incomplete", "log incomplete", "log complete", "log:orders complete"}, events); diff != "" {
			t.Errorf("events (-want +got)\n%s", diff)
		}
	})
}

// statusOf returns the part of the status that is about sources.
func statusOf(in *intake) api.Status {
	now := time.Now()
	s := api.Status{Sources: in.views(now), Completeness: in.gateway.completeness(now)}
	in.share(s.Sources, s.Completeness)
	return s
}

// aboutTheLog returns what was written about how whole the log is.
func aboutTheLog(t *testing.T, a *term) (list []string) {
	t.Helper()
	events, err := a.loop.journal.Events(t.Context(), journal.Query{Type: gatewarden.EventSource})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if strings.HasPrefix(e.Name, "log") {
			list = append(list, e.Name+" "+e.State)
		}
	}
	return list
}

func TestHowTheGatewayIs(t *testing.T) {
	yes, no := true, false
	target := func(target, state string) gatewarden.TargetHealth {
		return gatewarden.TargetHealth{Upstream: "orders", Target: target, Address: target, State: state}
	}
	got := healthOf([]gatewarden.Node{
		{Address: "a", Datastore: &yes, Targets: []gatewarden.TargetHealth{target("1", "healthy"), target("2", "healthy"), target("3", "healthchecks_off")}},
		{Address: "b", Datastore: &no, Targets: []gatewarden.TargetHealth{target("1", "unhealthy"), target("2", "healthy"), target("4", "dns_error")}},
		{Address: "c", Problem: "it gave no answer in time"},
		{Address: "cp", DataPlanes: []gatewarden.DataPlane{{ID: "1", ConfigHash: "5"}, {ID: "2", ConfigHash: "5"}, {ID: "3", ConfigHash: "7"}}},
	})
	want := health{
		nodes:   map[string]int{"ok": 2, "no_datastore": 1, "unreachable": 1},
		targets: map[string]int{"healthy": 1, "unhealthy": 1, "dns_error": 1, "healthchecks_off": 1}, configurations: 2,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(health{})); diff != "" {
		t.Error(diff)
	}
}

func TestDeliveriesAreOfTheirSecond(t *testing.T) {
	d := &deliveries{}
	add := func(second int64, n uint32) {
		d.add(&gatewarden.Record{At: time.Unix(second, 0), Service: "orders", Weight: n}, 1_000_000)
	}
	add(500_000, 7)
	add(999_990, 1)
	add(999_999, 2)
	add(999_995, 4)   // late
	add(998_000, 8)   // too late
	add(1_000_500, 9) // of the future
	d.add(&gatewarden.Record{At: time.Unix(999_999, 0), Weight: 5}, 1_000_000)
	for _, c := range []struct {
		from, to int64
		want     uint64
	}{{999_990, 1_000_000, 7}, {999_991, 999_999, 4}, {0, 2_000_000, 7}, {499_999, 500_001, 0}} {
		if n := d.between(time.Unix(c.from, 0), time.Unix(c.to, 0)); n != c.want {
			t.Errorf("%d in [%d, %d), want %d", n, c.from, c.to, c.want)
		}
	}
}
