package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/store"
)

// seenBy is a witness of requests on the shop, a second apart from one another.
func seenBy(t *testing.T, sheds []gatewarden.Shed, requests []gatewarden.Record) (*witness, time.Time, time.Time) {
	t.Helper()
	s := store.New(store.Config{}, prometheus.NewRegistry())
	s.Configure(nil)
	s.SetSheds(sheds)
	from := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	to := from.Add(20 * time.Second)
	w := &witness{store: s, blind: func(time.Time) (bool, string) { return false, "" }, nodes: func() int { return 0 }, tries: map[string]*tried{}}
	w.tried(&gatewarden.Sign{}, from, from) // from now on it counts
	for i := range requests {
		r := &requests[i]
		r.Weight = max(r.Weight, 1)
		if r.At.IsZero() {
			r.At = from.Add(10 * time.Second)
		}
	}
	s.Add(requests, to, nil)
	w.see(requests)
	return w, from, to
}

func TestTheTrafficSaysWhatAChangeCameTo(t *testing.T) {
	end := gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: map[string]any{"status_code": 503}}}
	limit := gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "rate-limiting", Route: "list", Config: map[string]any{"second": 2, "limit_by": "service"}}}
	divert := gatewarden.Step{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "list", To: "later"}}
	disable := gatewarden.Step{Kind: gatewarden.StepService, Service: &gatewarden.ServiceStep{Name: "recommendations"}}
	request := func(service, route string, status int, origin gatewarden.Origin, n uint32) gatewarden.Record {
		return gatewarden.Record{Service: service, Route: route, Status: status, Origin: origin, Weight: n}
	}
	for name, c := range map[string]struct {
		step     gatewarden.Step
		requests []gatewarden.Record
		want     gatewarden.Effect
	}{
		"a termination that shows": {end, []gatewarden.Record{
			request("recommendations", "r", 503, gatewarden.OriginKong, 7), request("orders", "list", 200, gatewarden.OriginUpstream, 50),
		}, gatewarden.Effect{For: 7}},
		"one that does not": {end, []gatewarden.Record{
			request("recommendations", "r", 200, gatewarden.OriginUpstream, 7), request("recommendations", "r", 503, gatewarden.OriginUpstream, 2),
		}, gatewarden.Effect{Against: 9}},
		"what other plugins refuse says nothing": {end, []gatewarden.Record{request("recommendations", "r", 401, gatewarden.OriginKong, 7)}, gatewarden.Effect{}},
		"a limit that binds":                     {limit, []gatewarden.Record{request("orders", "list", 429, gatewarden.OriginKong, 3), request("orders", "list", 200, gatewarden.OriginUpstream, 500)}, gatewarden.Effect{For: 3}},
		"a limit of which there is enough":       {limit, []gatewarden.Record{request("orders", "list", 200, gatewarden.OriginUpstream, 40)}, gatewarden.Effect{}},
		"a limit that lets far too many through": {limit, []gatewarden.Record{request("orders", "list", 200, gatewarden.OriginUpstream, 500)}, gatewarden.Effect{Against: 500 - 2*unknownNodes*21}},
		"a route that is diverted":               {divert, []gatewarden.Record{request("later", "list", 202, gatewarden.OriginUpstream, 5), request("later", "other", 202, gatewarden.OriginUpstream, 5)}, gatewarden.Effect{For: 5}},
		"a route that is not":                    {divert, []gatewarden.Record{request("orders", "list", 200, gatewarden.OriginUpstream, 5)}, gatewarden.Effect{Against: 5}},
		"a service that gets none":               {disable, []gatewarden.Record{request("orders", "list", 200, gatewarden.OriginUpstream, 5), request("", "", 404, gatewarden.OriginKong, 2)}, gatewarden.Effect{For: 7}},
		"a service that still gets some":         {disable, []gatewarden.Record{request("recommendations", "r", 200, gatewarden.OriginUpstream, 5)}, gatewarden.Effect{Against: 5}},
		"nothing at all":                         {end, nil, gatewarden.Effect{}},
	} {
		t.Run(name, func(t *testing.T) {
			var sheds []gatewarden.Shed
			if shed, ok := c.step.Sheds(); ok {
				sheds = append(sheds, shed)
			}
			w, from, to := seenBy(t, sheds, c.requests)
			sign, ok := c.step.Sign()
			if !ok {
				t.Fatal("it has no sign")
			}
			got, known := w.Effect(&sign, from, to)
			if diff := cmp.Diff(c.want, got); diff != "" || !known {
				t.Errorf("known %v: %s", known, diff)
			}
			w.blind = func(time.Time) (bool, string) { return true, "silence" }
			if _, known := w.Effect(&sign, from, to); known {
				t.Error("it knows without seeing")
			}
		})
	}
}

func TestFirstTriesSayWhetherATargetIsDrained(t *testing.T) {
	begun := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	try := func(second int, took time.Duration, targets ...string) gatewarden.Record {
		r := gatewarden.Record{At: begun.Add(time.Duration(second)*time.Second + took), Latency: gatewarden.Latency{Request: took}}
		for _, target := range targets {
			r.Tries = append(r.Tries, gatewarden.Try{Target: target})
		}
		return r
	}
	sign := &gatewarden.Sign{Targets: []string{"10.0.0.8:80"}, Others: []string{"10.0.0.7:80"}, Every: true}
	w, from, to := seenBy(t, nil, []gatewarden.Record{
		try(5, 0, "10.0.0.7:80"), try(6, 0, "10.0.0.7:80", "10.0.0.8:80"), // the first one owns it
		try(7, 0, "10.0.0.8:80"), try(7, 0, "10.0.0.9:80"), try(8, 0),
		try(-3, 9*time.Second, "10.0.0.8:80"), // it began before, and took long
		try(40, 0, "10.0.0.8:80"),
	})
	got, known := w.Effect(sign, from, to)
	if want := (gatewarden.Effect{For: 2, Against: 1}); got != want || !known {
		t.Errorf("%+v, want %+v", got, want)
	}
	w.rest(to.Add(2 * triesWhile))
	if w.asked.Load() || len(w.tries) > 0 {
		t.Error("it goes on counting though nobody asks")
	}
}

func TestANodeOfTwoAddressesIsOne(t *testing.T) {
	planes := []gatewarden.DataPlane{{ID: "p1"}, {ID: "p2"}, {ID: "p3"}}
	for name, c := range map[string]struct {
		nodes []gatewarden.Node
		want  int
	}{
		"none that is known":                 {nil, 0},
		"two":                                {[]gatewarden.Node{{Address: "a", ID: "1"}, {Address: "b", ID: "2"}}, 2},
		"one at two addresses":               {[]gatewarden.Node{{Address: "status", ID: "1"}, {Address: "admin", ID: "1"}}, 1},
		"two that do not say who they are":   {[]gatewarden.Node{{Address: "a"}, {Address: "b"}}, 2},
		"one that two sources ask":           {[]gatewarden.Node{{Address: "a"}, {Address: "a"}}, 1},
		"the data planes of a control plane": {[]gatewarden.Node{{Address: "control", ID: "c", DataPlanes: planes}}, 3},
		"those that are asked themselves":    {[]gatewarden.Node{{Address: "control", ID: "c", DataPlanes: planes}, {Address: "p1:8100", ID: "p1"}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, reg := store.New(store.Config{}, prometheus.NewRegistry()), prometheus.NewRegistry()
			in := newIntake(s, func() time.Time { return noon }, time.Minute, reg)
			for i, n := range c.nodes {
				in.gateway.nodes[nodeKey{fmt.Sprint(i), n.Address}] = n
			}
			if got := newWitness(s, in).nodes(); got != c.want {
				t.Errorf("%d nodes, want %d", got, c.want)
			}
		})
	}
}
