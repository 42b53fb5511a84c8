package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

// twinRules have a canary of which nothing follows: two guards judge it.
const twinRules = `
canaries:
  - name: orders
    service: orders
    baseline: {target_tag: "version:v1"}
    canary: {target_tag: "version:v2"}
    checks: [%s]
    warm_up: 2s
    min_duration: 20s
    deadline: 3m
    on_fail: []
`

// TestKillInTheMiddleOfARun shows two guards the same requests. One of them is killed at
// random instants, and must come to the same answer, of the same instant, on the same
// counts as the other.
func TestKillInTheMiddleOfARun(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct {
		checks  string
		weights [2]int
		canary  float64       // of its requests fail
		onset   time.Duration // from the start of the run on
		seed    uint64
		want    gatewarden.RunState
	}{
		"a canary like its baseline":  {checks: "{errors: {pass_difference: 6%}}", weights: half, canary: 0.01, seed: 1, want: gatewarden.RunPass},
		"one that is bad at once":     {checks: "errors, latency", weights: tenth, canary: 0.6, seed: 2, want: gatewarden.RunFail},
		"one that is bad after a bit": {checks: "errors, latency", weights: tenth, canary: 0.9, onset: 8 * time.Second, seed: 3, want: gatewarden.RunFail},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(c.seed, 0))
			for try := 1; ; try++ {
				w := openTwins(t, fmt.Sprintf(twinRules, c.checks), c.weights)
				w.canaryFails(c.canary, w.start().Add(c.onset))
				for range 3 {
					w.waitOrOver(time.Duration(random.Int64N(int64(7 * time.Second))))
					w.killOne()
				}
				w.untilOver()
				if late := w.runs[0].Verdict.Late; late > 0 && try < 3 {
					t.Logf("once more: the machine is so busy that %d requests came too late even undisturbed", late)
					w.visitors.close()
					continue
				}
				w.compare(c.want)
				return
			}
		})
	}
}

// twins are two guards that are shown the same requests of the same gateway, each by a
// queue of its own.
type twins struct {
	*shop
	guards   [2]*process // the second one is the one to be killed
	again    string      // its configuration
	visitors *visitors
	runs     [2]gatewarden.Run

	mu    sync.Mutex
	ratio float64
	onset time.Time
}

// openTwins starts two guards, and lets customers in when both know the tracks: then both
// see the same of the past.
func openTwins(t *testing.T, rules string, weights [2]int) *twins {
	t.Helper()
	w := &twins{shop: openShop(t, rules, 0), ratio: 0.01}
	w.setWeights(weights)
	text, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	second := w.write("gatewarden-2.yaml", strings.Replace(string(text), "{dir: data}", "{dir: data-2}", 1))
	w.guards = [2]*process{startProcess(t, w.config), startProcess(t, second)}
	w.again = w.sameAddresses(w.guards[1], second)
	for _, p := range w.guards {
		eventually(t, "the guard to know the tracks", func() error {
			var c api.Canary
			err := p.get("/api/v1/canaries/orders", &c)
			if err == nil && c.Share == nil {
				err = errors.New("it does not")
			}
			return err
		})
	}
	w.visitors = w.inviteTo(w.guards[:], 100, w.fails)
	for _, p := range w.guards {
		eventually(t, "the guard to see orders", func() error {
			var c api.Canary
			err := p.get("/api/v1/canaries/orders", &c)
			if err == nil && c.Baseline.Requests < 200 {
				err = fmt.Errorf("it has seen %d", c.Baseline.Requests)
			}
			return err
		})
	}
	return w
}

func (w *twins) fails(target string, at time.Time) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if target == targetV2 && !w.onset.IsZero() && !at.Before(w.onset) {
		return w.ratio
	}
	return 0.01
}

// canaryFails makes a ratio of the canary's requests fail from an instant on.
func (w *twins) canaryFails(ratio float64, from time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ratio, w.onset = ratio, from
}

// start starts a run at both guards and returns its instant, which is the next whole
// second, so that both must be asked within the same one.
func (w *twins) start() time.Time {
	w.t.Helper()
	try := 0
	eventually(w.t, "two runs of the same instant", func() error {
		try++
		now := time.Now()
		time.Sleep(now.Truncate(time.Second).Add(1100 * time.Millisecond).Sub(now)) // early in a second
		var both sync.WaitGroup
		var errs [2]error
		for i, p := range w.guards {
			both.Go(func() {
				errs[i] = p.order("/api/v1/canaries/orders/runs", api.RunRequest{Key: fmt.Sprint(try), Replace: true}, &w.runs[i])
			})
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		if !w.runs[0].StartedAt.Equal(w.runs[1].StartedAt) {
			return fmt.Errorf("they start at %s and at %s", w.runs[0].StartedAt, w.runs[1].StartedAt)
		}
		return nil
	})
	return w.runs[0].StartedAt
}

// order posts an order to the guard's API and decodes the answer.
func (p *process) order(path string, body, v any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := httpClient().Post(p.api+path, "application/json", bytes.NewReader(raw))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("POST %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// waitOrOver lets time pass, which means nothing but that it is random.
func (w *twins) waitOrOver(d time.Duration) {
	w.t.Helper()
	select {
	case <-time.After(d):
	case <-w.guards[1].ended:
		w.t.Fatalf("the guard ended by itself: %v", w.guards[1].cmd.ProcessState)
	}
}

// killOne kills the second guard and starts it again.
func (w *twins) killOne() {
	w.t.Helper()
	w.guards[1].kill(w.t)
	w.guards[1] = startAgain(w.t, w.again)
	w.visitors.feeds[1].logTo(w.guards[1])
	var run gatewarden.Run
	if err := w.guards[1].get("/api/v1/runs/"+w.runs[1].ID, &run); err != nil {
		w.t.Fatalf("the run is lost: %v", err)
	}
}

// untilOver waits for both answers, and takes them from the timeline: after a pass a canary
// is judged on, and the run shows that.
func (w *twins) untilOver() {
	w.t.Helper()
	for i, p := range w.guards {
		eventually(w.t, "the run to end", func() error {
			events, err := p.events(0)
			if err != nil {
				return err
			}
			for _, e := range events {
				if e.Type == gatewarden.EventGate && e.Run.ID == w.runs[i].ID && e.Run.Over() {
					w.runs[i] = *e.Run
					return nil
				}
			}
			return fmt.Errorf("it has not:\n%s", story(events))
		})
	}
}

// isEvidence reports whether a value is the evidence for a fail or for a pass.
func isEvidence(p cmp.Path) bool {
	for i := range p {
		if field, ok := p.Index(-1 - i).(cmp.StructField); ok {
			return slices.Contains([]string{"Evidence", "Fail", "Pass"}, field.Name())
		}
	}
	return false
}

// compare compares both answers with everything that they rest on.
func (w *twins) compare(want gatewarden.RunState) {
	w.t.Helper()
	alone := w.runs[0]
	if alone.State != want || alone.Verdict.Canary.Requests == 0 || alone.Verdict.Late > 0 {
		w.t.Errorf("undisturbed, the run ends %s: %s; %d requests came too late", alone.State, alone.Reason, alone.Verdict.Late)
	}
	// Dropped counts what ended before the run and came after its start was asked for, by
	// the clock of each.
	// The two began at different instants, so they know the baseline's past from different
	// instants on, which shows in what a client's usual share is: a thousandth of what is needed
	// at most. What is lost of the run itself would be seen in the counts, which are exact.
	same := cmp.Options{cmpopts.IgnoreFields(gatewarden.Run{}, "ID", "Version"), cmpopts.IgnoreFields(gatewarden.CanaryVerdict{}, "Dropped"),
		cmp.FilterPath(isEvidence, cmpopts.EquateApprox(1e-9, 0.002)), cmp.FilterPath(func(p cmp.Path) bool { return !isEvidence(p) }, cmpopts.EquateApprox(1e-9, 0))}
	if diff := cmp.Diff(alone, w.runs[1], same); diff != "" {
		w.t.Errorf("the guard that was killed says something else (-undisturbed +killed):\n%s", diff)
	}
}
