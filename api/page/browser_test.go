package page_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/demo"
)

// told is what the demo says, for a test that listens.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *told) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// story is a demo that runs beside the test.
type story struct {
	t        *testing.T
	out      *told
	api, dir string
}

var whereItIs = regexp.MustCompile(`The guard's API is (\S+), its files are in (\S+)`)

func startStory(t *testing.T) *story {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &story{t: t, out: &told{}}
	ended := make(chan error, 1)
	go func() {
		ended <- demo.Run(ctx, demo.Options{
			Out: s.out, Logger: slog.New(slog.DiscardHandler), API: "127.0.0.1:0", Paint: func(_, text string) string { return text },
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("the demo said:\n%s", s.out)
		}
	})
	s.until("the demo says where it is", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the demo ended: %v", err)
		default:
		}
		m := whereItIs.FindStringSubmatch(s.out.String())
		if m != nil {
			s.api, s.dir = m[1], m[2]
		}
		return m != nil
	})
	return s
}

func (s *story) until(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// post sends JSON; an answer that is no success fails the test.
func (s *story) post(url, body string) {
	s.t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	check(s.t, err)
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		s.t.Fatalf("POST %s: %s %s", url, resp.Status, text)
	}
}

// rewrite changes the demo's rules: there is a canary, and the first action asks.
func (s *story) rewrite() {
	s.t.Helper()
	file := filepath.Join(s.dir, "rules", "shop.yaml")
	text, err := os.ReadFile(file)
	check(s.t, err)
	rules := strings.Replace(string(text), "mode: enforce", "mode: approve\n    limits: {cooldown: 1s}", 1)
	if !strings.Contains(rules, "\ncanaries:") {
		rules = strings.Replace(rules, "\nactions:", `
canaries:
  - name: orders
    service: orders
    baseline: {target_tag: "version:v1"}
    canary: {target_tag: "version:v2"}
    checks: [errors, latency]

actions:`, 1)
	}
	check(s.t, os.WriteFile(file, []byte(rules), 0o600))
}

func (s *story) admin() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "gatewarden.yaml"))
	check(s.t, err)
	m := regexp.MustCompile(`admin_url: "([^"]+)"`).FindSubmatch(text)
	if m == nil {
		s.t.Fatalf("no admin_url in %s", text)
	}
	return string(m[1])
}

// confirm fills the dialog in, after a look at what it says will happen.
func confirm(b *browser, says, verb string) {
	b.t.Helper()
	b.await("a dialog that says "+says, fmt.Sprintf(`document.querySelector("dialog[open]")?.innerText.includes(%q)`, says))
	b.eval(`(() => { const i = document.querySelector("#confirm-by"); i.value = "ada"; i.dispatchEvent(new Event("input")) })()`, nil)
	b.press("dialog", verb)
	b.await("the dialog closes", `!document.querySelector("dialog[open]")`)
}

// The whole way of a person through the page, over the real guard and the demo's shop.
func TestAPersonGoesThroughTheDemo(t *testing.T) {
	b := open(t, 1400, 900)
	s := startStory(t)
	b.visit(s.api)

	b.await("the breach appears by itself", `document.querySelector(".now .card.bad")?.innerText.includes("orders-availability")`)
	b.await("what was done is shown", `document.querySelector(".now .card.note")?.innerText.includes("100 → 0")`)
	s.until("the story is over", func() bool { return strings.Contains(s.out.String(), "Everything stays up") })
	// A busy machine answers so few that what failed is worth a ticket, which stays for minutes.
	b.await("nothing is broken any more", `![...document.querySelectorAll(".now .card.bad")].some(e => !/breach\s+ticket/.test(e.innerText))`)

	b.press("nav", "Timeline")
	b.await("the timeline has the rollback", `document.querySelector("main").innerText.includes("shop/orders-rollback")`)
	b.press("nav", "Overview")
	b.press(".slos", "orders-availability")
	b.await("the four charts are drawn", `document.querySelectorAll(".chart canvas").length === 4`)
	b.await("the route that used the budget is named", `document.querySelector("[aria-label^=Routes]")?.innerText.includes("orders")`)

	s.rewrite()
	b.press("nav", "Canaries")
	b.press("main", "orders") // once the new rules are in force
	s.post(s.api+"/api/v1/canaries/orders/runs", `{"by": "jenkins", "key": "page-test"}`)
	b.await("the run appears by itself", `document.querySelector(".badge")?.innerText.includes("running")`)
	b.await("both tracks are counted, and the evidence is drawn", `[...document.querySelectorAll(".track")].length === 2 && document.querySelector(".chart canvas")`)

	s.post(s.admin()+"/services/orders/plugins", `{"name": "request-termination", "config": {"status_code": 500}}`)
	b.press("nav", "Overview")
	b.press(".now", "Approve")
	confirm(b, "targets tagged version:v2 of upstream orders", "Approve it")
	b.press(".now", "Take back")
	confirm(b, "What was there before is put back", "Take it back")
	b.press("nav", "Actions")
	b.await("it is taken back", `[...document.querySelectorAll(".steps li")].some(e => e.innerText.includes("reverted") && e.innerText.includes("ada"))`)
	b.press("header", "Pause")
	confirm(b, "it starts nothing new", "Pause it")
	b.await("the pause is shown everywhere", `document.querySelector("#notice").innerText.includes("ada paused the guard")`)
	b.press("header", "Resume")
	confirm(b, "ada paused it", "Let it act")
	b.await("the pause is over", `!document.querySelector("#notice").innerText.includes("paused")`)
	if bad := b.complaints(); bad != nil {
		t.Errorf("the browser complains: %s", bad)
	}
}

const hostile = `</script><img src=x onerror="window.pwned=1">'"&lt;`

func TestHostileNamesAndReasonsStayTexts(t *testing.T) {
	b := open(t, 1400, 900)
	slo := healthy(hostile)
	slo.Verdict.State, slo.Verdict.Severity, slo.Verdict.Reason, slo.Description = gatewarden.Breach, gatewarden.SeverityPage, hostile, hostile
	action := gatewarden.Action{
		ID: hostile, Policy: hostile, Ladder: hostile, Step: 1, Status: gatewarden.ActionApplied, Change: hostile, Undo: hostile, Link: "javascript:window.pwned=1",
		Spec:    gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: hostile, Config: map[string]any{hostile: hostile}}},
		Trigger: gatewarden.Trigger{Kind: gatewarden.EventSLO, Name: hostile, Reason: hostile}, Memo: json.RawMessage(`"</script>"`),
	}
	g := &guard{
		status: api.Status{
			Paused: &api.Pause{By: hostile, Reason: hostile}, Config: api.ConfigStatus{File: hostile, Error: hostile, Unfit: []string{hostile}},
			Sources: []api.Source{{Name: hostile, Kind: hostile, Silent: true}},
		},
		slos: []api.SLO{slo}, actions: []gatewarden.Action{action},
	}
	url, _ := g.show(t)
	g.happen(gatewarden.Event{Type: gatewarden.EventAction, Name: hostile, State: hostile, Severity: hostile, Reason: hostile, By: hostile, Action: &action})
	g.happen(gatewarden.Event{Type: gatewarden.EventType(hostile), Name: hostile, State: "__proto__", Reason: hostile})
	name := "encodeURIComponent(" + string(mustJSON(hostile)) + ")"
	b.visit(url)
	for _, hash := range []string{`"#/"`, `"#/slos/"+` + name, `"#/actions"`, `"#/actions/"+` + name, `"#/timeline"`, `"#/sources"`, `"#/canaries/"+` + name, `"#/runs/"+` + name, `"#/%E0%A4%A"`} {
		b.eval("location.hash = "+hash, nil)
		b.await("the view is there", `document.querySelector("main h1")`)
		b.eval("document.querySelectorAll('details').forEach(d => d.open = true)", nil)
		if hash == `"#/timeline"` {
			b.await("the event is shown as it is", fmt.Sprintf("document.querySelector('.event')?.innerText.includes(%s)", mustJSON(hostile)))
		}
		var made int
		b.eval(`document.querySelectorAll("img, main script, a[href^='javascript']").length + (window.pwned || 0)`, &made)
		if made != 0 {
			t.Errorf("at %s the hostile text has become %d elements", hash, made)
		}
	}
	for _, bad := range b.complaints() {
		if !strings.Contains(bad, "404") { // a run of that name is asked for, and there is none
			t.Errorf("the browser complains: %s", bad)
		}
	}
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func TestNoInlineScriptRuns(t *testing.T) {
	b := open(t, 800, 600)
	url, _ := (&guard{}).show(t)
	b.visit(url)
	b.eval(`(() => { const s = document.createElement("script"); s.textContent = "window.pwned = 1"; document.body.append(s); const d = document.createElement("div"); d.innerHTML = "<img src=x onerror='window.pwned=2'>"; document.body.append(d); })()`, nil)
	b.await("the policy has been heard", `new Promise(done => setTimeout(() => done(true), 300))`)
	var pwned bool
	if b.eval("window.pwned !== undefined", &pwned); pwned {
		t.Error("a script that is no file of the page has run")
	}
	if b.complaints() == nil {
		t.Error("the browser refused nothing: the test does not see the policy at work")
	}
}

func TestEmptyAndErrorStatesSayWhatToDo(t *testing.T) {
	b := open(t, 1400, 900)
	g := &guard{}
	url, stop := g.show(t)
	b.visit(url)
	for hash, want := range map[string]string{
		"#/": "Write one into the rules", "#/canaries": "gatewarden gate", "#/timeline": "Look at the sources", "#/actions": "on_outage",
		"#/sources": "Name one in gatewarden.yaml", "#/slos/nope": "There is no SLO named nope", "#/canaries/nope": "There is no canary named nope",
		"#/actions/nope": "gatewarden actions nope", "#/runs/nope": "this guard judges no canaries", "#/elsewhere": "Go to the overview",
	} {
		b.eval(fmt.Sprintf("location.hash = %q", hash), nil)
		b.await(hash+" says "+want, fmt.Sprintf(`document.querySelector("main").innerText.includes(%q)`, want))
	}
	b.eval(`location.hash = "#/"`, nil)
	g.mu.Lock()
	g.refuses = gatewarden.Errorf(gatewarden.Conflict, "the guard is being paused by somebody else").WithHint("wait a moment")
	g.mu.Unlock()
	b.press("header", "Pause")
	b.await("the dialog", `document.querySelector("dialog[open]")`)
	b.eval(`(() => { const i = document.querySelector("#confirm-by"); i.value = "ada"; i.dispatchEvent(new Event("input")) })()`, nil)
	b.press("dialog", "Pause it")
	b.await("the refusal is in the dialog, with what to do", `document.querySelector("dialog[open] .problem")?.innerText.includes("wait a moment")`)
	b.press("dialog", "Leave it as it is")
	stop()
	b.await("the page says that nobody answers", `document.querySelector("#notice").innerText.includes("No answer from the guard")`)
}

// What is on the screen stays where it is while the page fills, and while figures change.
func TestNothingMoves(t *testing.T) {
	for width, height := range map[int]int{1400: 900, 390: 844} {
		t.Run(fmt.Sprint(width, " wide"), func(t *testing.T) {
			b := open(t, width, height)
			g := &guard{}
			for i := range 20 {
				g.slos = append(g.slos, healthy(fmt.Sprintf("service-%d-availability", i)))
			}
			url, _ := g.show(t)
			b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
				window.shifts = [];
				new PerformanceObserver(l => { for (const e of l.getEntries()) window.shifts.push([e.value, ...e.sources.map(s => s.node?.className ?? s.node?.nodeName)]) }).observe({type: "layout-shift", buffered: true});`}, nil)
			b.visit(url)
			b.await("the SLOs are listed", `document.querySelectorAll(".slo-row").length === 20`)
			for i := range 5 {
				g.mu.Lock()
				for k := range g.slos {
					e := *g.slos[k].Verdict.SLO
					e.Count.Good += uint64(i * 1000)
					e.Budget -= 0.1
					g.slos[k].Verdict.SLO = &e
				}
				g.mu.Unlock()
				g.happen(gatewarden.Event{At: time.Now(), Type: gatewarden.EventSource, Name: "x", State: "seeing", Reason: fmt.Sprint(i)})
				b.await("the figures are new", fmt.Sprintf(`document.querySelector(".slo-budget").innerText.includes("%d")`, 90-10*i))
			}
			var shifts [][]any
			b.eval("window.shifts", &shifts)
			for _, s := range shifts {
				if name := fmt.Sprint(s[1:]); s[0].(float64) > 0.001 {
					t.Errorf("something moved by %v: %s", s[0], name)
				}
			}
		})
	}
}

func TestTheKeyboardReachesEverything(t *testing.T) {
	b := open(t, 1400, 900)
	url, _ := (&guard{slos: []api.SLO{healthy("orders")}}).show(t)
	b.visit(url)
	b.await("the SLO is listed", `document.querySelector(".slo-row a")`)
	b.await("there is something to pause", `!document.querySelector(".switch").disabled`)
	var reached []string
	for range 14 {
		for _, kind := range []string{"keyDown", "keyUp"} {
			b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}, nil)
		}
		var name string
		b.eval("document.activeElement.innerText", &name)
		reached = append(reached, strings.TrimSpace(name))
	}
	for _, want := range []string{"Skip to the content", "Overview", "Canaries", "Timeline", "Actions", "Sources", "Pause", "orders", "The whole timeline"} {
		if !strings.Contains(strings.Join(reached, "|"), want) {
			t.Errorf("the tab key does not reach %q; it reaches %q", want, reached)
		}
	}
}
