package canary

import (
	"encoding/binary"

	"github.com/gatewarden/gatewarden"
)

// visit is a request of a client that is known by name.
type visit struct {
	client uint64
	track  gatewarden.Track
	failed bool
	n      uint64 // how many of them
}

// visits are those of a second, packed. What a good request says of its client depends on
// whether the client has failed before, and that is known when all seconds before are
// closed: in the order in which requests arrive, which is nobody's, it must not be asked.
type visits []byte

// maxVisits bounds what a second remembers, in bytes: about 6,500 requests. Those beyond
// are asked for as they arrive.
const maxVisits = 64 << 10

// The bits of a visit that say what it was.
const (
	visitCanary = 1 << iota
	visitFailed
)

// add reports whether there was room.
func (vs *visits) add(v visit) bool {
	if len(*vs) >= maxVisits {
		return false
	}
	var bits byte
	if v.track == Canary {
		bits |= visitCanary
	}
	if v.failed {
		bits |= visitFailed
	}
	b := binary.LittleEndian.AppendUint64(*vs, v.client)
	*vs = binary.AppendUvarint(append(b, bits), v.n)
	return true
}

// all yields them in the order in which they came.
func (vs visits) all(yield func(visit) bool) {
	for b := []byte(vs); len(b) > 9; {
		v := visit{client: binary.LittleEndian.Uint64(b), failed: b[8]&visitFailed != 0}
		if b[8]&visitCanary != 0 {
			v.track = Canary
		}
		n, size := binary.Uvarint(b[9:])
		if size <= 0 || n > maxCount {
			return // a damaged state
		}
		v.n, b = n, b[9+size:]
		if !yield(v) {
			return
		}
	}
}

// meetAll counts what matters of the second's visits. Nearly all clients have not failed
// lately, which a look at a few bits of their keys tells.
func (j *Judge) meetAll(c *cell) {
	var known uint64
	for client := range j.Episodes {
		known |= 1 << (client >> 58)
	}
	for _, client := range j.Errors.Clients {
		known |= 1 << (client >> 58)
	}
	if known == 0 {
		return
	}
	for v := range c.Visits.all {
		if known&(1<<(v.client>>58)) != 0 {
			j.meet(c, v)
		}
	}
}

// meet counts what matters of a visit, as of what is known of its client.
func (j *Judge) meet(c *cell, v visit) {
	if j.Episodes.has(v.client) {
		if !v.failed {
			c.good(v.client, v.n)
		}
		if v.track == Canary {
			c.InRun += v.n
		}
	}
	if !v.failed && v.track == Baseline && j.Errors.waitsFor(v.client) {
		c.serve(v.client, v.n)
	}
}
