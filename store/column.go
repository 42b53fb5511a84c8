package store

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/gatewarden/gatewarden"
)

// slotsPerChunk is how many slots share a chunk. A chunk then is a whole number of
// the next level's slots.
const (
	slotsPerChunk = 60
	lanesPerChunk = 64 // slotsPerChunk, rounded up to whole words; the rest repeat the sum
)

// column counts one kind of event of a series over time. What it stores is the
// running total at the end of each slot, so that the events of any window are the
// difference of two totals. Only stretches with events take memory: a healthy
// series' column of 5xx is all but free.
type column struct {
	total  uint64
	levels [levelCount][]chunk
}

// chunk is a stretch of slotsPerChunk slots in which something happened.
type chunk struct {
	no   int32  // slot number / slotsPerChunk
	base uint64 // the running total where the chunk begins
	// totals holds, for each slot, the chunk's events up to the slot's end, little
	// endian, in 1, 2, 4 or 8 bytes each: as many as the chunk's sum needs.
	totals []byte
}

// lanes holds a 1 in each lane of a word, by the width of a lane in bytes.
func lanes(width int) uint64 {
	switch width {
	case 1:
		return 0x0101010101010101
	case 2:
		return 0x0001000100010001
	case 4:
		return 0x0000000100000001
	default:
		return 1
	}
}

// widthFor returns how many bytes a total of n takes.
func widthFor(n uint64) int {
	switch {
	case n <= math.MaxUint8:
		return 1
	case n <= math.MaxUint16:
		return 2
	case n <= math.MaxUint32:
		return 4
	default:
		return 8
	}
}

func (c *chunk) width() int { return len(c.totals) / lanesPerChunk }

// upTo returns the chunk's events in slots 0 to i.
func (c *chunk) upTo(i int) uint64 {
	switch c.width() {
	case 1:
		return uint64(c.totals[i])
	case 2:
		return uint64(binary.LittleEndian.Uint16(c.totals[2*i:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(c.totals[4*i:]))
	default:
		return binary.LittleEndian.Uint64(c.totals[8*i:])
	}
}

func (c *chunk) sum() uint64 { return c.upTo(lanesPerChunk - 1) }

// add counts n events in slot i: the totals from i on grow by n. Several lanes of a
// word are added to at once; none overflows into the next, because no total exceeds
// the sum, and the width is chosen for that.
func (c *chunk) add(i int, n uint64) {
	c.widen(widthFor(c.sum() + n))
	width := c.width()
	step := n * lanes(width)
	at := i * width &^ 7
	word := c.totals[at:]
	binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)+step<<(8*(i*width-at)))
	for at += 8; at < len(c.totals); at += 8 {
		word = c.totals[at:]
		binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)+step)
	}
}

// widen makes the totals at least width bytes each.
func (c *chunk) widen(width int) {
	if width <= c.width() {
		return
	}
	wide := chunk{totals: make([]byte, width*lanesPerChunk)}
	for i := range lanesPerChunk {
		var buf [8]byte
		binary.LittleEndian.PutUint64(buf[:], c.upTo(i))
		copy(wide.totals[i*width:(i+1)*width], buf[:])
	}
	c.totals = wide.totals
}

// add counts n events in second sec, in the level that holds it. To all that comes
// later they are events before.
func (c *column) add(s *shelves, sec int64, n uint64) {
	before := c.total
	c.total += n
	l := s.level(sec)
	for _, chunks := range c.levels[:l] {
		if len(chunks) > 0 {
			before = chunks[0].base
		}
		for i := range chunks {
			chunks[i].base += n
		}
	}
	if l == levelCount {
		return
	}
	no, slot := place(l, sec)
	at := find(c.levels[l], no)
	if at < len(c.levels[l]) && c.levels[l][at].no != no {
		before = c.levels[l][at].base
	}
	if at == len(c.levels[l]) || c.levels[l][at].no != no {
		c.levels[l] = slices.Insert(c.levels[l], at, newChunk(no, before))
	}
	c.levels[l][at].add(slot, n)
	for i := at + 1; i < len(c.levels[l]); i++ {
		c.levels[l][i].base += n
	}
}

func newChunk(no int32, base uint64) chunk {
	return chunk{no: no, base: base, totals: make([]byte, lanesPerChunk)}
}

// end returns the second with which the last slot of level l ends that has events, 0 when
// none has.
func (c *column) end(l int) int64 {
	n := len(c.levels[l])
	if n == 0 {
		return 0
	}
	last, slot := &c.levels[l][n-1], slotsPerChunk-1
	for sum := last.sum(); slot > 0 && last.upTo(slot-1) == sum; slot-- {
	}
	return int64(last.no)*chunkWidth(l) + int64(slot+1)*slotWidth(l)
}

// before returns how many events the column counted before second sec, rounded down to
// where a slot of the level begins that holds it.
func (c *column) before(s *shelves, sec int64) uint64 {
	l := min(s.level(sec), coarsest)
	no, slot := place(l, sec)
	if at := find(c.levels[l], no); at < len(c.levels[l]) {
		ch := &c.levels[l][at]
		if ch.no == no && slot > 0 {
			return ch.base + ch.upTo(slot-1)
		}
		return ch.base
	}
	for finer := l - 1; finer >= 0; finer-- {
		if len(c.levels[finer]) > 0 {
			return c.levels[finer][0].base
		}
	}
	return c.total
}

// seconds adds what the column counted in the seconds from first on, one by one. The
// finest level must hold all of them.
func (c *column) seconds(first int64, counts []gatewarden.Count, bad bool) {
	chunks := c.levels[0]
	no, slot := place(0, first)
	at := find(chunks, no)
	for i := 0; i < len(counts) && at < len(chunks); no, slot = no+1, 0 {
		if chunks[at].no != no {
			i += slotsPerChunk - slot // nothing happened
			continue
		}
		ch := &chunks[at]
		before := uint64(0)
		if slot > 0 {
			before = ch.upTo(slot - 1)
		}
		for ; i < len(counts) && slot < slotsPerChunk; i, slot = i+1, slot+1 {
			upTo := ch.upTo(slot)
			if bad {
				counts[i].Bad += upTo - before
			} else {
				counts[i].Good += upTo - before
			}
			before = upTo
		}
		at++
	}
}

// settle moves what has become too old for its level to the next, and drops what is
// too old for all.
func (c *column) settle(s *shelves) {
	for l := range coarsest {
		first, _ := place(l, s[l])
		n := find(c.levels[l], first)
		for i := range n {
			c.move(&c.levels[l][i], l)
		}
		if n > 0 {
			c.levels[l] = slices.Delete(c.levels[l], 0, n)
		}
	}
	first, _ := place(coarsest, s[coarsest])
	if n := find(c.levels[coarsest], first); n > 0 {
		c.levels[coarsest] = slices.Delete(c.levels[coarsest], 0, n)
	}
}

// move adds the events of a chunk of level l to the level above, whose latest they are.
func (c *column) move(from *chunk, l int) {
	start := int64(from.no) * chunkWidth(l)
	last := uint64(0)
	for i := range slotsPerChunk {
		total := from.upTo(i)
		if total == last {
			continue
		}
		no, slot := place(l+1, start+int64(i)*slotWidth(l))
		to := c.levels[l+1]
		if len(to) == 0 || to[len(to)-1].no != no {
			to = append(to, newChunk(no, from.base+last))
			c.levels[l+1] = to
		}
		to[len(to)-1].add(slot, total-last)
		last = total
	}
}

// place returns the chunk of level l that holds second sec, and the slot in it. It
// spells the levels out because dividing by constants takes a fraction of the time.
func place(l int, sec int64) (no int32, slot int) {
	switch l {
	case 0:
		return split(sec)
	case 1:
		return split(floorTo(sec, halfMinute) / halfMinute)
	case 2:
		return split(floorTo(sec, fiveMinutes) / fiveMinutes)
	default:
		return split(floorTo(sec, hour) / hour)
	}
}

// split returns where a slot is, counted from 1970.
func split(number int64) (no int32, slot int) {
	first := floorTo(number, slotsPerChunk)
	return int32(first / slotsPerChunk), int(number - first)
}

// find returns the index of the first chunk that is no or later.
func find(chunks []chunk, no int32) int {
	n := len(chunks)
	if n == 0 || chunks[n-1].no < no {
		return n
	}
	if at := n - 1 - int(chunks[n-1].no-no); at >= 0 && chunks[at].no == no {
		return at // no gaps since: the usual case of a busy series
	}
	at, _ := slices.BinarySearchFunc(chunks, no, func(c chunk, no int32) int { return int(c.no) - int(no) })
	return at
}
