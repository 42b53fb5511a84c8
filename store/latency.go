package store

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// How far back latency distributions are kept: whole minutes by the second, whole
// hours by the minute, and hours.
const (
	recentMinutes = 5
	minuteHours   = 2
	hourHours     = 26
)

// mark is n requests whose latency fell into a bucket of gatewarden.Histogram.
type mark struct {
	bucket uint16
	n      uint64
}

// latencies keeps the distribution of a series' latencies over time. Unlike the
// columns it keeps every request in one place only: a minute moves from recent to
// minutes to hours as it ages.
type latencies struct {
	recent  []minuteLog
	minutes []sealed
	hours   []sealed
}

// minuteLog holds a minute's latencies by the second, as they come.
type minuteLog struct {
	no      int32
	entries []entry
	sorted  int // entries[:sorted] are in order and without repeats
}

// entry is a mark with the second of its minute: from the top 6 bits of second, 11 of
// bucket, 47 of count, so that the order of entries is that of time and bucket.
type entry uint64

const entryMax = 1<<47 - 1 // the largest count in one entry

func packEntry(second int64, bucket uint16, n uint64) entry {
	return entry(second)<<58 | entry(bucket)<<47 | entry(n)
}

func (e entry) second() int64  { return int64(e >> 58) }
func (e entry) bucket() uint16 { return uint16(e>>47) & (1<<11 - 1) }
func (e entry) n() uint64      { return uint64(e & entryMax) }

// sealed is the distribution of a minute or an hour: for each bucket in use its
// distance from the one before and its count, as varints.
type sealed struct {
	no   int32
	data []byte
}

// The first minute kept by the second, the first hour kept by the minute, and the
// first hour kept at all, when the latest second is head.
func recentFrom(head int64) int64  { return floorTo(head, minute)/minute - recentMinutes }
func minutesFrom(head int64) int64 { return floorTo(head, hour)/hour - minuteHours }
func hoursFrom(head int64) int64   { return floorTo(head, hour)/hour - hourHours }

// latencyFloor rounds sec down to where a distribution that is kept there begins.
func latencyFloor(head, sec int64) int64 {
	switch {
	case sec >= recentFrom(head)*minute:
		return sec
	case sec >= minutesFrom(head)*hour:
		return floorTo(sec, minute)
	default:
		return max(floorTo(sec, hour), hoursFrom(head)*hour)
	}
}

// add counts marks in second sec, at the resolution that its age still has.
func (l *latencies) add(head, sec int64, marks []mark) {
	if len(marks) == 0 {
		return
	}
	switch {
	case sec >= recentFrom(head)*minute:
		l.log(sec, marks)
	case sec >= minutesFrom(head)*hour:
		l.minutes = seal(l.minutes, int32(sec/minute), marks)
	case sec >= hoursFrom(head)*hour:
		l.hours = seal(l.hours, int32(sec/hour), marks)
	}
}

func (l *latencies) log(sec int64, marks []mark) {
	no := int32(sec / minute)
	at := len(l.recent)
	for at > 0 && l.recent[at-1].no >= no {
		at--
	}
	if at == len(l.recent) || l.recent[at].no != no {
		fresh := minuteLog{no: no}
		if at > 0 { // as much as the minute before came to, which is over
			before := &l.recent[at-1]
			before.compact()
			before.entries = slices.Clone(before.entries)
			fresh.entries = make([]entry, 0, len(before.entries))
		}
		l.recent = slices.Insert(l.recent, at, fresh)
	}
	m := &l.recent[at]
	for _, k := range marks {
		m.entries = appendEntries(m.entries, sec%minute, k)
	}
	if len(m.entries)-m.sorted >= max(leastUnsorted, m.sorted/4) {
		m.compact()
	}
}

// leastUnsorted is how many entries may pile up before they are put in order.
const leastUnsorted = 512

// compact puts the entries in order and adds up those of one second and bucket. Only
// the end of the log that new entries reach into is touched.
func (m *minuteLog) compact() {
	if m.sorted == len(m.entries) {
		return
	}
	first, last := slices.Min(m.entries[m.sorted:]).second(), slices.Max(m.entries[m.sorted:]).second()
	from, _ := slices.BinarySearch(m.entries[:m.sorted], packEntry(first, 0, 0))
	tail := m.entries[from:]
	if from < m.sorted {
		last = max(last, m.entries[m.sorted-1].second())
	}
	var buf [2 * leastUnsorted]entry // as many as there are mostly, and no garbage
	tidied := buf[:0]
	for second := first; second <= last; second++ {
		tidied = tallySecond(tidied, tail, second)
	}
	m.entries = append(m.entries[:from], tidied...)
	m.sorted = len(m.entries)
}

// tallySecond appends what entries say of one second, in order. Tallying by bucket
// costs a fraction of sorting, because there are few seconds and buckets.
func tallySecond(into, entries []entry, second int64) []entry {
	t := newTally()
	for _, e := range entries {
		if e.second() == second {
			t.add(e.bucket(), e.n())
		}
	}
	for b := t.lo; b <= t.hi; b++ {
		into = appendEntries(into, second, mark{uint16(b), t.n[b]})
	}
	return into
}

// tally adds up marks by bucket. It takes 11 kB, so it lives on the stack.
type tally struct {
	n      [gatewarden.Buckets]uint64
	lo, hi int // the buckets in use; none when lo is beyond hi
}

func newTally() tally { return tally{lo: gatewarden.Buckets, hi: -1} }

func (t *tally) add(bucket uint16, n uint64) {
	b := int(bucket)
	t.n[b] += n
	t.lo, t.hi = min(t.lo, b), max(t.hi, b)
}

// marks appends the sums, buckets in order.
func (t *tally) marks(into []mark) []mark {
	for b := t.lo; b <= t.hi; b++ {
		if t.n[b] > 0 {
			into = append(into, mark{uint16(b), t.n[b]})
		}
	}
	return into
}

// appendEntries appends m, as several entries if its count asks for it, and as none
// if that is 0.
func appendEntries(into []entry, second int64, m mark) []entry {
	for n := m.n; n > 0; {
		part := min(n, entryMax)
		into = append(into, packEntry(second, m.bucket, part))
		n -= part
	}
	return into
}

// roll moves what has aged to where its age belongs.
func (l *latencies) roll(head int64) {
	moved := 0
	for ; moved < len(l.recent) && int64(l.recent[moved].no) < recentFrom(head); moved++ {
		m := &l.recent[moved]
		l.add(head, int64(m.no)*minute, m.marks())
	}
	l.recent = slices.Delete(l.recent, 0, moved)
	moved = 0
	for ; moved < len(l.minutes) && int64(l.minutes[moved].no)*minute < minutesFrom(head)*hour; moved++ {
		m := &l.minutes[moved]
		l.add(head, int64(m.no)*minute, m.marks(nil))
	}
	l.minutes = slices.Delete(l.minutes, 0, moved)
	gone := 0
	for gone < len(l.hours) && int64(l.hours[gone].no) < hoursFrom(head) {
		gone++
	}
	l.hours = slices.Delete(l.hours, 0, gone)
}

// marks returns the minute's distribution, buckets in order.
func (m *minuteLog) marks() []mark {
	t := newTally()
	for _, e := range m.entries {
		t.add(e.bucket(), e.n())
	}
	return t.marks(nil)
}

// tidy puts marks in order and adds up those of one bucket, in place.
func tidy(marks []mark) []mark {
	if len(marks) > 32 { // where tallying costs less than sorting
		t := newTally()
		for _, m := range marks {
			t.add(m.bucket, m.n)
		}
		return t.marks(marks[:0])
	}
	slices.SortFunc(marks, func(a, b mark) int { return int(a.bucket) - int(b.bucket) })
	kept := marks[:0]
	for _, m := range marks {
		if k := len(kept) - 1; k >= 0 && kept[k].bucket == m.bucket {
			kept[k].n += m.n
		} else {
			kept = append(kept, m)
		}
	}
	return kept
}

// seal adds marks to cell no.
func seal(cells []sealed, no int32, marks []mark) []sealed {
	at, ok := slices.BinarySearchFunc(cells, no, func(c sealed, no int32) int { return int(c.no) - int(no) })
	if !ok {
		cells = slices.Insert(cells, at, sealed{no: no})
	}
	cells[at].data = encodeMarks(tidy(cells[at].marks(slices.Clone(marks))))
	return cells
}

// encodeMarks writes marks, which must be tidy, in as many bytes as they take.
func encodeMarks(marks []mark) []byte {
	var buf [4096]byte
	return slices.Clone(appendMarks(buf[:0], marks))
}

func appendMarks(b []byte, marks []mark) []byte {
	last := uint16(0)
	for _, m := range marks {
		b = binary.AppendUvarint(b, uint64(m.bucket-last))
		b = binary.AppendUvarint(b, m.n)
		last = m.bucket
	}
	return b
}

// marks appends the cell's marks to into. Its data is our own or was checked.
func (c *sealed) marks(into []mark) []mark {
	bucket := uint64(0)
	for b := c.data; len(b) > 0; {
		distance, size := binary.Uvarint(b)
		n, more := binary.Uvarint(b[size:])
		b = b[size+more:]
		bucket += distance
		into = append(into, mark{uint16(bucket), n})
	}
	return into
}

// checkMarks reports whether data is what appendMarks writes.
func checkMarks(data []byte) bool {
	bucket := uint64(0)
	for first := true; len(data) > 0; first = false {
		distance, size := binary.Uvarint(data)
		if size <= 0 || distance >= gatewarden.Buckets || (distance == 0 && !first) {
			return false
		}
		n, more := binary.Uvarint(data[size:])
		if bucket += distance; more <= 0 || n == 0 || bucket >= gatewarden.Buckets {
			return false
		}
		data = data[size+more:]
	}
	return true
}

// each calls f for every stretch kept in [from, to), with the second it begins with
// and its marks, which f must not keep.
func (l *latencies) each(head, from, to int64, f func(sec int64, marks []mark)) {
	from, to = latencyFloor(head, from), latencyFloor(head, to)
	var marks []mark
	for _, level := range []struct {
		cells []sealed
		width int64
	}{{l.hours, hour}, {l.minutes, minute}} {
		for i := range level.cells {
			c := &level.cells[i]
			if sec := int64(c.no) * level.width; from <= sec && sec < to {
				marks = c.marks(marks[:0])
				f(sec, marks)
			}
		}
	}
	for i := range l.recent {
		m := &l.recent[i]
		if start := int64(m.no) * minute; start+minute <= from || start >= to {
			continue
		}
		for _, e := range m.entries {
			if sec := int64(m.no)*minute + e.second(); from <= sec && sec < to {
				marks = append(marks[:0], mark{e.bucket(), e.n()})
				f(sec, marks)
			}
		}
	}
}

// histogram returns the distribution of what is kept in [from, to).
func (l *latencies) histogram(head, from, to int64) (h gatewarden.Histogram) {
	t := newTally()
	l.each(head, from, to, func(_ int64, marks []mark) {
		for _, m := range marks {
			t.add(m.bucket, m.n)
		}
	})
	if t.hi < 0 {
		return h
	}
	h.AddBucket(t.lo, t.n[t.lo])
	for b := t.hi; b > t.lo; b-- { // from both ends, so that h makes room once
		h.AddBucket(b, t.n[b])
	}
	return h
}

// guess judges latencies by their buckets. In the one bucket that the threshold cuts,
// events are taken to be spread evenly; what is rounded off is carried on to the next.
type guess struct {
	bucket      uint16 // that holds the threshold
	part, width uint64 // of it, in milliseconds: how much is good
	carry       uint64
}

func newGuess(threshold time.Duration) *guess {
	if threshold < 0 {
		return &guess{width: 1}
	}
	b := gatewarden.BucketOf(threshold)
	low, high := gatewarden.BucketBounds(b)
	width := uint64((high - low) / time.Millisecond)
	part := min(uint64((threshold-low)/time.Millisecond)+1, width)
	return &guess{bucket: uint16(b), part: part, width: width, carry: width / 2}
}

func (g *guess) judge(marks []mark) (n goodBad) {
	for _, m := range marks {
		good := uint64(0)
		switch {
		case m.bucket < g.bucket:
			good = m.n
		case m.bucket == g.bucket:
			share := m.n*g.part + g.carry
			good, g.carry = share/g.width, share%g.width
		}
		n.good += good
		n.bad += m.n - good
	}
	return n
}
