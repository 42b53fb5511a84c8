package page_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/api/page"
)

// bare is the page without what it shows first.
type bare struct{ *page.Site }

func (p bare) Show(w http.ResponseWriter, r *http.Request, _ []byte) { p.Site.Show(w, r, nil) }

// serve serves the page below a path, as a proxy may, and holds its stream back until it is
// let go.
func (g *guard) serve(t *testing.T, below string, p api.Page) (url string, letGo func()) {
	t.Helper()
	g.grown = make(chan struct{})
	inner := http.StripPrefix(below, api.New(g, nil, slog.New(slog.DiscardHandler)).WithPast(even{g}).WithPage(p).Handler())
	held := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/live") {
			select {
			case <-held:
			case <-r.Context().Done():
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL + below + "/", func() { close(held) }
}

func TestThePageShowsWhatItCameWithBeforeItsStreamSpeaks(t *testing.T) {
	b := open(t, 1400, 900)
	g := &guard{slos: []api.SLO{healthy("orders-availability"), healthy("payments-availability")}}
	url, letGo := g.serve(t, "/guards/one", page.Handler())
	const all = 60 // more than the page comes with
	for i := range all {
		g.happen(gatewarden.Event{At: time.Now(), Type: gatewarden.EventSource, Name: "httplog", State: "seeing", Reason: fmt.Sprint("event ", i+1)})
	}
	b.visit(url)
	b.await("the SLOs are there", `document.querySelectorAll(".slo-row").length === 2 && !document.querySelector("main[aria-busy]")`)
	b.await("and the newest event", fmt.Sprintf(`document.querySelector(".last .event")?.innerText.includes("event %d")`, all))
	if got := b.text(".connection"); got != "connecting" {
		t.Errorf("nothing has come by the stream, and the page says it is %q", got)
	}
	b.press("nav", "Timeline")
	b.await("some of the events are there", `document.querySelectorAll(".event").length > 6`)
	letGo()
	b.await("the stream brings the older ones", fmt.Sprintf(`document.querySelector(".connection.good") && document.querySelectorAll(".event").length === %d`, all))
	g.happen(gatewarden.Event{At: time.Now(), Type: gatewarden.EventSource, Name: "httplog", State: "silent", Reason: fmt.Sprint("event ", all+1)})
	b.press("main", "Show 1 new")
	b.await("the new one too", fmt.Sprintf(`document.querySelectorAll(".event").length === %d`, all+1))
	var order []string
	b.eval(`[...document.querySelectorAll(".event-reason")].map(e => e.innerText.trim())`, &order)
	for i, text := range order {
		if want := fmt.Sprint("event ", all+1-i); text != want {
			t.Fatalf("the event in place %d is %q, want %q", i, text, want)
		}
	}
	if bad := b.complaints(); bad != nil {
		t.Errorf("the browser complains: %s", bad)
	}
}

func TestThePageThatCameWithNothingWaitsForItsStream(t *testing.T) {
	b := open(t, 1400, 900)
	g := &guard{slos: []api.SLO{healthy("orders-availability")}}
	url, letGo := g.serve(t, "", bare{page.Handler()})
	b.visit(url)
	b.await("a place is kept for the figures", `document.querySelector("main[aria-busy=true] .skeleton")`)
	letGo()
	b.await("the stream brings them", `document.querySelectorAll(".slo-row").length === 1 && !document.querySelector("main[aria-busy]") && document.querySelector(".connection.good")`)
	g.happen(gatewarden.Event{At: time.Now(), Type: gatewarden.EventSource, Name: "httplog", State: "seeing", Reason: "it has begun"})
	b.await("and what happens", `document.querySelector(".last .event")?.innerText.includes("it has begun")`)
}

// A page that is open all night sees what happens after the guard has lost its state.
func TestThePageGoesOnWithAnotherJournal(t *testing.T) {
	b := open(t, 1400, 900)
	g := &guard{slos: []api.SLO{healthy("orders-availability")}}
	g.grown = make(chan struct{})
	s := httptest.NewServer(api.New(g, nil, slog.New(slog.DiscardHandler)).WithPage(page.Handler()).Handler())
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	for i := range 20 {
		g.happen(gatewarden.Event{At: time.Now(), Type: gatewarden.EventSource, Name: "httplog", State: "seeing", Reason: fmt.Sprint("before ", i+1)})
	}
	b.visit(s.URL + "/#/timeline")
	b.await("the events are there", `document.querySelector(".connection.good") && document.querySelectorAll(".event").length === 20`)
	g.mu.Lock()
	g.events = nil
	g.mu.Unlock()
	g.happen(gatewarden.Event{At: time.Now(), Type: gatewarden.EventSource, Name: "httplog", State: "seeing", Reason: "after"})
	s.CloseClientConnections()
	b.await("only the new one is", `document.querySelector(".connection.good") && document.querySelectorAll(".event").length === 1 && document.querySelector(".event-reason").innerText.includes("after")`)
}

// What fills the screen is painted first, and all of it is there soon after.
func TestAListThatIsLongerThanTheScreenIsShownWhole(t *testing.T) {
	b := open(t, 1400, 900)
	g := &guard{}
	for i := range 120 {
		g.slos = append(g.slos, healthy(fmt.Sprintf("service-%d-availability", i)))
	}
	url, _ := g.show(t)
	b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
		new MutationObserver(() => { window.rows ||= document.querySelectorAll(".slo-row").length }).observe(document, {subtree: true, childList: true})`}, nil)
	b.visit(url)
	b.await("all are there", `document.querySelectorAll(".slo-row").length === 120`)
	var first, room int
	b.eval("window.rows", &first)
	b.eval("[...document.querySelectorAll('.slo-row')].filter(e => e.getBoundingClientRect().top < innerHeight).length", &room)
	if first < room || first > 2*room {
		t.Errorf("%d rows were painted first; the screen shows %d", first, room)
	}
}
