package page_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/api/page"
)

// guard is a made-up guard for the page to look at.
type guard struct {
	mu      sync.Mutex
	status  api.Status
	slos    []api.SLO
	actions []gatewarden.Action
	events  []gatewarden.Event
	orders  []string
	refuses error
	gates   api.Gates     // nil: no canaries
	past    api.Past      // nil: no history
	grown   chan struct{} // closed when there is another event
}

var _ api.Guard = (*guard)(nil)

// show serves the page over the guard and returns its address.
func (g *guard) show(t *testing.T) (url string, stop func()) {
	t.Helper()
	g.grown = make(chan struct{})
	server := api.New(g, nil, slog.New(slog.DiscardHandler)).WithPage(page.Handler())
	if g.gates != nil {
		server.WithGates(g.gates)
	}
	if g.past != nil {
		server.WithPast(g.past)
	}
	s := httptest.NewServer(server.Handler())
	stop = sync.OnceFunc(func() { s.CloseClientConnections(); s.Close() })
	t.Cleanup(stop)
	return s.URL, stop
}

func (g *guard) Status() api.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.status
	s.Now = time.Now()
	return s
}

func (g *guard) SLOs() []api.SLO {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]api.SLO(nil), g.slos...)
}

func (g *guard) Actions() []gatewarden.Action {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]gatewarden.Action(nil), g.actions...)
}

func (g *guard) Events(_ context.Context, q api.EventQuery) ([]gatewarden.Event, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.events[max(0, len(g.events)-q.Limit):]), nil
}

// happen appends an event to the journal.
func (g *guard) happen(e gatewarden.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e.Seq = uint64(len(g.events) + 1)
	g.events = append(g.events, e)
	close(g.grown)
	g.grown = make(chan struct{})
}

func (g *guard) Follow(ctx context.Context, q api.EventQuery) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		g.mu.Lock()
		next := int(q.Since)
		if next > len(g.events) { // of another journal; see journal.Follow
			next = 0
		}
		g.mu.Unlock()
		for {
			g.mu.Lock()
			events, grown := g.events[min(next, len(g.events)):], g.grown
			g.mu.Unlock()
			for _, e := range events {
				if next++; !yield(e, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-grown:
			}
		}
	}
}

func (g *guard) order(words ...any) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.orders = append(g.orders, fmt.Sprint(words...))
	return g.refuses
}

func (g *guard) Approve(_ context.Context, id, by string) error { return g.order("approve ", id, by) }
func (g *guard) Reject(_ context.Context, id, by, reason string) error {
	return g.order("reject ", id, by, reason)
}
func (g *guard) Revert(_ context.Context, id, by string) error { return g.order("revert ", id, by) }
func (g *guard) Pause(_ context.Context, by, reason string) error {
	return g.order("pause ", by, reason)
}
func (g *guard) Resume(_ context.Context, by string) error { return g.order("resume ", by) }
func (g *guard) Reload(context.Context) error              { return nil }
func (g *guard) Ready() error                              { return nil }

// healthy returns an SLO that is kept.
func healthy(name string) api.SLO {
	return api.SLO{
		Name: name, Series: gatewarden.Series{Service: name}, SLI: "availability", Objective: 99.9, Window: "30d",
		Verdict: gatewarden.Verdict{
			Kind: gatewarden.EventSLO, Name: name, State: gatewarden.Healthy, Reason: "0 % of 1,000 requests failed in the last 30d; 100 % of the error budget is left",
			SLO: &gatewarden.SLOEvidence{
				Objective: 0.999, SLI: 1, Count: gatewarden.Count{Good: 1000, Coverage: 1}, Budget: 1,
				Alerts: []gatewarden.AlertEvidence{{
					Severity: gatewarden.SeverityPage, Factor: 14.4, Long: gatewarden.Duration(time.Hour), Short: gatewarden.Duration(5 * time.Minute),
				}},
			},
		},
	}
}
