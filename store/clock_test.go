package store

import (
	"fmt"
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

// However the clock is set, every request that is counted stays counted once, in order, and
// where seconds are kept each is in its own.
func TestClocksThatAreSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
		now, off := noon, time.Duration(0)
		seconds, total := map[int64]uint64{}, uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.SampledFrom([]int{1, 7, 60, 4000, 40_000}).Draw(t, "seconds")) * time.Second)
			},
			"set the clock": func(t *rapid.T) {
				off = time.Duration(rapid.SampledFrom([]int{0, 0, 20, 7200, 8 * hour, 40 * hour, 10 * day, -20, -hour, -day}).Draw(t, "ahead")) * time.Second
			},
			"add": func(t *rapid.T) {
				var batch []gatewarden.Record
				for range rapid.IntRange(0, 5).Draw(t, "records") {
					batch = append(batch, request("", "orders", "", now.Add(-time.Duration(rapid.IntRange(0, 200).Draw(t, "ago"))*time.Second)))
				}
				if off < 0 { // they are dropped, and nobody knows which
					batch = nil
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
		restart bool
	}{
		"8 hours, for 75 minutes":          {by: 8 * time.Hour, of: 75 * time.Minute},
		"8 hours, for 75 minutes, restart": {by: 8 * time.Hour, of: 75 * time.Minute, restart: true},
		"2 hours, for 3 hours":             {by: 2 * time.Hour, of: 3 * time.Hour},
		"20 days, for 75 minutes, restart": {by: 20 * day * time.Second, of: 75 * time.Minute, restart: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{}, prometheus.NewRegistry())
			run := func(from time.Time, length, off time.Duration) (end time.Time) {
				for at := from; at.Before(from.Add(length)); at = at.Add(time.Second) {
					now := at.Add(off)
					s.Add([]gatewarden.Record{request("", "orders", "", now)}, now, nil)
					s.Watched(now.Add(-time.Second), now)
				}
				return from.Add(length)
			}
			at := run(noon, 2*time.Hour, 0)
			at = run(at, c.of, c.by)
			if c.restart {
				snapshot, err := s.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				s = New(Config{}, prometheus.NewRegistry())
				if err := s.Restore(snapshot, at); err != nil {
					t.Fatal(err)
				}
			}
			counter := s.Counter(orders, &gatewarden.SLI{})
			at = run(at, 5*time.Minute, 0)
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
