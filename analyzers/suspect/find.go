package suspect

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// How long is remembered, and what is compared: at most the last minutes of a breach with
// at most half an hour before it.
const (
	resolution = 10 * time.Second
	remembered = 40 * time.Minute
	recent     = 5 * time.Minute
	usual      = 30 * time.Minute
)

// tallyKey is a service, as seen from the requests of another.
type tallyKey struct {
	scope   string
	service uint16
}

// bucket is what traces that ended within resolution say of a service.
type bucket struct {
	traces, calls, failed, own uint32
	depth                      uint32  // sum over traces
	self, squares              float64 // sums over traces, of seconds and of their squares
}

func (b *bucket) merge(o *bucket) {
	b.traces += o.traces
	b.calls += o.calls
	b.failed += o.failed
	b.own += o.own
	b.depth += o.depth
	b.self += o.self
	b.squares += o.squares
}

// tally is a ring of buckets.
type tally struct {
	head int64 // number of the newest bucket
	ring [remembered / resolution]bucket
}

func number(at time.Time) int64 { return at.Unix() / int64(resolution/time.Second) }

func (t *tally) add(at time.Time, v *visit) {
	no, size := number(at), int64(len(t.ring))
	if t.head == 0 {
		t.head = no
	}
	for t.head < no { // at most once around
		t.head = max(t.head+1, no-size+1)
		t.ring[t.head%size] = bucket{}
	}
	if no <= t.head-size {
		return
	}
	self := time.Duration(v.self).Seconds()
	t.ring[no%size].merge(&bucket{
		traces: 1, calls: v.calls, failed: v.failed, own: v.own, depth: uint32(v.depth), self: self, squares: self * self,
	})
}

// idle reports whether there is nothing left that anybody would ask for.
func (t *tally) idle(now time.Time) bool { return number(now)-t.head >= int64(len(t.ring)) }

// between adds up the buckets of [from, to).
func (t *tally) between(from, to int64) (sum bucket) {
	size := int64(len(t.ring))
	for no := max(from, t.head-size+1, 0); no < min(to, t.head+1); no++ {
		sum.merge(&t.ring[no%size])
	}
	return sum
}

// compared is a service now and before.
type compared struct {
	service     uint16
	now, before bucket
}

// Find returns the service that a breach seems to come from, and false when none stands
// out: then it is not known, or the traces do not show it.
func (b *Book) Find(q Question) (Suspect, bool) {
	from, to := number(q.From), number(q.At)+1
	begin := max(from, to-int64(recent/resolution))
	var list []compared
	var nowSelf, beforeSelf float64
	for k, t := range b.tally {
		if k.scope != q.Service {
			continue
		}
		c := compared{k.service, t.between(begin, to), t.between(from-int64(usual/resolution), from)}
		nowSelf += c.now.self
		beforeSelf += c.before.self
		if k.service != 0 {
			list = append(list, c)
		}
	}
	causes := [...]Cause{Errors, Time}
	if q.Slow {
		causes = [...]Cause{Time, Errors}
	}
	for _, cause := range causes {
		var found []candidate
		for i := range list {
			c := &list[i]
			s := Suspect{Service: b.names[c.service], Cause: cause, Now: shareOf(&c.now, cause, nowSelf), Before: shareOf(&c.before, cause, beforeSelf)}
			if cause == Errors && c.fails() || cause == Time && c.takes(s.Now.Ratio, s.Before.Ratio) {
				found = append(found, candidate{s, c.now.meanDepth()})
			}
		}
		if len(found) > 0 {
			return slices.MaxFunc(found, candidate.compare).Suspect, true
		}
	}
	return Suspect{}, false
}

// candidate is a service whose share has risen.
type candidate struct {
	Suspect
	depth int
}

// compare says which of two is the likelier one: the deeper, then the one that rose more.
func (c candidate) compare(o candidate) int {
	return cmp.Or(
		cmp.Compare(c.depth, o.depth),
		cmp.Compare(c.Now.Ratio-c.Before.Ratio, o.Now.Ratio-o.Before.Ratio),
		cmp.Compare(o.Service, c.Service),
	)
}

func (b *bucket) meanDepth() int { return int(math.Round(ratio(float64(b.depth), float64(b.traces)))) }

func shareOf(b *bucket, cause Cause, allSelf float64) Share {
	s := Share{Calls: uint64(b.calls), Failed: uint64(b.failed)}
	if cause == Time {
		s.Ratio = ratio(b.self, allSelf)
		s.Self = time.Duration(ratio(b.self, float64(b.traces)) * float64(time.Second))
	} else {
		s.Ratio = ratio(float64(b.failed), float64(b.calls))
	}
	return s
}

func ratio(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

// What a rise must be to be worth a word, and how sure.
const (
	fewest      = 10   // calls now; twice as many before
	leastRise   = 0.01 // of the share of failures, on top of twice what it was
	chance      = 1e-5 // of so many failures, were the share what it was
	leastShift  = 0.05 // of the share of the time
	leastFactor = 1.5  // of the time in each trace
	deviations  = 4    // between the times before and now
)

// fails reports whether the service fails more often by itself than before. Its share of
// before is taken to be as high as it may well have been: two deviations above what was seen.
func (c *compared) fails() bool {
	now, before := ratio(float64(c.now.own), float64(c.now.calls)), ratio(float64(c.before.own), float64(c.before.calls))
	if c.now.calls < fewest || c.before.calls < 2*fewest || now < 2*before+leastRise {
		return false
	}
	n := float64(c.before.calls)
	high := min(before+2*math.Sqrt(before*(1-before)/n)+1/n, 1)
	return stats.BinomialTail(uint64(c.now.own), uint64(c.now.calls), high) < chance
}

// takes reports whether more of the time goes by in the service than before, and more time
// in each trace: where others have become faster, its share rises too.
func (c *compared) takes(now, before float64) bool {
	if c.now.traces < fewest || c.before.traces < 2*fewest || now < before+leastShift {
		return false
	}
	mean, was := c.now.self/float64(c.now.traces), c.before.self/float64(c.before.traces)
	if mean < leastFactor*was {
		return false
	}
	return mean-was >= deviations*math.Sqrt(c.now.variance()+c.before.variance())
}

// variance returns that of the mean time.
func (b *bucket) variance() float64 {
	n := float64(b.traces)
	mean := b.self / n
	return max(b.squares/n-mean*mean, 0) / n
}
