package store

import (
	"cmp"
	"slices"
)

// maxSpans bounds how many stretches of watching are told apart. Beyond it the
// oldest are forgotten, which makes windows that reach there look less covered,
// never more.
const maxSpans = 10_000

// span is a stretch of time [from, to) in nanoseconds since 1970, and how much was
// watched in all the spans before it.
type span struct{ from, to, before int64 }

// watched is when the guard was receiving records: disjoint spans in order.
type watched struct{ spans []span }

// add unites [from, to) with what is there.
func (w *watched) add(from, to int64) {
	if from >= to {
		return
	}
	lo, _ := slices.BinarySearchFunc(w.spans, from, func(s span, t int64) int { return cmp.Compare(s.to, t) })
	hi := lo
	for hi < len(w.spans) && w.spans[hi].from <= to {
		from, to = min(from, w.spans[hi].from), max(to, w.spans[hi].to)
		hi++
	}
	if hi == lo+1 {
		w.spans[lo].from, w.spans[lo].to = from, to // a second more of the same: no copying
	} else {
		w.spans = slices.Replace(w.spans, lo, hi, span{from: from, to: to})
	}
	if len(w.spans) > maxSpans {
		w.spans = slices.Delete(w.spans, 0, len(w.spans)-maxSpans)
		lo = 0
	}
	w.resum(lo)
}

// resum brings before up to date from span i on.
func (w *watched) resum(i int) {
	for ; i < len(w.spans); i++ {
		w.spans[i].before = 0
		if i > 0 {
			w.spans[i].before = w.spans[i-1].before + w.spans[i-1].to - w.spans[i-1].from
		}
	}
}

// forget drops the spans that ended before t.
func (w *watched) forget(t int64) {
	n, _ := slices.BinarySearchFunc(w.spans, t, func(s span, t int64) int { return cmp.Compare(s.to, t) })
	if n > 0 {
		w.spans = slices.Delete(w.spans, 0, n)
		w.resum(0)
	}
}

// within returns how much of [from, to) was watched.
func (w *watched) within(from, to int64) int64 {
	if from >= to {
		return 0
	}
	return w.until(to) - w.until(from)
}

// until returns how much was watched before t.
func (w *watched) until(t int64) int64 {
	i, _ := slices.BinarySearchFunc(w.spans, t, func(s span, t int64) int { return cmp.Compare(s.to, t) })
	switch {
	case i < len(w.spans):
		return w.spans[i].before + max(t-w.spans[i].from, 0)
	case i == 0:
		return 0
	default:
		last := w.spans[i-1]
		return last.before + last.to - last.from
	}
}
