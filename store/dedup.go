package store

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// generations is how many sets the remembered ids are spread over. The oldest is
// forgotten as a whole; two full ones behind the running one make the promised time.
const (
	generations = 3
	numberBits  = 3 // the bits of a slot that hold its generation's number, 0 to 3
)

// dedup remembers the ids of requests that were counted. It keeps 62 bits of a hash
// under a seed of its own, so that nobody can craft ids that collide; with two
// million remembered, a new id is mistaken for one of them once in 10^12.
//
// All ids are in one open hash table, each with the number of its generation in the
// two lowest bits, so that a look-up costs one miss of the cache and not three.
type dedup struct {
	window time.Duration
	limit  int // of all generations together
	seed   maphash.Seed

	mu      sync.Mutex
	slots   []uint64            // a power of two of them; 0 is an empty one
	shift   int                 // a hash's home is its bits from shift up
	used    int                 // how many slots are not empty
	counts  [numberBits + 1]int // the same, by generation
	current uint64              // the running generation's number
	began   time.Time           // of the running generation
	touched uint64              // means nothing; keeps touch from being optimised away
}

func newDedup(window time.Duration, limit int) *dedup {
	d := &dedup{window: window, limit: limit, seed: maphash.MakeSeed()}
	d.resize()
	return d
}

// hash returns what is remembered of an id; never 0.
func (d *dedup) hash(id string) uint64 {
	return max(maphash.String(d.seed, id)&^numberBits, numberBits+1)
}

// touch reads where the ids of a batch would be. The reads wait for nothing, so the
// processor overlaps their misses of the cache, which knows would take one by one.
// The caller holds mu.
func (d *dedup) touch(hashes []uint64) {
	for _, h := range hashes {
		d.touched ^= d.slots[h>>d.shift]
	}
}

// knows reports whether an id is remembered. The caller holds mu and has called turn.
func (d *dedup) knows(hash uint64) bool {
	mask := uint64(len(d.slots) - 1)
	for at := hash >> d.shift; d.slots[at] != 0; at = (at + 1) & mask {
		if d.slots[at]&^numberBits == hash {
			return true
		}
	}
	return false
}

// insert remembers an id that is not known. The caller holds mu.
func (d *dedup) insert(hash uint64) {
	mask := uint64(len(d.slots) - 1)
	at := hash >> d.shift
	for d.slots[at] != 0 {
		at = (at + 1) & mask
	}
	d.slots[at] = hash | d.current
	d.counts[d.current]++
	if d.used++; 4*d.used > 3*len(d.slots) {
		d.resize()
	}
}

// full reports whether the running generation has no room left. The caller holds mu.
func (d *dedup) full() bool { return d.counts[d.current] >= max(d.limit/generations, 1) }

// turn begins as many new generations as are due. The caller holds mu.
func (d *dedup) turn(now time.Time) {
	full := d.window / (generations - 1) // the age of a generation that is complete
	age := now.Sub(d.began)
	for range min(max(age/full, 0), generations) {
		d.forgetOldest()
	}
	if age < 0 || age >= generations*full {
		d.began = now // the clock was set back, or everything is older than promised
	} else {
		d.began = d.began.Add(age - age%full)
	}
}

// forgetOldest begins a new generation in the place of the oldest. The caller holds mu.
func (d *dedup) forgetOldest() {
	d.current = (d.current + 1) % uint64(len(d.counts))
	oldest := (d.current + 1) % uint64(len(d.counts))
	d.counts[oldest] = 0
	d.resize()
}

// resize moves the ids to a table that is between a quarter and half full, and leaves
// behind those of generations that count none any more.
func (d *dedup) resize() {
	old := d.slots
	d.used = 0
	for _, n := range d.counts {
		d.used += n
	}
	size := max(bits.Len(uint(2*d.used)), 10)
	d.slots, d.shift = make([]uint64, 1<<size), 64-size
	mask := uint64(len(d.slots) - 1)
	for _, s := range old {
		if s == 0 || d.counts[s&numberBits] == 0 {
			continue
		}
		at := s >> d.shift
		for d.slots[at] != 0 {
			at = (at + 1) & mask
		}
		d.slots[at] = s
	}
}

// len returns how many ids are remembered.
func (d *dedup) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}
