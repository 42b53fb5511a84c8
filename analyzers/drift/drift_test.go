package drift_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/drift"
)

// start is when the tests begin.
func start() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }

func after(d time.Duration) time.Time { return start().Add(d) }

func policy() gatewarden.DriftPolicy {
	return gatewarden.DriftPolicy{Grace: time.Minute, Severity: gatewarden.SeverityTicket}
}

// node is one that runs 3.9.1 with two plugins and answers.
func node(address string, change ...func(*gatewarden.Node)) gatewarden.Node {
	n := gatewarden.Node{Address: address, Version: "3.9.1", ConfigHash: "aaaa", Plugins: []string{"http-log", "rate-limiting"}, At: start()}
	for _, c := range change {
		c(&n)
	}
	return n
}

func silent(n *gatewarden.Node) { n.Problem = "it gave no answer in time" }

func target(state string) func(*gatewarden.Node) {
	return func(n *gatewarden.Node) {
		n.Targets = append(n.Targets, gatewarden.TargetHealth{Upstream: "orders", Target: "10.0.0.7:8080", Address: "10.0.0.7:8080", State: state})
	}
}

func planes(list ...gatewarden.DataPlane) func(*gatewarden.Node) {
	return func(n *gatewarden.Node) { n.DataPlanes = list }
}

// lasting judges the same view for a while, and returns the last verdict.
func lasting(j *drift.Judge, v drift.View, from, to time.Duration) (d gatewarden.Drift) {
	for at := from; at <= to; at += time.Second {
		d = j.Judge(after(at), v)
	}
	return d
}

func TestWhatDiffersForLongerThanTheGraceIsABreach(t *testing.T) {
	for sentence, c := range map[string]struct {
		view   drift.View
		kind   gatewarden.DriftKind
		reason string
	}{
		"a node that is of another version": {
			view: drift.View{Nodes: []gatewarden.Node{node("a:8100"), node("b:8100"), node("c:8100", func(n *gatewarden.Node) { n.Version = "3.8.0" })}},
			kind: gatewarden.DriftVersion, reason: "the nodes are of different versions: 3.9.1 (a:8100, b:8100), 3.8.0 (c:8100)",
		},
		"a node without a plugin that the others have": {
			view: drift.View{Nodes: []gatewarden.Node{node("a"), node("b", func(n *gatewarden.Node) { n.Plugins = n.Plugins[:1] })}},
			kind: gatewarden.DriftPlugins, reason: "the nodes have different plugins to run: b without rate-limiting",
		},
		"nodes that lack different plugins": {
			view: drift.View{Nodes: []gatewarden.Node{
				node("a", func(n *gatewarden.Node) { n.Plugins = []string{"acl"} }), node("b", func(n *gatewarden.Node) { n.Plugins = []string{"cors"} }),
			}},
			kind: gatewarden.DriftPlugins, reason: "the nodes have different plugins to run: a without cors; b without acl",
		},
		"a node without a database that runs another configuration": {
			view: drift.View{Nodes: []gatewarden.Node{node("a"), node("b", func(n *gatewarden.Node) { n.ConfigHash = "bbbb" })}},
			kind: gatewarden.DriftConfiguration, reason: "the nodes run 2 different configurations: a against b",
		},
		"a data plane that runs another configuration than most": {
			view: drift.View{Nodes: []gatewarden.Node{node("cp:8100", planes(
				gatewarden.DataPlane{ID: "1", Hostname: "dp-1", ConfigHash: "7"}, gatewarden.DataPlane{ID: "2", Hostname: "dp-2", ConfigHash: "8"},
				gatewarden.DataPlane{ID: "3", ConfigHash: "8"},
			))}},
			kind: gatewarden.DriftConfiguration, reason: "the data planes of cp:8100 run 2 different configurations: 3, dp-2 against dp-1",
		},
		"a target that one of two nodes finds unhealthy": {
			view: drift.View{Nodes: []gatewarden.Node{node("a", target(gatewarden.TargetUnhealthy)), node("b", target(gatewarden.TargetHealthy))}},
			kind: gatewarden.DriftTargets, reason: "the target 10.0.0.7:8080 of the upstream orders is unhealthy, says a",
		},
		"a target whose name leads nowhere": {
			view: drift.View{Nodes: []gatewarden.Node{node("a", target(gatewarden.TargetDNSError))}},
			kind: gatewarden.DriftTargets, reason: "the target 10.0.0.7:8080 of the upstream orders has a name that leads nowhere, says a",
		},
		"a route that an action and a canary rely on and that is gone": {
			view: drift.View{Asked: true, Missing: []gatewarden.MissingEntity{{Entity: "the route orders-list", For: []string{"action protect", "canary orders"}}}},
			kind: gatewarden.DriftEntities, reason: "the route orders-list is gone, and action protect, canary orders rely on it",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			j := drift.New(policy())
			if d := lasting(j, c.view, 0, time.Minute-time.Second); d.State != gatewarden.Healthy || len(d.Findings) != 1 || d.Findings[0].Counts {
				t.Fatalf("within the grace: %+v, want one finding that does not count yet", d)
			}
			d := j.Judge(after(time.Minute), c.view)
			if d.State != gatewarden.Breach || d.Reason != c.reason || len(d.Findings) != 1 || d.Findings[0].Kind != c.kind || !d.Findings[0].Counts {
				t.Fatalf("after the grace: %+v\nwant a breach of the kind %s: %s", d, c.kind, c.reason)
			}
			if !d.Findings[0].Since.Equal(start()) || !d.Since.Equal(after(time.Minute)) {
				t.Errorf("it differs since %s and is a breach since %s", d.Findings[0].Since, d.Since)
			}
			later := lasting(j, c.view, time.Minute, 2*time.Minute)
			if !later.Since.Equal(*d.Since) {
				t.Errorf("the breach began at %s, and later at %s", d.Since, later.Since)
			}
			for i := range c.view.Nodes {
				c.view.Nodes[i] = node(c.view.Nodes[i].Address)
			}
			c.view.Missing = nil
			if d := j.Judge(after(3*time.Minute), c.view); d.State != gatewarden.Healthy || len(d.Findings) > 0 {
				t.Errorf("once all is alike: %+v", d)
			}
		})
	}
}

func TestWhatIsAlikeIsHealthy(t *testing.T) {
	for sentence, nodes := range map[string][]gatewarden.Node{
		"equal nodes":                          {node("a"), node("b")},
		"one node":                             {node("a")},
		"a node that does not say its version": {node("a"), node("b", func(n *gatewarden.Node) { n.Version, n.Plugins, n.ConfigHash = "", nil, "" })},
		"a control plane that is newer than a plane": {node("cp", planes(gatewarden.DataPlane{ID: "1", Version: "3.8.0"})), node("a")},
		"a control plane of another version than nodes beside it": {
			node("cp", planes(gatewarden.DataPlane{ID: "1"}), func(n *gatewarden.Node) { n.Version = "3.10.0" }), node("a"),
		},
		"a data plane that was shut down long ago": {node("cp", planes(
			gatewarden.DataPlane{ID: "1", ConfigHash: "7", Seen: start().Add(-time.Hour)}, gatewarden.DataPlane{ID: "2", ConfigHash: "8", Seen: start()},
		))},
		"targets that nobody checks":       {node("a", target(gatewarden.TargetUnchecked))},
		"a silent node of another version": {node("a"), node("b", silent, func(n *gatewarden.Node) { n.Version = "3.8.0" })},
	} {
		t.Run(sentence, func(t *testing.T) {
			if d := lasting(drift.New(policy()), drift.View{Nodes: nodes}, 0, 2*time.Minute); d.State != gatewarden.Healthy || len(d.Findings) > 0 {
				t.Errorf("%+v, want nothing", d)
			}
		})
	}
}

func TestADifferenceThatComesAndGoesHasItsGraceEachTime(t *testing.T) {
	j := drift.New(policy())
	differ := drift.View{Nodes: []gatewarden.Node{node("a"), node("b", func(n *gatewarden.Node) { n.ConfigHash = "bbbb" })}}
	alike := drift.View{Nodes: []gatewarden.Node{node("a"), node("b")}}
	for begin := time.Duration(0); begin < 5*time.Minute; begin += time.Minute {
		if d := lasting(j, differ, begin, begin+50*time.Second); d.State != gatewarden.Healthy {
			t.Fatalf("at %s: %+v", begin, d)
		}
		lasting(j, alike, begin+51*time.Second, begin+59*time.Second)
	}
}

func TestANodeThatFallsSilentIsNotWell(t *testing.T) {
	j := drift.New(policy())
	old := func(n *gatewarden.Node) { n.Version = "3.8.0" }
	lasting(j, drift.View{Nodes: []gatewarden.Node{node("a"), node("b", old)}}, 0, time.Minute)
	d := lasting(j, drift.View{Nodes: []gatewarden.Node{node("a"), node("b", old, silent)}}, time.Minute, 10*time.Minute)
	if d.State != gatewarden.Breach {
		t.Fatalf("with the node that differs silent: %+v, want the breach to stand", d)
	}
	if d = j.Judge(after(11*time.Minute), drift.View{Nodes: []gatewarden.Node{node("a", silent), node("b", old, silent)}}); d.State != gatewarden.Inconclusive {
		t.Fatalf("with all of them silent: %+v, want inconclusive", d)
	}
	if d = j.Judge(after(12*time.Minute), drift.View{Nodes: []gatewarden.Node{node("a")}}); d.State != gatewarden.Healthy {
		t.Errorf("with the silent node gone: %+v, want healthy", d)
	}
}

func TestNothingKnownIsInconclusive(t *testing.T) {
	want := gatewarden.Drift{At: start(), State: gatewarden.Inconclusive, Reason: "nothing says how Kong's nodes are"}
	if diff := cmp.Diff(want, drift.New(policy()).Judge(start(), drift.View{})); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsIgnoredIsShownAndIsNoBreach(t *testing.T) {
	p := policy()
	p.Ignore = []gatewarden.DriftKind{gatewarden.DriftTargets}
	d := lasting(drift.New(p), drift.View{Nodes: []gatewarden.Node{node("a", target(gatewarden.TargetUnhealthy))}}, 0, time.Hour)
	if d.State != gatewarden.Healthy || len(d.Findings) != 1 || d.Findings[0].Counts {
		t.Errorf("%+v, want one finding that does not count", d)
	}
}

func TestABreachGoesOnAfterARestart(t *testing.T) {
	view := drift.View{Nodes: []gatewarden.Node{node("a"), node("b", func(n *gatewarden.Node) { n.Version = "3.8.0" })}}
	first := lasting(drift.New(policy()), view, 0, 5*time.Minute)
	j := drift.New(policy())
	j.Resume(first)
	second := j.Judge(after(6*time.Minute), view)
	first.At = second.At
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("after the restart (-before +after):\n%s", diff)
	}
}

// After a restart nodes are heard of one by one, and one may be silent just then: that is
// no end of the breach, nor the beginning of another.
func TestABreachIsNotOverBecauseARestartForgot(t *testing.T) {
	old := func(n *gatewarden.Node) { n.Version = "3.8.0" }
	first := lasting(drift.New(policy()), drift.View{Nodes: []gatewarden.Node{node("a"), node("b", old)}}, 0, 5*time.Minute)
	for sentence, c := range map[string]struct {
		views []drift.View // one after the other, for 10 s each
		last  gatewarden.State
	}{
		"one node, then the other, which is silent": {[]drift.View{{Nodes: []gatewarden.Node{node("a")}}, {Nodes: []gatewarden.Node{node("a"), node("b", silent)}}}, gatewarden.Breach},
		"one node, then the other, as it was":       {[]drift.View{{Nodes: []gatewarden.Node{node("a")}}, {Nodes: []gatewarden.Node{node("a"), node("b", old)}}}, gatewarden.Breach},
		"both, before all were asked": {[]drift.View{
			{Nodes: []gatewarden.Node{node("a"), node("b")}, Early: true}, {Nodes: []gatewarden.Node{node("a"), node("b", old)}},
		}, gatewarden.Breach},
		"the other is gone": {slices.Repeat([]drift.View{{Nodes: []gatewarden.Node{node("a")}}}, 7), gatewarden.Healthy},
	} {
		t.Run(sentence, func(t *testing.T) {
			j := drift.New(policy())
			j.Resume(first)
			var d gatewarden.Drift
			for i, v := range c.views {
				at := 6*time.Minute + time.Duration(i)*10*time.Second
				d = lasting(j, v, at, at+9*time.Second)
				if d.State == gatewarden.Healthy && i < len(c.views)-1 {
					t.Fatalf("after %d views: %+v", i+1, d)
				}
				if d.State == gatewarden.Breach && !d.Since.Equal(*first.Since) {
					t.Errorf("it is a breach since %s, and began %s", d.Since, first.Since)
				}
			}
			if d.State != c.last {
				t.Errorf("in the end: %+v, want %s", d, c.last)
			}
		})
	}
}

// A difference counts exactly when every look for the length of the grace has seen it,
// whatever else came and went.
func TestTheGraceIsKeptWhateverComesAndGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policy()
		p.Grace = time.Duration(rapid.IntRange(0, 20).Draw(t, "grace")) * time.Second
		j := drift.New(p)
		since := -1
		for second, differs := range rapid.SliceOfN(rapid.Bool(), 1, 60).Draw(t, "differs") {
			nodes := []gatewarden.Node{node("a"), node("b")}
			if differs {
				nodes[1].Version = rapid.SampledFrom([]string{"3.8.0", "3.7.1"}).Draw(t, "version")
			}
			if differs && since < 0 {
				since = second
			} else if !differs {
				since = -1
			}
			want := gatewarden.Healthy
			if since >= 0 && time.Duration(second-since)*time.Second >= p.Grace {
				want = gatewarden.Breach
			}
			if d := j.Judge(after(time.Duration(second)*time.Second), drift.View{Nodes: nodes}); d.State != want {
				t.Fatalf("second %d: %s, want %s", second, d.State, want)
			}
		}
	})
}
