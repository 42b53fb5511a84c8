package page_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

var figures = flag.Bool("figures", false, "measure how fast the page is, and print it")

// TestFigures measures and judges nothing: what it finds depends on the machine.
//
//	go test ./api/page -run TestFigures -figures -v
func TestFigures(t *testing.T) {
	if !*figures {
		t.Skip("measures only with -figures")
	}
	b := open(t, 1400, 900)
	g := &guard{status: api.Status{Sources: []api.Source{{Name: "httplog", Kind: "httplog"}}}}
	for i := range 50 {
		g.slos = append(g.slos, healthy(fmt.Sprintf("service-%d-availability", i)))
	}
	url, _ := g.show(t)
	for range 3 { // the first visit also starts the renderer
		b.visit(url)
		b.await("the SLOs are listed", `document.querySelectorAll(".slo-row").length === 50`)
		var paint map[string]float64
		b.eval(`new Promise(done => new PerformanceObserver(l => done({
			first: performance.getEntriesByName("first-contentful-paint")[0]?.startTime, largest: l.getEntries().at(-1).startTime,
		})).observe({type: "largest-contentful-paint", buffered: true}))`, &paint)
		t.Logf("first contentful paint after %.0f ms, the largest after %.0f ms, 50 SLOs", paint["first"], paint["largest"])
	}
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
	b.await("the trace is complete", "true")
	drawn, dropped := traced(b)
	return fmt.Sprintf("%d events came, %.1f frames/s, %d of them later than 34 ms, the worst %.0f ms; traced: %d frames drawn, %d dropped",
		n, float64(page.Frames)/10, page.Slow, page.Worst, drawn, dropped)
}

// traced counts frames in what tracing has reported since it was last asked.
func traced(b *browser) (drawn, dropped int) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		b.mu.Lock()
		done := false
		for _, e := range b.events {
			done = done || e.Method == "Tracing.tracingComplete"
		}
		events := b.events
		if done {
			b.events = nil
		}
		b.mu.Unlock()
		if !done {
			continue
		}
		for _, e := range events {
			var part struct{ Value []struct{ Name string } }
			if e.Method != "Tracing.dataCollected" || json.Unmarshal(e.Params, &part) != nil {
				continue
			}
			for _, v := range part.Value {
				switch v.Name {
				case "DrawFrame":
					drawn++
				case "DroppedFrame":
					dropped++
				}
			}
		}
		return drawn, dropped
	}
	return 0, 0
}
