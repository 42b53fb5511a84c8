package page_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	visits = flag.Int("visits", 10, "how often each page is opened to measure how fast it is")
	traces = flag.String("traces", "", "write the browser's traces of these visits into this folder, for its performance panel")
)

// shown notes when a page shows its figures for the first time: it is busy no more, its
// heading is there, nothing is a placeholder, and a frame with that has been handed over to
// be drawn. What it asks for afterwards, such as the points of a chart, is not waited for.
const shown = `
	const look = () => {
		if (window.shown || !document.querySelector("main:not([aria-busy]) h1") || document.querySelector("main .skeleton")) return;
		window.shown = -1;
		requestAnimationFrame(() => {
			const after = new MessageChannel();
			after.port1.onmessage = () => { window.shown = performance.now(); performance.mark("shown") };
			after.port2.postMessage(0);
		});
	};
	new MutationObserver(look).observe(document, {subtree: true, childList: true, attributes: true});
	new PerformanceObserver(list => { for (const e of list.getEntries()) window.largest = e.startTime }).observe({type: "largest-contentful-paint", buffered: true});`

// visit is what one opening of a page took, in milliseconds since the navigation began.
type visit struct {
	First, Largest, Shown float64
	Busy                  float64 // processor time of the page's main thread until Shown
}

// TestFiguresOfPaint measures and judges nothing. Each page of a guard with 55 SLOs is opened
// in a tab of its own with an empty cache; the first visit of all is left out: it starts the
// browser's processes.
//
//	go test ./api/page -run TestFiguresOfPaint -figures -v
func TestFiguresOfPaint(t *testing.T) {
	if !*figures {
		t.Skip("measures only with -figures")
	}
	b := open(t, 1400, 900)
	now := time.Now()
	g := night(now)
	for i := range 50 {
		g.slos = append(g.slos, healthy(fmt.Sprintf("service-%d-availability", i)))
	}
	url, _ := g.show(t)
	g.tell(now)
	b.open(url, "", 0)
	for _, page := range []string{"#/", "#/slos/orders-availability", "#/canaries", "#/canaries/inventory", "#/timeline", "#/actions", "#/sources"} {
		var list []visit
		for i := range *visits {
			list = append(list, b.open(url, page, i))
		}
		load, _ := os.ReadFile("/proc/loadavg") // absent on other systems
		t.Logf("%-28s first paint %s, largest %s, shown %s, busy %s ms (min, median, max of %d; load average %.4s)", page,
			spread(list, func(v visit) float64 { return v.First }), spread(list, func(v visit) float64 { return v.Largest }),
			spread(list, func(v visit) float64 { return v.Shown }), spread(list, func(v visit) float64 { return v.Busy }), len(list), load)
	}
}

// open opens a page of the guard at url in a new tab with nothing in its cache.
func (b *browser) open(url, page string, nth int) (v visit) {
	b.t.Helper()
	tab := b.tab
	defer func() { b.tab = tab }()
	b.tab = ""
	var profile struct{ BrowserContextID string }
	b.call("Target.createBrowserContext", nil, &profile)
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": profile.BrowserContextID}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.tab = session.SessionID
	b.call("Page.enable", nil, nil)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": shown}, nil)
	b.call("Tracing.start", map[string]any{"transferMode": "ReportEvents", "categories": "devtools.timeline,toplevel,blink.user_timing,v8"}, nil)
	b.call("Page.navigate", map[string]any{"url": url + "/" + page}, nil)
	b.await("the page is shown", "window.shown > 0")
	b.eval("new Promise(done => setTimeout(done, 200))", nil) // the largest paint is told late
	b.eval(`({First: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0, Largest: window.largest ?? 0, Shown: window.shown})`, &v)
	b.call("Tracing.end", nil, nil)
	trace := b.trace()
	v.Busy = busy(trace)
	if *traces != "" {
		text, err := json.Marshal(map[string]any{"traceEvents": trace})
		check(b.t, err)
		check(b.t, os.WriteFile(filepath.Join(*traces, fmt.Sprintf("%s%d.json", strings.Trim(strings.NewReplacer("/", "-", "#", "").Replace(page)+"-", "-"), nth)), text, 0o644))
	}
	b.tab = ""
	b.call("Target.disposeBrowserContext", map[string]any{"browserContextId": profile.BrowserContextID}, nil)
	return v
}

// traceEvent is an event of the browser's tracing; times are in microseconds.
type traceEvent struct {
	Name  string          `json:"name"`
	Phase string          `json:"ph"`
	PID   int             `json:"pid"`
	TID   int             `json:"tid"`
	At    float64         `json:"ts"`
	CPU   float64         `json:"tdur,omitempty"`
	Took  float64         `json:"dur,omitempty"`
	Cat   string          `json:"cat"`
	Args  json.RawMessage `json:"args,omitempty"`
}

// busy returns how many milliseconds of processor time a page's main thread took from its
// navigation to its mark "shown": unlike the instants, it does not depend on what else the
// machine does.
func busy(trace []traceEvent) (ms float64) {
	var start, end traceEvent
	for _, e := range trace {
		if e.Name == "shown" {
			end = e
		}
	}
	for _, e := range trace {
		if e.Name == "navigationStart" && e.PID == end.PID && strings.Contains(string(e.Args), `"http:`) {
			start = e
		}
	}
	for _, e := range trace {
		if e.Name == "ThreadControllerImpl::RunTask" && e.PID == end.PID && e.TID == end.TID && e.At >= start.At && e.At < end.At {
			ms += e.CPU / 1000
		}
	}
	return ms
}

// spread writes the least, the median and the greatest of a figure.
func spread(list []visit, of func(visit) float64) string {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b visit) int { return cmp.Compare(of(a), of(b)) })
	n := len(sorted)
	return fmt.Sprintf("%.0f %.0f %.0f", of(sorted[0]), (of(sorted[(n-1)/2])+of(sorted[n/2]))/2, of(sorted[n-1]))
}
