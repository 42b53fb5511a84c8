package page_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

var figures = flag.Bool("figures", false, "measure how fast the page is, and print it")

// TestFiguresOfFrames measures and judges nothing: what it finds depends on the machine.
//
//	go test ./api/page -run TestFiguresOfFrames -figures -v
func TestFiguresOfFrames(t *testing.T) {
	if !*figures {
		t.Skip("measures only with -figures")
	}
	b := open(t, 1400, 900)
	g := &guard{status: api.Status{Sources: []api.Source{{Name: "httplog", Kind: "httplog"}}}}
	for i := range 50 {
		g.slos = append(g.slos, healthy(fmt.Sprintf("service-%d-availability", i)))
	}
	url, _ := g.show(t)
	b.visit(url)
	b.await("the SLOs are listed", `document.querySelectorAll(".slo-row").length === 50`)
	for _, hash := range []string{"#/", "#/timeline"} {
		b.eval(fmt.Sprintf("location.hash = %q", hash), nil)
		b.eval(`document.querySelector(".tools label:last-of-type input")?.click()`, nil) // show new ones by themselves
		t.Logf("%s, 50 events a second: %s", hash, frames(b, g))
	}
}

// frames counts for ten seconds of 50 events a second, by the browser's own tracing and by
// the page's animation frames.
func frames(b *browser, g *guard) string {
	b.call("Tracing.start", map[string]any{"transferMode": "ReportEvents", "categories": "devtools.timeline,disabled-by-default-devtools.timeline,devtools.timeline.frame,disabled-by-default-devtools.timeline.frame"}, nil)
	stop := make(chan struct{})
	fed := make(chan int)
	go func() {
		every := time.NewTicker(20 * time.Millisecond)
		defer every.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				fed <- n
				return
			case at := <-every.C:
				g.mu.Lock()
				i := n % len(g.slos)
				e := *g.slos[i].Verdict.SLO
				e.Count.Good += 100
				g.slos[i].Verdict.SLO = &e
				g.mu.Unlock()
				g.happen(gatewarden.Event{At: at, Type: gatewarden.EventSLO, Name: g.slos[i].Name, State: "healthy", Reason: fmt.Sprint("event ", n)})
			}
		}
	}()
	var page struct {
		Frames int
		Slow   int
		Worst  float64
		Busy   float64
	}
	b.eval(`new Promise(done => {
		let frames = 0, slow = 0, worst = 0, last = performance.now(), begin = last;
		const tick = now => { const gap = now - last; last = now; frames++; if (gap > 34) slow++; worst = Math.max(worst, gap);
			now - begin < 10000 ? requestAnimationFrame(tick) : done({Frames: frames, Slow: slow, Worst: worst}) };
		requestAnimationFrame(tick) })`, &page)
	close(stop)
	n := <-fed
	b.call("Tracing.end", nil, nil)
	made, dropped := drawn(b.trace())
	return fmt.Sprintf("%d events came, %.1f frames/s, %d of them later than 34 ms, the worst %.0f ms; traced: %d frames drawn, %d dropped",
		n, float64(page.Frames)/10, page.Slow, page.Worst, made, dropped)
}

// drawn counts frames that were drawn and those that were dropped.
func drawn(trace []traceEvent) (drawn, dropped int) {
	for _, e := range trace {
		switch e.Name {
		case "DrawFrame":
			drawn++
		case "DroppedFrame":
			dropped++
		}
	}
	return drawn, dropped
}

// trace waits until tracing has reported everything, and returns what it reported since it
// was last asked.
func (b *browser) trace() (events []traceEvent) {
	b.t.Helper()
	complete := func(e event) bool { return e.Method == "Tracing.tracingComplete" }
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		b.mu.Lock()
		reports := b.events
		done := slices.ContainsFunc(reports, complete)
		if done {
			b.events = nil
		}
		b.mu.Unlock()
		if done {
			for _, e := range reports {
				var part struct{ Value []traceEvent }
				if e.Method == "Tracing.dataCollected" && json.Unmarshal(e.Params, &part) == nil {
					events = append(events, part.Value...)
				}
			}
			return events
		}
		if time.Now().After(end) {
			b.t.Fatal("the browser's tracing does not end")
		}
	}
}
