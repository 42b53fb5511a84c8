package store

import "time"

const (
	halfMinute  = 30
	minute      = 60
	fiveMinutes = 5 * minute
	hour        = 60 * minute
	day         = 24 * hour

	levelCount = 4
	coarsest   = levelCount - 1

	// lastSecond is the end of time (the year 4147): slots and chunks are counted in
	// 32 bits up to there.
	lastSecond = 1 << 36
)

// slotWidth returns how many seconds a slot of level l is wide. Each width divides
// the next, and so does each level's chunk.
func slotWidth(l int) int64 {
	switch l {
	case 0:
		return 1
	case 1:
		return halfMinute
	case 2:
		return fiveMinutes
	default:
		return hour
	}
}

// Resolution returns how long the slots are in which what is so old is kept: windows
// that begin there are rounded to it.
func Resolution(age time.Duration) time.Duration {
	for l, keep := range newCalendar(0).keep {
		if l == coarsest || age <= time.Duration(keep)*time.Second {
			return time.Duration(slotWidth(l)) * time.Second
		}
	}
	return time.Duration(slotWidth(coarsest)) * time.Second
}

func chunkWidth(l int) int64 { return slotsPerChunk * slotWidth(l) }

// calendar answers which resolution holds an instant. Head is the latest second
// that the store knows of; ages count from it.
type calendar struct {
	keep  [levelCount]int64 // how many seconds back each level reaches
	head  int64
	leapt leap // not believed yet; see reach
}

// newCalendar returns a calendar that reaches retention seconds back. Each level
// takes over where its slots are 1/120 of the age or less, so that a window that
// ends now is resolved to 1/120 of its length.
func newCalendar(retention int64) calendar {
	return calendar{keep: [levelCount]int64{hour, 10 * hour, 5 * day, max(retention, 5*day)}}
}

// horizon returns the first second that level l resolves.
func (c *calendar) horizon(l int) int64 { return c.head - c.keep[l] }

// round rounds sec down to the slot that resolves it at its age. What lies before all
// levels counts as the first slot of the coarsest.
func (c *calendar) round(sec int64) int64 {
	sec = min(sec, lastSecond)
	switch {
	case sec >= c.horizon(0):
		return sec
	case sec >= c.horizon(1):
		return floorTo(sec, halfMinute)
	case sec >= c.horizon(2):
		return floorTo(sec, fiveMinutes)
	default:
		return floorTo(max(sec, c.horizon(coarsest)), hour)
	}
}

// shelves says where a series keeps what: level l holds the seconds from shelves[l]
// up to shelves[l-1], in whole chunks, so each event is in one level only. They move
// on once a minute; in between a level still holds a little that has just become too
// old for it, which is resolved better than it need be.
type shelves [levelCount]int64

// shelves returns where things belong when the latest second is head.
func (c *calendar) shelves() (s shelves) {
	for l := range levelCount {
		s[l] = floorTo(floorTo(c.head, minute)-c.keep[l], chunkWidth(l))
	}
	return s
}

// level returns the level that holds sec, levelCount when none does any more.
func (s *shelves) level(sec int64) int {
	for l, from := range s {
		if sec >= from {
			return l
		}
	}
	return levelCount
}

// next returns the first second that nothing was counted in yet.
func (c *calendar) next() int64 {
	if c.known() == 0 {
		return 0
	}
	return c.known() + 1
}

// floorTo rounds sec down to a multiple of width.
func floorTo(sec, width int64) int64 {
	rest := sec % width
	if rest < 0 {
		rest += width
	}
	return sec - rest
}
