package burnrate

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// reviseFor is how long after its end a slice is judged again at each tick, for
	// records that arrive late.
	reviseFor = 2 * time.Minute
	// checkEvery is how often it is looked whether the slices before that have got more
	// events: a source that was away catches up, or fills in the past.
	checkEvery = time.Minute
	// groupSpan is of how much time the events of slices are compared at once: counts are
	// exact to the second about so far back, and whole hours at any age.
	groupSpan = time.Hour
)

// timeslices counts slices of time: one is good when at least the objective of its
// requests are. A slice without requests is no event; one that has not ended yet
// isn't either. Slices begin at multiples of their length since the Unix epoch.
//
// The outcomes are kept as running totals, 8 bytes a slice: 340 KB for minutes of 30
// days. The first look judges all slices of the window, which is one Count each;
// where the store keeps history in coarser steps than a slice, the slices in such a
// step get its mean. Slices that get more events later are judged again, an hour of
// them at a time, and no others: those know better than coarse steps do.
type timeslices struct {
	requests  Counter
	length    time.Duration
	objective float64
	totals    []total   // totals[i % len] is of all slices before i
	end       int64     // index of the first slice that has not ended
	looked    time.Time // the instant of the last advance

	group   int64     // slices in a group
	events  []uint64  // events[g % len] is how many group g had at the last check
	checked time.Time // the instant of that
	late    uint32    // what Late said then
}

// total counts slices; differences of two are right even after an overflow.
type total struct{ good, bad uint32 }

func newTimeslices(slo *gatewarden.SLO, requests Counter) *timeslices {
	length := max(slo.Timeslice.Truncate(time.Second), time.Second)
	longest := slo.Window.Length()
	if slo.Window.Calendar != "" {
		longest += 3 * 24 * time.Hour // a month of 31 days, a leap year, an hour of daylight saving
	}
	for _, p := range slo.Pairs {
		longest = max(longest, p.Long, p.Short)
	}
	longest = max(longest, recentWindow(slo))
	slices, group := int64(longest/length)+2, max(int64(groupSpan/length), 1)
	return &timeslices{
		requests: requests, length: length, objective: slo.TimesliceObjective,
		totals: make([]total, slices), group: group, events: make([]uint64, slices/group+2),
	}
}

// Count counts the whole slices of [from, to) that have ended, as many as fit.
func (s *timeslices) Count(from, to time.Time) gatewarden.Count {
	s.advance(to)
	n := min(int64(to.Sub(from)/s.length), int64(len(s.totals))-1)
	first, last := s.at(s.end-n), s.at(s.end)
	return gatewarden.Count{
		Good:     uint64(last.good - first.good),
		Bad:      uint64(last.bad - first.bad),
		Coverage: s.requests.Count(from, to).Coverage,
	}
}

// Until counts windows one by one, each as Count does.
func (s *timeslices) Until(to time.Time, lengths []time.Duration, counts []gatewarden.Count) {
	for i, length := range lengths {
		counts[i] = s.Count(to.Add(-length), to)
	}
}

// advance judges the slices that have ended since the last look, and again those
// that may have changed.
func (s *timeslices) advance(to time.Time) {
	if to.Equal(s.looked) {
		return
	}
	s.looked = to
	end := to.UnixNano() / int64(s.length)
	kept := int64(len(s.totals)) - 1
	oldest := end - kept
	start := s.end - int64((reviseFor+s.length-1)/s.length)
	if end < s.end || start < oldest { // the first look, a long pause, a clock set back
		start = oldest
		*s.at(start) = total{}
		clear(s.events)
		s.checked = time.Time{}
	}
	first, again := start, map[int64]bool(nil)
	if to.Sub(s.checked) >= checkEvery {
		again = s.check(to, oldest, start, end)
		for g := range again {
			first = min(first, max(g*s.group, oldest))
		}
	}
	next := *s.at(first)
	was := next
	for i := first; i < end; i++ {
		before := was
		was = *s.at(i + 1)
		if i >= start || again[i/s.group] {
			next = s.judge(next, i)
		} else {
			next.good, next.bad = next.good+was.good-before.good, next.bad+was.bad-before.bad
		}
		*s.at(i + 1) = next
	}
	s.end = end
}

// judge adds slice i to a total.
func (s *timeslices) judge(t total, i int64) total {
	from, to := s.begin(i), s.begin(i+1)
	if step := s.requests.Step(from); step > s.length {
		from = time.Unix(0, from.UnixNano()/int64(step)*int64(step))
		to = from.Add(step)
	}
	c := s.requests.Count(from, to)
	switch {
	case c.Total() == 0:
	case float64(c.Good) >= s.objective*float64(c.Total())*(1-1e-12):
		t.good++
	default:
		t.bad++
	}
	return t
}

// check returns the groups that have got more events since the last check: of the last two,
// those that are judged now, and all when the Counter says that what is older has changed.
func (s *timeslices) check(to time.Time, oldest, start, end int64) map[int64]bool {
	newest := end / s.group
	from := min(newest-1, start/s.group)
	if late := s.requests.Late(); late != s.late {
		s.late, from = late, oldest/s.group
	}
	s.checked = to
	more := map[int64]bool{}
	for g := from; g <= newest; g++ {
		seen := &s.events[g%int64(len(s.events))]
		n := s.requests.Count(s.begin(g*s.group), s.begin((g+1)*s.group)).Total()
		if n > *seen {
			more[g] = true
		}
		*seen = n
	}
	return more
}

// begin returns when slice i begins.
func (s *timeslices) begin(i int64) time.Time { return time.Unix(0, i*int64(s.length)) }

func (s *timeslices) at(i int64) *total { return &s.totals[i%int64(len(s.totals))] }
