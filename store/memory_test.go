package store

import (
	"runtime"
	"testing"
)

// TestMemory holds a series with its two meters to its share of what 500 of them may
// take of the guard's 150 MB: 90 MB. BenchmarkHistory prints the size of all 500.
func TestMemory(t *testing.T) {
	before := heap()
	s, meters, _ := history(2, 6)
	used := heap() - before
	t.Logf("%d series, %d meters, 2 requests/s each: %.1f MB of heap", s.seriesCount(), len(meters), float64(used)/1e6)
	if goal := int64(s.seriesCount()) * 90e6 / 500; used > goal {
		t.Errorf("the store takes %d bytes of heap, want less than %d", used, goal)
	}
	runtime.KeepAlive(s)
}
