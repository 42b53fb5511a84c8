package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// ever is a time of the clock to which nothing that a test counts is of the future.
var ever = noon.AddDate(100, 0, 0)

var orders = gatewarden.Series{Service: "orders"}

// each returns how many requests of orders there were in each of the seconds from one on.
func each(s *Store, from time.Time, seconds int) []uint64 {
	counts, good := make([]gatewarden.Count, seconds), make([]uint64, seconds)
	s.Counter(orders, &gatewarden.SLI{}).Revise(from, counts)
	for i, n := range counts {
		good[i] = n.Good
	}
	return good
}

// hold makes a store believe its clock, which has shown that time for a minute.
func hold(s *Store, now time.Time) {
	s.Add(nil, now.Add(-holdFor*time.Second), nil)
	s.Add(nil, now, nil)
}

// run lets requests come once a second, by a clock of this machine's, and Kong's, that is off.
func run(s *Store, from time.Time, length, off time.Duration) (end time.Time) {
	for at := from; at.Before(from.Add(length)); at = at.Add(time.Second) {
		if at.Second() == 0 {
			s.Drain() // what nobody asks for need not pile up
		}
		now := at.Add(off)
		s.Add([]gatewarden.Record{request("", "orders", "", now)}, now, nil)
		s.Watched(now.Add(-time.Second), now)
	}
	return from.Add(length)
}

// restarted returns a store with what a snapshot and the messages after it hold.
func restarted(t testing.TB, snapshot []byte, log [][]byte, now time.Time) *Store {
	t.Helper()
	s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	if err := s.Restore(snapshot, now); err != nil {
		t.Fatal(err)
	}
	for _, message := range log {
		if err := s.Apply(message, now); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// snapshotOf returns a snapshot of a store.
func snapshotOf(t testing.TB, s *Store) []byte {
	t.Helper()
	snapshot, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// A clock that was hours ahead, here or at another guard, leaves nothing behind: seconds are
// counted as seconds as soon as it is right again.
func TestAClockThatWasAheadDoesNotSpoilTheSeconds(t *testing.T) {
	ahead := noon.Add(8 * time.Hour)
	begin := func() *Store { return New(Config{KeepDeltas: true}, prometheus.NewRegistry()) }
	second := func(s *Store, i int) {
		at := noon.Add(time.Duration(i) * time.Second)
		for range i%7 + 1 {
			s.Add([]gatewarden.Record{request("", "orders", "", at)}, at, nil)
		}
	}
	for name, c := range map[string]func(s *Store) *Store{
		"nothing was counted before": func(s *Store) *Store { hold(s, ahead); return s },
		"ten minutes were counted before": func(s *Store) *Store {
			for i := range 600 {
				at := noon.Add(time.Duration(i-600) * time.Second)
				s.Add([]gatewarden.Record{request("", "orders", "", at)}, at, nil)
			}
			for range 3 { // each looks after another series
				hold(s, ahead)
			}
			return s
		},
		"it was restarted when the clock was right": func(s *Store) *Store {
			s.Add([]gatewarden.Record{request("", "orders", "", noon.Add(-time.Minute))}, ahead, nil)
			snapshot, err := s.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			s = begin()
			if err := s.Restore(snapshot, noon.Add(-time.Minute)); err != nil {
				t.Fatal(err)
			}
			return s
		},
		"another guard's was": func(s *Store) *Store {
			other := begin()
			other.Add([]gatewarden.Record{request("", "orders", "", noon.Add(-time.Minute))}, ahead, nil)
			if err := s.Apply(other.Drain(), noon); err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := c(begin())
			hold(s, noon)
			for i := range 6 {
				second(s, i)
			}
			check := func(s *Store) {
				t.Helper()
				if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6}, each(s, noon, 6)); diff != "" {
					t.Errorf("requests of the seconds from noon on (-want +got):\n%s", diff)
				}
			}
			check(s)
			now := noon.Add(6 * time.Second)
			snapshot, err := s.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			again := begin()
			if err := again.Restore(snapshot, now); err != nil {
				t.Fatal(err)
			}
			again.Add(nil, now, nil)
			check(again)
		})
	}
}

// However far ahead the clock is set, and however wrong it is for a moment, every request that
// is counted stays counted once, in order, and where seconds are kept each is in its own.
func TestClocksThatAreSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
		now, off := noon, time.Duration(0)
		s.Add(nil, now, nil)
		seconds, total := map[int64]uint64{}, uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.SampledFrom([]int{1, 7, 60, 4000, 40_000}).Draw(t, "seconds")) * time.Second)
			},
			"set the clock": func(t *rapid.T) {
				off = time.Duration(rapid.SampledFrom([]int{0, 0, 20, 7200, 8 * hour, 40 * hour, 10 * day}).Draw(t, "ahead")) * time.Second
			},
			"a moment": func(t *rapid.T) {
				for range rapid.IntRange(1, 3).Draw(t, "instants") {
					wrong := rapid.SampledFrom([]int{-120 * day, -day, -8 * hour, -hour, -20, 7200, 8 * hour, 40 * hour, 120 * day, 200 * day}).Draw(t, "wrong by")
					s.Add(nil, now.Add(off+time.Duration(wrong)*time.Second), nil)
				}
				s.Add(nil, now.Add(off), nil)
			},
			"add": func(t *rapid.T) {
				var batch []gatewarden.Record
				for range rapid.IntRange(0, 5).Draw(t, "records") {
					batch = append(batch, request("", "orders", "", now.Add(-time.Duration(rapid.IntRange(0, 200).Draw(t, "ago"))*time.Second)))
				}
				if a := s.Add(batch, now.Add(off), nil); a.Counted != len(batch) {
					t.Fatalf("of %d records at %s, by a clock that is off by %s: %+v", len(batch), now, off, a)
				}
				for i := range batch {
					seconds[batch[i].At.Unix()]++
					total++
				}
			},
			"restart": func(t *rapid.T) {
				snapshot, err := s.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				s = New(Config{KeepDeltas: true}, prometheus.NewRegistry())
				if err := s.Restore(snapshot, now.Add(off)); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				in := s.book.series[orders]
				if in == nil {
					return
				}
				if err := inOrder(in); err != nil {
					t.Fatal(err)
				}
				if n := s.Count(orders, &gatewarden.SLI{}, noon.AddDate(0, 0, -80), noon.AddDate(1, 0, 0)); n.Good != total {
					t.Fatalf("%d requests are counted of %d", n.Good, total)
				}
				from := max(in.shelves[0], s.cal.horizon(0), now.Unix()-300)
				for i, n := range each(s, time.Unix(from, 0), int(max(now.Unix()-from+1, 0))) {
					if want := seconds[from+int64(i)]; n != want {
						t.Fatalf("%d requests in second %d before %s, want %d", n, now.Unix()-from-int64(i), now, want)
					}
				}
			},
		})
	})
}

// A clock that is wrong for a moment, even by years, makes nothing coarser and drops nothing.
func TestAClockThatIsWrongForAMoment(t *testing.T) {
	for name, c := range map[string]struct {
		off  time.Duration
		kong bool // it is Kong's too
	}{
		"ahead":             {off: 120 * day * time.Second},
		"ahead, Kong's too": {off: 120 * day * time.Second, kong: true},
		"behind":            {off: -120 * day * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{}, prometheus.NewRegistry())
			at := noon.Add(-20 * day * time.Second)
			for ; at.Before(noon); at = at.Add(time.Hour) {
				s.Add([]gatewarden.Record{request("", "orders", "", at)}, at, nil)
			}
			for i := range 300 {
				at = noon.Add(time.Duration(i) * time.Second)
				now, completed := at, at
				if i >= 200 && i < 250 {
					now = now.Add(c.off)
				}
				if c.kong {
					completed = now
				}
				s.Add([]gatewarden.Record{request("", "orders", "", completed)}, now, nil)
			}
			if n := s.Count(orders, &gatewarden.SLI{}, noon.AddDate(0, 0, -25), noon).Good; n != 20*24 {
				t.Errorf("of the 480 requests of 20 days %d are left", n)
			}
			if diff := cmp.Diff([]uint64{1, 1, 1, 1, 1, 1}, each(s, noon.Add(194*time.Second), 6)); diff != "" {
				t.Errorf("requests of the seconds before (-want +got):\n%s", diff)
			}
			if at := s.cal.head; at != noon.Unix()+299 {
				t.Errorf("the latest second is %d after the last one", at-noon.Unix()-299)
			}
		})
	}
}

// A clock that is wrong at one instant, or at two, drops nothing, however seldom something comes.
func TestAClockThatIsWrongAtAnInstant(t *testing.T) {
	const days = 20
	for name, c := range map[string]struct {
		every time.Duration // something comes
		wrong []int         // seconds, one after the other
	}{
		"ahead":                               {every: time.Hour, wrong: []int{120 * day}},
		"ahead, and seldom something comes":   {every: 2 * time.Hour, wrong: []int{120 * day}},
		"ahead, and once further":             {every: time.Hour, wrong: []int{2 * hour, 200 * day}},
		"ahead, further, and seldom":          {every: 3 * time.Hour, wrong: []int{100 * day, 200 * day}},
		"behind, and seldom something comes":  {every: 2 * time.Hour, wrong: []int{-120 * day}},
		"behind, and once less":               {every: time.Hour, wrong: []int{-120 * day, -2 * hour}},
		"behind by as much as there was calm": {every: 2 * time.Hour, wrong: []int{-2 * hour}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, when := range []int{1, 2, 3, 100, days*24*int(time.Hour)/int(c.every) - 1} {
				s := New(Config{}, prometheus.NewRegistry())
				begin, n := noon.AddDate(0, 0, -days), uint64(0)
				for at := begin; at.Before(noon); at = at.Add(c.every) {
					s.Add([]gatewarden.Record{request("", "orders", "", at)}, at, nil)
					if int(n) == when {
						for _, wrong := range c.wrong {
							s.Add(nil, at.Add(time.Duration(wrong)*time.Second), nil)
						}
					}
					n++
				}
				run(s, noon, 2*time.Minute, 0)
				if got := s.Count(orders, &gatewarden.SLI{}, begin, noon).Good; got != n {
					t.Fatalf("of %d requests %d are left, when the clock was wrong after %d of them", n, got, when+1)
				}
				if s.cal.head != noon.Unix()+119 {
					t.Fatalf("the latest second is %d after the last one", s.cal.head-noon.Unix()-119)
				}
			}
		})
	}
}

// A long silence looks like a clock that has leapt ahead: one that is then behind by as much, for
// less than a minute, drops nothing, also when it is that of a machine that has just started.
func TestAClockThatIsBehindAfterALongSilence(t *testing.T) {
	const behind = -8 * time.Hour
	for name, c := range map[string]func(s *Store, at time.Time) *Store{
		"at one instant":   func(s *Store, at time.Time) *Store { s.Add(nil, at.Add(behind), nil); return s },
		"for half minute":  func(s *Store, at time.Time) *Store { run(s, at.Add(-30*time.Second), 30*time.Second, behind); return s },
		"after a restart":  func(s *Store, at time.Time) *Store { return restarted(t, snapshotOf(t, s), nil, at.Add(behind)) },
		"after it, by all": func(s *Store, at time.Time) *Store { return restarted(t, snapshotOf(t, s), nil, time.Unix(0, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{}, prometheus.NewRegistry())
			at := run(s, noon, time.Hour, 0).Add(-behind)
			at = run(s, at, 3*time.Hour, 0)
			s = c(s, at)
			end := run(s, at, 5*time.Minute, 0)
			if n := s.Count(orders, &gatewarden.SLI{}, at.Add(-3*time.Hour), at).Good; n < 3*hour {
				t.Errorf("of %d requests %d are left", 3*hour, n)
			}
			if diff := cmp.Diff([]uint64{1, 1, 1, 1, 1, 0, 0}, each(s, end.Add(-5*time.Second), 7)); diff != "" {
				t.Errorf("requests of the last seconds and the next ones (-want +got):\n%s", diff)
			}
		})
	}
}

// A clock that was behind for long, and is set right, was not ahead: that it is behind again, by
// as much, drops nothing.
func TestAClockThatIsBehindAgain(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	at := run(s, noon, 2*time.Hour, 0)
	for range 2 {
		for i := range 300 { // Kong's clock is right: what it says is of the future
			s.Add(nil, at.Add(time.Duration(i)*time.Second-hour*time.Second*3/2), nil)
		}
		at = run(s, at.Add(5*time.Minute), 5*time.Minute, 0)
	}
	if n := s.Count(orders, &gatewarden.SLI{}, noon, at).Good; n != 2*hour+600 {
		t.Errorf("of %d requests %d are left", 2*hour+600, n)
	}
}

// A clock that is behind for a moment is not believed because another guard's is behind for long.
func TestNobodyElsesClockIsBelieved(t *testing.T) {
	s, other := New(Config{}, prometheus.NewRegistry()), New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	s.Add(nil, noon, nil)
	s.Add(nil, noon.Add(-8*time.Hour), nil)
	for i := range 2 * holdFor {
		now := noon.Add(time.Duration(i) * time.Second)
		run(other, now.Add(-8*time.Hour), time.Second, 0)
		if err := s.Apply(other.Drain(), now); err != nil {
			t.Fatal(err)
		}
	}
	if known := s.cal.known(); known != noon.Unix() {
		t.Errorf("the latest second that is believed is %d after the one that was", known-noon.Unix())
	}
}

// A leap is undone once, whatever small steps come in between.
func TestALeapIsUndoneOnce(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	at := run(s, noon, time.Hour, 0)
	at = run(s, at, 5*time.Minute, 8*time.Hour)
	at = run(s, at, 5*time.Minute, 8*time.Hour-2*time.Minute)
	at = run(s, at, 5*time.Minute, 0)
	if n := s.Count(orders, &gatewarden.SLI{}, at, at.AddDate(0, 0, 1)); n.Total() != 0 {
		t.Errorf("at times that have not come: %+v", n)
	}
	if run(s, at, 5*time.Minute, -8*time.Hour); s.Count(orders, &gatewarden.SLI{}, noon, at).Good != hour+300 {
		t.Errorf("a clock that was set back from the right time has dropped %d", hour+300-s.Count(orders, &gatewarden.SLI{}, noon, at).Good)
	}
}

// A snapshot that is under way when a leap is undone holds both, or neither.
func TestALeapIsUndoneDuringASnapshot(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	at := run(s, noon, time.Hour, 0)
	at = run(s, at, 5*time.Minute, 8*time.Hour)
	common, all := s.begin()
	at = run(s, at, 90*time.Second, 0)
	for _, one := range all {
		s.saving.save(one)
	}
	snapshot, err := pack(slices.Concat(common, s.saving.out.b))
	if err != nil {
		t.Fatal(err)
	}
	s = restarted(t, snapshot, nil, at)
	at = run(s, at, 90*time.Second, 0)
	if n := s.Count(orders, &gatewarden.SLI{}, at, at.AddDate(0, 0, 1)); n != (gatewarden.Count{}) {
		t.Errorf("at times that have not come: %+v", n)
	}
}

// What a Counter remembers of windows by a clock that was ahead is not what it says of them when
// their time has come.
func TestACounterForgetsWhatItKnewByAnotherClock(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	counter, window, got := s.Counter(orders, &gatewarden.SLI{}), []time.Duration{6 * time.Hour}, make([]gatewarden.Count, 1)
	at := run(s, noon, time.Hour, 0)
	at = run(s, at, 5*time.Minute, 8*time.Hour)
	end := at.Add(8 * time.Hour)
	counter.Until(end, window, got)
	hold(s, at.Add(time.Minute))
	for at = at.Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
		run(s, at, time.Second, 0)
	}
	counter.Until(end, window, got)
	if want := s.Count(orders, &gatewarden.SLI{}, end.Add(-window[0]), end); got[0] != want {
		t.Errorf("it says %+v, want %+v", got[0], want)
	}
}

// What is counted long ago, by a clock that is behind for a moment, is late: who remembers how many
// there were must ask again.
func TestWhatIsCountedWhileTheClockIsBehindIsLate(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	counter := s.Counter(orders, &gatewarden.SLI{})
	at := run(s, noon, time.Hour, 0)
	before := counter.Late()
	run(s, at, time.Second, -8*time.Hour)
	if late := counter.Late() - before; late != 1 {
		t.Errorf("%d times something late was counted, want once", late)
	}
}

// What a meter that is loaded while the clock is behind for a moment did not count, it does not
// say it did.
func TestAMeterThatComesWhileTheClockIsBehind(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	at := run(s, noon, time.Hour, 0)
	sli := gatewarden.SLI{Kind: gatewarden.SLILatency, Of: gatewarden.OfUpstream, Threshold: time.Second}
	s.Add(nil, at.Add(-8*time.Hour), nil)
	s.Watched(at.Add(-40*time.Hour), at)
	s.Configure([]Meter{{Series: orders, SLI: sli}, {Series: orders, SLI: slow(time.Second)}})
	at = run(s, at, time.Minute, 0)
	guessed := slow(time.Second)
	if n := s.Count(orders, &guessed, at.Add(-40*time.Hour), at); n.Coverage > 28.0/40 {
		t.Errorf("of 40 hours %.1f are covered by latencies, which are kept for 27 at most", n.Coverage*40)
	}
	if n := s.Count(orders, &sli, at.Add(-2*time.Minute), at); n.Coverage != 59.0/120 {
		t.Errorf("of the last two minutes it covers %.3f, want the 59 s that were watched since", n.Coverage)
	}
}

// A batch that has waited for the lock says nothing of the clock.
func TestABatchThatHasWaited(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	s.Add(nil, noon, nil)
	era := s.book.era
	for i := range 100 {
		now := noon.Add(time.Duration(i) * time.Second)
		s.Add(nil, now.Add(15*time.Second), nil)
		s.Add(nil, now, nil)
	}
	if s.cal.head != noon.Unix()+99+15 || s.book.era != era {
		t.Errorf("the latest second is noon + %d, and %d times all was thought to have changed", s.cal.head-noon.Unix(), s.book.era-era)
	}
}

// A machine whose clock is ahead has what it says itself at times that have not come. When it is
// set back they are dropped, and nothing is in the way of the seconds that come.
func TestAClockThatWasAheadHereAndAtKong(t *testing.T) {
	for name, c := range map[string]struct {
		by, of  time.Duration
		moment  time.Duration // by which it was ahead before, for half a minute
		restart time.Duration // after it was set back; 0 for none
		crash   bool          // the last snapshot is of before that
	}{
		"8 hours, for 75 minutes":                      {by: 8 * time.Hour, of: 75 * time.Minute},
		"8 hours, and further for a moment before":     {by: 8 * time.Hour, of: 75 * time.Minute, moment: 120 * day * time.Second},
		"8 hours, restart":                             {by: 8 * time.Hour, of: 75 * time.Minute, restart: time.Nanosecond},
		"8 hours, restart when it is not believed yet": {by: 8 * time.Hour, of: 75 * time.Minute, restart: 40 * time.Second},
		"8 hours, restart when it is believed":         {by: 8 * time.Hour, of: 75 * time.Minute, restart: 90 * time.Second},
		"8 hours, crash when it is not believed yet":   {by: 8 * time.Hour, of: 75 * time.Minute, restart: 40 * time.Second, crash: true},
		"8 hours, crash when it is believed":           {by: 8 * time.Hour, of: 75 * time.Minute, restart: 90 * time.Second, crash: true},
		"2 hours, for 3 hours":                         {by: 2 * time.Hour, of: 3 * time.Hour},
		"20 days, restart":                             {by: 20 * day * time.Second, of: 75 * time.Minute, restart: time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
			at := run(s, noon, 2*time.Hour, 0)
			if c.moment > 0 {
				at = run(s, at, 30*time.Second, c.moment)
				at = run(s, at, time.Hour, 0)
			}
			at = run(s, at, c.of, c.by)
			if c.restart > 0 {
				snapshot, log := snapshotOf(t, s), [][]byte(nil)
				at = run(s, at, 10*time.Second, c.by)
				for end := at.Add(c.restart - time.Nanosecond); at.Before(end); log = append(log, s.Drain()) {
					at = run(s, at, time.Second, 0)
				}
				if !c.crash {
					snapshot, log = snapshotOf(t, s), nil
				}
				s = restarted(t, snapshot, log, at)
			}
			counter := s.Counter(orders, &gatewarden.SLI{})
			at = run(s, at, 5*time.Minute, 0)
			if diff := cmp.Diff([]uint64{1, 1, 1, 1, 1, 0, 0}, each(s, at.Add(-5*time.Second), 7)); diff != "" {
				t.Errorf("requests of the last seconds and the next ones (-want +got):\n%s", diff)
			}
			if n := counter.Count(at.Add(-6*time.Second), at.Add(-time.Second)); n.Good != 5 || n.Coverage != 1 {
				t.Errorf("in five seconds: %+v", n)
			}
			if step, _ := counter.Step(at.Add(-5 * time.Second)); step != time.Second {
				t.Errorf("they are counted in steps of %s", step)
			}
			if n := s.Count(orders, &gatewarden.SLI{}, at, at.AddDate(2, 0, 0)); n.Total() != 0 || n.Coverage != 0 {
				t.Errorf("at times that have not come: %+v", n)
			}
			if w := s.Window(orders, at, at.AddDate(2, 0, 0)); w.Latency.Count() != 0 {
				t.Errorf("%d latencies at times that have not come", w.Latency.Count())
			}
			if err := inOrder(s.book.series[orders]); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is dropped from a second on is all that was counted then, and nothing else.
func TestWhatIsDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Config{}, prometheus.NewRegistry())
		sli := slow(50 * time.Millisecond)
		s.Configure([]Meter{{Series: orders, SLI: sli}})
		at := noon
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.SampledFrom([]int{1, 1, 9, 50, 700, 3000}).Draw(t, "seconds")) * time.Second)
			r := request("", "orders", "", at)
			r.Weight = rapid.SampledFrom([]uint32{1, 3, 300, 70_000}).Draw(t, "weight")
			s.Add([]gatewarden.Record{r}, at, nil)
		}
		from := noon.Add(time.Duration(rapid.Int64Range(0, at.Unix()-noon.Unix()+10).Draw(t, "from")) * time.Second)
		from = time.Unix(s.cal.round(from.Unix()), 0)
		begin, end := noon.Add(-time.Hour), at.Add(time.Hour)
		kept := s.Count(orders, &sli, begin, from)
		s.drop(from.Unix())
		if n := s.Count(orders, &sli, begin, from); n != kept {
			t.Fatalf("before what was dropped there were %+v, and are %+v", kept, n)
		}
		if n := s.Count(orders, &sli, begin, end); n.Good != kept.Good || n.Bad != kept.Bad {
			t.Fatalf("there are %+v, want %+v and nothing later", n, kept)
		}
		if err := inOrder(s.book.series[orders]); err != nil {
			t.Fatal(err)
		}
		s.Add([]gatewarden.Record{request("", "orders", "", at)}, at, nil)
		if n := s.Count(orders, &sli, begin, end); n.Total() != kept.Total()+1 {
			t.Fatalf("and after one more %+v", n)
		}
	})
}

// inOrder reports what is wrong with the columns of a series: the chunks of all levels, from
// the coarsest on, must follow each other in time and in what they have counted.
func inOrder(s *series) error {
	for k, c := range s.counts {
		if c == nil {
			continue
		}
		last, sum := int64(0), uint64(0)
		for l := coarsest; l >= 0; l-- {
			for i := range c.levels[l] {
				ch := &c.levels[l][i]
				begin := int64(ch.no) * chunkWidth(l)
				for slot := range slotsPerChunk {
					at := begin + int64(slot)*slotWidth(l)
					n := ch.upTo(slot)
					if slot > 0 {
						n -= ch.upTo(slot - 1)
					}
					if n > 0 && at < last {
						return fmt.Errorf("class %d, level %d: events at %d, behind those before %d", k, l, at, last)
					}
					if n > 0 {
						last = at + slotWidth(l)
					}
				}
				if ch.base != sum {
					return fmt.Errorf("class %d, level %d, chunk %d: %d events before it, it says %d", k, l, ch.no, sum, ch.base)
				}
				sum += ch.sum()
			}
		}
		if sum != c.total {
			return fmt.Errorf("class %d: %d events in the chunks, %d in all", k, sum, c.total)
		}
	}
	return nil
}
