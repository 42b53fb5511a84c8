package store

import (
	"fmt"
	"testing"
	"time"
)

// However many ids come, those of the promised time are known, each once, and those
// three generations back are not.
func TestDedupKnowsWhatItPromises(t *testing.T) {
	const each = 5_000
	d := newDedup(2*time.Minute, 10_000_000)
	now := noon
	id := func(minute, i int) uint64 { return d.hash(fmt.Sprint(minute, " ", i)) }
	for minute := range 6 {
		d.turn(now)
		for i := range each << (minute % 3) { // more of them, and fewer again
			if d.knows(id(minute, i)) {
				t.Fatalf("id %d of minute %d is known before it came", i, minute)
			}
			d.insert(id(minute, i))
		}
		for back := range minute + 1 {
			known := 0
			for i := range each << ((minute - back) % 3) {
				if d.knows(id(minute-back, i)) {
					known++
				}
			}
			switch {
			case back < generations && known != each<<((minute-back)%3):
				t.Errorf("%d ids of %d minutes ago are known, want all", known, back)
			case back >= generations && known > 0:
				t.Errorf("%d ids of %d minutes ago are known, want none", known, back)
			}
		}
		now = now.Add(time.Minute)
	}
	slots := 0
	for i := range d.tables {
		slots += len(d.tables[i].slots)
	}
	if limit := 2 * each * (1 + 2 + 4); d.len() != each*(1+2+4) || slots > limit {
		t.Errorf("%d ids in %d slots, want %d in %d at most", d.len(), slots, each*(1+2+4), limit)
	}
}
