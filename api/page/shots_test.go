package page_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	shots = flag.String("shots", "", "write screenshots of every page into this folder")
	axe   = flag.String("axe", "", "an axe.min.js of npm's axe-core, to look for what keeps people from using the page")
)

// looks are the ways in which a page is looked at.
var looks = []struct {
	name, scheme  string
	width, height int
}{{"light", "light", 1400, 900}, {"dark", "dark", 1400, 900}, {"phone", "light", 390, 844}}

// TestScreenshots takes a picture of every page in both schemes and at a phone's width, first
// of the demo and then of a made-up night, and lets axe-core look for what is wrong.
//
//	npm install --prefix DIR axe-core
//	go test ./api/page -run TestScreenshots -shots FOLDER -axe DIR/node_modules/axe-core/axe.min.js
func TestScreenshots(t *testing.T) {
	if *shots == "" && *axe == "" {
		t.Skip("takes pictures only with -shots, and asks axe-core only with -axe")
	}
	t.Run("the demo", shootDemo)
	t.Run("a made-up night", shootNight)
}

func shootNight(t *testing.T) {
	now := time.Now()
	g := night(now)
	b := open(t, 1400, 900)
	url, _ := g.show(t)
	g.tell(now)
	b.visit(url)
	b.shoot("night", "#/", 1.6, "")
	b.shoot("night-sources", "#/sources", 1.5, "")
	b.shoot("night-limit", "#/actions/protect-orders-5f3a9c21d0-1", 1.2, "")
	b.shoot("night-canaries", "#/canaries", 0.7, "")
}

// shootDemo goes through the demo: the outage, a run of a canary, and an action that waits.
func shootDemo(t *testing.T) {
	b := open(t, 1400, 900)
	s := startStory(t)
	b.visit(s.api)
	b.await("the outage is answered", `document.querySelector(".now .card.bad") && document.querySelectorAll(".now .card.note").length >= 2`)
	b.shoot("overview", "", 1, "")
	s.until("the story is over", func() bool { return strings.Contains(s.out.String(), "Everything stays up") })
	s.rewrite()
	b.eval(`location.hash = "#/canaries/orders"`, nil)
	b.await("the new rules are in force", `document.querySelector("main").innerText.includes("What is compared")`)
	s.post(s.api+"/api/v1/canaries/orders/runs", `{"key": "orders-deploy-118", "by": "jenkins", "parameters": {"version": "v2"}}`)
	b.shoot("slo", "#/slos/orders-availability", 1.6, "")
	b.shoot("sources", "#/sources", 1, "")
	b.shoot("canaries", "#/canaries", 1, "")
	for range 8 { // for evidence to look at
		b.eval(`new Promise(done => setTimeout(done, 5000))`, nil)
	}
	b.shoot("canary", "#/canaries/orders", 1.7, "")
	s.post(s.admin()+"/services/orders/plugins", `{"name": "request-termination", "config": {"status_code": 500}}`)
	b.eval(`location.hash = "#/"`, nil)
	b.await("an approval waits", `[...document.querySelectorAll(".now button")].some(x => x.innerText === "Approve")`)
	b.shoot("waiting", "#/", 1, "")
	b.shoot("timeline", "#/timeline", 1, `(() => { const d = document.querySelector(".event details"); if (!d.open) d.querySelector("summary").click() })()`)
	b.shoot("actions", "#/actions", 1, "")
	b.shoot("confirm", "#/actions", 1, `[...document.querySelectorAll("button")].find(x => x.innerText === "Approve").click()`)
	var id string
	b.eval(`fetch("api/v1/actions").then(r => r.json()).then(r => r.actions.find(a => a.status !== "waiting").id)`, &id)
	b.shoot("action", "#/actions/"+id, 1, "")
}

// shoot takes the pictures of one page, after something was done on it, and asks axe-core.
func (b *browser) shoot(name, hash string, tall float64, act string) {
	b.t.Helper()
	for _, look := range looks {
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": look.scheme}}}, nil)
		b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": look.width, "height": int(float64(look.height) * tall), "deviceScaleFactor": 1, "mobile": false}, nil)
		if hash != "" {
			b.eval(fmt.Sprintf("location.hash = %q", hash), nil)
		}
		b.await("the view is there", `document.querySelector("main h1") && document.querySelector(".connection.good") && !document.querySelector("main .skeleton")`)
		b.eval(`new Promise(done => setTimeout(done, 1200))`, nil) // until the charts are drawn
		if act != "" {
			b.eval(act, nil)
			b.eval(`new Promise(done => setTimeout(done, 400))`, nil)
		}
		if *shots != "" {
			b.picture(filepath.Join(*shots, fmt.Sprintf("%s-%s.png", name, look.name)))
		}
		if *axe != "" {
			for _, v := range b.violations(*axe) {
				b.t.Errorf("%s, %s: %s", name, look.name, v)
			}
		}
		b.eval(`document.querySelector("dialog[open]")?.close()`, nil)
	}
}

// picture writes what is on the screen into a file.
func (b *browser) picture(file string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	check(b.t, err)
	check(b.t, os.WriteFile(file, png, 0o644))
}

// violations returns what axe-core finds on the page that is shown, of any severity.
func (b *browser) violations(script string) (found []string) {
	b.t.Helper()
	text, err := os.ReadFile(script)
	check(b.t, err)
	b.eval(string(text)+"; true", nil)
	var list []struct {
		ID, Impact string
		Nodes      []struct{ Target json.RawMessage }
	}
	b.eval(`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => ({ID: v.id, Impact: v.impact, Nodes: v.nodes.slice(0, 3).map(n => ({Target: n.target}))})))`, &list)
	for _, v := range list {
		found = append(found, fmt.Sprintf("%s (%s) at %s", v.ID, v.Impact, v.Nodes))
	}
	return found
}
