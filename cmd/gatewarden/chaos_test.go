package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/chaos"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

var (
	chaosSeed = flag.Uint64("seed", 0, "the seed of the (first) chaos run; that one alone unless -runs says more")
	chaosRuns = flag.Int("runs", 0, "how many chaos runs, with seeds one after the other")
)

// chaosKongEnv names a real Kong by the URL of its Admin API. The runs then come one
// after the other, and each takes away what it has made.
const chaosKongEnv = "GATEWARDEN_CHAOS_KONG"

// chaosSeeds returns the seeds to run: a few that are always the same, unless the flags
// say others. Those have a plain world, one with approvals, one without a database, and one with a
// canary that moves.
func chaosSeeds() (seeds []uint64) {
	first, n := *chaosSeed, *chaosRuns
	switch {
	case first == 0 && n == 0:
		return []uint64{2, 7, 12, 14}
	case n == 0:
		n = 1
	}
	for i := range n {
		seeds = append(seeds, max(first, 1)+uint64(i))
	}
	return seeds
}

// TestChaos runs the real program through incidents that a seed draws, and holds what it
// did against what it promises. docs/chaos.md has the promises and how to run more.
func TestChaos(t *testing.T) {
	t.Parallel()
	realKong, sum := os.Getenv(chaosKongEnv), &chaosSum{}
	t.Cleanup(func() {
		t.Logf("%d runs: %s", sum.runs.Load(), sum)
		if sum.actions.Load() == 0 || sum.looks.Load() == 0 {
			t.Error("nothing was tested: no action was taken, or never looked at while it was in place")
		}
	})
	var turn sync.Mutex
	for _, seed := range chaosSeeds() {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			if realKong != "" {
				turn.Lock()
				t.Cleanup(turn.Unlock) // the last thing of a run: its shop is gone
			}
			runChaos(t, seed, realKong, sum)
		})
	}
}

// chaosRun is one run.
type chaosRun struct {
	t     *testing.T
	ctx   context.Context
	plan  chaos.Plan
	sum   *chaosSum
	begun time.Time // when the release went bad

	dir     string
	config  string
	gateway *chaos.Gateway
	kong    *chaos.Proxy
	jenkins *chaos.Proxy
	builds  string // URL of Jenkins itself
	guard   *process
	shop    *chaosShop
	before  chaos.Snapshot
	foreign []chaos.Foreign
	off     atomic.Int64 // the guard's clock, in nanoseconds

	restartAt time.Time   // zero while the guard is to be up
	killed    bool        // that it ended is meant
	paused    time.Time   // until when it is to be paused
	lives     []time.Time // when each life of the guard began
	ticks     []time.Time // instants at which the guard has judged, as far as they were seen
	looked    time.Time
	read      uint64            // how far the journal was read
	begunBy   map[string]uint64 // the events by which actions began
	problems  []string

	ambushed bool                 // the guard is killed as soon as a step waits
	ambush   time.Duration        // and is away for so long
	decideAt map[string]time.Time // when a person decides, by the ids of what waits
	asking   []string             // keys of the runs that somebody asks for and that the guard does not know yet
	asked    []string             // and of those that it does
	steady   time.Time            // since when everything is over
}

// runChaos is one run from its beginning to its end.
func runChaos(t *testing.T, seed uint64, realKong string, sum *chaosSum) {
	r := &chaosRun{t: t, ctx: context.Background(), plan: chaos.Draw(seed), sum: sum, dir: t.TempDir(), decideAt: map[string]time.Time{}, begunBy: map[string]uint64{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay it with: go test ./cmd/gatewarden -run 'Chaos' -seed %d\n%s", seed, &r.plan)
		}
	})
	r.open(realKong)
	r.start()
	r.shop = openChaosShop(t, r.gateway, r.guard, r.plan.Worse)
	r.untilHealthy()
	r.unleash()
	r.untilOver()
	r.check()
}

// open brings the peers up, with a proxy before each, and writes the guard's files.
func (r *chaosRun) open(realKong string) {
	r.t.Helper()
	if realKong == "" {
		stand := fakekong.New(fakekong.Config{DBLess: r.plan.DBLess})
		r.t.Cleanup(stand.Close)
		admin := httptest.NewServer(stand.Admin())
		r.t.Cleanup(admin.Close)
		realKong = admin.URL
	}
	var err error
	r.gateway, err = chaos.Open(r.ctx, realKong, fmt.Sprintf("chaos-%d-%d-", r.plan.Seed, os.Getpid()))
	r.t.Cleanup(func() {
		if err := r.gateway.Remove(r.ctx); err != nil {
			r.t.Errorf("taking the shop away again: %v", err)
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.before, err = r.gateway.Snapshot(r.ctx); err != nil {
		r.t.Fatal(err)
	}
	switch {
	case r.gateway.DBLess():
		r.sum.dbless.Add(1)
	case r.plan.DBLess:
		r.t.Log("the plan wants a Kong without a database, and this one has one: that is left out")
	}
	r.openJenkins()
	write := func(name, text string) string {
		path := r.dir + "/" + name
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
		return path
	}
	r.kong = r.proxy(realKong)
	kong, jenkins := httptest.NewServer(r.kong), httptest.NewServer(r.jenkins)
	r.t.Cleanup(kong.Close)
	r.t.Cleanup(jenkins.Close)
	r.t.Cleanup(r.kong.Close) // first, because a server waits for what hangs
	r.t.Cleanup(r.jenkins.Close)
	r.config = write("gatewarden.yaml", fmt.Sprintf(chaosConfig, kong.URL, r.gateway.DBLess(), jenkins.URL, jenkinsUser))
	write("jenkins-token", jenkinsToken)
	write("rules.yaml", r.rules())
	write("clock", "0s")
}

func (r *chaosRun) openJenkins() {
	stand := fakejenkins.New(fakejenkins.Config{
		QuietPeriod: -1, Users: []fakejenkins.User{{Name: jenkinsUser, Tokens: []string{jenkinsToken}, Permissions: fakejenkins.Operator()}},
	})
	r.t.Cleanup(stand.Close)
	stand.SetJob(fakejenkins.Job{Name: rollbackJob, Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: actionParam}}})
	server := httptest.NewServer(stand)
	r.t.Cleanup(server.Close)
	r.builds = server.URL
	r.jenkins = r.proxy(server.URL)
}

func (r *chaosRun) proxy(peer string) *chaos.Proxy {
	p, err := chaos.NewProxy(peer)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// start starts the guard, or starts it again.
func (r *chaosRun) start() {
	r.t.Helper()
	r.lives = append(r.lives, time.Now())
	r.guard = startProcess(r.t, r.config, clockEnv+"="+r.dir+"/clock")
	if r.guard.over() {
		// A strike of before the start can hit what it takes up.
		r.killed = r.killed || r.guard.killed()
		return
	}
	r.killed, r.restartAt = false, time.Time{}
	if r.shop != nil {
		r.shop.logTo(r.guard)
	}
}

func (r *chaosRun) untilHealthy() {
	r.t.Helper()
	eventually(r.t, "orders to be judged healthy", func() error {
		s, err := r.guard.slo("orders-availability")
		if err == nil && s.Verdict.State != gatewarden.Healthy {
			err = fmt.Errorf("they are %s: %s", s.Verdict.State, s.Verdict.Reason)
		}
		return err
	})
}

// unleash lets the plan happen, until all of it is over and the guard is up.
func (r *chaosRun) unleash() {
	r.t.Helper()
	r.begun = time.Now()
	r.shop.failing.Store(true)
	well := time.AfterFunc(r.plan.Well, func() { r.shop.failing.Store(false) })
	defer func() {
		well.Stop()
		r.shop.failing.Store(false) // the two may come to their end in the same instant
	}()
	r.schedule()
	todo := r.plan.Incidents
	end := r.begun.Add(r.plan.Well)
	for len(todo) > 0 || time.Now().Before(end) || !r.restartAt.IsZero() || !r.paused.IsZero() || len(r.asking) > 0 {
		for len(todo) > 0 && time.Since(r.begun) >= todo[0].At {
			r.happen(&todo[0])
			if over := time.Now().Add(todo[0].For); over.After(end) {
				end = over
			}
			todo = todo[1:]
		}
		r.tend()
		r.look()
		time.Sleep(50 * time.Millisecond)
	}
	r.kong.StrikeAt(0, false, nil)
	r.jenkins.StrikeAt(0, false, nil)
	r.ambushed = false
}

// schedule sets the times of what needs nothing of the guard.
func (r *chaosRun) schedule() {
	for _, i := range r.plan.Incidents {
		var begin, end func()
		switch i.Kind {
		case chaos.Kong:
			begin, end = func() { r.kong.Set(&i.Fault) }, func() { r.kong.Set(nil) }
		case chaos.Jenkins:
			begin, end = func() { r.jenkins.Set(&i.Fault) }, func() { r.jenkins.Set(nil) }
		case chaos.Silence:
			begin, end = func() { r.shop.silent.Store(true) }, func() { r.shop.silent.Store(false) }
		case chaos.Stamps:
			begin, end = func() { r.shop.off.Store(int64(i.Offset)) }, func() { r.shop.off.Store(0) }
		case chaos.Clock:
			begin, end = func() { r.setClock(i.Offset) }, func() { r.setClock(0) }
		default:
			continue
		}
		starts, ends := time.AfterFunc(i.At, begin), time.AfterFunc(i.At+i.For, end)
		r.t.Cleanup(func() { starts.Stop(); ends.Stop() })
	}
}

func (r *chaosRun) setClock(off time.Duration) {
	r.off.Store(int64(off))
	path := r.dir + "/clock"
	if err := errors.Join(os.WriteFile(path+".new", []byte(off.String()), 0o600), os.Rename(path+".new", path)); err != nil {
		r.t.Errorf("setting the guard's clock: %v", err)
	}
}

// happen lets one incident happen that is the guard's or somebody's.
func (r *chaosRun) happen(i *chaos.Incident) {
	r.t.Helper()
	switch i.Kind {
	case chaos.Kill:
		r.end(i.For, func() { r.guard.kill(r.t) })
	case chaos.Stop:
		r.end(i.For, func() {
			r.guard.signal(r.t, syscall.SIGTERM)
			if code := r.guard.exitCode(r.t); code != 0 {
				r.problem("the guard ended with %d after SIGTERM", code)
			}
		})
	case chaos.Strike:
		guard, at := r.guard, r.kong
		if i.Peer == chaos.Jenkins {
			at = r.jenkins
		}
		at.StrikeAt(i.N, i.Handled, func() {
			_ = guard.cmd.Process.Kill() // that it died is seen by tend
			<-guard.ended
		})
	case chaos.Pause:
		if r.steer("pause") == nil {
			r.paused = time.Now().Add(i.For)
		}
	case chaos.Someone:
		r.kong.Alone(func() { r.edit(i.Edit) })
	case chaos.Waiting:
		r.ambushed, r.ambush = true, i.For
	case chaos.Asking:
		r.asking = append(r.asking, fmt.Sprint("deploy-", len(r.asking)+len(r.asked)+1))
	default: // schedule does the rest
	}
}

// end ends the guard, if it is up, and has it started again later.
func (r *chaosRun) end(away time.Duration, how func()) {
	if !r.guard.over() {
		r.killed = true
		how()
		r.sum.kills.Add(1)
	}
	r.restartAt = time.Now().Add(away)
}

// tend starts the guard again when it is time, and ends a pause.
func (r *chaosRun) tend() {
	r.t.Helper()
	if r.guard.over() && r.restartAt.IsZero() {
		if !r.killed && !r.guard.killed() {
			r.t.Fatalf("the guard ended by itself: %v", r.guard.cmd.ProcessState)
		}
		r.sum.kills.Add(1) // by a strike
		r.restartAt = time.Now().Add(time.Second)
	}
	if !r.restartAt.IsZero() && time.Now().After(r.restartAt) {
		r.restartAt = time.Time{}
		r.start()
	}
	if !r.paused.IsZero() && time.Now().After(r.paused) && r.steer("resume") == nil {
		r.paused = time.Time{}
	}
	if !r.guard.over() {
		r.decide()
		r.ask()
	}
}

// steer pauses or resumes the guard.
func (r *chaosRun) steer(how string) error {
	if r.guard.over() {
		return errors.New("the guard is down")
	}
	resp, err := httpClient().Post(r.guard.api+"/api/v1/"+how, "application/json", strings.NewReader(`{"by":"chaos","reason":"we look first"}`))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusConflict {
		return fmt.Errorf("%s: %s", how, resp.Status)
	}
	return nil
}

func (r *chaosRun) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(r.problems, text) {
		return
	}
	r.problems = append(r.problems, text)
	r.t.Errorf("%s: %s", time.Now().Format("15:04:05.000"), text)
}

// look compares, now and then, what the gateway holds with what the guard says is in
// place, and looks for leases that have run out.
func (r *chaosRun) look() {
	if time.Since(r.looked) < 300*time.Millisecond || r.guard.over() {
		return
	}
	r.looked = time.Now()
	r.seeTick()
	first, quiet := r.inPlace()
	if !quiet || len(first) == 0 {
		return
	}
	r.leases(first)
	now, err := r.gateway.Snapshot(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	second, quiet := r.inPlace()
	if !quiet || !sameActions(first, second) {
		return // something began meanwhile: the gateway is on its way
	}
	r.sum.looks.Add(1)
	for _, p := range r.gateway.Check(r.before, now, first, r.touched()) {
		r.problem("while %d actions are in place: %s", len(first), p)
	}
}

// touched returns the paths that somebody else has edited, and the actions whose
// plugins those were.
func (r *chaosRun) touched() map[string]bool {
	paths := map[string]bool{}
	for _, f := range r.foreign {
		paths[f.Path] = true
		if f.Action != "" {
			paths[f.Action] = true
		}
	}
	return paths
}

// inPlace returns the changes that the guard says are in place, and false while one of its
// calls is under way.
func (r *chaosRun) inPlace() (list []gatewarden.Action, quiet bool) {
	var all api.ActionList
	if r.guard.get("/api/v1/actions", &all) != nil {
		return nil, false // it may just be dying
	}
	for _, a := range all.Actions {
		switch {
		case !a.Spec.Kind.Reversible():
		case a.Status == gatewarden.ActionStarted, a.Status == gatewarden.ActionReverting:
			r.leases([]gatewarden.Action{a})
			return nil, false
		case a.Status.InPlace(): // applied, whether or not it shows in the traffic
			list = append(list, a)
		}
	}
	if !r.noteBegun() {
		return nil, false
	}
	return chaos.InOrder(list, r.begunBy), true
}

// noteBegun reads on in the journal, and notes what has begun.
func (r *chaosRun) noteBegun() bool {
	events, err := r.guard.events(r.read)
	if err != nil {
		return false
	}
	chaos.NoteBegun(r.begunBy, events)
	if len(events) > 0 {
		r.read = events[len(events)-1].Seq
	}
	return true
}

func sameActions(a, b []gatewarden.Action) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].ID != b[i].ID || a[i].Limit != nil && b[i].Limit != nil && !a[i].Limit.Since.Equal(b[i].Limit.Since) {
			return false
		}
	}
	return true
}

// leaseSlack is how long after the end of a lease a guard may judge and not see that: it judges twice a
// second. What it does not do because nothing lets it run is not held against it.
const leaseSlack = 5 * time.Second

// seeTick notes when the guard has judged last.
func (r *chaosRun) seeTick() {
	s, err := r.guard.slo("orders-availability")
	if err == nil && (len(r.ticks) == 0 || s.Verdict.At.After(r.ticks[len(r.ticks)-1])) {
		r.ticks = append(r.ticks, s.Verdict.At)
	}
}

// leases finds changes that are kept although their lease has run out. The list is younger than the
// last tick that was seen.
func (r *chaosRun) leases(list []gatewarden.Action) {
	if len(r.ticks) == 0 || r.plan.Skew() > 0 {
		return
	}
	for _, a := range list {
		if a.LeaseUntil == nil || a.Status == gatewarden.ActionReverting || !a.Status.InPlace() {
			continue
		}
		if late := r.ticks[len(r.ticks)-1].Sub(*a.LeaseUntil); late > leaseSlack {
			r.problem("%s after the lease of %s had run out the guard judged, and left it %s", late.Round(time.Millisecond), a.ID, a.Status)
		}
	}
}

// patienceOfChaos bounds the way back: a call is tried again at most 30 s apart, a build
// is waited for a minute.
const patienceOfChaos = 4 * time.Minute

// untilOver waits until all that the guard began has come to an end.
func (r *chaosRun) untilOver() {
	r.t.Helper()
	deadline := time.Now().Add(patienceOfChaos)
	for {
		r.tend()
		r.look()
		err := r.over()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.check()
			r.t.Fatalf("waited %s for the end: %v", patienceOfChaos, err)
		}
		time.Sleep(150 * time.Millisecond)
	}
}

// over returns what is still missing to the end.
func (r *chaosRun) over() error {
	if r.guard.over() {
		return errors.New("the guard is down")
	}
	s, err := r.guard.slo("orders-availability")
	if err != nil {
		return err
	}
	if s.Verdict.State != gatewarden.Healthy {
		return fmt.Errorf("orders are %s: %s", s.Verdict.State, s.Verdict.Reason)
	}
	events, err := r.guard.events(0)
	if err != nil {
		return err
	}
	if err := r.runsOver(); err != nil {
		return err
	}
	open := map[string]bool{}
	for _, e := range events {
		switch {
		case e.State == gatewarden.LadderEnded:
			delete(open, e.Name)
		case e.Action != nil && e.Type == gatewarden.EventAction:
			open[e.Action.Ladder] = e.Action.Trigger.Kind == gatewarden.EventGate
		}
	}
	for id, ofRun := range open {
		if ofRun { // it stays until a person takes it back
			var result map[string]any
			_ = r.guard.order("/api/v1/actions/"+id+"/revert", map[string]string{"by": "ada"}, &result)
		}
		r.steady = time.Time{}
		return fmt.Errorf("%s has not ended", id)
	}
	return r.still()
}

// check holds the end of the run against what it must be.
func (r *chaosRun) check() {
	r.t.Helper()
	events, err := r.guard.events(0)
	if err != nil {
		r.t.Fatal(err)
	}
	audit := &chaos.Audit{
		Events: events, Kong: r.kong.Calls(), Jenkins: r.jenkins.Calls(), Builds: r.listBuilds(), Skew: r.plan.Skew(), Edited: map[string]bool{},
	}
	for _, f := range r.foreign {
		audit.Edited[path.Base(f.Path)] = true
	}
	for _, p := range audit.Problems() {
		r.problem("%s", p)
	}
	now, err := r.gateway.Snapshot(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range r.gateway.Check(r.before, now, audit.Abandoned(), r.touched()) {
		r.problem("at the end: %s", p)
	}
	last := map[string]chaos.Foreign{}
	for _, f := range r.foreign {
		last[f.Path] = f
	}
	for _, f := range last {
		moved := f.Edit == chaos.EditWeight && audit.Moved(f.At)
		if err := f.Survived(now, audit.Kong); err != nil && !moved {
			r.problem("%v", err)
		}
		if beside := f.Beside(r.before, now); len(beside) > 0 && f.Edit != chaos.EditBeside && !audit.Left(f.Path) {
			r.problem("after %s, and nothing was left alone: %q", f.Edit, beside)
		}
	}
	r.count(audit)
	if alone := *chaosSeed > 0 && *chaosRuns == 0; alone || r.t.Failed() {
		r.t.Logf("it began at %s; the journal:\n%s\nKong:\n%s\nJenkins:\n%s", r.begun.Format("15:04:05.000"), audit.Story(), chaos.CallStory(audit.Kong), chaos.CallStory(audit.Jenkins))
	}
}

// listBuilds asks Jenkins for the builds of the rollback job.
func (r *chaosRun) listBuilds() (builds []chaos.Build) {
	r.t.Helper()
	builds, err := chaos.Builds(r.ctx, r.builds, rollbackJob, jenkinsUser, jenkinsToken)
	if err != nil {
		r.t.Fatal(err)
	}
	return builds
}
