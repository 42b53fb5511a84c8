package store

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// However many ids come, those of the promised time are known, each once, and those
// three generations back are not.
func TestDedupKnowsWhatItPromises(t *testing.T) {
	const each = 5_000
	d := newDedup(2*time.Minute, 10_000_000)
	now := noon
	id := func(minute, i int) uint64 { return d.hash(fmt.Sprint(minute, " ", i)) }
	for minute := range 6 {
		for i := range each << (minute % 3) { // more of them, and fewer again
			d.turn(now.Add(time.Duration(i) * time.Minute / time.Duration(each<<(minute%3))))
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
	if n := d.len(); n != each*(1+2+4) {
		t.Errorf("%d ids are remembered, want %d", n, each*(1+2+4))
	}
	if size, most := d.bytes(), 12*d.len(); size > most {
		t.Errorf("%d ids take %d bytes, want %d at most", d.len(), size, most)
	}
}

// bytes returns what the tables take.
func (d *dedup) bytes() (n int) {
	for _, t := range d.tables {
		n += len(t.buckets) * int(unsafe.Sizeof(bucket{}))
	}
	return n
}

// At the limit, ids take the least memory, and after much traffic the memory is given back.
func TestDedupTakesWhatItSays(t *testing.T) {
	const limit = 60_000
	d := newDedup(2*time.Minute, limit)
	now := noon
	d.turn(now)
	for i := range 4 * limit {
		hash := d.hash(fmt.Sprint(i))
		if d.knows(hash) {
			t.Fatalf("id %d is known before it came", i)
		}
		if d.full() {
			d.forgetOldest()
		}
		d.insert(hash)
	}
	if n := d.len(); n < limit*2/3 || n > limit {
		t.Errorf("%d ids are remembered, want between two thirds of %d and all", n, limit)
	}
	if size := d.bytes(); size > limit*25/4 {
		t.Errorf("%d ids at most take %d bytes, want %d", limit, size, limit*25/4)
	}
	for i := range 20 {
		now = now.Add(time.Minute)
		d.turn(now)
		d.insert(d.hash(fmt.Sprint("later", i)))
	}
	if size := d.bytes(); size > 2*firstTable*int(unsafe.Sizeof(bucket{})) {
		t.Errorf("a few ids take %d bytes", size)
	}
}

// However ids, turns and full generations follow each other, dedup knows what a list of
// three sets knows, in tables that are so small that most ids are not where they belong.
func TestDedupKnowsWhatSetsKnow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 200).Draw(t, "limit")
		d := newDedup(2*time.Minute, limit)
		d.turn(noon)
		sets := [generations]map[int]bool{{}, {}, {}} // the running one first
		for step := range rapid.IntRange(1, 400).Draw(t, "steps") {
			id := rapid.IntRange(0, 500).Draw(t, "id")
			hash := d.hash(fmt.Sprint(id))
			want := sets[0][id] || sets[1][id] || sets[2][id]
			if got := d.knows(hash); got != want {
				t.Fatalf("step %d: id %d is known: %t, want %t", step, id, got, want)
			}
			if rapid.IntRange(0, 20).Draw(t, "turn") == 0 {
				d.forgetOldest()
				sets = [...]map[int]bool{{}, sets[0], sets[1]}
				want = sets[1][id] || sets[2][id]
			}
			if want {
				continue
			}
			if full := len(sets[0]) >= max(limit/generations, 1); full != d.full() {
				t.Fatalf("step %d: the generation is full: %t, want %t", step, d.full(), full)
			} else if full {
				d.forgetOldest()
				sets = [...]map[int]bool{{}, sets[0], sets[1]}
			}
			d.insert(hash)
			sets[0][id] = true
		}
		if n := len(sets[0]) + len(sets[1]) + len(sets[2]); d.len() != n {
			t.Errorf("%d ids are remembered, want %d", d.len(), n)
		}
	})
}
