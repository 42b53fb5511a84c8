package canary

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// erratic is traffic with everything in it, for properties that must hold anyhow.
func erratic(seed uint64) *traffic {
	tr := newTraffic(seed)
	tr.rate, tr.history, tr.clients = 12, 20, 20
	rng := rand.New(rand.NewPCG(seed, 2))
	tr.failing = by(0.02, 0.05)
	tr.observe = func(s int, o *gatewarden.Observation) {
		switch rng.IntN(20) {
		case 0:
			o.Route = fmt.Sprint("route-", rng.IntN(90)) // more than there are strata
		case 1:
			o.Client = ""
		case 2:
			o.At = o.At.Add(time.Duration(rng.IntN(20)-10) * time.Second) // late and ahead
		case 3:
			o.Weight = uint32(rng.IntN(5))
		case 4:
			o.Latency = time.Duration(rng.Int64N(int64(time.Minute)))
		case 5:
			o.Failed, o.Latency = true, gatewarden.NoLatency
		}
	}
	return tr
}

// collect gathers a second's observations instead of judging them.
func collect(tr *traffic, second int) []gatewarden.Observation {
	var all []gatewarden.Observation
	tr.requests(second, func(o *gatewarden.Observation) { all = append(all, *o) })
	return all
}

func verdictText(t testing.TB, j *Judge, at time.Time) string {
	t.Helper()
	b, err := json.MarshalIndent(j.Verdict(at), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A run goes on after a restart as if nothing had happened: at every instant the same
// verdict, byte for byte.
func TestARestartChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tr := erratic(rapid.Uint64().Draw(rt, "seed"))
		restarts := rapid.SliceOfN(rapid.IntRange(-12, 27), 1, 3).Draw(rt, "restarts")
		p := DefaultPolicy()
		p.WarmUp, p.MinDuration = 5*time.Second, 20*time.Second
		a, err := New(p, epoch)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := New(p, epoch)
		for s := -12; s < 28; s++ {
			if s == -12 || s == 12 {
				a.SetSplit(epoch.Add(time.Duration(s+2)*time.Second), 0.2+float64(s)/100)
				b.SetSplit(epoch.Add(time.Duration(s+2)*time.Second), 0.2+float64(s)/100)
			}
			for _, o := range collect(tr, s) {
				a.Add(&o)
				b.Add(&o)
			}
			for _, r := range restarts {
				if r == s {
					b = revived(rt, b)
				}
			}
			at := epoch.Add(time.Duration(s+1) * time.Second)
			if a.Advance(at); s%7 != 0 {
				b.Advance(at)
			} else if diff := cmp.Diff(verdictText(t, a, at), verdictText(t, b, at)); diff != "" {
				rt.Fatalf("after %d s, restarted at %v, -without +with:\n%s", s, restarts, diff)
			}
		}
	})
}

// revived writes a judge and reads it again.
func revived(t interface {
	Fatal(...any)
}, j *Judge,
) *Judge {
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	var r Judge
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// The order in which observations arrive between two instants is of no matter. Routes
// are few here: their order decides the order in which numbers are added up, and beyond
// maxStrata which of them are told apart.
func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		tr := erratic(seed)
		observe := tr.observe
		tr.observe = func(s int, o *gatewarden.Observation) {
			observe(s, o)
			o.Route = "list"
		}
		rng := rand.New(rand.NewPCG(seed, 3))
		a, _ := New(DefaultPolicy(), epoch)
		b, _ := New(DefaultPolicy(), epoch)
		for s := -20; s < 30; s++ {
			all := collect(tr, s)
			for i := range all {
				a.Add(&all[i])
			}
			for _, i := range rng.Perm(len(all)) {
				b.Add(&all[i])
			}
			at := epoch.Add(time.Duration(s+1) * time.Second)
			if a.Advance(at); s%4 != 0 {
				b.Advance(at)
			} else if diff := cmp.Diff(verdictText(t, a, at), verdictText(t, b, at)); diff != "" {
				rt.Fatalf("after %d s, -in order +shuffled:\n%s", s, diff)
			}
		}
	})
}

// When observations arrive is of no matter either, as long as their second is open: what a
// good request says of a client whose failure before it arrives after it, for one.
func TestWhenObservationsArriveDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		tr := erratic(seed)
		observe := tr.observe
		tr.observe = func(s int, o *gatewarden.Observation) {
			observe(s, o)
			o.Route, o.Client = "list", fmt.Sprint("10.0.0.", s%3)
			if o.At.Nanosecond()%7 == 0 {
				o.Client = "10.0.0.9" // a proxy before many
			}
		}
		policy := DefaultPolicy()
		rng := rand.New(rand.NewPCG(seed, 3))
		a, _ := New(policy, epoch)
		b, _ := New(policy, epoch)
		var late []gatewarden.Observation
		for s := range 60 {
			all := collect(tr, s)
			for i := range all {
				a.Add(&all[i])
			}
			var later []gatewarden.Observation
			for _, list := range [][]gatewarden.Observation{late, all} {
				for i := range list {
					if o := &list[i]; int(o.At.Unix()-epoch.Unix()) > s-2 && rng.IntN(3) == 0 {
						later = append(later, *o)
					} else {
						b.Add(o)
					}
				}
			}
			late = later
			at := epoch.Add(time.Duration(s+1) * time.Second)
			a.Advance(at)
			b.Advance(at)
			if diff := cmp.Diff(verdictText(t, a, at), verdictText(t, b, at)); diff != "" {
				rt.Fatalf("after %d s, -at once +late:\n%s", s, diff)
			}
		}
	})
}

// However often a client fails within its run, it is one event.
func TestRetriesAreNoMoreEvidence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		times := rapid.IntRange(2, 40).Draw(rt, "times")
		one, _ := New(prompt(), epoch)
		many, _ := New(prompt(), epoch)
		for s := range 20 {
			for i := range 50 {
				o := gatewarden.Observation{
					At: epoch.Add(time.Duration(s)*time.Second + time.Duration(i)*time.Millisecond), Route: "list",
					Track: gatewarden.Track(min(i%10, 1) ^ 1), Client: fmt.Sprint(s, "-", i), Latency: 20 * time.Millisecond,
				}
				if i == 0 {
					o.Client, o.Failed, o.Latency = "again", true, gatewarden.NoLatency
				}
				one.Add(&o)
				many.Add(&o)
			}
			for range times - 1 { // the same client, good requests elsewhere: request counts stay equal
				o := gatewarden.Observation{At: epoch.Add(time.Duration(s)*time.Second + 900*time.Millisecond), Route: "list", Track: Canary, Client: "another", Latency: gatewarden.NoLatency}
				one.Add(&o)
				o.Failed, o.Client = true, "again"
				many.Add(&o)
			}
			at := epoch.Add(time.Duration(s+1) * time.Second)
			a, b := one.Verdict(at), many.Verdict(at)
			if a.Evidence != b.Evidence || a.Canary.Episodes != b.Canary.Episodes {
				rt.Fatalf("after %d s: evidence %v with one failure a second, %v with %d", s, a.Evidence, b.Evidence, times)
			}
			if b.Canary.Failures <= a.Canary.Failures {
				rt.Fatalf("%d failures are shown, %d with more of them", a.Canary.Failures, b.Canary.Failures)
			}
		}
	})
}

// One block can't decide anything, however extreme it is.
func TestOneMomentFailsNoRun(t *testing.T) {
	j := begin(t, newTraffic(1), prompt())
	tr := newTraffic(2)
	for s := range 60 {
		if s == 30 || s == 31 {
			tr.failing = by(0, 1)
		} else {
			tr.failing = by(0.001, 0.001)
		}
		tr.second(j, s)
		if state, evidence := j.Standing(epoch.Add(time.Duration(s+1) * time.Second)); state != gatewarden.Inconclusive || math.IsNaN(evidence) {
			t.Fatalf("%s after %d s with evidence %v", state, s, evidence)
		}
	}
}

func TestWhatDoesNotBelongIsCounted(t *testing.T) {
	j, _ := New(prompt(), epoch)
	at := func(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }
	j.Add(&gatewarden.Observation{At: at(-5), Track: Canary})
	j.Add(&gatewarden.Observation{At: at(1), Track: 7})
	j.Add(&gatewarden.Observation{At: at(1), Track: Canary, Latency: gatewarden.NoLatency})
	j.Advance(at(5))
	j.Add(&gatewarden.Observation{At: at(2)})
	j.Add(&gatewarden.Observation{At: at(5 + 2*maxOpen)})
	j.Add(&gatewarden.Observation{At: time.Unix(1<<40, 0)})
	j.Add(&gatewarden.Observation{})
	v := j.Verdict(at(6))
	if v.Dropped != 3 || v.Late != 1 || v.Ahead != 2 || v.Canary.Requests != 1 {
		t.Errorf("dropped %d, late %d, ahead %d, %d requests; want 3, 1, 2, 1", v.Dropped, v.Late, v.Ahead, v.Canary.Requests)
	}
}

// A wrong clock at the very beginning neither blocks the run nor makes it walk through
// the ages.
func TestStrangeFirstObservations(t *testing.T) {
	j, _ := New(prompt(), epoch)
	for _, at := range []time.Time{{}, time.Unix(1<<40, 0), time.Unix(-1<<40, 0), epoch.Add(-24 * time.Hour), epoch.Add(24 * time.Hour)} {
		j.Add(&gatewarden.Observation{At: at, Latency: gatewarden.NoLatency})
	}
	j.Advance(epoch)
	j.Add(&gatewarden.Observation{At: epoch, Track: Canary, Latency: gatewarden.NoLatency})
	j.Add(&gatewarden.Observation{At: epoch, Latency: gatewarden.NoLatency})
	v := j.Verdict(epoch.Add(time.Second))
	if v.Canary.Requests != 1 || v.Baseline.Requests != 1 || v.Dropped != 3 || v.Ahead != 2 {
		t.Errorf("%d and %d requests, %d dropped, %d ahead; want 1, 1, 3, 2", v.Canary.Requests, v.Baseline.Requests, v.Dropped, v.Ahead)
	}
}

func TestStateIsBounded(t *testing.T) {
	j, _ := New(prompt(), epoch)
	rng := rand.New(rand.NewPCG(1, 1))
	for s := range 4 {
		for i := range 3 * maxFailing {
			j.Add(&gatewarden.Observation{
				At: epoch.Add(time.Duration(s)*time.Second + time.Duration(i)*time.Microsecond), Track: gatewarden.Track(i % 2), Route: fmt.Sprint(i),
				Client: fmt.Sprint(s, i), Failed: true, Latency: gatewarden.NoLatency, ID: strings.Repeat("x", 1000),
			})
			j.Add(&gatewarden.Observation{
				At: epoch.Add(time.Duration(s) * time.Second), Track: gatewarden.Track(i % 2), Route: fmt.Sprint(i),
				Latency: time.Duration(rng.Int64N(int64(2 * time.Hour))),
			})
		}
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
	}
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 4<<20 {
		t.Errorf("the state has %d bytes", len(b))
	}
	if len(j.Routes) >= maxStrata || len(j.Episodes) > maxEpisodes || len(j.Suspects) > maxSuspect || len(j.Suspects[0].ID) > maxText {
		t.Errorf("%d routes, %d episodes, %d suspects", len(j.Routes), len(j.Episodes), len(j.Suspects))
	}
}

// The state of an ordinary run, with its size.
func TestStateIsSmall(t *testing.T) {
	tr := newTraffic(1)
	j := begin(t, tr, DefaultPolicy())
	for s := range 200 {
		tr.second(j, s)
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
	}
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(b))
	if len(b) > 100_000 {
		t.Errorf("the state has %d bytes", len(b))
	}
}

func FuzzState(f *testing.F) {
	tr := newTraffic(1)
	tr.rate, tr.history = 20, 20
	j, _ := New(DefaultPolicy(), epoch)
	j.SetSplit(epoch, 0.1)
	for s := -20; s < 40; s++ {
		tr.second(j, s)
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
		if s%20 == 0 {
			b, err := json.Marshal(j)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"version":1,"policy":null,"state":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var j Judge
		if err := json.Unmarshal(b, &j); err != nil {
			return
		}
		// What is taken must go on, whatever it claims.
		start := time.Unix(max(j.Next, j.Start-5), 0)
		for s := range 90 {
			at := start.Add(time.Duration(s) * time.Second)
			for i := range 50 {
				j.Add(&gatewarden.Observation{At: at, Track: gatewarden.Track(i % 2), Route: fmt.Sprint(i % 3), Client: fmt.Sprint(i), Failed: i%7 == 0, Latency: time.Duration(i) * time.Millisecond})
			}
			j.Advance(at)
		}
		if v := j.Verdict(start.Add(2 * time.Minute)); math.IsNaN(v.Evidence) || v.Reason == "" {
			t.Errorf("evidence %v, reason %q", v.Evidence, v.Reason)
		}
		if _, err := json.Marshal(&j); err != nil {
			t.Errorf("what was read can't be written: %v", err)
		}
	})
}

// What follows measures what one observation, one second and one verdict cost.

func BenchmarkAdd(b *testing.B) {
	tr := newTraffic(1)
	j, _ := New(DefaultPolicy(), epoch)
	all := collect(tr, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		j.Add(&all[i%len(all)])
	}
}

// One second at 200 requests/s: the check of the split, the errors, the ranks with their
// eight rungs, both tails, for failing and for passing; observations are not among it.
func BenchmarkSecond(b *testing.B) {
	tr := newTraffic(1)
	j := begin(b, tr, DefaultPolicy()) // with a history: its blocks are of one second
	var all [16][]gatewarden.Observation
	for s := range all {
		all[s] = collect(tr, s)
	}
	b.ReportAllocs()
	for s := 0; b.Loop(); s++ {
		b.StopTimer()
		for i := range all[s%len(all)] {
			o := all[s%len(all)][i]
			o.At = epoch.Add(time.Duration(s) * time.Second)
			j.Add(&o)
		}
		b.StartTimer()
		j.Advance(epoch.Add(time.Duration(s+4) * time.Second))
	}
}

// Two hundred runs side by side, each at 200 requests/s, advance by one second.
func BenchmarkTwoHundredJudges(b *testing.B) {
	judges := make([]*Judge, 200)
	for i := range judges {
		judges[i], _ = New(DefaultPolicy(), epoch)
		judges[i].SetSplit(epoch, 0.1)
	}
	tr := newTraffic(1)
	var all [16][]gatewarden.Observation
	for s := range all {
		all[s] = collect(tr, s)
	}
	for s := 0; b.Loop(); s++ {
		b.StopTimer()
		for _, j := range judges {
			for i := range all[s%len(all)] {
				o := all[s%len(all)][i]
				o.At = epoch.Add(time.Duration(s) * time.Second)
				j.Add(&o)
			}
		}
		b.StartTimer()
		for _, j := range judges {
			j.Standing(epoch.Add(time.Duration(s+4) * time.Second))
		}
	}
}

func BenchmarkStanding(b *testing.B) {
	tr := newTraffic(1)
	j, _ := New(DefaultPolicy(), epoch)
	for s := range 60 {
		tr.second(j, s)
	}
	at := epoch.Add(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		j.Standing(at)
	}
}

func BenchmarkVerdict(b *testing.B) {
	tr := newTraffic(1)
	j, _ := New(DefaultPolicy(), epoch)
	for s := range 60 {
		tr.second(j, s)
	}
	at := epoch.Add(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		j.Verdict(at)
	}
}

// Hours of a split that is just as configured, on which the bet against it loses again and
// again, leave a verdict and a state that can be written.
func TestHoursOfAHealthyRunCanBeWritten(t *testing.T) {
	t.Parallel()
	p := prompt()
	p.Deadline = 6 * time.Hour
	j, err := New(p, epoch)
	if err != nil {
		t.Fatal(err)
	}
	j.SetSplit(epoch, 0.5)
	at := epoch
	for range 5 * 3600 {
		for i := range 10 {
			j.Add(&gatewarden.Observation{At: at, Track: gatewarden.Track(i % 2), Latency: 20 * time.Millisecond})
		}
		at = at.Add(time.Second)
		j.Advance(at)
	}
	v := j.Verdict(at)
	if _, err := json.Marshal(v); err != nil || v.Split.Evidence > -300 {
		t.Errorf("the evidence against the split is %v, %v", v.Split.Evidence, err)
	}
	if _, err := json.Marshal(j); err != nil {
		t.Error(err)
	}
}
