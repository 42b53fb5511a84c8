package collector

import (
	"slices"
	"strconv"
	"sync"
	"unsafe"

	"github.com/gatewarden/gatewarden"
)

// Limits bound what one body may make the decoder do. A zero field takes the value
// of DefaultLimits.
type Limits struct {
	// MaxRecords is how many elements a body may have. Beyond it the whole body is
	// refused.
	MaxRecords int
	// MaxRecordBytes is how long one element may be. A longer one is rejected by
	// itself; the others of its body go on.
	MaxRecordBytes int
}

// DefaultLimits returns the limits that hold where nothing else is said. The captured
// records in testdata are 625 to 6,473 bytes long, half of them 1,960 or more, so that
// other limits, of an HTTP body or of Kong's queue, are met first.
func DefaultLimits() Limits {
	return Limits{MaxRecords: 50_000, MaxRecordBytes: 1 << 20}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.MaxRecords <= 0 {
		l.MaxRecords = d.MaxRecords
	}
	if l.MaxRecordBytes <= 0 {
		l.MaxRecordBytes = d.MaxRecordBytes
	}
	return l
}

// Batch is what a body held.
type Batch struct {
	// Records are in the body's order. They belong to the Decoder, with all that they
	// point to, and are valid until it is used again or put back: what a request has for
	// itself (ID, Path, ClientIP, TraceID, the values of Headers) is in memory that the
	// next body overwrites. Clone a string to keep it.
	Records []gatewarden.Record
	// Rejected counts the elements that are valid JSON but no record of Kong's.
	Rejected int
	// Reason says why the first of them was rejected; "" when none was.
	Reason string
}

// Decoder reads Kong's log JSON: objects, arrays of objects, and any sequence of
// these, with or without white space or line ends between them. It keeps buffers and
// a memo of the services, routes and consumers that it has met, so it is meant to be
// used again and again. It is not safe for concurrent use; see Pool.
//
// It accepts the JSON that encoding/json accepts (RFC 8259, checked also where nothing
// is read from it, and including what is not UTF-8 inside of strings, because Kong
// sends that), up to a nesting of 64. As with encoding/json, the last of several equal
// keys holds. Strings of a Record are always valid UTF-8: each wrong byte has become
// U+FFFD.
type Decoder struct {
	// Headers, if set, names the headers that the records are to carry.
	Headers *Headers

	scanner
	limits Limits
	memo   memo
	keys   [objects]keyring

	draft   draft
	records []gatewarden.Record
	details []details // one for each record
	texts   []byte    // the strings of all records, one after the other; what they share
	tries   []gatewarden.Try
	headers []gatewarden.Header
	// where each of headers ends in texts
	headerEnds []int
	// the headers that are asked for, and what the record at hand has of them
	wanted []gatewarden.Header
	found  []headerValue

	elements int
	rejected int
	reason   string
}

// NewDecoder returns a decoder.
func NewDecoder(limits Limits) *Decoder {
	d := &Decoder{limits: limits.orDefault(), memo: newMemo()}
	for i := range d.keys {
		d.keys[i] = newKeyring()
	}
	return d
}

// Decode reads a whole body. On an error, which has the code Invalid and says at
// which byte, there are no records: a body that was cut off on its way comes again,
// and must not have been counted in part. ErrTooMany is in the chain of an error
// about the number of elements.
func (d *Decoder) Decode(body []byte) (Batch, error) {
	d.begin()
	d.b = body
	defer func() { d.b = nil }()
	i := d.space(0)
	if i == len(body) {
		return Batch{}, gatewarden.Errorf(gatewarden.Invalid, "the body is empty")
	}
	for i < len(body) {
		if body[i] == '[' {
			i = d.array(i)
		} else {
			i = d.element(i)
		}
		if i < 0 {
			return Batch{}, d.err()
		}
		i = d.space(i)
	}
	return d.finish(), nil
}

// begin forgets the last batch.
func (d *Decoder) begin() {
	d.spoil()
	d.records, d.details, d.texts, d.tries = d.records[:0], d.details[:0], d.texts[:0], d.tries[:0]
	d.headers, d.headerEnds = d.headers[:0], d.headerEnds[:0]
	d.elements, d.rejected, d.reason = 0, 0, ""
	d.depth, d.fault = 0, fault{}
	d.wanted = d.Headers.names()
	d.found = slices.Grow(d.found[:0], len(d.wanted))[:len(d.wanted)]
}

// array reads the elements of the array at i and returns where it ends.
func (d *Decoder) array(i int) int {
	i, more := d.open(i, ']')
	for more {
		if i = d.element(i); i < 0 {
			return i
		}
		i, more = d.next(i, ']')
	}
	return i
}

// element reads the value at i, keeps it when it is a record of Kong's, and returns
// where it ends. When it is negative, nothing was kept.
func (d *Decoder) element(i int) int {
	if d.elements++; d.elements > d.limits.MaxRecords {
		return d.fail(i, tooMany, "more than "+strconv.Itoa(d.limits.MaxRecords)+" records in one body")
	}
	if i >= len(d.b) || d.b[i] != '{' {
		end := d.skip(i)
		if end >= 0 {
			d.reject("it is no object")
		}
		return end
	}
	tries := len(d.tries)
	d.draft = draft{latency: noLatencies(), session: gatewarden.NoLatency}
	clear(d.found)
	end := d.record(i)
	if end >= 0 {
		reason := d.unfit()
		if end-i > d.limits.MaxRecordBytes {
			reason = "it is longer than " + ByteSize(d.limits.MaxRecordBytes).String()
		}
		if reason == "" {
			d.keep(tries)
			return end
		}
		d.reject(reason)
	}
	d.tries = d.tries[:tries]
	return end
}

func (d *Decoder) reject(reason string) {
	if d.rejected++; d.reason == "" {
		d.reason = reason
	}
}

// details is what a record needs until its batch is finished: where its strings end
// in Decoder.texts, in the order ID, Path, ClientIP, TraceID, and which of
// Decoder.tries and Decoder.headers are its own. Its headers' values are behind its
// TraceID.
type details struct {
	id, path, clientIP, traceID int
	firstTry, endTry            int
	firstHeader, endHeader      int
}

// finish gives the records their strings and tries. It is done once a batch, when texts
// does not move any more: the strings are parts of it. A copy for each batch was most of
// the garbage of a guard, and to collect that took a tenth of its processor time.
func (d *Decoder) finish() Batch {
	all, from := unsafe.String(unsafe.SliceData(d.texts), len(d.texts)), 0
	cut := func(to int) string {
		s := all[from:to]
		from = to
		return s
	}
	for i := range d.records {
		r, x := &d.records[i], &d.details[i]
		r.ID, r.Path, r.ClientIP, r.TraceID = cut(x.id), cut(x.path), cut(x.clientIP), cut(x.traceID)
		if x.endTry > x.firstTry {
			r.Tries = d.tries[x.firstTry:x.endTry:x.endTry]
		}
		if x.endHeader > x.firstHeader {
			for k := x.firstHeader; k < x.endHeader; k++ {
				d.headers[k].Value = cut(d.headerEnds[k])
			}
			r.Headers = d.headers[x.firstHeader:x.endHeader:x.endHeader]
		}
	}
	return Batch{Records: d.records, Rejected: d.rejected, Reason: d.reason}
}

// spoil overwrites the strings of the last batch where the race detector runs, so that
// every test that has it also finds who kept one of them.
func (d *Decoder) spoil() {
	if raceEnabled {
		for i := range d.texts {
			d.texts[i] = '!'
		}
	}
}

// Pool hands out decoders of the same limits to many goroutines.
type Pool struct {
	limits  Limits
	headers *Headers
	pool    sync.Pool
}

// NewPool returns a pool of decoders, whose records carry the headers asked for; nil
// for none.
func NewPool(limits Limits, headers *Headers) *Pool { return &Pool{limits: limits, headers: headers} }

// Get returns a decoder that nobody else uses.
func (p *Pool) Get() *Decoder {
	if d, ok := p.pool.Get().(*Decoder); ok {
		return d
	}
	d := NewDecoder(p.limits)
	d.Headers = p.headers
	return d
}

// Put gives a decoder back, whose last batch nobody uses any more.
func (p *Pool) Put(d *Decoder) {
	d.spoil()
	const large = 4096 // a decoder that once met a huge body is not worth its memory
	if cap(d.records) <= large && cap(d.tries) <= 4*large {
		p.pool.Put(d)
	}
}
