package store

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"time"

	"github.com/gatewarden/gatewarden"
)

// encoder writes the parts that messages and snapshots are made of.
type encoder struct {
	b       []byte
	scratch []byte // for what is written after its length
}

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)   { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) word(n uint64) { e.b = binary.LittleEndian.AppendUint64(e.b, n) }

func (e *encoder) bytes(b []byte) {
	e.uint(uint64(len(b)))
	e.b = append(e.b, b...)
}

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// seal appends the checksum of what follows from.
func (e *encoder) seal(from int) {
	e.b = binary.LittleEndian.AppendUint32(e.b, checksum(e.b[from:]))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// decoder reads what encoder wrote. After the first mistake everything it reads is
// zero, and bad says so.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) word() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	n := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return n
}

// bytes returns a part of the input, which must not be kept for longer.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

// count reads how many things follow. Each takes at least one byte, so that a false
// count cannot claim more memory than the input has.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

// second reads a second since 1970.
func (d *decoder) second() int64 {
	n := d.uint()
	if n > lastSecond {
		d.fail()
		return 0
	}
	return int64(n)
}

// distance reads how far one second is from another.
func (d *decoder) distance() int64 {
	n := d.int()
	if n < -lastSecond || n > lastSecond {
		d.fail()
		return 0
	}
	return n
}

func (e *encoder) series(s gatewarden.Series) {
	for _, name := range [...]string{s.Signal, s.Workspace, s.Service, s.Route, s.Consumer, s.Tag} {
		e.string(name)
	}
}

func (d *decoder) series() (s gatewarden.Series) {
	for _, name := range [...]*string{&s.Signal, &s.Workspace, &s.Service, &s.Route, &s.Consumer, &s.Tag} {
		*name = d.string()
	}
	return s
}

func (e *encoder) sli(k sliKey) {
	e.uint(uint64(k.kind))
	e.int(int64(k.threshold))
	e.string(string(k.of))
	e.string(k.expr)
}

func (d *decoder) sli() sliKey {
	return sliKey{
		kind:      gatewarden.SLIKind(d.uint()),
		threshold: time.Duration(d.int()),
		of:        gatewarden.LatencyPart(d.string()),
		expr:      d.string(),
	}
}

func (e *encoder) spans(spans []span) {
	e.uint(uint64(len(spans)))
	for _, s := range spans {
		e.uint(uint64(s.from))
		e.uint(uint64(s.to - s.from))
	}
}

func (d *decoder) spans() (w watched) {
	const end = 1 << 63
	for range d.count() {
		from, length := d.uint(), d.uint()
		if from >= end || length >= end-from {
			d.fail()
			break
		}
		w.add(int64(from), int64(from+length))
	}
	return w
}

// column writes a column: for each chunk which slots are in use, and their counts.
func (e *encoder) column(c *column) {
	e.uint(c.total)
	for _, chunks := range c.levels {
		e.uint(uint64(len(chunks)))
		no, end := int32(0), uint64(0)
		for i := range chunks {
			ch := &chunks[i]
			e.uint(uint64(ch.no - no))
			e.uint(ch.base - end)
			no, end = ch.no, ch.base+ch.sum()
			e.chunk(ch)
		}
	}
}

func (e *encoder) chunk(c *chunk) {
	var counts [slotsPerChunk]uint64
	used, last := uint64(0), uint64(0)
	for i := range counts {
		total := c.upTo(i)
		if counts[i] = total - last; counts[i] > 0 {
			used |= 1 << i
		}
		last = total
	}
	e.word(used)
	for ; used != 0; used &= used - 1 {
		e.uint(counts[bits.TrailingZeros64(used)])
	}
}

func (d *decoder) column() *column {
	c := &column{total: d.uint()}
	for l := range c.levels {
		no, end := uint64(0), uint64(0)
		for range d.count() {
			step, gap := d.uint(), d.uint()
			ch := chunk{no: int32(no + step), base: end + gap, totals: make([]byte, lanesPerChunk)}
			if no += step; no > lastSecond/minute || (step == 0 && len(c.levels[l]) > 0) || d.bad {
				d.fail()
				return c
			}
			d.chunk(&ch)
			end = ch.base + ch.sum()
			if end < ch.base || end > c.total {
				d.fail()
				return c
			}
			c.levels[l] = append(c.levels[l], ch)
		}
	}
	return c
}

func (d *decoder) chunk(c *chunk) {
	sum := uint64(0)
	for used := d.word(); used != 0; used &= used - 1 {
		n, slot := d.uint(), bits.TrailingZeros64(used)
		if sum += n; sum < n || slot >= slotsPerChunk {
			d.fail()
			return
		}
		c.add(slot, n)
	}
}

// entry reads an entry of a minute's log.
func (d *decoder) entry() entry {
	e := entry(d.uint())
	if e.second() >= minute || int(e.bucket()) >= gatewarden.Buckets {
		d.fail()
		return 0
	}
	return e
}

// number reads the number of a minute or an hour.
func (d *decoder) number() int32 {
	n := d.uint()
	if n > lastSecond/minute {
		d.fail()
		return 0
	}
	return int32(n)
}
