package store

import (
	"maps"
	"slices"
)

// progress is which frames of each origin were applied.
type progress map[uint64]*frames

// frames are the numbers that were applied: all up to one, and some beyond it.
type frames struct {
	upTo   uint64
	beyond []uint64 // in order
	head   int64    // the latest second of any
}

const (
	// maxBeyond bounds how many frames may be ahead of a missing one before it is
	// given up as lost.
	maxBeyond = 4096
	// maxOrigins bounds how many stores are remembered; the one silent for longest is
	// forgotten first.
	maxOrigins = 4096
)

// note takes a frame down, and reports whether it is new.
func (p progress) note(origin, number uint64, head int64) bool {
	f := p[origin]
	if f == nil {
		if len(p) >= maxOrigins {
			p.forgetOldest()
		}
		f = &frames{}
		p[origin] = f
	}
	at, known := slices.BinarySearch(f.beyond, number)
	if number <= f.upTo || known {
		return false
	}
	f.head = max(f.head, head)
	f.beyond = slices.Insert(f.beyond, at, number)
	if len(f.beyond) > maxBeyond {
		f.upTo = f.beyond[0]
	}
	n := 0
	for n < len(f.beyond) && f.beyond[n] <= f.upTo+1 {
		f.upTo = f.beyond[n]
		n++
	}
	f.beyond = slices.Delete(f.beyond, 0, n)
	return true
}

func (p progress) forgetOldest() {
	var oldest uint64
	var found *frames
	for origin, f := range p {
		if found == nil || f.head < found.head {
			oldest, found = origin, f
		}
	}
	delete(p, oldest)
}

func (e *encoder) progress(p progress) {
	e.uint(uint64(len(p)))
	for _, origin := range slices.Sorted(maps.Keys(p)) {
		f := p[origin]
		e.word(origin)
		e.uint(f.upTo)
		e.uint(uint64(f.head))
		e.uint(uint64(len(f.beyond)))
		for _, n := range f.beyond {
			e.uint(n)
		}
	}
}

func (d *decoder) progress() progress {
	p := progress{}
	for range d.count() {
		origin := d.word()
		f := &frames{upTo: d.uint(), head: d.second()}
		for range d.count() {
			f.beyond = append(f.beyond, d.uint())
		}
		if !slices.IsSorted(f.beyond) {
			d.fail()
		}
		p[origin] = f
	}
	return p
}
