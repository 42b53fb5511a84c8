package app

import "time"

// Kong's log is spread over the guards, and the one that leads asks what came of a change:
// the others count first tries as well while it asks, and tell it.

// triesTold is how many seconds of first tries a guard tells another.
const triesTold = 8

// triesBySecond are first tries on targets, by the second since 1970.
type triesBySecond map[string]map[int64]uint64

// want makes first tries be counted, or not any more, as the guard that leads wants it.
func (w *witness) want(wanted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked.Load() && !wanted {
		clear(w.tries)
	}
	w.asked.Store(wanted)
}

// recent returns what was counted of late, nil when nobody asks.
func (w *witness) recent(now time.Time) triesBySecond {
	if w == nil || !w.asked.Load() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	list := triesBySecond{}
	for target, t := range w.tries {
		for i, second := range t.second {
			if second > now.Unix()-triesTold {
				if list[target] == nil {
					list[target] = map[int64]uint64{}
				}
				list[target][second] = t.count[i]
			}
		}
	}
	return list
}

// heed takes what another guard has counted. A second that it told before may have grown.
func (w *witness) heed(guard string, told triesBySecond) {
	if w == nil || !w.asked.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.away[guard]
	if of == nil {
		of = map[string]*tried{}
		w.away[guard] = of
	}
	for target, counts := range told {
		t := of[target]
		if t == nil {
			if len(of) >= maxTried {
				continue
			}
			t = &tried{}
			of[target] = t
		}
		for second, n := range counts {
			if i := ((second % triesKept) + triesKept) % triesKept; t.second[i] <= second {
				t.second[i], t.count[i] = second, n
			}
		}
	}
}

// between returns how many first tries there were on a target in [from, to), here and
// elsewhere. w.mu is held.
func (w *witness) between(target string, from, to time.Time) uint64 {
	n := w.tries[target].between(from, to)
	for _, of := range w.away {
		n += of[target].between(from, to)
	}
	return n
}
