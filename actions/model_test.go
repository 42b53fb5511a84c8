package actions

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
)

// chaos drives a world with random verdicts, faults, crashes and people.
type chaos struct {
	*world
	rnd   *rand.Rand
	words map[string]string
	calm  bool // no more faults
}

// TestChaos lets everything go wrong for a while and then lets it be. In the end
// everything must be put back, nothing done twice, and the journal must agree.
func TestChaos(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for seed := range rounds {
		ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runChaos(t, uint64(seed)) })
		})
		if !ok {
			return
		}
	}
}

func runChaos(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	c := &chaos{rnd: rnd, words: map[string]string{"orders": "healthy", "latency": "healthy"}}
	c.world = newWorld(chaosPolicies(rnd), []gatewarden.SLO{
		{Name: "orders", OnOutage: []string{"protect", "quick"}, OnPage: []string{"quick"}, OnTicket: []string{"tell"}},
		{Name: "latency", OnOutage: []string{"protect"}, OnTicket: []string{"tell"}},
	})
	c.outside.fault, c.outside.after, c.ledger.fault = c.callFault, c.answerFault, c.writeFault
	c.crashAt = func(string) bool { return c.chance(0.01) }
	c.reboot(t)
	for range 400 + rnd.IntN(400) {
		c.second(t)
	}
	c.settleDown(t)
	c.check(t)
	if err := c.engine.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func chaosPolicies(rnd *rand.Rand) []gatewarden.ActionPolicy {
	modes := []gatewarden.Mode{gatewarden.ModeEnforce, gatewarden.ModeEnforce, gatewarden.ModeApprove, gatewarden.ModeObserve}
	return []gatewarden.ActionPolicy{
		{
			Name: "protect", Mode: modes[rnd.IntN(4)], Lease: time.Duration(20+rnd.IntN(60)) * time.Second,
			Steps:  []gatewarden.Step{weightStep(0, "v2"), pluginStep(5*time.Second, "recommendations"), jenkinsStep(10 * time.Second)},
			Revert: gatewarden.RevertPolicy{After: time.Duration(rnd.IntN(30)) * time.Second, Stepwise: rnd.IntN(2) == 0},
			Limits: gatewarden.Limits{Cooldown: time.Duration(rnd.IntN(60)) * time.Second, PerHour: rnd.IntN(30), MaxActive: rnd.IntN(4)},
		},
		{
			Name: "quick", Mode: gatewarden.ModeEnforce, Lease: 20 * time.Second,
			Steps: []gatewarden.Step{
				jenkinsStep(0), pluginStep(0, "search"), weightStep(0, "v2"),
				{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "orders-list", To: "queue"}},
				{Kind: gatewarden.StepService, After: gatewarden.Duration(3 * time.Second), Service: &gatewarden.ServiceStep{Name: "search"}},
			},
			Revert: gatewarden.RevertPolicy{After: 10 * time.Second},
		},
		{Name: "tell", Mode: gatewarden.ModeEnforce, Steps: []gatewarden.Step{webhookStep()}},
	}
}

func (c *chaos) chance(p float64) bool { return !c.calm && c.rnd.Float64() < p }

// The faults are asked for by several goroutines at once, in any order; the world's
// own lock keeps the random numbers whole.
func (c *chaos) locked(p float64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chance(p)
}

// pick returns a number below n.
func (c *chaos) pick(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.IntN(n)
}

func (c *chaos) callFault(string, string) error {
	switch {
	case c.locked(0.15):
		return gatewarden.Errorf(gatewarden.Unavailable, "no answer")
	case c.locked(0.03):
		return gatewarden.Errorf(gatewarden.Invalid, "refused")
	case c.locked(0.01):
		panic("a defect")
	}
	return nil
}

func (c *chaos) answerFault(string, string) error {
	if c.locked(0.1) {
		return gatewarden.Errorf(gatewarden.Unavailable, "the answer was lost")
	}
	return nil
}

func (c *chaos) writeFault() error {
	if c.locked(0.03) {
		return gatewarden.Errorf(gatewarden.Unavailable, "the disk is full")
	}
	return nil
}

// reboot starts engines until one survives its start.
func (c *chaos) reboot(t *testing.T) {
	for {
		err := c.boot(t.Context())
		synctest.Wait()
		if c.crashed() {
			c.kill()
			continue
		}
		if err != nil && gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Fatal(err)
		}
		return
	}
}

// second lets one second pass.
func (c *chaos) second(t *testing.T) {
	for name := range c.words {
		if c.locked(0.05) {
			c.words[name] = []string{"outage", "page", "ticket", "healthy", "blind"}[c.pick(5)]
		}
	}
	if c.locked(0.02) {
		delay := time.Duration(c.pick(3)*c.pick(20)) * time.Second
		c.outside.mu.Lock()
		c.outside.delay = delay
		c.outside.mu.Unlock()
	}
	if c.locked(0.03) {
		c.somebodyDoes(t)
	}
	c.tickOnce(t)
	time.Sleep(time.Second)
	synctest.Wait()
	if c.crashed() || c.locked(0.005) {
		c.kill()
		time.Sleep(time.Duration(c.pick(3)*c.pick(300)) * time.Second)
		c.reboot(t)
	}
}

func (c *chaos) tickOnce(t *testing.T) {
	var verdicts []gatewarden.Verdict
	for _, name := range []string{"orders", "latency"} {
		verdicts = append(verdicts, verdict(name, c.words[name], time.Now()))
	}
	err := c.apart(func() error { return c.engine.Tick(t.Context(), time.Now(), verdicts) })
	if err != nil && gatewarden.ErrorCode(err) != gatewarden.Unavailable && !c.crashed() {
		t.Fatal(err)
	}
	synctest.Wait()
}

// somebodyDoes something, possible or not; only a wrong kind of refusal matters.
func (c *chaos) somebodyDoes(t *testing.T) {
	list := c.engine.List()
	if len(list) == 0 {
		return
	}
	a := list[c.pick(len(list))]
	ctx, choice := t.Context(), c.pick(7)
	err := c.apart(func() error {
		switch choice {
		case 0, 1:
			return c.engine.Approve(ctx, a.Ladder, "ada")
		case 2:
			return c.engine.Reject(ctx, a.ID, "ada", "no")
		case 3:
			return c.engine.Revert(ctx, a.ID, "ada")
		case 4:
			return c.engine.Revert(ctx, a.Ladder, "ada")
		case 5:
			return c.engine.Pause(ctx, "ada", "lunch")
		default:
			return c.engine.Resume(ctx, "ada")
		}
	})
	switch gatewarden.ErrorCode(err) {
	case "", gatewarden.Conflict, gatewarden.NotFound, gatewarden.Unavailable:
	default:
		t.Fatal(err)
	}
}

// settleDown lets everything be well for a long time.
func (c *chaos) settleDown(t *testing.T) {
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	c.outside.mu.Lock()
	c.outside.delay = 0
	c.outside.mu.Unlock()
	if c.crashed() {
		c.kill()
		c.reboot(t)
	}
	c.words["orders"], c.words["latency"] = "healthy", "healthy"
	if c.engine.Paused() != nil {
		if err := c.engine.Resume(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
	}
	for range 300 {
		c.tickOnce(t)
		time.Sleep(time.Second)
		synctest.Wait()
	}
}

func (c *chaos) check(t *testing.T) {
	if left := c.outside.left(); len(left) > 0 {
		t.Errorf("left in place: %v", left)
	}
	for id, n := range c.outside.applied {
		if n > 1 {
			t.Errorf("%s was applied %d times", id, n)
		}
	}
	for id, n := range c.outside.ran {
		if n > 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	ran := make(map[string][]string)
	for _, a := range c.engine.List() {
		if c.outside.ran[a.ID] > 0 {
			key := fmt.Sprintf("%s step %d", a.Ladder, a.Step)
			ran[key] = append(ran[key], a.ID)
		}
		if a.Status.InPlace() && (a.Status != gatewarden.ActionApplied || a.Spec.Kind.Reversible()) || a.Status == gatewarden.ActionWaiting {
			t.Errorf("%s is still %s", a.ID, a.Status)
		}
	}
	for key, ids := range ran {
		if len(ids) > 1 {
			t.Errorf("%s was done more than once: %v", key, ids)
		}
	}
	c.checkJournal(t)
	if t.Failed() {
		t.Log("\n" + c.story())
	}
}

// checkJournal holds the journal to what everything else relies on: a change has an
// intent before it, and every ladder that began has ended.
func (c *chaos) checkJournal(t *testing.T) {
	open := make(map[string]bool)
	started := make(map[string]bool)
	for _, e := range c.ledger.events() {
		switch {
		case e.State == gatewarden.LadderEnded:
			delete(open, e.Name)
		case e.Action != nil:
			open[e.Action.Ladder] = true
			started[e.Name] = started[e.Name] || e.State == string(gatewarden.ActionStarted)
		}
	}
	for ladder := range open {
		t.Errorf("%s never ended", ladder)
	}
	for id := range c.outside.applied {
		if !started[id] {
			t.Errorf("%s was done without an intent in the journal", id)
		}
	}
	leases, err := c.leases.All(t.Context())
	if err != nil || len(leases) > 0 {
		t.Errorf("leases left: %v, %v", leases, err)
	}
}
