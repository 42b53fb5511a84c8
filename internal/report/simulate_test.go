package report

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/canary"
)

var simulate = flag.Bool("simulate", false, "write testdata/runs anew, by the judge on simulated traffic")

// start is when the runs of these tests start.
var start = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// simulation is a run of the real judge on traffic made from a seed.
type simulation struct {
	rate     float64       // requests a second
	shares   []int         // that the guard moves through, in per cent
	failing  [2]float64    // by track
	slowness float64       // factor on the canary's latency
	until    time.Duration // when somebody cancels it; 0 for nobody
}

// run judges until there is an answer, as the guard does: second by second, with the
// next share once the evidence for a pass is there in part.
func (s simulation) run(t *testing.T, id string) gatewarden.Run {
	t.Helper()
	policy := canary.DefaultPolicy()
	judge, err := canary.New(policy, start)
	if err != nil {
		t.Fatal(err)
	}
	run := gatewarden.Run{
		ID: id, Canary: "orders", Key: "jenkins-shop-orders-118-gate", State: gatewarden.RunRunning, By: "jenkins",
		Parameters: map[string]string{"version": "v2", "build": "https://jenkins.example.com/job/shop/job/orders/118/"},
		StartedAt:  start, Deadline: start.Add(policy.Deadline), Step: 1,
	}
	if len(s.shares) > 1 {
		run.Steps = s.shares
	}
	rng := rand.New(rand.NewPCG(7, 7))
	judge.SetSplit(start, float64(s.shares[0])/100)
	for second := -300; run.State == gatewarden.RunRunning; second++ {
		s.second(rng, second, float64(s.shares[run.Step-1])/100, judge.Add)
		at := start.Add(time.Duration(second+1) * time.Second)
		if judge.Advance(at); second < 0 {
			continue
		}
		s.judge(&run, judge.Verdict(at))
		if n := len(s.shares); run.Step < n && run.Verdict.PassEvidence() >= run.Verdict.PassNeeded*float64(run.Step)/float64(n) && second > 60*run.Step {
			run.Step++
			judge.SetSplit(at, float64(s.shares[run.Step-1])/100)
		}
	}
	if run.Steps == nil {
		run.Step = 0
	} else if run.State == gatewarden.RunPass {
		run.Step++
	}
	return run
}

// judge takes a verdict into the run.
func (s simulation) judge(run *gatewarden.Run, v gatewarden.CanaryVerdict) {
	run.Verdict, run.Reason = &v, v.Reason
	if v.At.Unix()%5 == 0 {
		run.Trail = append(run.Trail, gatewarden.RunPoint{At: v.At, Fail: v.Evidence, Pass: v.PassEvidence(), Share: v.Split.Configured})
	}
	switch {
	case v.State == gatewarden.Breach:
		run.State = gatewarden.RunFail
	case v.State == gatewarden.Healthy:
		run.State = gatewarden.RunPass
	case v.Over:
		run.State = gatewarden.RunInconclusive
	case s.until > 0 && v.At.Sub(start) >= s.until:
		run.State, run.Reason = gatewarden.RunCancelled, "alice cancelled it: wrong build"
	default:
		return
	}
	run.EndedAt = &v.At
}

// second makes one second's requests.
func (s simulation) second(rng *rand.Rand, second int, share float64, add func(*gatewarden.Observation)) {
	n := int(s.rate)
	if rng.Float64() < s.rate-float64(n) {
		n++
	}
	for range n {
		client := rng.IntN(500)
		o := gatewarden.Observation{
			At:    start.Add(time.Duration(second)*time.Second + time.Duration(rng.IntN(1000))*time.Millisecond),
			Route: []string{"orders-list", "orders-place"}[rng.IntN(2)], Latency: gatewarden.NoLatency, Client: fmt.Sprint("client-", client),
			Target: fmt.Sprint("10.0.0.", client%9), ID: fmt.Sprintf("%032x", rng.Uint64()), TraceID: fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()),
		}
		slowness := 1.0
		if second >= 0 && rng.Float64() < share {
			o.Track, o.Target, slowness = gatewarden.TrackCanary, "10.0.1.1", s.slowness
		}
		if o.Failed = rng.Float64() < s.failing[o.Track]; !o.Failed {
			o.Latency = time.Duration(50*slowness*math.Exp(0.5*rng.NormFloat64())) * time.Millisecond
		}
		add(&o)
	}
}

// TestTheRunsOfTheGoldenFiles holds the stored runs to what they are there for. They are
// stored because a judge that gets better must not change how reports look.
func TestTheRunsOfTheGoldenFiles(t *testing.T) {
	steps, ten := []int{5, 10, 25, 50}, []int{10}
	for name, c := range map[string]struct {
		simulation
		want gatewarden.RunState
	}{
		"pass":         {simulation{rate: 200, shares: steps, failing: [2]float64{0.001, 0.001}, slowness: 1}, gatewarden.RunPass},
		"fail":         {simulation{rate: 200, shares: steps, failing: [2]float64{0.001, 0.015}, slowness: 1}, gatewarden.RunFail},
		"slow":         {simulation{rate: 200, shares: ten, failing: [2]float64{0.001, 0.001}, slowness: 1.25}, gatewarden.RunFail},
		"inconclusive": {simulation{rate: 2, shares: ten, failing: [2]float64{0.001, 0.001}, slowness: 1}, gatewarden.RunInconclusive},
		"cancelled":    {simulation{rate: 50, shares: ten, failing: [2]float64{0.001, 0.001}, slowness: 1, until: 100 * time.Second}, gatewarden.RunCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			if *simulate {
				storeRun(t, name, c.run(t, "orders-20261120-090000-"+name[:2]))
			}
			run := storedRun(t, name)
			if run.State != c.want || run.Verdict == nil || len(run.Trail) < 3 || run.EndedAt == nil {
				t.Errorf("it is %s with %d points, want %s", run.State, len(run.Trail), c.want)
			}
			if c.want == gatewarden.RunFail && len(run.Verdict.Suspects) == 0 {
				t.Error("there are no suspects")
			}
		})
	}
}

func runFile(name string) string { return filepath.Join("testdata", "runs", name+".json") }

func storeRun(t *testing.T, name string, run gatewarden.Run) {
	t.Helper()
	text, err := json.MarshalIndent(run, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(runFile(name), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func storedRun(t testing.TB, name string) gatewarden.Run {
	t.Helper()
	text, err := os.ReadFile(runFile(name))
	if err != nil {
		t.Fatal(err)
	}
	var run gatewarden.Run
	if err := json.Unmarshal(text, &run); err != nil {
		t.Fatal(err)
	}
	return run
}
