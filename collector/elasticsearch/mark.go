package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// The names of a source's marks among the checkpoints: "elasticsearch/" and its own name
// come before.
const (
	followed = "/followed"
	filled   = "/filled"
)

// followMark is how far the index was followed, as it is kept.
type followMark struct {
	Of     string   `json:"of"`    // the reading that it is of: marks of another one say only when
	Until  int64    `json:"until"` // what is before was counted, but for what Slots say; Unix milliseconds
	Slots  slots    `json:"slots,omitempty"`
	Shapes []shaped `json:"shapes,omitempty"` // of the rows in Slots, in order
}

// settle forgets the slots before an instant.
func (m *followMark) settle(before int64) {
	if before <= m.Until {
		return
	}
	m.Until = before
	kept := slots{}
	for at, s := range m.Slots {
		if at >= before {
			kept[at] = s
		}
	}
	m.Slots = kept
	for len(m.Shapes) > 1 && m.Shapes[1].From <= before {
		m.Shapes = m.Shapes[1:]
	}
}

// mostKept bounds how long a mark may be, in bytes. It is in each message of the counts,
// and of these a NATS server takes 1 MiB.
const mostKept = 256 << 10

// keep returns the mark as it is kept: with the slots, the newest first, that mostKept has
// room for. Those before are settled for whoever takes it up. Here they are known for as
// long as the process lives.
func (f *follower) keep(m *followMark) *followMark {
	kept := *m
	kept.Slots = nil
	room := mostKept - sizeOf(&kept) - len(`,"slots":{}`)
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(m.Slots))) {
		s := m.Slots[at]
		if room -= len(`"":,`) + len(strconv.FormatInt(at, 10)) + sizeOf(&s); room < 0 {
			kept.Slots = m.Slots
			kept.settle(at + f.slotWidth())
			break
		}
	}
	f.metrics.unkept.Set(float64(kept.Until-m.Until) / 1000)
	if kept.Until == m.Until {
		return m
	}
	if !f.full { // from here on the metric tells
		f.full = true
		f.log.Warn("there are too many rows to keep all of lateness over a restart: late documents that come in while the guard restarts are missed",
			"kept", time.Duration(f.reached()-kept.Until)*time.Millisecond)
	}
	return &kept
}

// sizeOf returns how long what is kept is as JSON. None of it cannot be written.
func sizeOf(v any) int {
	b, _ := json.Marshal(v)
	return len(b)
}

// fillMark is what of the past is still to be filled in.
type fillMark struct {
	Left     []interval `json:"left"`               // in order
	Ingested int64      `json:"ingested,omitempty"` // only documents that were indexed before; 0 for all
}

// interval is [From, To) in Unix milliseconds.
type interval struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

func (s *Source) markName(of string) string { return "elasticsearch/" + s.name + of }

// load reads a mark, and reports whether there is one.
func (s *Source) load(of string, into any) bool {
	if s.kept == nil {
		return false
	}
	value, ok := s.kept.Load(s.markName(of))[s.markName(of)]
	return ok && json.Unmarshal(value, into) == nil
}

// count counts records and keeps a mark, in one step.
func (s *Source) count(ctx context.Context, records []gatewarden.Record, of string, mark any) error {
	// What has been read is counted once, also when ctx is done meanwhile.
	ctx = context.WithoutCancel(ctx)
	if s.kept == nil {
		if len(records) == 0 {
			return nil
		}
		return s.sink.Accept(ctx, s.name, records)
	}
	value, err := json.Marshal(mark)
	if err != nil {
		return gatewarden.Errorf(gatewarden.Internal, "writing how far the index was read: %w", err)
	}
	return s.kept.Accept(ctx, s.name, records, map[string][]byte{s.markName(of): value})
}

// identity tells one way of following an index from another.
func (s *Source) identity(l *layout) string {
	h := fnv.New64a()
	by := l.ingested.name
	if s.settings.Read == readBuckets {
		by = ""
	}
	_, _ = fmt.Fprintf(h, "%q %q %q %q %q %d", s.settings.Index, s.settings.Query, s.settings.Read, l.time.name, by, s.slotWidth()) // it never fails
	return fmt.Sprintf("%016x", h.Sum64())
}
