package burnrate

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// reviseFor is how long after its end a slice is judged again at each tick, for
// records that arrive late.
const reviseFor = 2 * time.Minute

// timeslices counts slices of time: one is good when at least the objective of its
// requests are. A slice without requests is no event; one that has not ended yet
// isn't either. Slices begin at multiples of their length since the Unix epoch.
//
// The outcomes are kept as running totals, 8 bytes a slice: 340 KB for minutes of 30
// days. The first look judges all slices of the window, which is one Count each;
// where the store keeps history in coarser steps than a slice, the slices in such a
// step get its mean.
type timeslices struct {
	requests  Counter
	length    time.Duration
	objective float64
	totals    []total   // totals[i % len] is of all slices before i
	end       int64     // index of the first slice that has not ended
	looked    time.Time // the instant of the last advance
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
		totals: make([]total, int64(longest/length)+2),
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
	start := s.end - int64((reviseFor+s.length-1)/s.length)
	if end < s.end || end-start > kept {
		start = end - kept // the first look, a long pause, a clock set back
		*s.at(start) = total{}
	}
	for i := start; i < end; i++ {
		next := *s.at(i)
		c := s.requests.Count(time.Unix(0, i*int64(s.length)), time.Unix(0, (i+1)*int64(s.length)))
		switch {
		case c.Total() == 0:
		case float64(c.Good) >= s.objective*float64(c.Total())*(1-1e-12):
			next.good++
		default:
			next.bad++
		}
		*s.at(i + 1) = next
	}
	s.end = end
}

func (s *timeslices) at(i int64) *total { return &s.totals[i%int64(len(s.totals))] }
