package gates

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
)

// A message of the log holds sections, one for each batch that was committed, numbered on
// from the first one's number. A section says for each run in it how far its judge had
// advanced, and what it was shown then:
//
//	message     = version first-number section*
//	section     = count entry*
//	entry       = run advanced flags [split-at split-share] count observation*
//	observation = at flags [latency] [weight] route client target id trace-id
//
// Numbers are varints, strings have their length in front, instants are Unix nanoseconds:
// advanced as it is, the others as the difference to the one before.
type section struct {
	number  uint64
	entries []entry
}

// entry is what one run was told in a section, in this order.
type entry struct {
	run          string
	advanced     time.Time
	split        *split
	observations []gatewarden.Observation
}

// split is a change of the configured share.
type split struct {
	At    time.Time `json:"at"`
	Share float64   `json:"share"`
}

const messageVersion = 1

// The bits of an entry's and of an observation's flags.
const (
	entrySplit = 1

	observedCanary  = 1
	observedFailed  = 2
	observedLatency = 4
	observedWeight  = 8
)

// beginMessage returns a message that holds no section yet.
func beginMessage(first uint64) []byte {
	return binary.AppendUvarint([]byte{messageVersion}, first)
}

// appendSection adds a section to a message; its number follows from its place.
func appendSection(b []byte, entries []entry) []byte {
	b = binary.AppendUvarint(b, uint64(len(entries)))
	for i := range entries {
		b = entries[i].append(b)
	}
	return b
}

func (e *entry) append(b []byte) []byte {
	b = appendText(b, e.run)
	last := e.advanced.UnixNano()
	b = binary.AppendVarint(b, last)
	if e.split == nil {
		b = append(b, 0)
	} else {
		b = append(b, entrySplit)
		b = binary.AppendVarint(b, e.split.At.UnixNano()-last)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(e.split.Share))
	}
	return appendObservations(b, last, e.observations)
}

// appendObservations adds observations; the first one's instant is told as the difference
// to last, in Unix nanoseconds.
func appendObservations(b []byte, last int64, observations []gatewarden.Observation) []byte {
	b = binary.AppendUvarint(b, uint64(len(observations)))
	for i := range observations {
		o := &observations[i]
		at := o.At.UnixNano()
		b = binary.AppendVarint(b, at-last)
		last = at
		b = appendObservation(b, o)
	}
	return b
}

func appendObservation(b []byte, o *gatewarden.Observation) []byte {
	var flags byte
	if o.Track == gatewarden.TrackCanary {
		flags |= observedCanary
	}
	if o.Failed {
		flags |= observedFailed
	}
	if o.Latency >= 0 {
		flags |= observedLatency
	}
	if o.Weight > 1 {
		flags |= observedWeight
	}
	b = append(b, flags)
	if o.Latency >= 0 {
		b = binary.AppendUvarint(b, uint64(o.Latency))
	}
	if o.Weight > 1 {
		b = binary.AppendUvarint(b, uint64(o.Weight))
	}
	for _, text := range [...]string{o.Route, o.Client, o.Target, o.ID, o.TraceID} {
		b = appendText(b, text)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// parseMessage reads a message. The error has code Internal: nobody but the guard writes
// them.
func parseMessage(data []byte) ([]section, error) {
	p := &parser{rest: data}
	if p.byte() != messageVersion {
		p.bad = true
	}
	first := p.uint()
	var sections []section
	for !p.bad && len(p.rest) > 0 {
		s := section{number: first + uint64(len(sections))}
		for range p.count(minEntry) {
			s.entries = append(s.entries, p.entry())
		}
		sections = append(sections, s)
	}
	if p.bad {
		return nil, gatewarden.Errorf(gatewarden.Internal, "a message of the log of observations is damaged %d bytes before its end", len(p.rest))
	}
	return sections, nil
}

// The least bytes that an entry and an observation take, so that a damaged count cannot
// ask for more memory than the message is worth.
const (
	minEntry       = 4
	minObservation = 7
)

// parser reads a message from front to back. Once something is bad, all that it returns
// is zero.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) take(n uint64) []byte {
	if p.bad || n > uint64(len(p.rest)) {
		p.bad = true
		return nil
	}
	taken := p.rest[:n]
	p.rest = p.rest[n:]
	return taken
}

func (p *parser) byte() byte {
	if b := p.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (p *parser) uint() uint64 {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 || p.take(uint64(n)) == nil {
		p.bad = true
		return 0
	}
	return v
}

func (p *parser) int() int64 {
	v, n := binary.Varint(p.rest)
	if n <= 0 || p.take(uint64(n)) == nil {
		p.bad = true
		return 0
	}
	return v
}

func (p *parser) text() string { return string(p.take(p.uint())) }

// count reads how many things follow that take at least size bytes each.
func (p *parser) count(size uint64) uint64 {
	n := p.uint()
	if n > uint64(len(p.rest))/size {
		p.bad = true
		return 0
	}
	return n
}

func (p *parser) entry() entry {
	e := entry{run: p.text()}
	last := p.int()
	e.advanced = instant(last)
	if p.byte()&entrySplit != 0 {
		e.split = &split{At: instant(last + p.int())}
		if bits := p.take(8); bits != nil {
			e.split.Share = math.Float64frombits(binary.LittleEndian.Uint64(bits))
		}
	}
	e.observations = p.observations(last)
	return e
}

func (p *parser) observations(last int64) []gatewarden.Observation {
	var list []gatewarden.Observation
	for range p.count(minObservation) {
		last += p.int()
		list = append(list, p.observation(last))
	}
	return list
}

func (p *parser) observation(at int64) gatewarden.Observation {
	o := gatewarden.Observation{At: instant(at), Latency: gatewarden.NoLatency}
	flags := p.byte()
	if flags&observedCanary != 0 {
		o.Track = gatewarden.TrackCanary
	}
	o.Failed = flags&observedFailed != 0
	if flags&observedLatency != 0 {
		latency := p.uint()
		p.bad = p.bad || latency > math.MaxInt64
		o.Latency = time.Duration(latency & math.MaxInt64)
	}
	if flags&observedWeight != 0 {
		weight := p.uint()
		p.bad = p.bad || weight > math.MaxUint32
		o.Weight = uint32(weight & math.MaxUint32)
	}
	for _, text := range [...]*string{&o.Route, &o.Client, &o.Target, &o.ID, &o.TraceID} {
		*text = p.text()
	}
	return o
}

func instant(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }

// datable reports whether a message can tell the instant. One that it can't is nobody's
// traffic.
func datable(at time.Time) bool {
	year := at.Year()
	return year >= 1970 && year <= 2200
}
