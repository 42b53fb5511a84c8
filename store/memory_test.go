package store

import (
	"runtime"
	"testing"
)

// TestMemory prints how much of the heap a store of 500 series with 1,000 meters
// takes, and holds it to its share of the guard's 150 MB.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	s, meters, _ := history(t, false)
	used := int64(heap() - before)
	t.Logf("%d series, %d meters, 2 requests/s each: %.1f MB of heap", s.seriesCount(), len(meters), float64(used)/1e6)
	const goal = 90e6
	if used > goal {
		t.Errorf("the store takes %d bytes of heap, want less than %.0f", used, goal)
	}
	runtime.KeepAlive(s)
}
