package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"

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
