package gatewarden

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// latencyGen draws latencies that Kong could log, the smallest and the longest too.
func latencyGen() *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.OneOf(
		rapid.Int64Range(0, 300),
		rapid.Int64Range(0, 60_000),
		rapid.Int64Range(0, maxMillis),
	), func(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond })
}

// histogramOf counts each latency once.
func histogramOf(latencies []time.Duration) Histogram {
	var h Histogram
	for _, d := range latencies {
		h.Add(d, 1)
	}
	return h
}

func TestBucketsTileTheWholeRange(t *testing.T) {
	next := time.Duration(0)
	for i := range Buckets {
		low, high := BucketBounds(i)
		if low != next || high <= low {
			t.Fatalf("bucket %d is [%s, %s), want it to begin at %s and hold something", i, low, high, next)
		}
		if got := BucketOf(low); got != i {
			t.Errorf("BucketOf(%s) = %d, want %d, whose lowest it is", low, got, i)
		}
		if got := BucketOf(high - 1); got != i {
			t.Errorf("BucketOf(%s) = %d, want %d, whose highest it is", high-1, got, i)
		}
		next = high
	}
	if want := time.Duration(maxMillis+1) * time.Millisecond; next != want {
		t.Errorf("the last bucket ends at %s, want %s", next, want)
	}
}

func TestLatenciesOutOfRangeCountAtItsEnds(t *testing.T) {
	if got := BucketOf(-time.Hour); got != 0 {
		t.Errorf("a negative latency is in bucket %d, want 0", got)
	}
	if got := BucketOf(math.MaxInt64); got != Buckets-1 {
		t.Errorf("the longest latency is in bucket %d, want the last, %d", got, Buckets-1)
	}
}

func TestAQuantileIsExactBelow128MillisecondsAndWithinOnePercentAbove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		latencies := rapid.SliceOfN(latencyGen(), 1, 50).Draw(t, "latencies")
		h := histogramOf(latencies)
		slices.Sort(latencies)
		rank := rapid.IntRange(1, len(latencies)).Draw(t, "rank")
		want := latencies[rank-1]
		got := h.Quantile(float64(rank) / float64(len(latencies)))
		if want < 128*time.Millisecond && got != want {
			t.Errorf("Quantile(%d/%d) = %s, want exactly %s", rank, len(latencies), got, want)
		}
		if off := math.Abs(float64(got-want)) / float64(max(want, 1)); off >= 0.01 {
			t.Errorf("Quantile(%d/%d) = %s, off by %.2f %% from %s", rank, len(latencies), got, 100*off, want)
		}
	})
}

func TestTheQuantileOfNothingIsNoLatency(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.5); got != NoLatency {
		t.Errorf("Quantile of an empty histogram = %s, want NoLatency", got)
	}
}

func TestAQuantileBeyondTheEndsIsTheEnd(t *testing.T) {
	h := histogramOf([]time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond})
	for q, want := range map[float64]time.Duration{-1: time.Millisecond, 0: time.Millisecond, 1: 3 * time.Millisecond, 7: 3 * time.Millisecond} {
		if got := h.Quantile(q); got != want {
			t.Errorf("Quantile(%v) = %s, want %s", q, got, want)
		}
	}
}

func TestAQuantileOfManyValuesHasTheRightRank(t *testing.T) {
	// 0.999999 of 10^9 values: the rank must be computed without losing units.
	var h Histogram
	h.Add(1*time.Millisecond, 999_999_000)
	h.Add(2*time.Millisecond, 1_000)
	if got := h.Quantile(0.999999); got != 1*time.Millisecond {
		t.Errorf("Quantile(0.999999) = %s, want 1ms: that many values are no longer", got)
	}
	if got := h.Quantile(0.9999991); got != 2*time.Millisecond {
		t.Errorf("Quantile(0.9999991) = %s, want 2ms", got)
	}
}

func TestAtMostIsExactBelow128MillisecondsAndAtBucketEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		latencies := rapid.SliceOf(latencyGen()).Draw(t, "latencies")
		h := histogramOf(latencies)
		limit := latencyGen().Draw(t, "limit")
		low, high := BucketBounds(BucketOf(limit))
		var least, exact, most uint64
		for _, d := range latencies {
			if d < low {
				least++
			}
			if d <= limit {
				exact++
			}
			if d < high {
				most++
			}
		}
		got := h.AtMost(limit)
		if limit < 128*time.Millisecond && got != exact {
			t.Errorf("AtMost(%s) = %d, want exactly %d", limit, got, exact)
		}
		if got < least || got > most {
			t.Errorf("AtMost(%s) = %d, want between %d and %d: only its own bucket is in doubt", limit, got, least, most)
		}
		if all := h.AtMost(high - time.Millisecond); all != most {
			t.Errorf("AtMost(%s) = %d, want %d: nothing of the bucket is beyond", high-time.Millisecond, all, most)
		}
		if got := h.AtMost(-1); got != 0 {
			t.Errorf("AtMost(-1) = %d, want 0", got)
		}
	})
}

func TestHistogramsMergeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.SliceOfN(latencyGen(), 0, 20)
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		want := histogramOf(slices.Concat(a, b, c))
		ha, hb, hc := histogramOf(a), histogramOf(b), histogramOf(c)
		for name, got := range map[string]Histogram{
			"(a+b)+c": merge(merge(ha, hb), hc),
			"a+(b+c)": merge(ha, merge(hb, hc)),
			"c+(b+a)": merge(hc, merge(hb, ha)),
			"0+h+0":   merge(merge(Histogram{}, want), Histogram{}),
		} {
			if diff := cmp.Diff(counts(want), counts(got)); diff != "" {
				t.Errorf("%s is not the histogram of all values, -want +got:\n%s", name, diff)
			}
			if got.Count() != want.Count() {
				t.Errorf("%s counts %d values, want %d", name, got.Count(), want.Count())
			}
		}
	})
}

// merge returns the sum of a and b, and leaves both as they are.
func merge(a, b Histogram) (sum Histogram) {
	sum.Merge(&a)
	sum.Merge(&b)
	return sum
}

// counts returns what a histogram holds, by bucket.
func counts(h Histogram) map[int]uint64 {
	m := map[int]uint64{}
	for bucket, n := range h.All {
		m[bucket] += n
	}
	return m
}

func TestAllYieldsBucketsInOrderAndStopsWhenAsked(t *testing.T) {
	h := histogramOf([]time.Duration{5 * time.Second, time.Millisecond, 80 * time.Millisecond})
	var got []int
	for bucket := range h.All {
		if got = append(got, bucket); len(got) == 2 {
			break
		}
	}
	if diff := cmp.Diff([]int{1, 80}, got); diff != "" {
		t.Errorf("the first two buckets, -want +got:\n%s", diff)
	}
}
