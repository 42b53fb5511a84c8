package canary

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// A judge that was at hand before its run says, byte for byte, what one says that has
// known its start from the beginning: with records of the canary from before the start,
// with others from the future, and with a restart while it waits.
func TestBeginningLaterChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tr := erratic(rapid.Uint64().Draw(rt, "seed"))
		p := DefaultPolicy()
		p.WarmUp, p.MinDuration = 5*time.Second, 20*time.Second
		p.Delay = time.Duration(rapid.IntRange(0, 5).Draw(rt, "delay")) * time.Second
		begin := rapid.IntRange(-10, 10).Draw(rt, "begins at")
		begun := epoch.Add(time.Duration(begin)*time.Second + time.Duration(rapid.SampledFrom([]int{0, 1, 999}).Draw(rt, "ms"))*time.Millisecond)
		start := begun.Truncate(time.Second)
		if start.Before(begun) {
			start = start.Add(time.Second)
		}
		known, _ := New(p, start)
		waits, _ := New(p, rapid.SampledFrom([]time.Time{{}, epoch.Add(24 * time.Hour), time.Unix(1<<50, 0)}).Draw(rt, "far"))
		mixed := tr.observe
		tr.observe = func(s int, o *gatewarden.Observation) {
			if mixed(s, o); tr.rng.IntN(4) == 0 {
				o.Track = Canary
			}
		}
		for s := -15; s < 28; s++ {
			for _, o := range collect(tr, s) {
				known.Add(&o)
				waits.Add(&o)
			}
			at := epoch.Add(time.Duration(s+1) * time.Second)
			if s == begin-3 {
				waits = revived(rt, waits)
			}
			if s == begin { // the instant lies within this second
				if state, evidence := waits.Standing(begun); state != gatewarden.Inconclusive || math.Abs(evidence) > 1e-9 {
					rt.Fatalf("before it begins: %s with evidence %v", state, evidence)
				}
				known.Advance(begun)
				waits.Begin(begun)
			}
			known.Advance(at)
			if waits.Advance(at); s < begin || s%7 != 0 {
				continue
			}
			if diff := cmp.Diff(verdictText(t, known, at), verdictText(t, waits, at)); diff != "" {
				rt.Fatalf("after %d s, begun at %d, -known +waits:\n%s", s, begin, diff)
			}
		}
	})
}

func TestAJudgeThatWaitsSaysSo(t *testing.T) {
	j, _ := New(prompt(), time.Time{})
	tr := newTraffic(1)
	for s := range 20 {
		tr.second(j, s)
	}
	v := j.Verdict(epoch.Add(20 * time.Second))
	if v.State != gatewarden.Inconclusive || v.Over || !strings.Contains(v.Reason, "has not begun") {
		t.Errorf("%s, over %v: %s", v.State, v.Over, v.Reason)
	}
	if v.Canary.Requests != 0 || v.Baseline.Requests != 0 {
		t.Errorf("%d and %d requests count", v.Baseline.Requests, v.Canary.Requests)
	}
}

// What has begun stays begun, and what is closed can't be begun with.
func TestBeginIsForTheFuture(t *testing.T) {
	j, _ := New(prompt(), time.Time{})
	tr := newTraffic(1)
	for s := range 20 {
		tr.second(j, s)
	}
	j.Advance(epoch.Add(20 * time.Second))
	j.Begin(epoch.Add(5 * time.Second))
	if v := j.Verdict(epoch.Add(20 * time.Second)); !v.Start.Equal(epoch.Add(20 * time.Second)) {
		t.Errorf("it begins at %s with a second that is closed", v.Start)
	}
	tr.second(j, 20)
	j.Begin(epoch.Add(21 * time.Second))
	if v := j.Verdict(epoch.Add(21 * time.Second)); !v.Start.Equal(epoch.Add(20*time.Second)) || v.Canary.Requests == 0 {
		t.Errorf("begun twice: it starts at %s, with %d requests", v.Start, v.Canary.Requests)
	}
}

// Waiting for hours takes no more memory than waiting for minutes, and what is known of
// the baseline is of the last hour.
func TestWaitingIsCheap(t *testing.T) {
	j, _ := New(prompt(), time.Time{})
	tr := newTraffic(1)
	tr.rate = 5
	size := func() int {
		b, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	var early int
	for s := range maxHistory + halfHistory + 100 {
		tr.second(j, s)
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
		if s == 600 {
			early = size()
		}
	}
	if late := size(); late > 2*early || late > 60_000 {
		t.Errorf("%d bytes after ten minutes, %d after an hour and a half", early, late)
	}
	at := epoch.Add((maxHistory + halfHistory + 100) * time.Second)
	j.Begin(at)
	if v := j.Verdict(at.Add(time.Second)); time.Duration(v.History) < halfHistory*time.Second || time.Duration(v.History) > maxHistory*time.Second {
		t.Errorf("it knows %s of the baseline", v.History)
	}
}

// A guard that was away has seen nothing of the baseline meanwhile: what it knows are the five
// minutes before, and how slow requests cluster in them.
func TestAbsenceIsNoHistory(t *testing.T) {
	j, err := New(prompt(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(1)
	tr.observe = func(s int, o *gatewarden.Observation) { // one instance at a time stalls, for five seconds
		if (s+1000)/5%9 == int(o.Target[len(o.Target)-1]-'0') {
			o.Latency *= 10
		}
	}
	for s := range 300 {
		tr.second(j, s)
		j.Advance(epoch.Add(time.Duration(s+1) * time.Second))
	}
	at := epoch.Add(2 * time.Hour)
	j.Advance(at)
	j.Begin(at)
	for s := 2 * 3600; s < 2*3600+5; s++ {
		tr.second(j, s)
	}
	v := j.Verdict(at.Add(5 * time.Second))
	if h := time.Duration(v.History); h < 5*time.Minute || h > 6*time.Minute+time.Second || j.Tuning.Rank < defaultBlock {
		t.Errorf("it knows %s of the baseline, and ranks are compared in blocks of %d s", h, j.Tuning.Rank)
	}
}

// A log that comes by a slow way is another matter than none.
func TestARunWhoseRecordsComeTooLateSaysSo(t *testing.T) {
	j, err := New(DefaultPolicy(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	for s := range 60 {
		at := epoch.Add(time.Duration(s) * time.Second)
		for _, track := range []gatewarden.Track{Baseline, Canary} {
			j.Add(&gatewarden.Observation{At: at.Add(-17 * time.Second), Track: track, Weight: 1})
		}
		j.Advance(at)
	}
	if v := j.Verdict(epoch.Add(time.Minute)); !strings.Contains(v.Reason, "its records come too late") {
		t.Error(v.Reason)
	}
}

// A name that fits nothing, or a log that does not come, is said.
func TestARunWithoutAnyRequestSaysSo(t *testing.T) {
	j, err := New(DefaultPolicy(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]string{
		2 * time.Second: "has not begun to be judged yet", time.Minute: "no request of either track has come", time.Hour: "no request of either track has come",
	} {
		if v := j.Verdict(epoch.Add(after)); !strings.Contains(v.Reason, want) {
			t.Errorf("after %s: %s", after, v.Reason)
		}
	}
}
