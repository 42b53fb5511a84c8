package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/analyzers/drift"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/rules"
)

const (
	// driftEvery is how often the Admin APIs are asked how their nodes are, and for what
	// actions rely on. Of a node that is three calls, of each name one.
	driftEvery = 5 * time.Second
	// driftWithin bounds one round of asking.
	driftWithin = 10 * time.Second
	// jobsEvery is how often Jenkins is asked for the jobs that actions run.
	jobsEvery = time.Minute
	// forgetNode is after how long a node is forgotten that one address of several behind
	// a balancer has not answered for.
	forgetNode = 2 * time.Minute
	// darkAfter is how long nothing must be known of the nodes for that to be news.
	darkAfter = time.Minute
)

// adminAPI is one that is asked how its node is.
type adminAPI struct {
	address string // as people see it
	node    func(ctx context.Context) (gatewarden.Node, error)
}

// need is something that actions or canaries rely on.
type need struct {
	entity string // as people call it: "the route orders-list"
	by     []string
	job    bool // it is asked of Jenkins
	there  func(ctx context.Context) (bool, error)
}

// drifts knows whether the nodes of the gateway are alike and whether what actions rely
// on is there, and tells when that changes.
type drifts struct {
	gateway *gateway
	apis    []adminAPI
	kong    entities // nil without an Admin API
	jenkins preflighter
	now     func() time.Time
	logger  *slog.Logger

	mu      sync.Mutex
	judge   *drift.Judge
	policy  gatewarden.DriftPolicy
	needs   []need
	round   bool            // all have been asked once
	asked   time.Time       // when the gateway last said whether something is there
	missing map[string]bool // entities
	jobsAt  time.Time
	nodes   map[nodeKey]gatewarden.Node // what Admin APIs said, by the API and the node's id
	last    gatewarden.Drift
	told    announced
}

// entities tells which of a table's entities exist; kong.Executor does.
type entities interface {
	Has(ctx context.Context, table, name string) (bool, error)
}

var _ entities = (*kong.Executor)(nil)

// announced is what the last event about drift said.
type announced struct {
	state   gatewarden.State
	known   bool
	counted map[string]bool // the differences that a breach was announced with
	dark    time.Time       // since when nothing is known; zero when something is
}

func newDrifts(g *gateway, now func() time.Time, logger *slog.Logger) *drifts {
	return &drifts{
		gateway: g, now: now, logger: logger, judge: drift.New(gatewarden.DriftPolicy{}),
		missing: map[string]bool{}, nodes: map[nodeKey]gatewarden.Node{},
	}
}

// SetRules makes drift be judged as the rules want it, and what they name be looked for.
func (w *drifts) SetRules(r *rules.Rules) {
	needs := w.needsOf(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policy, w.needs = r.Drift, needs
	w.judge.SetPolicy(r.Drift)
	w.jobsAt = time.Time{}
	maps.DeleteFunc(w.missing, func(entity string, _ bool) bool {
		return !slices.ContainsFunc(needs, func(n need) bool { return n.entity == entity })
	})
}

// resume takes up the breach that the journal knows of.
func (w *drifts) resume(ctx context.Context, j *journal.Journal) error {
	past, err := j.Events(ctx, journal.Query{Type: gatewarden.EventDrift, Limit: 1})
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range past {
		if e.Drift == nil {
			continue
		}
		w.judge.Resume(*e.Drift)
		for _, f := range e.Drift.Findings {
			if f.Kind == gatewarden.DriftEntities {
				w.missing[f.Subject] = true // until somebody says that it is there
			}
		}
		w.told = announced{state: e.Drift.State, known: true, counted: counting(e.Drift)}
	}
	return nil
}

// Run asks again and again until ctx ends.
func (w *drifts) Run(ctx context.Context) error {
	every := time.NewTicker(driftEvery)
	defer every.Stop()
	for {
		w.ask(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// ask brings what is known up to date.
func (w *drifts) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, driftWithin)
	defer cancel()
	var wait sync.WaitGroup
	for _, api := range w.apis {
		wait.Go(func() {
			n, err := api.node(ctx)
			w.sawNode(api.address, n, err)
		})
	}
	wait.Wait()
	w.lookForNeeds(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.round = true
}

// sawNode remembers what a node said behind an address. When nobody answers there, all
// that were known there are silent.
func (w *drifts) sawNode(address string, n gatewarden.Node, err error) {
	at := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.nodes, func(k nodeKey, known gatewarden.Node) bool {
		return k.source == address && known.Problem == "" && at.Sub(known.At) > forgetNode
	})
	if err == nil {
		n.Address, n.At = address, at
		delete(w.nodes, nodeKey{address, ""})
		maps.DeleteFunc(w.nodes, func(k nodeKey, known gatewarden.Node) bool { return k.source == address && known.Problem != "" })
		w.nodes[nodeKey{address, n.ID}] = n
		return
	}
	silent := 0
	for k, known := range w.nodes {
		if k.source == address {
			known.Problem, known.At = err.Error(), at
			w.nodes[k] = known
			silent++
		}
	}
	if silent == 0 {
		w.nodes[nodeKey{address, ""}] = gatewarden.Node{Address: address, At: at, Problem: err.Error()}
	}
}

// lookForNeeds asks for what actions rely on. Of what nobody tells the last answer stays.
func (w *drifts) lookForNeeds(ctx context.Context) {
	w.mu.Lock()
	needs, jobs := w.needs, w.now().Sub(w.jobsAt) >= jobsEvery
	if jobs {
		w.jobsAt = w.now()
	}
	w.mu.Unlock()
	for _, n := range needs {
		if n.job && !jobs || ctx.Err() != nil {
			continue
		}
		there, err := n.there(ctx)
		if err != nil {
			w.logger.Debug("it is not known whether something is there that actions rely on", "entity", n.entity, "error", err)
			continue
		}
		w.mu.Lock()
		if !n.job {
			w.asked = w.now()
		}
		if there {
			delete(w.missing, n.entity)
		} else {
			w.missing[n.entity] = true
		}
		w.mu.Unlock()
	}
}

// tick judges an instant and returns the verdict for the engine with what is news. A
// replay, which has no gateway, has none.
func (w *drifts) tick(at time.Time) ([]gatewarden.Verdict, []gatewarden.Event) {
	if w == nil {
		return nil, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = w.judge.Judge(at, w.view(at))
	d := &w.last
	v := gatewarden.Verdict{At: at, Kind: gatewarden.EventDrift, Name: gatewarden.DriftName, State: d.State, Reason: d.Reason}
	if d.State == gatewarden.Breach {
		v.Severity, v.At = w.policy.Severity, *d.Since // what it starts is known by when it began
	}
	return []gatewarden.Verdict{v}, w.news(d)
}

// view joins what nodes say at /metrics and by their Admin APIs. w.mu is held.
func (w *drifts) view(at time.Time) drift.View {
	v := drift.View{Nodes: w.gateway.list(), Asked: !w.asked.IsZero() && at.Sub(w.asked) < darkAfter, Early: !w.round}
	for _, key := range slices.SortedFunc(maps.Keys(w.nodes), func(a, b nodeKey) int {
		return strings.Compare(a.source+" "+a.address, b.source+" "+b.address)
	}) {
		n := w.nodes[key]
		i := slices.IndexFunc(v.Nodes, func(o gatewarden.Node) bool { return n.ID != "" && o.ID == n.ID })
		if i < 0 {
			v.Nodes = append(v.Nodes, n)
			continue
		}
		o := &v.Nodes[i]
		o.Plugins, o.ConfigHash = n.Plugins, n.ConfigHash // by its last answer: only the Admin API says either
		if n.Problem != "" {
			continue // of the rest the metrics know better
		}
		o.Version, o.Problem = n.Version, ""
		if len(n.DataPlanes) > 0 {
			o.DataPlanes, o.At = n.DataPlanes, n.At
		}
	}
	for _, n := range w.needs {
		if w.missing[n.entity] {
			v.Missing = append(v.Missing, gatewarden.MissingEntity{Entity: n.entity, For: n.by})
		}
	}
	return v
}

// counting are the differences of a breach.
func counting(d *gatewarden.Drift) map[string]bool {
	m := map[string]bool{}
	for _, f := range d.Findings {
		if f.Counts {
			m[string(f.Kind)+" "+f.Subject] = true
		}
	}
	return m
}

// news returns the event of a change: a breach that begins, grows by a difference, or is
// over; and of nothing being known any more. w.mu is held.
func (w *drifts) news(d *gatewarden.Drift) []gatewarden.Event {
	t := &w.told
	e := gatewarden.Event{At: d.At, Type: gatewarden.EventDrift, Name: gatewarden.DriftName, State: d.State.String(), Reason: d.Reason}
	switch d.State {
	case gatewarden.Inconclusive:
		if t.dark.IsZero() {
			t.dark = d.At
		}
		if t.known && t.state == gatewarden.Inconclusive || d.At.Sub(t.dark) < darkAfter || len(w.apis) == 0 && len(w.gateway.list()) == 0 {
			return nil
		}
	case gatewarden.Healthy:
		t.dark = time.Time{}
		if !t.known || t.state == gatewarden.Healthy {
			t.known, t.state = true, gatewarden.Healthy // that all is well at the start is no news
			return nil
		}
	case gatewarden.Breach:
		t.dark = time.Time{}
		now, fresh := counting(d), false
		for name := range now {
			fresh = fresh || !t.counted[name]
		}
		if t.known && t.state == gatewarden.Breach && !fresh {
			return nil
		}
		t.counted, e.Severity = now, w.policy.Severity.String()
	}
	copied := *d
	e.Drift, t.known, t.state = &copied, true, d.State
	return []gatewarden.Event{e}
}

// current returns the last judgement for the API, nil while there was none.
func (w *drifts) current() *gatewarden.Drift {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last.At.IsZero() {
		return nil
	}
	d := w.last
	return &d
}

// answerable are the SLOs with one more that stands for drift: to the engine of actions a
// breach is a breach.
func answerable(r *rules.Rules) []gatewarden.SLO {
	if len(r.Drift.OnDrift) == 0 {
		return r.SLOs
	}
	stand := gatewarden.SLO{Name: gatewarden.DriftName}
	if r.Drift.Severity == gatewarden.SeverityPage {
		stand.OnPage = r.Drift.OnDrift
	} else {
		stand.OnTicket = r.Drift.OnDrift
	}
	return append(slices.Clip(r.SLOs), stand)
}
