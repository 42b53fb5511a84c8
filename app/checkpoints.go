package app

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// checkpoints keeps how far sources have read, in step with the counts: the keeper cuts
// both at the same instant and writes them as one message, so that whatever survives a
// crash, they agree (docs/adr/0006).
type checkpoints struct {
	sink collector.Sink

	// step is held for reading while records and values are taken in, and for writing
	// while both are cut.
	step    sync.RWMutex
	mu      sync.Mutex // guards what follows
	values  map[string][]byte
	changed bool   // since the last message
	number  uint64 // of the newest cut; those of messages and snapshots grow
}

var _ collector.Checkpoints = (*checkpoints)(nil)

func newCheckpoints() *checkpoints { return &checkpoints{values: map[string][]byte{}} }

// Load implements collector.Checkpoints.
func (c *checkpoints) Load(prefix string) map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string][]byte{}
	for name, value := range c.values {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

// Accept implements collector.Checkpoints.
func (c *checkpoints) Accept(ctx context.Context, source string, records []gatewarden.Record, values map[string][]byte) error {
	c.step.RLock()
	defer c.step.RUnlock()
	if len(records) > 0 {
		if err := c.sink.Accept(ctx, source, records); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, value := range values {
		if value == nil {
			delete(c.values, name)
		} else {
			c.values[name] = value
		}
	}
	c.changed = true
	return nil
}

// drain takes counts by take and returns a message of them and of the values as of the
// same instant, nil when nothing is new. take may return nil.
func (c *checkpoints) drain(take func() []byte) []byte {
	if c == nil {
		return take()
	}
	c.step.Lock()
	defer c.step.Unlock()
	counts := take()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed {
		return counts
	}
	c.changed = false
	return c.seal(counts)
}

// snapshot is drain for everything: the values are in it whether they are new or not,
// and count as new for the next message, since a snapshot may fail. Sources with
// checkpoints wait until it is taken.
func (c *checkpoints) snapshot(take func() ([]byte, error)) ([]byte, error) {
	if c == nil {
		return take()
	}
	c.step.Lock()
	defer c.step.Unlock()
	counts, err := take()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.values) == 0 && c.number == 0 {
		return counts, nil
	}
	return c.seal(counts), nil
}

// sealMark begins what has values before its counts. Neither a message nor a snapshot
// of the store begins so.
const sealMark = "gwmarks\x01"

// sealed is what stands between the mark and the counts, as one line of JSON.
type sealed struct {
	Number uint64            `json:"number"`
	Values map[string][]byte `json:"values"`
}

// seal puts the values before the counts. The caller holds mu.
func (c *checkpoints) seal(counts []byte) []byte {
	c.number++
	head, err := json.Marshal(sealed{c.number, c.values})
	if err != nil { // strings and bytes can always be written
		return counts
	}
	return append(append(append([]byte(sealMark), head...), '\n'), counts...)
}

// open takes a message or a snapshot apart, and takes up its values once use has taken
// its counts. Messages may come again, and behind those that they were before: older
// values change nothing.
func (c *checkpoints) open(b []byte, logger *slog.Logger, use func(counts []byte) error) error {
	rest, ok := bytes.CutPrefix(b, []byte(sealMark))
	if c == nil || !ok {
		return use(b)
	}
	head, counts, _ := bytes.Cut(rest, []byte{'\n'})
	if len(counts) > 0 {
		if err := use(counts); err != nil {
			return err
		}
	}
	var s sealed
	if err := json.Unmarshal(head, &s); err != nil {
		logger.Error("how far sources had read cannot be told; they may count again what they have counted", "error", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Number > c.number {
		c.number, c.values = s.Number, s.Values
		if c.values == nil {
			c.values = map[string][]byte{}
		}
	}
	return nil
}
