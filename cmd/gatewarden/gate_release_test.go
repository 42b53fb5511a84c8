package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const (
	deployJob  = "shop/orders-deploy"
	promoteJob = "shop/orders-promote"
)

// releaseRules returns rules with the canary orders, which a hundred requests a second
// decide within seconds, and with what is said in addition.
func releaseRules(more ...string) string {
	return `
canaries:
  - name: orders
    service: orders
    baseline: {target_tag: "version:v1"}
    canary: {target_tag: "version:v2"}
    checks: [{errors: {pass_difference: 2%}}]
    warm_up: 0s
    on_fail: [drain-and-roll-back]
    on_pass: [promote]
    ` + strings.Join(more, "\n    ") + `
actions:
  - name: drain-and-roll-back
    mode: enforce
    steps:
      - drain: {canary: orders}
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
  - name: promote
    mode: enforce
    steps:
      - jenkins: {job: shop/orders-promote, parameters: {SERVICE: orders}, wait: 1m}
`
}

// What is said in addition by most.
const (
	soon = "min_duration: 5s\n    deadline: 2m"
	late = "min_duration: 5m\n    deadline: 10m" // later than any test ends
)

// release is a shop whose orders v2 is a canary: the guard that judges it, the Jenkins
// job that asks the guard, and the customers.
type release struct {
	*shop
	guard    *process
	visitors *visitors
	again    string // the configuration of the guard's next lives, with the first one's addresses
	server   string // where gates ask
}

// openRelease opens the shop with these weights of v1 and v2, and the guard.
func openRelease(t *testing.T, rules string, weights [2]int, rate int) *release {
	t.Helper()
	r := &release{shop: openShop(t, rules, 0)}
	r.setWeights(weights)
	r.jenkins.SetJob(fakejenkins.Job{
		Name: deployJob, Parameters: []fakejenkins.Parameter{{Name: "KEY"}, {Name: "UNREACHABLE", Default: "2m"}}, Pipeline: r.deploy,
	})
	r.jenkins.SetJob(fakejenkins.Job{Name: promoteJob, Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: actionParam}}})
	r.guard = startProcess(t, r.config)
	if r.guard.over() {
		t.Fatalf("the guard ended at its start: %v", r.guard.cmd.ProcessState)
	}
	r.again = r.sameAddresses(r.guard, r.config)
	r.server = r.guard.api
	r.visitors = r.invite(rate, r.guard)
	eventually(t, "the guard to know the tracks and to see orders", func() error {
		c, err := r.canary()
		if err == nil && (c.Share == nil || c.Baseline.Requests < 50) {
			err = fmt.Errorf("not yet: %+v", c)
		}
		return err
	})
	return r
}

// sameAddresses writes a configuration with the addresses that a guard has, and returns
// its path. The guard that runs does not look at it.
func (s *shop) sameAddresses(p *process, config string) string {
	s.t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		s.t.Fatal(err)
	}
	const free = `{api: "127.0.0.1:0", ingest: "127.0.0.1:0"}`
	if !strings.Contains(string(text), free) {
		s.t.Fatalf("%s does not listen on %s", config, free)
	}
	taken := fmt.Sprintf("{api: %q, ingest: %q}", strings.TrimPrefix(p.api, "http://"), strings.TrimPrefix(p.ingest, "http://"))
	return s.write("again-"+filepath.Base(config), strings.Replace(string(text), free, taken, 1))
}

// startAgain starts the next life of a guard, on the same addresses.
func startAgain(t *testing.T, config string) (p *process) {
	t.Helper()
	eventually(t, "the guard to start again", func() error {
		if p = startProcess(t, config); p.over() {
			return fmt.Errorf("it ended: %s", p.tail()) // somebody else may have its port for a moment
		}
		return nil
	})
	return p
}

// killAndRestart lets the guard die and live again.
func (r *release) killAndRestart() {
	r.t.Helper()
	r.guard.kill(r.t)
	r.guard = startAgain(r.t, r.again)
	r.visitors.feeds[0].logTo(r.guard)
}

// canary asks the guard for the canary.
func (r *release) canary() (c api.Canary, err error) {
	err = r.guard.get("/api/v1/canaries/orders", &c)
	return c, err
}

// runs asks the guard for all runs, the newest first.
func (p *process) runs(t *testing.T) []gatewarden.Run {
	t.Helper()
	var list api.RunList
	eventually(t, "the list of runs", func() error { return p.get("/api/v1/runs", &list) })
	return list.Runs
}

// only returns the only run that there is.
func (r *release) only() gatewarden.Run {
	r.t.Helper()
	list := r.guard.runs(r.t)
	if len(list) != 1 {
		r.t.Fatalf("the guard has %d runs, want 1: %+v", len(list), list)
	}
	return list[0]
}

// untilJudged waits until a run is running and so much of it is judged.
func (r *release) untilJudged(d time.Duration) (run gatewarden.Run) {
	r.t.Helper()
	eventually(r.t, "a run to be judged for "+d.String(), func() error {
		list := r.guard.runs(r.t)
		if len(list) == 0 {
			return errors.New("there is no run")
		}
		if run = list[0]; run.Over() {
			r.t.Fatalf("the run is over too soon: %s: %s", run.State, run.Reason)
		}
		if run.Verdict == nil || run.Verdict.At.Sub(run.StartedAt) < d {
			return fmt.Errorf("it is not that far: %+v", run.Verdict)
		}
		return nil
	})
	return run
}

// setWeights sets the weights of v1 and v2.
func (s *shop) setWeights(weights [2]int) {
	s.t.Helper()
	for i, target := range []string{targetV1, targetV2} {
		s.ask(http.MethodPatch, "/upstreams/orders/targets/"+target, fmt.Sprintf(`{"weight": %d}`, weights[i]), &struct{}{})
	}
}

// weights returns the weights of v1 and v2.
func (s *shop) weights() [2]int { return [2]int{s.weight(targetV1), s.weight(targetV2)} }

// deploy is the pipeline of the job that releases orders v2. It asks the guard by the
// script that canaryGate of the shared library makes.
func (r *release) deploy(ctx context.Context, b *fakejenkins.Build) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	tag := fmt.Sprintf("jenkins-shop-orders-deploy-%d", b.Number)
	key := b.Parameter("KEY")
	if key == "" {
		key = tag
	}
	words := []string{
		self, "gate", "orders", "--server", r.server, "--unreachable", b.Parameter("UNREACHABLE"), "--key", key, "--param", "BUILD_TAG=" + tag,
	}
	var files []string
	for _, kind := range []string{"junit", "json", "markdown", "html"} {
		file := path.Join(r.reports(b.Number), "gate."+kind)
		words, files = append(words, "--"+kind, file), append(files, quoted(file))
	}
	for i := range words {
		words[i] = quoted(words[i])
	}
	script := "mkdir -p -- " + quoted(r.reports(b.Number)) + " && rm -f -- " + strings.Join(files, " ") + " || exit 1\nexec " + strings.Join(words, " ") + "\n"

	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Env = append(os.Environ(), mainEnv+"=1", "GATEWARDEN_USER=jenkins")
	cmd.Stdout, cmd.Stderr = b, b
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // as Jenkins ends what an aborted build has started
	cmd.WaitDelay = giveUpAfter
	err = cmd.Run()
	fmt.Fprintf(b, "\nscript returned exit code %d\n", cmd.ProcessState.ExitCode())
	return err
}

// quoted quotes a word for a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// reports is the folder of a build's reports.
func (r *release) reports(build int) string {
	return filepath.Join(r.dir, "workspace", strconv.Itoa(build), "gatewarden", "orders")
}

// askJenkins sends an order to Jenkins in the name of a person, and returns the header of
// the answer.
func (r *release) askJenkins(path string, form url.Values) http.Header {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.jenkinsURL+"/job/shop/job/orders-deploy/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(jenkinsUser, jenkinsToken)
	resp, err := http.DefaultTransport.RoundTrip(req) // an answer that leads elsewhere is not followed
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		r.t.Fatalf("Jenkins answers %s to %s", resp.Status, path)
	}
	return resp.Header
}

// begin begins a build of the deploy job and returns its number once it runs. parameters
// are names and values.
func (r *release) begin(parameters ...string) (number int) {
	r.t.Helper()
	form := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	item, err := strconv.ParseInt(path.Base(r.askJenkins("buildWithParameters", form).Get("Location")), 10, 64)
	if err != nil {
		r.t.Fatalf("Jenkins does not say where in its queue the build is: %v", err)
	}
	eventually(r.t, "the build to begin", func() error {
		for _, run := range r.jenkins.Runs(deployJob) {
			if run.QueueID == item {
				number = run.Number
				return nil
			}
		}
		return errors.New("it is queued")
	})
	return number
}

// stop aborts a build.
func (r *release) stop(number int) { r.askJenkins(fmt.Sprintf("%d/stop", number), nil) }

// ended waits for the end of a build of the deploy job, and holds it against the exit
// code of its gate and what its console must say.
func (r *release) ended(number, code int, says ...string) fakejenkins.Run {
	r.t.Helper()
	var build fakejenkins.Run
	eventually(r.t, "the build to end", func() error {
		for _, run := range r.jenkins.Runs(deployJob) {
			if run.Number == number && !run.Building {
				build = run
				return nil
			}
		}
		return errors.New("it is building")
	})
	for _, s := range append(says, fmt.Sprintf("script returned exit code %d\n", code)) {
		if !strings.Contains(build.Console, s) {
			r.t.Errorf("the console of build #%d does not say %q:\n%s", number, s, build.Console)
		}
	}
	if (code == 0) != (build.Result == fakejenkins.Success) {
		r.t.Errorf("build #%d is %s though its gate ended with %d", number, build.Result, code)
	}
	return build
}

// report reads the JSON report of a build.
func (r *release) report(build int) (run gatewarden.Run) {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.reports(build), "gate.json"))
	if err == nil {
		err = json.Unmarshal(raw, &run)
	}
	if err != nil {
		r.t.Fatalf("the report of build #%d: %v", build, err)
	}
	return run
}

// junit reads the test results of a build.
func (r *release) junit(build int) (suite struct {
	Name     string `xml:"name,attr"`
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
}) {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.reports(build), "gate.junit"))
	if err != nil {
		r.t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.Token()
		if err != nil {
			r.t.Fatalf("no test suite in %s: %v", raw, err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "testsuite" {
			if err := d.DecodeElement(&suite, &start); err != nil {
				r.t.Fatal(err)
			}
			return suite
		}
	}
}

// ranOnce waits until the guard has run a job, and checks that it did so once, under the
// id of the action that it has in its timeline.
func (r *release) ranOnce(job string) {
	r.t.Helper()
	var did gatewarden.Event
	eventually(r.t, "the guard to have run "+job, func() error {
		events, err := r.guard.events(0)
		if err != nil {
			return err
		}
		for _, e := range events {
			if a := e.Action; a != nil && a.Spec.Jenkins != nil && a.Spec.Jenkins.Job == job && a.Status == gatewarden.ActionApplied {
				did = e
				return nil
			}
		}
		return fmt.Errorf("it has not:\n%s", story(events))
	})
	builds := r.jenkins.Runs(job)
	if len(builds) != 1 || builds[0].Parameters[actionParam] != did.Action.ID {
		r.t.Errorf("%s has the builds %+v, want one of the action %s", job, builds, did.Action.ID)
	}
}

// neverRan checks that no build of these jobs began.
func (r *release) neverRan(jobs ...string) {
	r.t.Helper()
	for _, job := range jobs {
		if builds := r.jenkins.Runs(job); len(builds) > 0 {
			r.t.Errorf("%s has the builds %+v, want none", job, builds)
		}
	}
}

// visitors are the customers of a release. Kong divides them by the weights, and posts
// its log to the guards, to each by a queue of its own.
type visitors struct {
	shop  *shop
	rate  int // a second
	feeds []*feed
	// fails is the ratio of requests that fail on a target at an instant.
	fails func(target string, at time.Time) float64
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// invite lets customers in until the test ends. While s.bad is set, v2 fails half of its
// requests.
func (s *shop) invite(rate int, guards ...*process) *visitors {
	return s.inviteTo(guards, rate, func(target string, _ time.Time) float64 {
		if target == targetV2 && s.bad.Load() {
			return 0.5
		}
		return 0
	})
}

// inviteTo is invite for customers of whose requests a ratio fails.
func (s *shop) inviteTo(guards []*process, rate int, fails func(target string, at time.Time) float64) *visitors {
	v := &visitors{shop: s, rate: rate, fails: fails}
	for _, p := range guards {
		v.feeds = append(v.feeds, &feed{to: p, more: make(chan struct{}, 1)})
	}
	var ctx context.Context
	ctx, v.stop = context.WithCancel(context.Background())
	v.done.Go(func() { v.run(ctx) })
	for _, f := range v.feeds {
		v.done.Go(func() { f.run(ctx) })
	}
	s.t.Cleanup(v.close)
	return v
}

func (v *visitors) close() {
	v.stop()
	v.done.Wait()
}

// run writes what Kong logs. Lines are due by the clock, however late the test comes to
// write them.
func (v *visitors) run(ctx context.Context) {
	w, random := loglines.NewWriter(), rand.New(rand.NewPCG(1, 2))
	began, n := time.Now(), 0
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		weights := v.shop.weights()
		if weights[0] < 0 || weights[1] < 0 || weights[0]+weights[1] == 0 {
			continue // the gateway can't be asked just now
		}
		var batch []byte
		for due := int(time.Since(began).Seconds() * float64(v.rate)); n < due; n++ {
			at := began.Add(time.Duration(n) * time.Second / time.Duration(v.rate))
			l := loglines.Line{
				ID: uint64(n), At: at, Service: "orders", Target: targetV1, Status: http.StatusOK, Millis: 5,
				Client: "203.0.113." + strconv.Itoa(random.IntN(200)),
			}
			if random.IntN(weights[0]+weights[1]) < weights[1] {
				l.Target = targetV2
			}
			if random.Float64() < v.fails(l.Target, at) {
				l.Status = http.StatusInternalServerError
			}
			batch = w.Append(append(batch, ','), l)
		}
		if len(batch) == 0 {
			continue
		}
		batch[0] = '['
		batch = append(batch, ']')
		for _, f := range v.feeds {
			f.add(batch)
		}
	}
}

// feed is Kong's queue of what is to be posted to a guard: in order, each batch again
// until it is answered with 200.
type feed struct {
	more chan struct{}

	mu    sync.Mutex
	to    *process
	queue [][]byte
}

func (f *feed) add(batch []byte) {
	f.mu.Lock()
	f.queue = append(f.queue, batch)
	f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// mostAtOnce is how many batches go into one post: one who is behind catches up, as Kong's
// queue does with max_batch_size.
const mostAtOnce = 20

// logTo makes the log go to another life of the guard.
func (f *feed) logTo(p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = p
}

// first returns what is to be posted next: so many batches of the queue as one.
func (f *feed) first() (to *process, batch []byte, batches int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for batches < min(len(f.queue), mostAtOnce) {
		if batches > 0 {
			batch[len(batch)-1] = ','
		}
		next := f.queue[batches]
		if batches++; batches > 1 {
			next = next[1:]
		}
		batch = append(batch, next...)
	}
	return f.to, batch, batches
}

func (f *feed) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.more:
		}
		for to, batch, n := f.first(); n > 0; to, batch, n = f.first() {
			if status, _, err := to.post("/ingest/kong", batch); err == nil && status == http.StatusOK {
				f.mu.Lock()
				f.queue = f.queue[n:]
				f.mu.Unlock()
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(tickEvery):
			}
		}
	}
}
