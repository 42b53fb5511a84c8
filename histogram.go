package gatewarden

import (
	"math/bits"
	"time"
)

// The buckets of a Histogram are linear below 128 ms, one a millisecond, and
// log-linear above: 64 to each doubling. A bucket is therefore never wider than
// 1/64 of its lower bound, and its middle is off by less than 0.8 %.
const (
	linearBuckets = 128
	subBuckets    = 64
	maxMillis     = 1<<27 - 1 // about 37 hours; longer requests count as that long

	// Buckets is how many buckets a Histogram can have.
	Buckets = linearBuckets + (27-7)*subBuckets
)

// BucketOf returns the index of the bucket that holds d. Whole milliseconds
// count; parts of one are cut off. Negative durations count as 0.
func BucketOf(d time.Duration) int {
	ms := min(max(d.Milliseconds(), 0), maxMillis)
	if ms < linearBuckets {
		return int(ms)
	}
	octave := bits.Len64(uint64(ms)) - 8 // 128..255 is octave 0
	return linearBuckets + octave*subBuckets + int(ms>>(octave+1)) - subBuckets
}

// BucketBounds returns the range [low, high) of durations that bucket i holds.
func BucketBounds(i int) (low, high time.Duration) {
	if i < linearBuckets {
		return time.Duration(i) * time.Millisecond, time.Duration(i+1) * time.Millisecond
	}
	octave, sub := (i-linearBuckets)/subBuckets, (i-linearBuckets)%subBuckets
	width := int64(1) << (octave + 1)
	lo := int64(sub+subBuckets) * width
	return time.Duration(lo) * time.Millisecond, time.Duration(lo+width) * time.Millisecond
}

// Histogram counts latencies. The zero value is empty and ready to use. Adding is
// exact for whole milliseconds below 128; above, a value is known to within 0.8 %.
// Merging is associative and commutative with the empty histogram as unit.
type Histogram struct {
	first  int      // bucket of counts[0]
	counts []uint64 // the span of buckets in use
	total  uint64
}

// Count returns how many values were added.
func (h *Histogram) Count() uint64 { return h.total }

// Add counts d n times.
func (h *Histogram) Add(d time.Duration, n uint64) { h.AddBucket(BucketOf(d), n) }

// AddBucket counts n values of bucket i, which must be in [0, Buckets).
func (h *Histogram) AddBucket(i int, n uint64) {
	if n == 0 {
		return
	}
	h.span(i, i)
	h.counts[i-h.first] += n
	h.total += n
}

// Merge adds the values of o to h.
func (h *Histogram) Merge(o *Histogram) {
	if o.total == 0 {
		return
	}
	h.span(o.first, o.first+len(o.counts)-1)
	for i, n := range o.counts {
		h.counts[o.first+i-h.first] += n
	}
	h.total += o.total
}

// span makes the buckets from lo to hi, both included, addressable.
func (h *Histogram) span(lo, hi int) {
	if len(h.counts) == 0 {
		h.first, h.counts = lo, make([]uint64, hi-lo+1)
		return
	}
	last := h.first + len(h.counts) - 1
	if lo >= h.first && hi <= last {
		return
	}
	lo, hi = min(lo, h.first), max(hi, last)
	grown := make([]uint64, hi-lo+1)
	copy(grown[h.first-lo:], h.counts)
	h.first, h.counts = lo, grown
}

// All yields the buckets in use that are not empty, in ascending order.
func (h *Histogram) All(yield func(bucket int, n uint64) bool) {
	for i, n := range h.counts {
		if n > 0 && !yield(h.first+i, n) {
			return
		}
	}
}

// AtMost returns how many values were at most d. It is exact when d is below
// 128 ms; above, the bucket that holds d is counted in proportion, so the answer
// is off by at most a part of that bucket's values.
func (h *Histogram) AtMost(d time.Duration) uint64 {
	if d < 0 {
		return 0
	}
	b := BucketOf(d)
	var sum uint64
	for i, n := range h.counts {
		switch bucket := h.first + i; {
		case bucket < b:
			sum += n
		case bucket == b:
			low, high := BucketBounds(b)
			width := (high - low) / time.Millisecond
			sum += n * min(uint64((d-low)/time.Millisecond)+1, uint64(width)) / uint64(width)
		}
	}
	return sum
}

// Quantile returns the latency that a share q of the values did not exceed, q in
// [0, 1]: exact to the millisecond below 128 ms, the middle of its bucket above.
// It returns NoLatency for an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return NoLatency
	}
	rank := max(uint64(min(max(q, 0), 1)*float64(h.total)+0.999999), 1)
	var sum uint64
	for i, n := range h.counts {
		if sum += n; sum >= rank {
			return bucketMiddle(h.first + i)
		}
	}
	return bucketMiddle(h.first + len(h.counts) - 1)
}

func bucketMiddle(i int) time.Duration {
	low, high := BucketBounds(i)
	if i < linearBuckets {
		return low
	}
	return (low + high) / 2
}
