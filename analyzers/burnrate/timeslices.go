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
	// hour is of how much time the events are compared at once: counts are exact to the second
	// about so far back, and those of the Counter's whole hours at any age.
	hour = time.Hour
)

// timeslices counts slices of time: one is good when at least the objective of its
// requests are. A slice without requests is no event; one that has not ended yet
// isn't either. Slices begin at multiples of their length since the Unix epoch.
//
// The outcomes are kept as running totals, 8 bytes a slice: 340 KB for minutes of 30
// days. The first look judges all slices of the window, which is one Count each;
// where the store keeps history in coarser steps than a slice, the slices in such a
// step get its mean. Slices of an hour that gets more events later are judged again, and no
// others: those know better than coarse steps do.
type timeslices struct {
	requests  Counter
	length    time.Duration
	objective float64
	totals    []total   // totals[i % len] is of all slices before i
	end       int64     // index of the first slice that has not ended
	looked    time.Time // the instant of the last advance

	events  []uint64      // events[h % len] is how many hour h had at the last check
	checked time.Time     // the instant of that
	late    uint32        // what Late said then
	offset  time.Duration // of the Counter's hours
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
	return &timeslices{
		requests: requests, length: length, objective: slo.TimesliceObjective,
		totals: make([]total, longest/length+2), events: make([]uint64, (longest+2*length)/hour+3),
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
		s.checked = time.Time{}
	}
	first, again := start, map[int64]bool(nil)
	if to.Sub(s.checked) >= checkEvery {
		again = s.check(to, oldest, start)
		for h := range again {
			first = min(first, max(s.begins(h).UnixNano()/int64(s.length), oldest))
		}
	}
	next := *s.at(first)
	was := next
	for i := first; i < end; i++ {
		before := was
		was = *s.at(i + 1)
		if i >= start || s.within(again, i) {
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
	if step, offset := s.requests.Step(from); step > s.length {
		middle := from.Add(s.length/2 - offset).UnixNano()
		from = time.Unix(0, middle/int64(step)*int64(step)).Add(offset)
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

// check returns the hours that have got more events since the last check: of the last two,
// those that are judged now, and all when the Counter says that what is older has changed.
func (s *timeslices) check(to time.Time, oldest, start int64) map[int64]bool {
	_, offset := s.requests.Step(to)
	known := offset == s.offset // else the hours are others than those compared before
	s.checked, s.offset = to, offset
	newest := s.hour(to)
	from := min(newest-1, s.hour(s.begin(start)))
	if late := s.requests.Late(); late != s.late || !known {
		s.late, from = late, s.hour(s.begin(oldest))
	}
	more := map[int64]bool{}
	for h := from; h <= newest; h++ {
		seen := &s.events[h%int64(len(s.events))]
		n := s.requests.Count(s.begins(h), s.begins(h+1)).Total()
		if n > *seen && known {
			more[h] = true
		}
		*seen = n
	}
	return more
}

// hour returns in which of the Counter's hours an instant is.
func (s *timeslices) hour(at time.Time) int64 { return at.Add(-s.offset).UnixNano() / int64(hour) }

// begins returns when an hour does.
func (s *timeslices) begins(h int64) time.Time { return time.Unix(0, h*int64(hour)).Add(s.offset) }

// within reports whether a part of slice i is in one of the hours.
func (s *timeslices) within(hours map[int64]bool, i int64) bool {
	if len(hours) == 0 {
		return false
	}
	for h := s.hour(s.begin(i)); h <= s.hour(s.begin(i+1).Add(-1)); h++ {
		if hours[h] {
			return true
		}
	}
	return false
}

// begin returns when slice i begins.
func (s *timeslices) begin(i int64) time.Time { return time.Unix(0, i*int64(s.length)) }

func (s *timeslices) at(i int64) *total { return &s.totals[i%int64(len(s.totals))] }
