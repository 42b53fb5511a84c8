package app

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/completeness"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/store"
)

// gateway knows what Kong's nodes say of themselves, and from that how much of Kong's
// log there is.
type gateway struct {
	store *store.Store

	mu     sync.Mutex
	nodes  map[nodeKey]gatewarden.Node
	looked map[string]time.Time // when a source last got an answer
	book   *completeness.Book   // nil: nothing checks the log
	limit  float64
	asked  map[string]bool      // services that are judged by; "" for all together
	lacked map[string]time.Time // those announced as incomplete; when they were last found so
	report completeness.Report
	as     time.Time // of which instant the report is
}

var _ collector.Gateway = (*gateway)(nil)

// nodeKey is a node, as a source knows it.
type nodeKey struct{ source, address string }

func newGateway(s *store.Store) *gateway {
	return &gateway{
		store: s, nodes: map[nodeKey]gatewarden.Node{}, looked: map[string]time.Time{}, asked: map[string]bool{}, lacked: map[string]time.Time{},
	}
}

// forget begins anew: whoever looked at the nodes until now looks no more.
func (g *gateway) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nodes, g.looked, g.book = map[nodeKey]gatewarden.Node{}, map[string]time.Time{}, nil
	g.lacked, g.report, g.as = map[string]time.Time{}, completeness.Report{}, time.Time{}
}

// check makes the log be checked from now on. The first source to say how, does.
func (g *gateway) check(cfg completeness.Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.book == nil {
		g.book, g.limit = completeness.New(cfg, g.logged), cfg.Limit
	}
}

// logged returns how many records of a service there were.
func (g *gateway) logged(service string, from, to time.Time) (n uint64, ever bool) {
	return g.store.Requests(gatewarden.Series{Service: service}, from, to)
}

// Saw implements collector.Gateway.
func (g *gateway) Saw(source string, look collector.Look) {
	g.mu.Lock()
	defer g.mu.Unlock()
	node := look.Node
	node.Targets, node.DataPlanes = slices.Clone(node.Targets), slices.Clone(node.DataPlanes)
	g.nodes[nodeKey{source, node.Address}] = node
	if node.Problem == "" {
		g.looked[source] = node.At
	}
	switch {
	case g.book == nil:
	case node.Problem != "":
		g.book.Failed(source + " " + node.Address)
	default:
		g.book.Looked(source+" "+node.Address, node.ID, look.Since, node.At, look.Requests)
	}
}

// Gone implements collector.Gateway.
func (g *gateway) Gone(source, address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.nodes, nodeKey{source, address})
	if g.book != nil {
		g.book.Gone(source + " " + address)
	}
}

// reportEvery is how often the log is compared with the counters, at most.
const reportEvery = time.Second

// judge returns the report as of about an instant, and false when nothing checks the
// log. g.mu is held.
func (g *gateway) judge(at time.Time) (completeness.Report, bool) {
	if g.book == nil {
		return completeness.Report{}, false
	}
	if age := at.Sub(g.as); age < 0 || age >= reportEvery {
		g.report, g.as = g.book.Judge(at), at
	}
	return g.report, true
}

// lacks reports whether too much of the log is missing to judge a series, and why.
func (g *gateway) lacks(series gatewarden.Series, at time.Time) (bool, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.judge(at)
	if !ok {
		return false, ""
	}
	g.asked[series.Service] = true
	s := r.All
	if series.Service != "" {
		s = r.Services[series.Service]
	}
	return s.Lacking, s.Why
}

// calmAfter is how long a log must be complete for that to be news.
const calmAfter = 15 * time.Second

// events returns what became incomplete or complete since the last call, of what SLOs
// are judged by.
func (g *gateway) events(at time.Time) []gatewarden.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.judge(at)
	if !ok {
		return nil
	}
	var events []gatewarden.Event
	tell := func(service, state, why string) {
		name := "log"
		if service != "" {
			name += ":" + service
		}
		events = append(events, gatewarden.Event{At: at, Type: gatewarden.EventSource, Name: name, State: state, Reason: why})
	}
	for service := range g.asked {
		s := r.All
		if service != "" {
			s = r.Services[service]
		}
		found, told := g.lacked[service]
		switch {
		case s.Lacking && !told:
			tell(service, "incomplete", s.Why)
			fallthrough
		case s.Lacking:
			g.lacked[service] = at
		case told && at.Sub(found) >= calmAfter:
			delete(g.lacked, service)
			tell(service, "complete", "the log has what Kong counts again")
		}
	}
	slices.SortFunc(events, func(a, b gatewarden.Event) int { return strings.Compare(a.Name, b.Name) })
	return events
}

// answered returns when a source that only looks at nodes last got an answer.
func (g *gateway) answered(source string) (at time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok = g.looked[source]
	return at, ok
}

// list returns the nodes, in order.
func (g *gateway) list() []gatewarden.Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]gatewarden.Node, 0, len(g.nodes))
	for _, n := range g.nodes {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b gatewarden.Node) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), a.At.Compare(b.At))
	})
	return list
}

// completeness returns what is known of the log for the API, nil when nothing checks it;
// and, for each source, the share of what Kong counted that came its way.
func (g *gateway) completeness(at time.Time) *api.Completeness {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.judge(at)
	if !ok {
		return nil
	}
	c := &api.Completeness{From: r.From, To: r.To, Whole: r.Whole, Limit: g.limit, All: completenessOf(&r.All)}
	for _, s := range r.Services {
		if s.Counted > 0 || s.Lacking {
			c.Services = append(c.Services, completenessOf(&s))
		}
	}
	slices.SortFunc(c.Services, func(a, b api.ServiceCompleteness) int { return strings.Compare(a.Service, b.Service) })
	return c
}

func completenessOf(s *completeness.Service) api.ServiceCompleteness {
	return api.ServiceCompleteness{Service: s.Name, Counted: s.Counted, Logged: s.Logged, Ratio: s.Ratio, Lacking: s.Lacking, Why: s.Why}
}

// deliveries counts the records of a source by the second of their completion, for as
// long as a comparison with Kong's counters may look back.
type deliveries struct {
	head int64
	ring [1024]uint64
}

// add counts a record, if it is one that Kong's counters know by its service.
func (d *deliveries) add(r *gatewarden.Record, now int64) {
	if second := r.At.Unix(); r.Service != "" && second <= now && d.reach(second) {
		d.ring[second%int64(len(d.ring))] += uint64(r.Weight)
	}
}

// reach moves the ring on to a second, and reports whether that is in it.
func (d *deliveries) reach(second int64) bool {
	if second <= d.head-int64(len(d.ring)) {
		return false
	}
	for d.head < second { // at most once around, and then only after a long silence
		d.head = max(d.head+1, second-int64(len(d.ring))+1)
		d.ring[d.head%int64(len(d.ring))] = 0
	}
	return true
}

// recent returns the newest seconds that had any.
func (d *deliveries) recent(seconds int64) map[int64]uint64 {
	list := map[int64]uint64{}
	for s := max(d.head-seconds+1, 0); s <= d.head; s++ {
		if n := d.ring[s%int64(len(d.ring))]; n > 0 {
			list[s] = n
		}
	}
	return list
}

// between returns how many there were in [from, to).
func (d *deliveries) between(from, to time.Time) (n uint64) {
	size := int64(len(d.ring))
	for s := max(from.Unix(), d.head-size+1, 0); s < min(to.Unix(), d.head+1); s++ {
		n += d.ring[s%size]
	}
	return n
}

// newGatewayMetrics returns what is filled in when Prometheus asks.
func newGatewayMetrics(in *intake, drift func() *gatewarden.Drift, now func() time.Time) prometheus.Collector {
	s := &atScrape{}
	services := s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_completeness_ratio", Help: "Share of the requests that Kong counted which the log brought, of each service.",
	}, []string{"service"}))
	sources := s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_source_completeness_ratio", Help: "Share of the requests that Kong counted which came by this source.",
	}, []string{"source"}))
	silent := s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_source_silent", Help: "1 while nothing has come from this source for longer than blind_after.",
	}, []string{"source"}))
	differences := s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_drift_findings", Help: "Differences between Kong's nodes, and what actions rely on and is gone, that have lasted for the grace and are not ignored.",
	}, []string{"kind"}))
	nodes := s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_kong_nodes", Help: "Nodes of Kong's by how they are: ok, unreachable, no_datastore.",
	}, []string{"state"}))
	targets := s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_kong_targets", Help: "Targets of upstreams by the worst that a node says of them.",
	}, []string{"state"}))
	hashes := s.gauge(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatewarden_app_kong_configurations", Help: "How many different configurations data planes run.",
	}, nil))
	s.fill = func() {
		at := now()
		if c := in.gateway.completeness(at); c != nil {
			for _, of := range c.Services {
				services.WithLabelValues(of.Service).Set(of.Ratio)
			}
			for source, ratio := range in.shares(c) {
				sources.WithLabelValues(source).Set(ratio)
			}
		}
		for _, of := range in.views(at) {
			silent.WithLabelValues(of.Name).Set(0)
			if of.Silent {
				silent.WithLabelValues(of.Name).Set(1)
			}
		}
		if d := drift(); d != nil {
			for kind, n := range findings(d) {
				differences.WithLabelValues(string(kind)).Set(float64(n))
			}
		}
		health := healthOf(in.gateway.list())
		for state, n := range health.nodes {
			nodes.WithLabelValues(state).Set(float64(n))
		}
		for state, n := range health.targets {
			targets.WithLabelValues(state).Set(float64(n))
		}
		if health.configurations > 0 {
			hashes.WithLabelValues().Set(float64(health.configurations))
		}
	}
	return s
}

// findings returns how many of each kind count.
func findings(d *gatewarden.Drift) map[gatewarden.DriftKind]int {
	counts := map[gatewarden.DriftKind]int{}
	for _, kind := range gatewarden.DriftKinds() {
		counts[kind] = 0
	}
	for _, f := range d.Findings {
		if f.Counts {
			counts[f.Kind]++
		}
	}
	return counts
}

// health sums up what the nodes say.
type health struct {
	nodes, targets map[string]int
	configurations int
}

func healthOf(nodes []gatewarden.Node) health {
	h := health{nodes: map[string]int{}, targets: map[string]int{}}
	order := []string{gatewarden.TargetUnchecked, gatewarden.TargetHealthy, gatewarden.TargetDNSError, gatewarden.TargetUnhealthy}
	worst := map[gatewarden.TargetHealth]int{}
	hashes := map[string]bool{}
	for _, n := range nodes {
		switch {
		case n.Problem != "":
			h.nodes["unreachable"]++
		case n.Datastore != nil && !*n.Datastore:
			h.nodes["no_datastore"]++
		default:
			h.nodes["ok"]++
		}
		for _, t := range n.Targets {
			key := gatewarden.TargetHealth{Upstream: t.Upstream, Target: t.Target, Address: t.Address}
			worst[key] = max(worst[key], slices.Index(order, t.State))
		}
		for _, p := range n.DataPlanes {
			if p.ConfigHash != "" {
				hashes[p.ConfigHash] = true
			}
		}
	}
	for _, state := range worst {
		h.targets[order[state]]++
	}
	h.configurations = len(hashes)
	return h
}
