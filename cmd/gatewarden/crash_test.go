package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
)

// crashRules have every kind of step that touches a peer. The windows are short, so
// that the whole story fits into seconds.
const crashRules = `
slos:
  - name: orders-availability
    service: orders
    objective: 99.9
    window: 1h
    sli: {availability: {}}
    on_outage: [protect-orders]
    on_page: [roll-back-orders]
actions:
  - name: protect-orders
    mode: enforce
    steps:
      - drain: {upstream: orders, target_tag: "version:v2"}
      - plugin: {name: request-termination, service: recommendations, config: {status_code: 503, message: "back soon"}}
      - plugin: {name: rate-limiting, route: orders-list, config: {second: 200, policy: local, limit_by: service}}
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
        after: 1s
    lease: 1m
    revert: {after: 1s, stepwise: true}
  - name: roll-back-orders
    mode: enforce
    steps:
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
    revert: {after: 1s}
`

// What the rules above come to in one breach.
const (
	crashSteps    = 5 // actions
	crashBuilds   = 2 // of them run the job
	crashPolicies = 2 // ladders
)

// passes says at which passes of a failpoint the guard is killed. Under crashRules
// one breach passes the ones on the way up five times, in the order in which the steps
// begin and end, the ones on the way down three times, the last one twice. Where a
// crash at one pass differs from a crash at another only in the step's number, a few
// will do.
func passes(failpoint string) []int {
	switch failpoint {
	case "started", "called":
		return []int{1, 2, 3, 4, 5}
	case "prepared":
		return []int{1, 3, 4}
	case "saved": // before and after a trigger, and each plugin once it is written
		return []int{1, 2, 3, 4}
	case "planned", "applied":
		return []int{1, 4}
	case "reverting", "revert_called":
		return []int{1, 2, 3}
	case "reverted":
		return []int{1, 3}
	case "ladder_finished":
		return []int{1, 2}
	default:
		return []int{1}
	}
}

func TestKillAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, name := range actions.Failpoints() {
		for _, pass := range passes(name) {
			t.Run(fmt.Sprintf("%s:%d", name, pass), func(t *testing.T) {
				t.Parallel()
				b := openBreach(t, failpointEnv+fmt.Sprintf("=%s:%d", name, pass))
				b.untilKilledOrOver()
				if !b.guard.killed() {
					t.Fatalf("the guard never came to %s for the %d. time: nothing was tested", name, pass)
				}
				b.restart()
				b.untilOver()
				b.check()
			})
		}
	}
}

// TestKillBeforeTheAnswer kills the guard when a peer has done what it was asked, and
// the guard does not know it yet: no failpoint lies between these two.
func TestKillBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for at, changes := range map[peer]int{
		peerKong:    6, // three are made, three are taken back
		peerJenkins: crashBuilds,
	} {
		for n := 1; n <= changes; n++ {
			t.Run(fmt.Sprintf("%s:%d", at, n), func(t *testing.T) {
				t.Parallel()
				b := openShopDay(t)
				first := b.guard
				b.shop.strikeAt(at, n, func() {
					_ = first.cmd.Process.Kill() // that it died is checked below
					<-first.ended
				})
				b.shop.bad.Store(true)
				b.untilKilledOrOver()
				if !b.guard.killed() {
					t.Fatalf("the guard never made change %d at %s: nothing was tested", n, at)
				}
				b.restart()
				b.untilOver()
				b.check()
			})
		}
	}
}

// TestKillAgainAndAgain kills the guard at one failpoint after the other within one
// breach, each time in the life that the last crash led to.
func TestKillAgainAndAgain(t *testing.T) {
	t.Parallel()
	b := openBreach(t, failpointEnv+"="+actions.Failpoints()[0])
	died := 0
	for _, name := range append(actions.Failpoints()[1:], "") {
		b.untilKilledOrOver()
		if !b.guard.killed() {
			break
		}
		died++
		b.restart(failpointEnv + "=" + name)
	}
	if died < len(actions.Failpoints())-2 {
		t.Errorf("the guard died %d times only", died)
	}
	b.untilOver()
	b.check()
}

// TestKillAtRandom kills the guard at instants that mean nothing.
func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			b := openBreach(t)
			for range 3 {
				after := time.Duration(random.Int64N(int64(5 * time.Second)))
				select {
				case <-time.After(after):
					b.guard.kill(t)
				case <-b.guard.ended:
					t.Fatalf("the guard ended by itself: %v", b.guard.cmd.ProcessState)
				}
				b.restart()
			}
			b.untilOver()
			b.check()
		})
	}
}

// TestTermInTheMiddle asks the guard to end while a build of its is running.
func TestTermInTheMiddle(t *testing.T) {
	t.Parallel()
	b := openShopDay(t)
	letGo := b.shop.holdBuilds()
	b.shop.bad.Store(true)
	eventually(t, "a build to run", func() error {
		if len(b.shop.jenkins.Runs(rollbackJob)) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	b.customers.close()
	before := b.customers.taken()
	b.guard.signal(t, syscall.SIGTERM)
	if code := b.guard.exitCode(t); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, b.guard.tail())
	}
	b.restart()
	if total := b.guard.counted(t); total != before {
		t.Errorf("%d requests counted after the restart, want %d", total, before)
	}
	b.customers = b.shop.openDoors(b.guard)
	letGo()
	b.untilOver()
	b.check()
}

// TestCountsOutliveACrash holds what an SLO had counted against what it counts after
// a kill and after a clean stop.
func TestCountsOutliveACrash(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct {
		signal syscall.Signal
		lost   time.Duration // of counts, at most
	}{
		// A second is what the guard may keep to itself; the rest is for a disk and
		// processors that are busy with the other tests.
		"kill -9 loses at most the last moments": {syscall.SIGKILL, 4 * time.Second},
		"a clean stop loses nothing":             {syscall.SIGTERM, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, crashRules, 0)
			guard := startProcess(t, s.config)
			customers := s.openDoors(guard)
			marks := customers.untilTaken(1000)
			customers.close()
			before := customers.taken()
			killed := time.Now()
			guard.signal(t, c.signal)
			_ = guard.exitCode(t)

			next := startProcess(t, s.config)
			total := next.counted(t)
			least := before
			for _, m := range slices.Backward(marks) {
				if least = m.posted; !m.at.After(killed.Add(-c.lost)) {
					break
				}
			}
			if total < least || total > before {
				t.Errorf("%d requests counted after the restart, want %d to %d", total, least, before)
			}
		})
	}
}

// breach is a shop whose new version of orders is bad, and the guard's life, or
// lives, through it.
type breach struct {
	t         *testing.T
	shop      *shop
	guard     *process
	customers *customers

	seen   uint64 // how far over has read the timeline, through all lives
	newest gatewarden.Event
	ended  int // ladders
}

// openBreach releases the bad version into a healthy shop. env is for the guard's
// first life.
func openBreach(t *testing.T, env ...string) *breach {
	t.Helper()
	b := openShopDay(t, env...)
	b.shop.bad.Store(true)
	return b
}

// openShopDay starts a guard and lets it see healthy traffic.
func openShopDay(t *testing.T, env ...string) *breach {
	t.Helper()
	b := &breach{t: t, shop: openShop(t, crashRules, crashBuilds)}
	b.guard = startProcess(t, b.shop.config, env...)
	b.customers = b.shop.openDoors(b.guard)
	b.untilHealthy()
	return b
}

func (b *breach) untilHealthy() {
	b.t.Helper()
	eventually(b.t, "orders to be judged healthy", func() error {
		s, err := b.guard.slo("orders-availability")
		if err == nil && s.Verdict.State != gatewarden.Healthy {
			err = fmt.Errorf("they are %s: %s", s.Verdict.State, s.Verdict.Reason)
		}
		return err
	})
}

func (b *breach) restart(env ...string) {
	b.t.Helper()
	b.guard = startProcess(b.t, b.shop.config, env...)
	b.customers.logTo(b.guard)
}

// untilKilledOrOver waits until the guard has died, or has nothing more to do.
func (b *breach) untilKilledOrOver() {
	b.t.Helper()
	eventually(b.t, "the guard to die", func() error {
		if b.guard.over() {
			return nil
		}
		err := b.over()
		if err != nil && b.guard.over() {
			return nil // it died while it was asked
		}
		return err
	})
}

// untilOver waits until everything is put back and the timeline says so.
func (b *breach) untilOver() {
	b.t.Helper()
	eventually(b.t, "everything to be put back", func() error {
		if b.guard.over() {
			b.t.Fatalf("the guard ended by itself: %v", b.guard.cmd.ProcessState)
		}
		return b.over()
	})
}

// over returns what is still missing to the end of the story.
func (b *breach) over() error {
	events, err := b.guard.events(b.seen)
	if err != nil {
		return err
	}
	for _, e := range events {
		b.seen, b.newest = e.Seq, e
		if e.Type == gatewarden.EventAction && e.State == gatewarden.LadderEnded {
			b.ended++
		}
	}
	switch {
	case b.ended < crashPolicies:
		return fmt.Errorf("%d of %d ladders have ended; the newest event:\n%s", b.ended, crashPolicies, story([]gatewarden.Event{b.newest}))
	case len(b.shop.jenkins.Queued()) > 0:
		return errors.New("a build is queued")
	default:
		return nil
	}
}

// check holds the end of the story against what it must be.
func (b *breach) check() {
	b.t.Helper()
	events, err := b.guard.events(0)
	if err != nil {
		b.t.Fatal(err)
	}
	b.checkGateway()
	b.checkBuilds(events)
	b.checkStory(events)
	if b.t.Failed() {
		b.t.Logf("the timeline:\n%s", story(events))
	}
}

// checkGateway: the gateway is as it was.
func (b *breach) checkGateway() {
	b.t.Helper()
	if left := b.shop.pluginsOfGuard(); len(left) > 0 {
		b.t.Errorf("plugins of the guard are left: %q", left)
	}
	var list struct{ Data []any }
	b.shop.ask(http.MethodGet, "/plugins?size=1000", "", &list)
	if len(list.Data) != 1 {
		b.t.Errorf("the gateway has %d plugins, want only the user's own", len(list.Data))
	}
	if diff := cmp.Diff(b.shop.ownBefore, b.shop.plugin(b.shop.own)); diff != "" {
		b.t.Errorf("the user's own plugin is not byte for byte what it was (-before +after):\n%s", diff)
	}
	for _, target := range []string{targetV1, targetV2} {
		if w := b.shop.weight(target); w != 100 {
			b.t.Errorf("the weight of %s is %d, want 100 as before", target, w)
		}
	}
}

// checkBuilds: the job ran exactly once for each action that asks for it.
func (b *breach) checkBuilds(events []gatewarden.Event) {
	b.t.Helper()
	want := map[string]int{}
	for _, e := range events {
		if a := e.Action; a != nil && a.Spec.Kind == gatewarden.StepJenkins && a.Status == gatewarden.ActionApplied {
			want[a.ID] = 1
		}
	}
	if len(want) != crashBuilds {
		b.t.Errorf("%d actions ran the job, want %d", len(want), crashBuilds)
	}
	got := map[string]int{}
	for _, r := range b.shop.jenkins.Runs(rollbackJob) {
		got[r.Parameters[actionParam]]++
		if r.Result != fakejenkins.Success {
			b.t.Errorf("build #%d ended with %s", r.Number, r.Result)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("builds by action (-want +got):\n%s", diff)
	}
}

// rank is the order in which an action's statuses can follow each other.
var rank = []gatewarden.ActionStatus{
	gatewarden.ActionSkipped, gatewarden.ActionStarted, gatewarden.ActionApplied, gatewarden.ActionReverting, gatewarden.ActionReverted,
}

// checkStory: each action begins, never goes back in its life, and has its end; each
// ladder ends once.
func (b *breach) checkStory(events []gatewarden.Event) {
	b.t.Helper()
	last, ended := map[string]gatewarden.Event{}, map[string]int{}
	ladders := map[string]bool{}
	for _, e := range events {
		if e.State == gatewarden.LadderEnded {
			ended[e.Name]++
		}
		if e.Action == nil {
			continue
		}
		ladders[e.Action.Ladder] = true
		before, known := last[e.Name]
		now := slices.Index(rank, e.Action.Status)
		switch {
		case now < 0:
			b.t.Errorf("%s is %s: %s", e.Name, e.State, e.Reason)
		case known && (slices.Index(rank, before.Action.Status) > now || e.At.Before(before.At) || e.Seq <= before.Seq):
			b.t.Errorf("%s goes from %s (%s, seq %d) back to %s (%s, seq %d)",
				e.Name, before.State, before.At, before.Seq, e.State, e.At, e.Seq)
		}
		last[e.Name] = e
	}
	for id, e := range last {
		want := gatewarden.ActionApplied
		if e.Action.Spec.Kind.Reversible() {
			want = gatewarden.ActionReverted
		}
		if e.Action.Status != want {
			b.t.Errorf("%s ends %s, want %s: %s", id, e.State, want, e.Reason)
		}
	}
	if len(last) != crashSteps || len(ladders) != crashPolicies {
		b.t.Errorf("%d actions in %d ladders, want %d in %d", len(last), len(ladders), crashSteps, crashPolicies)
	}
	for id := range ladders {
		if ended[id] != 1 {
			b.t.Errorf("ladder %s has %d ends", id, ended[id])
		}
	}
}

// story is the timeline as text.
func story(events []gatewarden.Event) string {
	text := ""
	for _, e := range events {
		text += fmt.Sprintf("%4d %s %-6s %-10s %s: %s\n", e.Seq, e.At.Format("15:04:05.000"), e.Type, e.State, e.Name, e.Reason)
	}
	return text
}
