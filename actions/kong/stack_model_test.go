package kong

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// The model of overlapping ladders: every place of the gateway that steps change has a
// ground and layers on it. A later layer lies over an earlier one; one that goes takes only
// its own with it; what somebody else writes is the ground from then on, and what lay there
// before is dead: it changes nothing when it goes.

// cell is one place: a weight, a field, or a plugin of some name in some scope, each as a
// record. A nil record is a plugin that is not there.
type cell struct {
	ground map[string]any
	layers []cellLayer
}

type cellLayer struct {
	action string
	begun  time.Time
	sets   map[string]any
}

// lay puts a layer in its place: two may begin at the same instant.
func (c *cell) lay(l cellLayer) {
	c.layers = append(c.layers, l)
	slices.SortFunc(c.layers, func(a, b cellLayer) int {
		return cmp.Or(a.begun.Compare(b.begun), cmp.Compare(a.action, b.action))
	})
}

func (c *cell) value() map[string]any {
	v := maps.Clone(c.ground)
	for _, l := range c.layers {
		if v == nil {
			v = map[string]any{}
		}
		maps.Copy(v, l.sets)
	}
	return v
}

func (c *cell) remove(action string) {
	c.layers = slices.DeleteFunc(c.layers, func(l cellLayer) bool { return l.action == action })
}

// overwrite is what somebody else does.
func (c *cell) overwrite(with map[string]any) { c.ground, c.layers = with, nil }

// The places. Only the fields that steps or people of this test set are looked at.
var pluginFields = map[string]map[string]any{ // what they are when nobody sets them
	"rate-limiting":       {"second": nil, "minute": nil, "hour": nil, "day": nil, "year": nil},
	"request-termination": {"status_code": 503.0, "message": nil, "trigger": nil},
}

// sets returns what a step sets where.
func setsOf(s *gatewarden.Step) map[string]map[string]any {
	one := func(place string, value any) map[string]map[string]any {
		return map[string]map[string]any{place: {"value": value}}
	}
	switch {
	case s.Plugin != nil:
		return map[string]map[string]any{s.Plugin.Name: floats(s.Plugin.Config)}
	case s.Divert != nil:
		return one("route", s.Divert.To)
	case s.Service != nil:
		return one("service", s.Service.Enabled)
	case s.Kind == gatewarden.StepDrain:
		return map[string]map[string]any{"10.0.0.8:8080": {"value": 0.0}, "10.0.0.9:8000": {"value": 0.0}}
	default:
		return one(s.Weight.Target, float64(s.Weight.Weight))
	}
}

func floats(config map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range config {
		if n, isInt := v.(int); isInt {
			v = float64(n)
		}
		out[k] = v
	}
	return out
}

// tower is a rig with three ladders that want the same places, beside the model of it.
type tower struct {
	*rig
	cells map[string]*cell
	read  int // how much of the journal the model has taken in
	edits int
	log   []string
}

func newTower(r *rig, theirs bool) *tower {
	w := &tower{rig: r, cells: map[string]*cell{}}
	more := fakekong.Setup{Services: []fakekong.Service{{Name: "elsewhere", Host: "elsewhere"}}}
	for i := range 16 {
		more.Services = append(more.Services, fakekong.Service{Name: fmt.Sprint("other-", i), Host: "other"})
	}
	if err := r.kong.Load(more); err != nil {
		r.t.Fatal(err)
	}
	if theirs {
		w.send("PUT", "/plugins/0b1c3a52-91d5-4c33-8a61-2f4f5b8a0a11", fmt.Sprintf(
			`{"name":"rate-limiting","route":{"id":%q},"config":{"minute":20000,"policy":"local"},"tags":["theirs"]}`, w.send("GET", "/routes/orders-list", "")["id"]))
	}
	for place, value := range w.look() {
		w.cells[place] = &cell{ground: value}
	}
	return w
}

func towerPolicies() ([]gatewarden.ActionPolicy, []gatewarden.SLO) {
	limit := func(config map[string]any) gatewarden.Step {
		return gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: config}}
	}
	end := func(config map[string]any) gatewarden.Step {
		return gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "request-termination", Service: "recommendations", Config: config}}
	}
	divert := func(to string) gatewarden.Step {
		return gatewarden.Step{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "orders-list", To: to}}
	}
	enable := func(on bool) gatewarden.Step {
		return gatewarden.Step{Kind: gatewarden.StepService, Service: &gatewarden.ServiceStep{Name: "recommendations", Enabled: on}}
	}
	drain := gatewarden.Step{Kind: gatewarden.StepDrain, Weight: &gatewarden.WeightStep{Upstream: "orders-up", TargetTag: "version:v2"}}
	weigh := func(target string, weight int) gatewarden.Step {
		return gatewarden.Step{Kind: gatewarden.StepWeight, Weight: &gatewarden.WeightStep{Upstream: "orders-up", Target: target, Weight: weight}}
	}
	ladders := map[string][]gatewarden.Step{
		"a": {end(map[string]any{"status_code": 503}), divert("recommendations"), limit(map[string]any{"second": 200, "hour": 90000}), drain, enable(false)},
		"b": {limit(map[string]any{"second": 50}), weigh("10.0.0.8:8080", 3), enable(false), divert("elsewhere"), end(map[string]any{"status_code": 429, "message": "busy"})},
		"c": {enable(false), limit(map[string]any{"hour": 50000, "day": 1000000}), end(map[string]any{"message": "closed"}), weigh("10.0.0.9:8000", 2), divert("recommendations")},
	}
	var policies []gatewarden.ActionPolicy
	var slos []gatewarden.SLO
	for i, name := range []string{"a", "b", "c"} {
		p := gatewarden.ActionPolicy{
			Name: "on-" + name, Lease: time.Hour, Mode: gatewarden.ModeEnforce,
			Revert: gatewarden.RevertPolicy{After: 2 * time.Second, Stepwise: i != 1},
		}
		for j, step := range ladders[name] {
			step.After = gatewarden.Duration(j) * gatewarden.Duration(2*time.Second)
			p.Steps = append(p.Steps, step)
		}
		policies = append(policies, p)
		slos = append(slos, gatewarden.SLO{Name: name, OnOutage: []string{p.Name}})
	}
	return policies, slos
}

// send asks the Admin API as somebody else would.
func (w *tower) send(method, path, body string) map[string]any {
	w.t.Helper()
	if method != "GET" && w.exec.client.dbless {
		var fields any
		if body != "" {
			if err := json.Unmarshal([]byte(body), &fields); err != nil {
				w.t.Fatal(err)
			}
		}
		if err := w.exec.client.redeclare(w.ctx, method, path, fields); err != nil {
			w.t.Fatal(err)
		}
		return nil
	}
	req := httptest.NewRequest(method, "http://kong"+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	resp := httptest.NewRecorder()
	w.kong.Admin().ServeHTTP(resp, req)
	if resp.Code >= 300 && resp.Code != http.StatusNotFound {
		w.t.Fatal(method, path, resp.Code, resp.Body.String())
	}
	var v map[string]any
	_ = json.Unmarshal(resp.Body.Bytes(), &v) // a 204 has none
	return v
}

// look reads all places.
func (w *tower) look() map[string]map[string]any {
	is := map[string]map[string]any{
		"route":               {"value": w.send("GET", "/routes/orders-list/service", "")["name"]},
		"service":             {"value": w.send("GET", "/services/recommendations", "")["enabled"]},
		"rate-limiting":       w.plugin("/routes/orders-list", "rate-limiting"),
		"request-termination": w.plugin("/services/recommendations", "request-termination"),
	}
	for _, t := range w.send("GET", "/upstreams/orders-up/targets", "")["data"].([]any) {
		is[t.(map[string]any)["target"].(string)] = map[string]any{"value": t.(map[string]any)["weight"]}
	}
	return is
}

func (w *tower) find(scope, name string) map[string]any {
	list, _ := w.send("GET", scope+"/plugins", "")["data"].([]any)
	for _, p := range list {
		if p := p.(map[string]any); p["name"] == name {
			return p
		}
	}
	return nil
}

func (w *tower) plugin(scope, name string) map[string]any {
	p := w.find(scope, name)
	if p == nil {
		return nil
	}
	config := p["config"].(map[string]any)
	v := map[string]any{}
	for field := range pluginFields[name] {
		v[field] = config[field]
	}
	return v
}

// follow takes into the model what the journal says was done.
func (w *tower) follow() {
	for event, err := range w.ledger.All(w.ctx, gatewarden.EventAction) {
		if w.read--; w.read >= 0 {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if event.Action == nil {
			continue
		}
		for place, sets := range setsOf(&event.Action.Spec) {
			c := w.cells[place]
			if event.Action.Status == gatewarden.ActionApplied {
				c.lay(cellLayer{event.Name, *event.Action.StartedAt, sets})
			}
			if s := event.Action.Status; s == gatewarden.ActionReverted || s == gatewarden.ActionLeft {
				c.remove(event.Name)
			}
		}
		w.log = append(w.log, fmt.Sprintf("    %s %s: %s", event.Name, event.State, event.Reason))
	}
	w.read = len(w.ledger.lines)
}

// differs compares the gateway with the model.
func (w *tower) differs() string {
	w.follow()
	want := map[string]map[string]any{}
	for place, c := range w.cells {
		want[place] = c.value()
		if want[place] == nil {
			continue
		}
		for field, unset := range pluginFields[place] {
			if want[place][field] == nil {
				want[place][field] = unset
			}
		}
	}
	return gocmp.Diff(want, w.look())
}

// edit changes a place as somebody else would, to something that no step sets.
func (w *tower) edit(place string) {
	w.follow()
	w.edits++
	c := w.cells[place]
	switch place {
	case "rate-limiting", "request-termination":
		scope := map[string]string{"rate-limiting": "/routes/orders-list", "request-termination": "/services/recommendations"}[place]
		p := w.find(scope, place)
		if p == nil {
			return
		}
		value := c.value()
		if place == "rate-limiting" {
			value["year"] = float64(10000000 + w.edits)
		} else {
			value["trigger"] = fmt.Sprint("x-", w.edits)
		}
		body, err := json.Marshal(map[string]any{"config": value})
		if err != nil {
			w.t.Fatal(err)
		}
		w.send("PATCH", "/plugins/"+p["id"].(string), string(body))
		c.overwrite(value)
	case "route":
		name := fmt.Sprint("other-", w.edits)
		w.send("PATCH", "/routes/"+w.send("GET", "/routes/orders-list", "")["id"].(string), fmt.Sprintf(`{"service":{"id":%q}}`, w.send("GET", "/services/"+name, "")["id"]))
		c.overwrite(map[string]any{"value": name})
	default:
		weight := 40 + w.edits
		for _, t := range w.send("GET", "/upstreams/orders-up/targets", "")["data"].([]any) {
			if t := t.(map[string]any); t["target"] == place {
				w.send("PATCH", "/upstreams/orders-up/targets/"+t["id"].(string), fmt.Sprintf(`{"weight":%d}`, weight))
			}
		}
		c.overwrite(map[string]any{"value": float64(weight)})
	}
}

// remove deletes a plugin as decK would.
func (w *tower) remove(place string) {
	w.follow()
	scope := map[string]string{"rate-limiting": "/routes/orders-list", "request-termination": "/services/recommendations"}[place]
	if p := w.find(scope, place); p != nil {
		w.send("DELETE", "/plugins/"+p["id"].(string), "")
		w.cells[place].overwrite(nil)
	}
}

func (w *tower) do(line string) {
	w.log = append(w.log, line)
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "burn":
		w.burning[rest] = true
	case "well":
		w.burning[rest] = false
	case "wait":
		w.pass(3)
	case "restart":
		w.restart()
	case "edit":
		w.edit(rest)
	case "remove":
		w.remove(rest)
	case "revert":
		for _, a := range w.engine.List() {
			if strings.HasPrefix(a.Policy, "on-"+rest) && a.Status.InPlace() {
				_ = w.engine.Revert(w.ctx, a.ID, "zoë") // it may be on its way already
				break
			}
		}
		synctest.Wait()
	}
	w.pass(1)
}

var towerLines = []string{
	"burn a", "burn b", "burn c", "burn a", "burn b", "burn c", "well a", "well b", "well c", "wait", "wait", "wait", "wait", "restart",
	"edit rate-limiting", "edit request-termination", "edit route", "edit 10.0.0.8:8080", "edit 10.0.0.9:8000",
	"remove rate-limiting", "remove request-termination", "revert a", "revert b", "revert c",
}

// TestOverlappingLaddersAreAsTheModelSays lets three ladders with five steps each come and
// go at random over the same places, in any order, while somebody else changes things and
// the guard restarts. After each step the gateway is what the model says, and in the end
// nothing of the ladders is left.
func TestOverlappingLaddersAreAsTheModelSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.SampledFrom(towerLines), 1, 16).Draw(rt, "script")
		theirs, dbless := rapid.Bool().Draw(rt, "theirs"), rapid.IntRange(0, 5).Draw(rt, "dbless") == 5
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = playTower(t, script, theirs, dbless) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

func playTower(t *testing.T, script []string, theirs, dbless bool) string {
	policies, slos := towerPolicies()
	r := newRigOf(t.Context(), t, dbless, policies, slos)
	defer r.close()
	w := newTower(r, theirs)
	for _, line := range append(script, "well a", "well b", "well c") {
		w.do(line)
		if diff := w.differs(); diff != "" {
			return "after " + line + ":\n" + diff + strings.Join(w.log, "\n")
		}
	}
	w.pass(30)
	if diff := w.differs(); diff != "" {
		return "in the end:\n" + diff + strings.Join(w.log, "\n")
	}
	for place, c := range w.cells {
		if len(c.layers) > 0 {
			return place + " still has layers:\n" + strings.Join(w.log, "\n")
		}
	}
	return ""
}
