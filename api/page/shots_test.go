package page_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	shots = flag.String("shots", "", "write screenshots of a made-up night into this folder")
	axe   = flag.String("axe", "", "an axe.min.js of npm's axe-core, to look for what keeps people from using the page")
)

// TestScreenshots takes a picture of every page of a made-up night in both schemes and at
// a phone's width, and lets axe-core look for serious findings, if it is there.
//
//	npm install --prefix DIR axe-core
//	go test ./api/page -run TestScreenshots -shots FOLDER -axe DIR/node_modules/axe-core/axe.min.js
func TestScreenshots(t *testing.T) {
	if *shots == "" && *axe == "" {
		t.Skip("takes pictures only with -shots, and asks axe-core only with -axe")
	}
	now := time.Now()
	g := night(now)
	b := open(t, 1400, 900)
	url, _ := g.show(t)
	g.tell(now)
	for _, look := range []struct {
		name, scheme  string
		width, height int
	}{{"light", "light", 1400, 900}, {"dark", "dark", 1400, 900}, {"phone", "light", 390, 844}} {
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": look.scheme}}}, nil)
		for name, page := range map[string]struct {
			hash string
			tall float64
		}{
			"night": {"#/", 1.5}, "night-sources": {"#/sources", 1.5}, "night-limit": {"#/actions/protect-orders-5f3a9c21d0-1", 1.2}, "night-slo": {"#/slos/orders-availability", 1},
			"night-canaries": {"#/canaries", 1}, "night-canary": {"#/canaries/recommendations", 1.2}, "night-timeline": {"#/timeline", 1},
		} {
			b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": look.width, "height": int(float64(look.height) * page.tall), "deviceScaleFactor": 1, "mobile": false}, nil)
			b.visit(url + "/" + page.hash)
			b.await("the view is there", `document.querySelector("main h1") && document.querySelector(".connection.good") && !document.querySelector("main .skeleton")`)
			b.await("it is drawn", `new Promise(done => setTimeout(() => done(true), 800))`)
			if *shots != "" {
				b.picture(filepath.Join(*shots, fmt.Sprintf("%s-%s.png", name, look.name)))
			}
			if *axe != "" {
				for _, v := range b.violations(*axe) {
					t.Errorf("%s, %s: %s", name, look.name, v)
				}
			}
		}
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
