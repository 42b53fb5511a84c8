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
// All ids are in open hash tables, each with the number of its generation in the two
// lowest bits, so that a look-up costs one miss of the cache and not three. There are
// many small tables rather than one, because to grow, a table needs the old one beside
// the new.
type dedup struct {
	window time.Duration
	limit  int // of all generations together
	seed   maphash.Seed

	mu      sync.Mutex
	tables  [1 << tableBits]table // by the top bits of a hash
	counts  [numberBits + 1]int   // how many ids there are, by generation
	current uint64                // the running generation's number
	began   time.Time             // of the running generation
	touched uint64                // means nothing; keeps touch from being optimised away
}

// tableBits is how many bits of a hash choose the table.
const tableBits = 6

// table is an open hash table; a slot of 0 is an empty one.
type table struct {
	slots []uint64
	used  int // how many slots are not empty
}

func newDedup(window time.Duration, limit int) *dedup {
	d := &dedup{window: window, limit: limit, seed: maphash.MakeSeed()}
	for i := range d.tables {
		d.tables[i].rebuild(d.counts)
	}
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
		t := d.table(h)
		d.touched ^= t.slots[t.home(h)]
	}
}

func (d *dedup) table(hash uint64) *table { return &d.tables[hash>>(64-tableBits)] }

// knows reports whether an id is remembered. The caller holds mu and has called turn.
func (d *dedup) knows(hash uint64) bool {
	t := d.table(hash)
	for at := t.home(hash); t.slots[at] != 0; at = t.after(at) {
		if t.slots[at]&^numberBits == hash {
			return true
		}
	}
	return false
}

// insert remembers an id that is not known. The caller holds mu.
func (d *dedup) insert(hash uint64) {
	t := d.table(hash)
	t.insert(hash | d.current)
	d.counts[d.current]++
	if 4*t.used > 3*len(t.slots) {
		t.rebuild(d.counts)
	}
}

// home returns the slot where the search for a hash begins: the bits below those that
// chose the table, as a share of all slots. Which generation it is of is not among them.
func (t *table) home(hash uint64) int {
	at, _ := bits.Mul64(hash&^numberBits<<tableBits, uint64(len(t.slots)))
	return int(at)
}

func (t *table) after(at int) int {
	if at++; at < len(t.slots) {
		return at
	}
	return 0
}

func (t *table) insert(slot uint64) {
	at := t.home(slot)
	for t.slots[at] != 0 {
		at = t.after(at)
	}
	t.slots[at] = slot
	t.used++
}

// rebuild moves the ids to slots of which they fill half, and leaves behind those of
// generations that count none any more.
func (t *table) rebuild(counts [numberBits + 1]int) {
	old := t.slots
	t.used = 0
	for _, s := range old {
		if s != 0 && counts[s&numberBits] > 0 {
			t.used++
		}
	}
	t.slots, t.used = make([]uint64, max(2*t.used, 16)), 0
	for _, s := range old {
		if s != 0 && counts[s&numberBits] > 0 {
			t.insert(s)
		}
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
	for i := range d.tables {
		d.tables[i].rebuild(d.counts)
	}
}

// len returns how many ids are remembered.
func (d *dedup) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, count := range d.counts {
		n += count
	}
	return n
}
