package kong

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
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
	dead   []cellLayer // over which somebody else has written: they hold the place, and show nothing
}

type cellLayer struct {
	action string
	begun  int // its place among all that began, by the journal
	sets   map[string]any
}

// set puts a new layer in its place, or changes what an old one sets that is still there.
func (c *cell) set(l cellLayer, isNew bool) {
	if !isNew {
		for i := range c.layers {
			if c.layers[i].action == l.action {
				c.layers[i].sets = l.sets
			}
		}
		return
	}
	if slices.ContainsFunc(c.dead, func(d cellLayer) bool { return d.begun > l.begun }) {
		c.dead = append(c.dead, l) // it came to be after the edit, and lies beneath one that did not
		return
	}
	c.layers = append(c.layers, l)
	slices.SortFunc(c.layers, func(a, b cellLayer) int { return a.begun - b.begun })
}

func (c *cell) value() map[string]any {
	v := maps.Clone(c.ground)
	for _, l := range c.layers {
		if v == nil {
			v = map[string]any{}
		}
		if was := c.ground["status_code"]; was != nil && was != 503.0 {
			v["status_code"] = 503.0 // a status of theirs waits, so that the guard knows its own
		}
		maps.Copy(v, l.sets)
	}
	return v
}

func (c *cell) remove(action string) {
	is := func(l cellLayer) bool { return l.action == action }
	c.layers, c.dead = slices.DeleteFunc(c.layers, is), slices.DeleteFunc(c.dead, is)
}

// overwrite is what somebody else does.
func (c *cell) overwrite(with map[string]any) {
	c.ground, c.layers, c.dead = with, nil, append(c.dead, c.layers...)
}

// The places. Only the fields that steps or people of this test set are looked at.
var pluginFields = map[string]map[string]any{ // what they are when nobody sets them
	"rate-limiting":       {"second": nil, "minute": nil, "hour": nil, "day": nil, "year": nil},
	"request-termination": {"status_code": 503.0, "message": nil, "trigger": nil},
}

// sets returns what an action sets where.
func setsOf(a *gatewarden.Action) map[string]map[string]any {
	one := func(place string, value any) map[string]map[string]any {
		return map[string]map[string]any{place: {"value": value}}
	}
	switch s := &a.Spec; {
	case s.Adaptive != nil:
		sets := maps.Clone(pluginFields["rate-limiting"]) // in the place of all other limits
		sets["second"] = float64(a.Limit.Value)
		return map[string]map[string]any{"rate-limiting": sets}
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
	laid  map[string]bool // actions that have once been in place
	begun map[string]int  // when actions began, counted in events
	read  int             // how much of the journal the model has taken in

	clockSteps time.Duration // by how much the guard's clock is set at most
	edits      int
	log        []string
}

func newTower(r *rig, theirs bool) *tower {
	w := &tower{rig: r, cells: map[string]*cell{}, laid: map[string]bool{}, begun: map[string]int{}}
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

// towerPolicies are three ladders over the same places, and with moves a fourth, which has a limit
// that moves.
func towerPolicies(moves bool) ([]gatewarden.ActionPolicy, []gatewarden.SLO) {
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
	names := []string{"a", "b", "c"}
	if moves {
		names = append(names, "d")
		ladders["d"] = []gatewarden.Step{
			{Kind: gatewarden.StepAdaptive, Adaptive: &gatewarden.AdaptiveStep{SLO: "d", Service: "orders", Route: "orders-list", Floor: 1, Ceiling: 1000}},
			enable(false), weigh("10.0.0.8:8080", 7), divert("elsewhere"), end(map[string]any{"message": "full"}),
		}
	}
	var policies []gatewarden.ActionPolicy
	var slos []gatewarden.SLO
	for i, name := range names {
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
	synctest.Wait()
	all := 0
	for event, err := range w.ledger.All(w.ctx, gatewarden.EventAction) {
		if all++; all <= w.read {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if event.Action == nil {
			continue
		}
		w.log = append(w.log, fmt.Sprintf("    %s %s %s: %s", event.At.Sub(w.rig.begun), event.Name, event.State, event.Reason))
		switch event.Action.Status {
		case gatewarden.ActionStarted:
			if w.begun[event.Name] == 0 {
				w.begun[event.Name] = all
			}
		case gatewarden.ActionApplied:
			for place, sets := range setsOf(event.Action) {
				w.cells[place].set(cellLayer{event.Name, w.begun[event.Name], sets}, !w.laid[event.Name])
			}
			w.laid[event.Name] = true
		case gatewarden.ActionReverted, gatewarden.ActionLeft, gatewarden.ActionFailed:
			for _, c := range w.cells {
				c.remove(event.Name)
			}
		default: // has not come to anything yet
		}
	}
	w.read = all
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

// underWay reports whether the gateway may not be what the journal says it is to be: a call
// has not come to its end, or a limit has not been brought to where it is to go, which is tried
// again after 5 s of the guard's clock.
func (w *tower) underWay() bool {
	return time.Since(w.trouble.last()) < 8*time.Second+w.clockSteps || slices.ContainsFunc(w.engine.List(), func(a gatewarden.Action) bool {
		return a.Status == gatewarden.ActionStarted || a.Status == gatewarden.ActionReverting
	})
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
		if p == nil || w.underWay() { // what is written before an answer comes is not told from the guard's own
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
	if p := w.find(scope, place); p != nil && !w.underWay() {
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
	case "clock":
		w.clockSteps = 40 * time.Second
		w.setClock(rest)
		return
	case "limit":
		w.limits.move()
	case "lost", "unheard", "hung", "hangs", "unread", "dies", "killed":
		var n int
		if _, err := fmt.Sscan(rest, &n); err != nil {
			w.t.Fatal(err)
		}
		w.trouble.at(n, word)
		return
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
		w.revive()
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
		synctest.Test(t, func(t *testing.T) { failure = playTower(t, script, theirs, dbless, false) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// scripts is how many scripts TestOverlappingLaddersOutliveLostAnswers plays, and firstScript the
// seed of the first one. A script is the same each time; which goroutine comes first is not.
var (
	scripts     = flag.Int("scripts", 25, "how many scripts with lost answers are played")
	firstScript = flag.Uint64("script", 1, "the seed of the first script with lost answers")
)

// TestOverlappingLaddersOutliveLostAnswers is the same with four ladders, one of which has a limit that
// moves, and with changes that never arrive at the gateway, whose answers are lost, or at which the guard dies.
func TestOverlappingLaddersOutliveLostAnswers(t *testing.T) {
	t.Parallel()
	lines := slices.Concat(towerLines, []string{
		"burn d", "burn d", "well d", "revert d", "limit", "limit", "lost 1", "lost 2", "unheard 1", "unheard 1", "unheard 2", "unheard 3", "unheard 5",
		"dies 1", "dies 3", "killed 1", "killed 1", "killed 2", "killed 3", "killed 4",
		"hung 1", "hung 2", "hangs 1", "hangs 1", "hangs 2", "hangs 3", "hangs 4", "hangs 5", "hangs 6", "unread 2", "unread 3", "unread 4", "unread 5",
		"clock 20s", "clock -20s", "clock 0s", "clock 0s",
	})
	for i := range *scripts {
		seed := *firstScript + uint64(i)
		rnd := rand.New(rand.NewPCG(seed, 11))
		script := make([]string, 1+rnd.IntN(30))
		for j := range script {
			script[j] = lines[rnd.IntN(len(lines))]
		}
		theirs, dbless := rnd.IntN(2) == 0, rnd.IntN(4) == 0
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = playTower(t, script, theirs, dbless, true) })
		if failure != "" {
			t.Fatalf("script %d (a plugin of the user's: %v, without a database: %v):\n%s", seed, theirs, dbless, failure)
		}
	}
}

func playTower(t *testing.T, script []string, theirs, dbless, moves bool) string {
	policies, slos := towerPolicies(moves)
	r := newRigOf(t.Context(), t, dbless, policies, slos)
	defer r.close()
	w := newTower(r, theirs)
	for _, line := range append(script, "well a", "well b", "well c", "well d") {
		w.do(line)
		if w.follow(); w.underWay() {
			continue
		}
		if diff := w.differs(); diff != "" {
			return "after " + line + ":\n" + diff + strings.Join(w.log, "\n")
		}
	}
	w.trouble.at(0, "")
	w.pass(60)
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
