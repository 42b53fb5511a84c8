package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

// trio is three guards that keep one state in their own folders.
type trio struct {
	*breach
	configs [3]string
	guards  [3]*process
	killed  int
}

// openTrio starts three guards, and lets customers in whose log goes to each in turn.
func openTrio(t *testing.T, rules string, rollbacks int) *trio {
	t.Helper()
	c := &trio{breach: &breach{t: t, shop: openShop(t, rules, rollbacks)}}
	text, err := os.ReadFile(c.shop.config)
	if err != nil {
		t.Fatal(err)
	}
	c.shop.write("cluster-secret", "as long as it takes")
	var peers []string
	for i := range c.guards {
		peers = append(peers, fmt.Sprintf("guard-%d: %q", i, freeAddr(t)))
	}
	for i := range c.guards {
		state := fmt.Sprintf("state: {dir: data-%d, name: guard-%d, api: API, cluster: {peers: {%s}, secret_file: cluster-secret}}", i, i, strings.Join(peers, ", "))
		address := freeAddr(t)
		state = strings.Replace(state, "API", fmt.Sprintf("%q", "http://"+address), 1)
		config := strings.Replace(string(text), "state: {dir: data}", state, 1)
		config = strings.Replace(config, `api: "127.0.0.1:0"`, fmt.Sprintf("api: %q", address), 1)
		c.configs[i] = c.shop.write(fmt.Sprintf("guard-%d.yaml", i), config)
		c.guards[i] = launchProcess(t, c.configs[i]) // none is up before another one is
	}
	for _, g := range c.guards {
		if g.untilUpOrOver(t); g.over() {
			t.Fatalf("a guard ended by itself:\n%s", g.tail())
		}
	}
	c.guard = c.guards[0]
	c.customers = c.shop.openDoors(c.guards[:]...)
	return c
}

// asked returns what a guard says of all of them, once so many are up and one of them
// leads.
func (c *trio) asked(of *process, up int) (list []api.GuardStatus) {
	c.t.Helper()
	eventually(c.t, "the guards to find each other", func() error {
		status, err := of.status()
		if err != nil {
			return err
		}
		list = status.Guards
		n, leaders := 0, 0
		for _, g := range list {
			if g.Up {
				n++
			}
			if g.Leads {
				leaders++
			}
		}
		if n != up || leaders != 1 {
			return fmt.Errorf("%d are up and %d lead: %+v", n, leaders, list)
		}
		return nil
	})
	return list
}

// leader returns which guard leads, and one that does not.
func (c *trio) leader(list []api.GuardStatus) (leader, other int) {
	c.t.Helper()
	i := slices.IndexFunc(list, func(g api.GuardStatus) bool { return g.Leads })
	if _, err := fmt.Sscanf(list[i].Name, "guard-%d", &leader); err != nil {
		c.t.Fatal(err)
	}
	return leader, (leader + 1) % len(c.guards)
}

// kill ends a guard as kill -9 does; Kong's balancer finds out.
func (c *trio) kill(i int) {
	c.t.Helper()
	c.guards[i].kill(c.t)
	c.killed++
	var left []*process
	for _, g := range c.guards {
		if !g.over() {
			left = append(left, g)
		}
	}
	c.guard = left[0]
	c.customers.logTo(left...)
}

// TestThreeGuardsAreOne kills the guard that leads in the middle of a breach. Another one
// takes the ladders up and ends them: nothing is done twice, nothing is left, and nothing
// is lost of what Kong was told had come, to whichever guard.
func TestThreeGuardsAreOne(t *testing.T) {
	t.Parallel()
	c := openTrio(t, crashRules, crashBuilds)
	c.untilHealthy()
	leader, other := c.leader(c.asked(c.guards[1], 3)) // on a busy machine it was another one before, perhaps
	if leads, err := c.guards[other].metric("gatewarden_app_leads"); err != nil || leads != 0 {
		t.Errorf("of a guard that does not lead, gatewarden_app_leads is %v, %v", leads, err)
	}

	c.shop.bad.Store(true)
	eventually(t, "v2 to be drained", func() error {
		if w := c.shop.weight(targetV2); w != 0 {
			return fmt.Errorf("its weight is %d", w)
		}
		return nil
	})
	c.kill(leader)
	died := time.Now()
	eventually(t, "another guard to lead", func() error { _, err := c.guard.status(); return err })
	t.Logf("%s after the kill another guard answers for all", time.Since(died).Round(time.Millisecond))
	c.untilOver()
	c.check()

	c.guards[leader] = startProcess(t, c.configs[leader])
	c.asked(c.guards[leader], 3)
	c.customers.logTo(c.guards[:]...)
	before := c.customers.taken()
	eventually(t, "the guard that came back to take its share", func() error {
		if c.customers.taken() < before+200 {
			return errors.New("not yet")
		}
		return nil
	})
	c.customers.close()
	c.checkCounts()
}

// checkCounts: what was acknowledged is counted, at every guard that is asked. A post whose
// answer died with its guard came again, to another one, which does not know its ids.
func (c *trio) checkCounts() {
	c.t.Helper()
	taken := c.customers.taken()
	var last string
	eventually(c.t, "everything to be counted", func() error {
		for _, g := range c.guards {
			n := g.counted(c.t)
			if n < taken || n > taken+perTick*c.killed {
				last = fmt.Sprintf("%d requests are counted, %d were acknowledged", n, taken)
				return errors.New(last)
			}
		}
		return nil
	})
}

// timeline asks a guard for all events.
func (c *trio) timeline(of *process) (events []gatewarden.Event) {
	c.t.Helper()
	eventually(c.t, "the timeline", func() (err error) {
		events, err = of.events(0)
		return err
	})
	return events
}

// TestALeaderThatStopsHandsOver ends the leader as a deployment does. What it has counted it
// has answered: nothing of it comes again to another guard.
func TestALeaderThatStopsHandsOver(t *testing.T) {
	t.Parallel()
	c := openTrio(t, crashRules, crashBuilds)
	c.untilHealthy()
	leader, other := c.leader(c.asked(c.guards[0], 3))
	before := c.timeline(c.guards[other])
	c.guards[leader].signal(t, 15) // and Kong's balancer goes on asking it
	stopped := time.Now()
	c.guard = c.guards[other]
	eventually(t, "another guard to lead", func() error {
		status, err := c.guard.status() // the old one may still answer for all
		if err == nil {
			if now := slices.IndexFunc(status.Guards, func(g api.GuardStatus) bool { return g.Leads }); status.Guards[now].Name == fmt.Sprintf("guard-%d", leader) {
				return errors.New("it is the old one")
			}
		}
		if err != nil {
			return err
		}
		s, err := c.guard.slo("orders-availability")
		if err == nil && s.Verdict.State != gatewarden.Healthy {
			err = fmt.Errorf("orders are %s: %s", s.Verdict.State, s.Verdict.Reason)
		}
		return err
	})
	t.Logf("%s after the signal another guard has judged", time.Since(stopped).Round(time.Millisecond))
	if code := c.guards[leader].exitCode(t); code != 0 {
		t.Errorf("the leader ended with %d:\n%s", code, c.guards[leader].tail())
	}
	if after := c.timeline(c.guard); len(after) < len(before) {
		t.Errorf("the timeline had %d events and has %d", len(before), len(after))
	}
	c.customers.close()
	c.guards[leader] = c.guard
	c.checkCounts()
}

// TestThreeGuardsJudgeACanary asks a guard that does not lead for a run, and kills the one
// that does in its middle. The run goes on, and is judged by what came to all of them.
func TestThreeGuardsJudgeACanary(t *testing.T) {
	t.Parallel()
	c := openTrio(t, fmt.Sprintf(twinRules, "{errors: {pass_difference: 6%}}"), 0)
	leader, other := c.leader(c.asked(c.guards[2], 3))
	c.guard = c.guards[other]
	eventually(t, "the tracks to be known", func() error {
		var canary api.Canary
		err := c.guard.get("/api/v1/canaries/orders", &canary)
		if err == nil && (canary.Share == nil || canary.Canary.Requests == 0) {
			err = errors.New("they are not, or nothing was seen of them")
		}
		return err
	})
	var run gatewarden.Run
	before := c.customers.taken()
	if err := c.guard.order("/api/v1/canaries/orders/runs", api.RunRequest{Key: "1"}, &run); err != nil {
		t.Fatal(err)
	}
	c.customers.untilTaken(before + 800)
	c.kill(leader)
	if c.guard.over() {
		t.Fatal("the guard that was asked has ended")
	}
	eventually(t, "the run to end", func() error {
		err := c.guard.get("/api/v1/runs/"+run.ID, &run)
		if err == nil && !run.Over() {
			err = fmt.Errorf("it is %s: %s", run.State, run.Reason)
		}
		return err
	})
	if run.State != gatewarden.RunPass || !run.Watched {
		t.Errorf("the run ends %s, watched %v: %s", run.State, run.Watched, run.Reason)
	}
	c.customers.close()
	took := c.customers.takenSince(run.StartedAt)
	var seen int
	eventually(t, "the run, which is judged on, to see what came to all guards", func() error {
		if err := c.guard.get("/api/v1/runs/"+run.ID, &run); err != nil {
			return err
		}
		if seen = int(run.Verdict.Baseline.Requests + run.Verdict.Canary.Requests); seen < took-perTick {
			return fmt.Errorf("it saw %d of %d: %s", seen, took, run.Reason)
		}
		return nil
	})
	// What was on its way to the guard that died came again to another one.
	if most := took + perTick*(1+c.killed); seen > most {
		t.Errorf("the run saw %d requests, of %d at most", seen, most)
	}
	t.Logf("of %d requests the run saw %d", took, seen)
}

// TestOneOfThreeAloneTakesNothing kills two of three. The third one can write nothing down:
// it does not lead, and tells Kong that nothing has come. What it counted before it knew
// counts once when it comes again to this guard; after that it counts nothing, and what it
// refuses counts once at any guard. When one of the others is back they go on.
func TestOneOfThreeAloneTakesNothing(t *testing.T) {
	t.Parallel()
	c := openTrio(t, crashRules, 0)
	leader, other := c.leader(c.asked(c.guards[0], 3))
	c.untilHealthy()
	c.customers.close()
	third := (other + 1) % 3
	c.guards[leader].kill(t)
	c.guards[other].kill(t)
	left := c.guards[third]

	first := batch(10, func(i int) loglines.Line { return line(i, time.Now(), "orders") })
	second := batch(10, func(i int) loglines.Line { return line(10+i, time.Now(), "orders") })
	for _, body := range [][]byte{first, second} {
		status, answer, err := left.post("/ingest/kong", body)
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(answer, "send them again") {
			t.Errorf("a post is answered with %d %s, %v", status, answer, err)
		}
	}
	eventually(t, "nobody to lead", func() error {
		_, err := left.status()
		if err == nil {
			return errors.New("somebody answers")
		}
		if !strings.Contains(err.Error(), "503") {
			return err
		}
		return nil
	})
	if left.over() {
		t.Fatalf("the guard that is left has ended:\n%s", left.tail())
	}

	c.guards[leader] = startProcess(t, c.configs[leader])
	for to, body := range map[*process][]byte{left: first, c.guards[leader]: second} { // the same ones
		eventually(t, "two of three to take records", func() error {
			status, answer, err := to.post("/ingest/kong", body)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, answer)
			}
			return err
		})
	}
	c.guard, c.guards[other] = left, left
	c.asked(left, 2)
	taken := c.customers.taken() + 20
	eventually(t, "each record to count once", func() error {
		if n := left.counted(t); n != taken {
			return fmt.Errorf("%d are counted, of %d", n, taken)
		}
		return nil
	})
}
