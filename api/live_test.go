package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

// changing is a guard whose SLOs and actions a test changes.
type changing struct {
	guard
	mu      sync.Mutex
	slos    []SLO
	actions []gatewarden.Action
}

func (g *changing) SLOs() []SLO {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]SLO(nil), g.slos...)
}

func (g *changing) Actions() []gatewarden.Action {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.actions
}

func (g *changing) set(slos ...SLO) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slos = slos
}

// screen keeps what a viewer was sent; it can be flushed, as a connection can.
type screen struct {
	*httptest.ResponseRecorder
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) Flush() {}

// take returns the events since the last call, as "type data".
func (s *screen) take() (events []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for block := range strings.SplitSeq(s.text.String(), "\n\n") {
		_, block, _ = strings.Cut(block, "event: ")
		if name, data, ok := strings.Cut(block, "\ndata: "); ok {
			events = append(events, name+" "+data)
		}
	}
	s.text.Reset()
	return events
}

// look opens the page on a guard, in a synctest bubble.
func look(t *testing.T, s *Server) (*screen, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &screen{ResponseRecorder: httptest.NewRecorder()}
	go s.Handler().ServeHTTP(out, httptest.NewRequestWithContext(ctx, "GET", "/api/v1/live", nil))
	synctest.Wait()
	return out, cancel
}

// without drops the status, which is in every look.
func without(events []string) (list []string) {
	for _, e := range events {
		if !strings.HasPrefix(e, "status ") {
			list = append(list, e)
		}
	}
	return list
}

func TestAViewerIsToldEverythingOnceAndThenWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &changing{guard: guard{live: make(chan gatewarden.Event)}, slos: []SLO{{Name: "a", Window: "30d"}, {Name: "b", Window: "30d"}}}
		out, leave := look(t, New(g, nil, slog.New(slog.DiscardHandler)))
		defer leave()

		first := out.take()
		if len(first) != 4 || !strings.HasPrefix(first[0], `status {"version":"test"`) {
			t.Fatalf("at first: %q", first)
		}
		for _, want := range []string{`slos {"order":["a","b"],"changed":[{"name":"a"`, `canaries {"order":[]}`, `actions {"order":[]}`} {
			if !strings.Contains(strings.Join(first, "\n"), want) {
				t.Errorf("at first there is no %s in %q", want, first)
			}
		}

		time.Sleep(liveEvery)
		synctest.Wait()
		if got := without(out.take()); got != nil {
			t.Errorf("nothing has changed, and yet: %q", got)
		}

		at := SLO{Name: "b", Window: "30d", Verdict: gatewarden.Verdict{At: time.Now()}}
		g.set(SLO{Name: "a", Window: "30d"}, at)
		time.Sleep(liveEvery)
		synctest.Wait()
		if got := without(out.take()); got != nil {
			t.Errorf("only the instant of the look is another, and yet: %q", got)
		}

		g.set(SLO{Name: "a", Window: "30d"}, SLO{Name: "b", Window: "7d"})
		time.Sleep(liveEvery)
		synctest.Wait()
		if got := without(out.take()); len(got) != 1 || !strings.HasPrefix(got[0], `slos {"changed":[{"name":"b"`) {
			t.Errorf("of what has changed: %q", got)
		}

		g.set(SLO{Name: "b", Window: "7d"})
		time.Sleep(liveEvery)
		synctest.Wait()
		if diff := cmp.Diff([]string{`slos {"order":["b"]}`}, without(out.take())); diff != "" {
			t.Errorf("of what is gone (-want +got):\n%s", diff)
		}
	})
}

func TestAnEventIsToldAtOnceAndWhatItChangedSoonAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &changing{guard: guard{live: make(chan gatewarden.Event)}}
		out, leave := look(t, New(g, nil, slog.New(slog.DiscardHandler)))
		defer leave()
		out.take()
		for range 50 { // many events do not make many looks
			g.live <- gatewarden.Event{Seq: 7, Type: gatewarden.EventSLO, Name: "a", State: "breach"}
		}
		synctest.Wait()
		if got := out.take(); len(got) != 50 || !strings.HasPrefix(got[0], `event {"seq":7`) {
			t.Fatalf("at once: %d events, %q", len(got), got[:min(len(got), 2)])
		}
		time.Sleep(liveSettle)
		synctest.Wait()
		if got := out.take(); len(got) != 1 || !strings.HasPrefix(got[0], "status ") {
			t.Errorf("soon after: %q", got)
		}
	})
}

func TestTooManyViewersAreRefusedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := New(&changing{guard: guard{live: make(chan gatewarden.Event)}}, nil, slog.New(slog.DiscardHandler)).WithMetrics(reg)
		var leave []context.CancelFunc
		for range maxViewers {
			_, cancel := look(t, s)
			leave = append(leave, cancel)
		}
		if w := do(s.Handler(), "GET", "/api/v1/live", "", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "close some of them") {
			t.Errorf("one more: %d %s", w.Code, w.Body)
		}
		expected := fmt.Sprintf(`
# HELP gatewarden_api_viewers Live pages that are open.
# TYPE gatewarden_api_viewers gauge
gatewarden_api_viewers %d
# HELP gatewarden_api_viewers_refused_total Live pages that were refused because too many are open.
# TYPE gatewarden_api_viewers_refused_total counter
gatewarden_api_viewers_refused_total 1
`, maxViewers)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(expected), "gatewarden_api_viewers", "gatewarden_api_viewers_refused_total"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || problems != nil {
			t.Errorf("promlint: %v %v", problems, err)
		}
		for _, cancel := range leave {
			cancel()
		}
		synctest.Wait()
		if n := s.viewers.taken.Load(); n != 0 {
			t.Errorf("%d viewers are left over", n)
		}
	})
}

func TestOldActionsAreToldOnlyWhenSomebodyMayDecide(t *testing.T) {
	var all []gatewarden.Action
	for i := range liveActions + 5 {
		all = append(all, gatewarden.Action{ID: fmt.Sprint(i), Status: gatewarden.ActionReverted})
	}
	all[liveActions+1].Status, all[liveActions+3].Status = gatewarden.ActionWaiting, gatewarden.ActionApplied
	got := recent(all)
	if len(got) != liveActions+2 || got[liveActions].ID != all[liveActions+1].ID || got[liveActions+1].ID != all[liveActions+3].ID {
		t.Errorf("%d actions, the last %v", len(got), got[liveActions:])
	}
}

// past is a Past of canned answers.
type past struct{ asked []string }

func (p *past) History(slo string, window time.Duration, points int) (History, error) {
	p.asked = append(p.asked, fmt.Sprint(slo, " ", window, " ", points))
	return History{Name: slo, Points: []gatewarden.Count{{Good: 1}}}, nil
}

func (p *past) Breakdown(slo string, window time.Duration) (Breakdown, error) {
	p.asked = append(p.asked, fmt.Sprint(slo, " ", window))
	return Breakdown{Name: slo}, nil
}

func TestThePastIsAskedFor(t *testing.T) {
	for sentence, c := range map[string]struct {
		target string
		status int
		want   string
		asked  []string
	}{
		"by default the SLO's own window":    {"/api/v1/slos/orders/history", 200, `"points": [`, []string{"orders 0s 120"}},
		"a window and points":                {"/api/v1/slos/orders/history?window=6h&points=60", 200, `"good": 1`, []string{"orders 6h0m0s 60"}},
		"all of them":                        {"/api/v1/history?window=1h", 200, `"histories": [`, []string{"orders 1h0m0s 120"}},
		"some of them":                       {"/api/v1/history?name=nope", 200, `"histories": []`, nil},
		"who consumed it":                    {"/api/v1/slos/orders/breakdown?window=1d", 200, `"routes": []`, []string{"orders 24h0m0s"}},
		"a window that is none":              {"/api/v1/slos/orders/history?window=x", 400, "write a number and a unit", nil},
		"a window too long":                  {"/api/v1/history?window=400d", 400, "366d", nil},
		"no points":                          {"/api/v1/slos/orders/breakdown?points=1", 400, "2 to 1000", nil},
		"more points than anybody can see":   {"/api/v1/slos/orders/history?points=1001", 400, "2 to 1000", nil},
		"more names than fit into an answer": {"/api/v1/history?" + strings.Repeat("name=x&", maxHistories+1), 400, "at most", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := &past{}
			w := do(New(&guard{}, nil, slog.New(slog.DiscardHandler)).WithPast(p).Handler(), "GET", c.target, "", "")
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, c.status, c.want)
			}
			if diff := cmp.Diff(c.asked, p.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
	if w := do(serve(&guard{}), "GET", "/api/v1/slos/orders/history", "", ""); w.Code != 404 {
		t.Errorf("a guard without a past: %d", w.Code)
	}
}

// FuzzSpan holds that no query crashes and that what is taken is within the limits.
func FuzzSpan(f *testing.F) {
	f.Add("window=1h&points=10")
	f.Add("window=-1h")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		s, err := readSpan(r.URL.Query())
		if err == nil && (s.window < 0 || s.window > maxPast || s.points < 2 || s.points > maxPoints) {
			t.Errorf("%q is taken as %+v", query, s)
		}
	})
}

func TestTheRootIsAPageForBrowsersAndATextForOthers(t *testing.T) {
	h := New(&guard{}, nil, slog.New(slog.DiscardHandler)).WithPage(text("the page")).Handler()
	for accept, want := range map[string]string{
		"text/html,application/xhtml+xml,*/*;q=0.8": "the page", "*/*": "This is its API", "": "This is its API", "application/json": "This is its API",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want) || w.Header().Get("Vary") != "Accept" {
			t.Errorf("Accept %q: %q, Vary %q", accept, w.Body, w.Header().Get("Vary"))
		}
	}
	if w := do(h, "GET", "/page/x.js", "", ""); w.Body.String() != "the page" {
		t.Errorf("a file of the page: %q", w.Body)
	}
}

// text is a page of one file, which is itself.
type text string

func (t text) ServeHTTP(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, string(t)) }

func (t text) Show(w http.ResponseWriter, _ *http.Request, first []byte) {
	fmt.Fprintf(w, "%s with %s", t, first)
}
