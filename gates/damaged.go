package gates

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// keepDamaged is how long a blob stays, for whoever wants to look at it, that should be a
	// run and cannot be read.
	keepDamaged = 7 * 24 * time.Hour
	// damagedName is of the blob that has since when which blobs are known to be damaged;
	// names of runs have no colon.
	damagedName = "damaged:runs"
	// mostDamagedNamed bounds the names in one line of the log.
	mostDamagedNamed = 10
)

// damaged are the blobs that should be runs and cannot be read. A guard starts without them.
type damaged struct {
	since   map[string]time.Time // when a guard first met them, by name
	found   []string             // by this start
	why     error                // of the first one
	changed bool                 // since it was written down
}

// restore takes up what earlier lives knew. A note that cannot be read is as none.
func (d *damaged) restore(blob []byte) {
	if json.Unmarshal(blob, &d.since) != nil {
		d.since = nil
	}
}

// find notes one that cannot be read.
func (d *damaged) find(name string, why error) {
	d.found = append(d.found, name)
	if d.why == nil {
		d.why = why
	}
}

// settle forgets those that are there no more, or can be read again, and gives the new ones
// their time from the given instant on; so it does with those of a clock that was ahead.
func (d *damaged) settle(at time.Time) {
	since := make(map[string]time.Time, len(d.found))
	for _, name := range d.found {
		if since[name] = d.since[name]; since[name].IsZero() || since[name].After(at) {
			since[name] = at
		}
	}
	d.changed = !maps.EqualFunc(since, d.since, time.Time.Equal)
	d.since = since
}

// expired takes out those that were there for long enough.
func (d *damaged) expired(at time.Time) (names []string) {
	for name, since := range d.since {
		if at.Sub(since) >= keepDamaged {
			names = append(names, name)
			delete(d.since, name)
			d.changed = true
		}
	}
	return names
}

// tellDamaged says, once a start, what is damaged and what to do about it. mu is held.
func (b *Book) tellDamaged() {
	d := &b.damaged
	if len(d.found) == 0 {
		return
	}
	slices.Sort(d.found)
	var last time.Time
	for _, since := range d.since {
		if since.After(last) {
			last = since
		}
	}
	b.cfg.Logger.Error("runs of canaries are damaged and left out", "count", len(d.found), "runs", d.found[:min(len(d.found), mostDamagedNamed)], "error", d.why,
		"removed_by", last.Add(keepDamaged).UTC(),
		"hint", "gatewarden gate CANARY begins another run; to have it looked at, copy the state folder before they are removed")
}

// tendDamaged writes down since when blobs are known to be damaged, and lets those go that
// were kept for long enough; keep is held.
func (b *Book) tendDamaged(ctx context.Context, at time.Time) error {
	b.mu.Lock()
	b.gone = append(b.gone, b.damaged.expired(at)...)
	blob, err := json.Marshal(b.damaged.since)
	changed, none := b.damaged.changed, len(b.damaged.since) == 0
	b.mu.Unlock()
	if !changed || err != nil { // strings and times can always be written
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	if none {
		err = b.cfg.Runs.Delete(ctx, damagedName)
	} else {
		err = b.cfg.Runs.Put(ctx, damagedName, blob)
	}
	if err != nil {
		b.metrics.saveFails.Inc()
		return fmt.Errorf("writing down which runs are damaged: %w", err)
	}
	b.mu.Lock()
	b.damaged.changed = false // only Keep changes it, once the guard has started
	b.mu.Unlock()
	return nil
}
