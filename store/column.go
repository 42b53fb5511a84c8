package store

import (
	"encoding/binary"
	"math"
	"slices"
)

// slotsPerChunk is how many slots share a chunk: as many as fit a machine word's
// bits, so that a chunk's bitmap of used slots is one word in snapshots.
const slotsPerChunk = 64

// column counts one kind of event of a series over time, at every level. What it
// stores is the running total at the end of each slot, so that the events of any
// window are the difference of two totals. Only stretches with events take memory:
// a healthy series' column of 5xx is all but free.
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

func (c *chunk) width() int { return len(c.totals) / slotsPerChunk }

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

func (c *chunk) sum() uint64 { return c.upTo(slotsPerChunk - 1) }

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
	wide := chunk{totals: make([]byte, width*slotsPerChunk)}
	for i := range slotsPerChunk {
		var buf [8]byte
		binary.LittleEndian.PutUint64(buf[:], c.upTo(i))
		copy(wide.totals[i*width:(i+1)*width], buf[:])
	}
	c.totals = wide.totals
}

// add counts n events in second sec, in every level that still resolves it; in the
// others they belong to what came before.
func (c *column) add(cal *calendar, sec int64, n uint64) {
	c.total += n
	for l := range levelCount {
		width := cal.levels[l].width
		slot := sec / width
		no := int32(slot / slotsPerChunk)
		at := find(c.levels[l], no)
		if at < len(c.levels[l]) && c.levels[l][at].no == no {
			c.levels[l][at].add(int(slot%slotsPerChunk), n)
			at++
		} else if sec >= cal.horizon(l) {
			c.insert(l, at, no, n)
			c.levels[l][at].add(int(slot%slotsPerChunk), n)
			c.levels[l] = expire(c.levels[l], chunkOf(cal, l, cal.horizon(l)))
			at = find(c.levels[l], no) + 1
		}
		for i := at; i < len(c.levels[l]); i++ {
			c.levels[l][i].base += n
		}
	}
}

// insert makes room for chunk no at index at of level l. The n events that are
// about to be added to it are in c.total already.
func (c *column) insert(l, at int, no int32, n uint64) {
	base := c.total - n
	if at < len(c.levels[l]) {
		base = c.levels[l][at].base
	}
	c.levels[l] = slices.Insert(c.levels[l], at, chunk{no: no, base: base, totals: make([]byte, slotsPerChunk)})
}

// before returns how many events the column counted before the slot of level l that
// begins with second sec.
func (c *column) before(cal *calendar, l int, sec int64) uint64 {
	slot := sec / cal.levels[l].width
	no := int32(slot / slotsPerChunk)
	chunks := c.levels[l]
	at := find(chunks, no)
	if at == len(chunks) {
		return c.total
	}
	ch := &chunks[at]
	if i := int(slot % slotsPerChunk); ch.no == no && i > 0 {
		return ch.base + ch.upTo(i-1)
	}
	return ch.base
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

// expire drops the chunks before no.
func expire(chunks []chunk, no int32) []chunk {
	if len(chunks) == 0 || chunks[0].no >= no {
		return chunks
	}
	return slices.Delete(chunks, 0, find(chunks, no))
}

// trim drops what no level needs any more.
func (c *column) trim(cal *calendar) {
	for l := range levelCount {
		c.levels[l] = expire(c.levels[l], chunkOf(cal, l, cal.horizon(l)))
	}
}

// chunkOf returns the number of the chunk of level l that holds second sec.
func chunkOf(cal *calendar, l int, sec int64) int32 {
	return int32(floorTo(sec, cal.levels[l].width*slotsPerChunk) / (cal.levels[l].width * slotsPerChunk))
}
