package store

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"time"
)

// generations is how many sets the remembered ids are spread over, numbered from 1. The
// oldest is forgotten as a whole; two full ones behind the running one make the promised
// time.
const generations = 3

// dedup remembers the ids of requests that were counted: of each 38 bits of a hash, and by
// its place about 17 more. A new id is mistaken for a remembered one, and not counted, with
// a probability of at most 12 ÷ 2^38 for each table that is looked into, nearly always one:
// once in 2 × 10^10. The hash has a seed of its own, so that nobody can craft ids that
// collide.
//
// Generations share the tables, so that a look-up costs one miss of the cache and not
// three. There is a small table for little traffic. When it is full, one that is as large
// as the traffic asks for takes what comes, and the small one goes with the generations that
// it holds.
type dedup struct {
	window time.Duration
	limit  int // of all generations together
	seed   maphash.Seed

	mu      sync.Mutex
	tables  []*table             // the last one takes what comes
	counts  [generations + 1]int // how many ids there are, by generation
	current uint8                // the running generation's number
	began   time.Time            // of the running generation
	now     time.Time            // of the last turn
	touched uint64               // means nothing; keeps touch from being optimised away
}

// The sizes of tables, in buckets.
const (
	firstTable = 1 << 10 // 64 kB
	growth     = 4
)

// table is a hash table of ids in buckets. One that finds its bucket full goes to the next
// that is not.
type table struct {
	buckets []bucket
	counts  [generations + 1]int // by generation
}

// inBucket is how many ids a bucket holds: as many as go into a line of the cache.
const inBucket = 12

// bucket holds ids, each with 32 bits of its hash in tags, 6 more and the number of its
// generation in rests.
type bucket struct {
	tags  [inBucket / 2]uint64 // two in each
	rests [inBucket]uint8      // 0: there is none
	// passed has a bit for each generation of which an id found no room here, and is in a
	// bucket behind.
	passed uint8
	_      [3]uint8
}

const (
	restShift  = 2 // below it is a generation's number
	numberMask = 1<<restShift - 1
)

func newDedup(window time.Duration, limit int) *dedup {
	d := &dedup{window: window, limit: limit, seed: maphash.MakeSeed(), current: 1}
	d.grow(firstTable)
	return d
}

// hash returns what is remembered of an id.
func (d *dedup) hash(id string) uint64 { return maphash.String(d.seed, id) }

// touch reads where the ids of a batch would be. The reads wait for nothing, so the
// processor overlaps their misses of the cache, which knows would take one by one.
// The caller holds mu.
func (d *dedup) touch(hashes []uint64) {
	for _, t := range d.tables {
		for _, h := range hashes {
			d.touched ^= t.buckets[t.home(h)].tags[0]
		}
	}
}

// knows reports whether an id is remembered. The caller holds mu and has called turn.
func (d *dedup) knows(hash uint64) bool {
	for _, t := range d.tables {
		if t.knows(hash) {
			return true
		}
	}
	return false
}

// insert remembers an id that is not known. The caller holds mu.
func (d *dedup) insert(hash uint64) {
	t := d.tables[len(d.tables)-1]
	if t.full() {
		t = d.grow(max(growth*len(t.buckets), d.expected()))
	}
	t.insert(hash, d.current)
	d.counts[d.current]++
}

// room is how many ids a table of so many buckets takes, seven eighths of its places: few
// then go on to the next bucket.
func room(buckets int) int { return buckets * inBucket / 8 * 7 }

// expected returns how many buckets are needed when ids go on to come as they do in the
// running generation, so that a busy guard has its table at once and not by way of others.
func (d *dedup) expected() int {
	full := d.window / (generations - 1)
	ids := float64(d.counts[d.current]) * float64(generations*full) / float64(max(d.now.Sub(d.began), time.Second))
	return int(min(ids, float64(d.limit)))/room(8)*8 + 8
}

// grow begins a table of so many buckets, or of those that the limit needs.
func (d *dedup) grow(size int) *table {
	enough := d.limit/room(8)*8 + 8
	t := &table{buckets: make([]bucket, min(size, enough))}
	d.tables = append(d.tables, t)
	return t
}

// home returns the bucket where the search for a hash begins: its upper bits as a share of
// all buckets.
func (t *table) home(hash uint64) int {
	at, _ := bits.Mul64(hash, uint64(len(t.buckets)))
	return int(at)
}

func (t *table) after(at int) int {
	if at++; at < len(t.buckets) {
		return at
	}
	return 0
}

func (t *table) used() (n int) {
	for _, count := range t.counts {
		n += count
	}
	return n
}

func (t *table) full() bool { return t.used() >= room(len(t.buckets)) }

// kept returns what of a hash is kept: its lower bits.
func kept(hash uint64) (tag uint32, rest uint8) {
	return uint32(hash), uint8(hash>>32) << restShift
}

func (t *table) knows(hash uint64) bool {
	tag, rest := kept(hash)
	at := t.home(hash)
	for range t.buckets {
		b := &t.buckets[at]
		if b.may(tag) && b.holds(tag, rest) {
			return true
		}
		if b.passed == 0 {
			return false
		}
		at = t.after(at)
	}
	return false
}

// may reports whether a bucket has a tag, perhaps of an id that was forgotten. It looks at
// two at a time, by the "has zero" test of Anderson's Bit Twiddling Hacks: whether any is
// there, that says exactly.
func (b *bucket) may(tag uint32) bool {
	const ones, highs = 1<<32 | 1, 1<<63 | 1<<31
	both, found := uint64(tag)*ones, uint64(0)
	for _, pair := range &b.tags {
		differ := pair ^ both
		found |= (differ - ones) &^ differ
	}
	return found&highs != 0
}

// holds reports whether a bucket has an id.
func (b *bucket) holds(tag uint32, rest uint8) bool {
	for i, other := range &b.rests {
		if other != 0 && other&^numberMask == rest && uint32(b.tags[i/2]>>(i%2*32)) == tag {
			return true
		}
	}
	return false
}

// insert puts an id into the first bucket that has a place. The table is not full.
func (t *table) insert(hash uint64, generation uint8) {
	tag, rest := kept(hash)
	t.counts[generation]++
	for at := t.home(hash); ; at = t.after(at) {
		b := &t.buckets[at]
		for i, other := range &b.rests {
			if other == 0 {
				shift := i % 2 * 32
				b.tags[i/2] = b.tags[i/2]&^(math.MaxUint32<<shift) | uint64(tag)<<shift
				b.rests[i] = rest | generation
				return
			}
		}
		b.passed |= 1 << generation
	}
}

// forget makes places free that a generation holds.
func (t *table) forget(generation uint8) {
	if t.counts[generation] == 0 {
		return
	}
	t.counts[generation] = 0
	for at := range t.buckets {
		b := &t.buckets[at]
		b.passed &^= 1 << generation
		for i, rest := range &b.rests {
			if rest&numberMask == generation {
				b.rests[i] = 0
			}
		}
	}
}

// full reports whether the running generation has no room left. The caller holds mu.
func (d *dedup) full() bool { return d.counts[d.current] >= max(d.limit/generations, 1) }

// turn begins as many new generations as are due. The caller holds mu.
func (d *dedup) turn(now time.Time) {
	d.now = now
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

// forgetOldest begins a new generation in the place of the oldest. Tables that hold
// nothing any more go, and a large one gives way to a small one when there is little. The
// caller holds mu.
func (d *dedup) forgetOldest() {
	d.current = d.current%generations + 1
	d.counts[d.current] = 0
	last := d.tables[len(d.tables)-1]
	left := d.tables[:0]
	for _, t := range d.tables {
		if t.forget(d.current); t == last || t.used() > 0 {
			left = append(left, t)
		}
	}
	clear(d.tables[len(left):])
	d.tables = left
	if size := len(last.buckets) / growth; size >= firstTable && d.known() < room(size)/2 {
		d.grow(size)
	}
}

// known returns how many ids are remembered. The caller holds mu.
func (d *dedup) known() (n int) {
	for _, count := range d.counts {
		n += count
	}
	return n
}

// len is known for others.
func (d *dedup) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known()
}
