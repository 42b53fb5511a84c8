package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// sheet is a page that keeps what it was given to show.
type sheet struct {
	http.Handler
	first []byte
	shown int
}

func (p *sheet) Show(_ http.ResponseWriter, _ *http.Request, first []byte) {
	p.first, p.shown = first, p.shown+1
}

// open asks for the page of a guard as a browser does.
func (p *sheet) open(g Guard) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/html")
	New(g, nil, slog.New(slog.DiscardHandler)).WithPage(p).WithTraceURL("http://jaeger/{trace_id}").Handler().ServeHTTP(httptest.NewRecorder(), r)
}

const hostile = `</script><script>alert("1")</script><!--`

func TestThePageIsGivenWhatItsStreamWouldBeginWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := SLO{Name: "a", Window: "30d", Verdict: gatewarden.Verdict{At: time.Now(), Reason: hostile}}
		g := &changing{
			guard: guard{live: make(chan gatewarden.Event)}, slos: []SLO{at, {Name: hostile}},
			actions: []gatewarden.Action{{ID: "x", Memo: json.RawMessage(`{"` + `</script>` + `":1}`)}},
		}
		out, leave := look(t, New(g, nil, slog.New(slog.DiscardHandler)).WithTraceURL("http://jaeger/{trace_id}"))
		defer leave()
		told := map[string]json.RawMessage{}
		for _, e := range out.take() {
			name, data, _ := strings.Cut(e, " ")
			told[name] = json.RawMessage(data)
		}

		p := &sheet{}
		p.open(g)
		if text := string(p.first); strings.ContainsAny(text, "<>&") {
			t.Errorf("what stands in HTML could end or begin something there: %s", text)
		}
		var first map[string]json.RawMessage
		if err := json.Unmarshal(p.first, &first); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"status", "slos", "canaries", "actions"} {
			if diff := cmp.Diff(string(told[name]), string(first[name])); diff != "" || len(first[name]) < 10 {
				t.Errorf("%s (-by the stream +with the page):\n%s", name, diff)
			}
		}
	})
}

func TestThePageIsGivenTheNewestEvents(t *testing.T) {
	p, asked := &sheet{}, EventQuery{}
	p.open(&remembering{of: func(_ context.Context, q EventQuery) ([]gatewarden.Event, error) {
		asked = q
		return []gatewarden.Event{{Seq: 7, Name: "a"}, {Seq: 8, Name: "b"}}, nil
	}})
	var first First
	if err := json.Unmarshal(p.first, &first); err != nil || len(first.Events) != 2 || first.Events[1].Seq != 8 {
		t.Errorf("%v, events %v", err, first.Events)
	}
	if diff := cmp.Diff(EventQuery{Limit: firstEvents}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

// remembering is a guard whose journal a test answers for.
type remembering struct {
	guard
	slos []SLO
	of   func(context.Context, EventQuery) ([]gatewarden.Event, error)
}

func (g *remembering) SLOs() []SLO { return g.slos }

func (g *remembering) Events(ctx context.Context, q EventQuery) ([]gatewarden.Event, error) {
	return g.of(ctx, q)
}

func TestThePageDoesNotWaitForAJournalThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := &sheet{}, time.Now()
		p.open(&remembering{of: func(ctx context.Context, _ EventQuery) ([]gatewarden.Event, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if took := time.Since(began); took != firstWithin {
			t.Errorf("it waited for %v", took)
		}
		if !strings.HasSuffix(string(p.first), `"events":[]}`) {
			t.Errorf("without events it is %s", p.first)
		}
	})
}

func TestThePageIsShownEmptyWhenThereIsTooMuchOrNothingToBeginWith(t *testing.T) {
	none := func(context.Context, EventQuery) ([]gatewarden.Event, error) { return nil, nil }
	for why, slos := range map[string][]SLO{
		"more than it should be sent with": {{Name: strings.Repeat("x", mostFirst)}},
		"what JSON cannot say":             {{Name: "a", Objective: nan()}},
	} {
		p := &sheet{}
		if p.open(&remembering{slos: slos, of: none}); p.shown != 1 || p.first != nil {
			t.Errorf("%s: shown %d times, with %.80s", why, p.shown, p.first)
		}
	}
	p := &sheet{}
	if p.open(&remembering{slos: []SLO{{Name: strings.Repeat("x", mostFirst/4)}}, of: none}); p.first == nil {
		t.Error("a good deal is left out, too")
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

// Who may not read the stream is told nothing by the page either.
func TestThePageIsBehindTheSameDoorAsItsStream(t *testing.T) {
	p := &sheet{}
	inner := New(&guard{}, nil, slog.New(slog.DiscardHandler)).WithPage(p).Handler()
	door := &Tokens{All: func() (map[string]string, error) { return map[string]string{"ci": "secret"}, nil }, Inner: inner, Others: inner, Users: func() bool { return false }}
	for bearer, want := range map[string]int{"": 0, "Bearer wrong": 0, "Bearer secret": 1} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Authorization", bearer)
		p.shown = 0
		if door.ServeHTTP(httptest.NewRecorder(), r); p.shown != want {
			t.Errorf("with %q the page is shown %d times, want %d", bearer, p.shown, want)
		}
	}
}
