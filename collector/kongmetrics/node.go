package kongmetrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// node is one that is looked at. It belongs to one goroutine.
type node struct {
	address address
	name    string // as people see it
	client  *http.Client
	source  *Source

	// seen is what each node said here last, by its key: behind one address may be a balancer
	// of several.
	seen    map[string]sight
	last    gatewarden.Node // as it was at its last answer
	failing bool
}

// sight is what a node said at one address.
type sight struct {
	at       time.Time // of the last answer
	counters *counters // of the last answer that fitted in with those at other addresses
}

// maxBehind is how many nodes behind one address are told apart. Beyond it the one that
// has answered least recently is begun anew.
const maxBehind = 16

// nameOf returns the address without what may be secret in it.
func nameOf(a address) string {
	u, err := url.Parse(a.url)
	if err != nil {
		return ""
	}
	return u.Host
}

// look looks once.
func (n *node) look(ctx context.Context) {
	s := n.source
	began := s.now()
	e, at, err := n.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	s.metrics.seconds.Observe(s.now().Sub(began).Seconds())
	if err == nil {
		err = n.take(ctx, e, began, at)
	}
	n.note(at, err)
	if err != nil {
		seen := n.last
		seen.Address, seen.At, seen.Problem = n.name, at, problemOf(err)
		s.gateway.Saw(s.name, collector.Look{Node: seen})
	}
}

// problemOf says what is wrong in few words.
func problemOf(err error) string {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if failed.Timeout() {
			return "it gave no answer in time"
		}
		return failed.Err.Error() // without the whole address again
	}
	return err.Error()
}

// note counts how a look went, and logs when that changes.
func (n *node) note(at time.Time, err error) {
	s := n.source
	if err == nil {
		s.metrics.looks.WithLabelValues("ok").Inc()
	} else {
		s.metrics.looks.WithLabelValues("failed").Inc()
	}
	switch {
	case err != nil && !n.failing:
		s.log.Warn("a node of Kong's does not say how it is; it is asked on", "node", n.name, "err", err)
	case err == nil && n.failing:
		s.log.Info("a node of Kong's says again how it is", "node", n.name)
	}
	n.failing = err != nil
}

// ask asks for the exposition. The instant is that of the answer's beginning, which is
// when Kong had counted.
func (n *node) ask(ctx context.Context) (*exposition, time.Time, error) {
	s := n.source
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.address.url, nil)
	if err != nil {
		return nil, s.now(), fmt.Errorf("asking for the metrics: %w", err)
	}
	if n.address.host != "" {
		req.Host = n.address.host
	}
	req.Header.Set("Accept", accept)
	for name, value := range s.settings.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value.Reveal()
		}
		req.Header.Set(name, value.Reveal())
	}
	resp, err := n.client.Do(req)
	at := s.now()
	if err != nil {
		return nil, at, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
		return nil, at, refusal(resp)
	}
	e, err := s.reader.read(resp.Header.Get("Content-Type"), resp.Body)
	return e, at, err
}

// refusal explains a status that is not 200.
func refusal(resp *http.Response) error {
	err := gatewarden.Errorf(gatewarden.Unavailable, "the answer is %s", resp.Status)
	switch resp.StatusCode {
	case http.StatusNotFound:
		return err.WithHint("/metrics is on Kong's status listener (status_listen) and on its Admin API, and needs the prometheus plugin")
	case http.StatusInternalServerError:
		return err.WithHint("Kong answers so while its database is away, when upstream_health_metrics is on")
	case http.StatusUnauthorized, http.StatusForbidden:
		return err.WithHint("what must be sent along goes into headers")
	}
	return err
}

// take makes of an exposition what it says since the look before at the same node. When
// the records cannot be counted nothing is remembered: the next look has them too. began is
// when the exposition was asked for.
func (n *node) take(ctx context.Context, e *exposition, began, at time.Time) error {
	s := n.source
	key := cmp.Or(e.id, n.address.url+" "+n.address.host)
	known := s.state(key, at)
	known.mu.Lock()
	defer known.mu.Unlock()
	here, several := n.seen[key], known.several
	base := known.base(here.counters, e, began)
	if known.several && !several {
		s.log.Warn("two nodes say that they are the same; from now on each address counts for itself",
			"node_id", e.id, "node", n.name, "hint", "give each node its own node_id, or remove kong.id from the image that they are made of")
	}
	look := collector.Look{Node: n.describe(e, at), Counts: len(e.requests) > 0}
	if known.counters != nil {
		look.Since = here.at
	}
	var g growth
	if base != nil {
		var err error
		if g, err = e.since(base, at); err != nil {
			n.begin(key, known)
			return err
		}
		if g.reset {
			s.metrics.resets.Inc()
			s.log.Info("a node's counters began anew", "node", n.name)
		}
		look.Requests = g.byService()
	}
	if s.counts {
		// A node that has nothing new to say has said so: it is not silent.
		if err := s.sink.Accept(context.WithoutCancel(ctx), s.name, n.timely(&g)); err != nil {
			return fmt.Errorf("the requests that it counted could not be counted: %w", err)
		}
	}
	here.at = at
	known.keep(&here, e, base, g.reset)
	n.remember(key, here)
	if len(here.counters.requests) > s.settings.MaxSeries {
		n.begin(key, known) // series that came and went, without end
	}
	n.last = look.Node
	s.gateway.Saw(s.name, look)
	return nil
}

// timely returns the records of g, unless they may be of any time in a long gap. A node that
// was merely not hit by the balancer before it was well all the while: the gap is that of the
// address.
func (n *node) timely(g *growth) []gatewarden.Record {
	s := n.source
	records := g.records()
	gap := min(g.at.Sub(g.since), g.at.Sub(n.last.At))
	if len(records) == 0 || gap <= max(5*time.Duration(s.settings.Interval), 10*time.Second) {
		return records
	}
	if due, held := s.gaps.Due(g.at); due {
		s.log.Warn("a node could not be looked at for so long that what it counted meanwhile is left out: nobody knows when it happened",
			"node", n.name, "gap", gap, "times_before_unlogged", held)
	}
	return nil
}

// begin begins a node anew.
func (n *node) begin(key string, known *state) {
	known.counters = nil
	delete(n.seen, key)
}

// remember notes what a node has said here.
func (n *node) remember(key string, what sight) {
	n.seen[key] = what
	if len(n.seen) <= maxBehind {
		return
	}
	oldest := slices.MinFunc(slices.Collect(maps.Keys(n.seen)), func(a, b string) int { return n.seen[a].at.Compare(n.seen[b].at) })
	delete(n.seen, oldest)
	n.source.forget(oldest)
}

// describe returns what the exposition says of the node itself.
func (n *node) describe(e *exposition, at time.Time) gatewarden.Node {
	seen := gatewarden.Node{Address: n.name, ID: e.id, Version: e.version, At: at, Datastore: e.datastore, Targets: e.targets}
	slices.SortFunc(seen.Targets, func(a, b gatewarden.TargetHealth) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Address, b.Address))
	})
	for _, id := range slices.Sorted(maps.Keys(e.planes)) {
		seen.DataPlanes = append(seen.DataPlanes, *e.planes[id])
	}
	return seen
}
