package store

// level is one resolution that a column keeps: slots of width seconds, for keep
// seconds back.
type level struct {
	width int64
	keep  int64
}

const (
	minute = 60
	hour   = 60 * minute
	day    = 24 * hour

	levelCount = 4
	coarsest   = levelCount - 1

	// lastSecond is the end of time (the year 4147): slots and chunks are counted in
	// 32 bits up to there.
	lastSecond = 1 << 36
)

// levelTable returns the resolutions from the finest to the coarsest. Each width
// divides the next, and each level begins where its width is 1/120 of the age or
// less, so that a window that ends now is resolved to 1/120 of its length.
func levelTable(retention int64) [levelCount]level {
	return [levelCount]level{
		{width: 1, keep: hour},
		{width: 30, keep: 10 * hour},
		{width: 5 * minute, keep: 5 * day},
		{width: hour, keep: max(retention, 5*day)},
	}
}

// calendar answers which resolution holds an instant. Head is the latest second
// that the store knows of; ages count from it.
type calendar struct {
	levels [levelCount]level
	head   int64
}

// horizon returns the first second that level l resolves.
func (c *calendar) horizon(l int) int64 {
	return c.head - c.levels[l].keep
}

// next returns the first second that nothing was counted in yet.
func (c *calendar) next() int64 {
	if c.head == 0 {
		return 0
	}
	return c.head + 1
}

// at returns the level that resolves second sec, and sec rounded down to its slot.
// What lies before all levels counts as the first slot of the coarsest.
func (c *calendar) at(sec int64) (l int, rounded int64) {
	sec = min(sec, lastSecond)
	for l := range levelCount {
		if sec >= c.horizon(l) {
			return l, floorTo(sec, c.levels[l].width)
		}
	}
	return coarsest, floorTo(c.horizon(coarsest), c.levels[coarsest].width)
}

// floorTo rounds sec down to a multiple of width.
func floorTo(sec, width int64) int64 {
	rest := sec % width
	if rest < 0 {
		rest += width
	}
	return sec - rest
}
