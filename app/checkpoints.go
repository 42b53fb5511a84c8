package app

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// checkpoints keeps how far sources have read, in step with the counts: the keeper cuts
// both at the same instant and writes them as one message, so that whatever survives a
// crash, they agree (docs/adr/0006). Each writer has its own: what is read on the machine
// of one guard is nobody else's, and what is asked of others is that of whoever leads.
type checkpoints struct {
	sink collector.Sink

	// step is held for reading while records and values are taken in, and for writing
	// while both are cut.
	step sync.RWMutex
	mu   sync.Mutex        // guards what follows
	by   map[string]*marks // by who writes them
}

// marks are the values of one writer.
type marks struct {
	values  map[string][]byte
	changed bool   // here, since the last message
	own     bool   // changed here at all
	number  uint64 // of the newest cut; those of messages and snapshots grow
}

var _ collector.Checkpoints = marking{}

func newCheckpoints() *checkpoints { return &checkpoints{by: map[string]*marks{}} }

// marking is what a source of one writer is given.
type marking struct {
	*checkpoints
	writer string
}

// of returns the checkpoints of a writer. "" is who leads; a guard that is alone does.
func (c *checkpoints) of(writer string) marking { return marking{c, writer} }

// Load implements collector.Checkpoints. A writer that has kept nothing yet finds what the
// guard had kept while it was alone.
func (c marking) Load(prefix string) map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string][]byte{}
	m := c.by[c.writer]
	if m == nil {
		m = c.by[""]
	}
	if m == nil {
		return found
	}
	for name, value := range m.values {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

// Accept implements collector.Checkpoints.
func (c marking) Accept(ctx context.Context, source string, records []gatewarden.Record, values map[string][]byte) error {
	c.step.RLock()
	defer c.step.RUnlock()
	if len(records) > 0 {
		if err := c.sink.Accept(ctx, source, records); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.by[c.writer]
	if m == nil {
		m = &marks{values: map[string][]byte{}}
		c.by[c.writer] = m
	}
	for name, value := range values {
		if value == nil {
			delete(m.values, name)
		} else {
			m.values[name] = value
		}
	}
	m.changed, m.own = true, true
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
	message := c.seal(counts, func(m *marks) bool { return m.changed })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.by {
		m.changed = false
	}
	return message
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
	return c.seal(counts, func(m *marks) bool { return len(m.values) > 0 || m.number > 0 }), nil
}

// sealMark begins what has values before its counts. Neither a message nor a snapshot
// of the store begins so.
const sealMark = "gwmarks\x01"

// sealed is what stands between the mark and the counts, as one line of JSON for each
// writer.
type sealed struct {
	Number uint64            `json:"number"`
	Writer string            `json:"writer,omitempty"`
	Values map[string][]byte `json:"values"`
}

// seal puts the values that are wanted before the counts.
func (c *checkpoints) seal(counts []byte, wanted func(*marks) bool) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []byte
	for _, writer := range slices.Sorted(maps.Keys(c.by)) {
		m := c.by[writer]
		if !wanted(m) {
			continue
		}
		if m.own {
			m.number++
		}
		head, err := json.Marshal(sealed{m.number, writer, m.values})
		if err != nil { // strings and bytes can always be written
			continue
		}
		out = append(append(append(out, sealMark...), head...), '\n')
	}
	if out == nil {
		return counts
	}
	return append(out, counts...)
}

// open takes a message or a snapshot apart, and takes up its values once use has taken
// its counts. Messages may come again, and behind those that they were before: older
// values change nothing.
func (c *checkpoints) open(b []byte, logger *slog.Logger, use func(counts []byte) error) error {
	if c == nil {
		return use(b)
	}
	var heads [][]byte
	for {
		rest, ok := bytes.CutPrefix(b, []byte(sealMark))
		if !ok {
			break
		}
		var head []byte
		head, b, _ = bytes.Cut(rest, []byte{'\n'})
		heads = append(heads, head)
	}
	if len(b) > 0 || len(heads) == 0 {
		if err := use(b); err != nil {
			return err
		}
	}
	for _, head := range heads {
		c.takeUp(head, logger)
	}
	return nil
}

// takeUp takes up the values of a writer, unless newer ones are there.
func (c *checkpoints) takeUp(head []byte, logger *slog.Logger) {
	var s sealed
	if err := json.Unmarshal(head, &s); err != nil {
		logger.Error("how far sources had read cannot be told; they may count again what they have counted", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.by[s.Writer]
	if m == nil {
		m = &marks{}
		c.by[s.Writer] = m
	}
	if m.values == nil || s.Number > m.number {
		m.number, m.values = s.Number, s.Values
	}
	if m.values == nil {
		m.values = map[string][]byte{}
	}
}
