package collector

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"

	"github.com/gatewarden/gatewarden"
)

// Reader reads Kong's log JSON from a file or a pipe of any length, plain or
// compressed by gzip, in bounded memory: lines as file-log writes them, arrays as
// http-log posts them, and whatever else a Decoder takes.
//
// Unlike the body of a post, a file is not sent again, and its last line is often cut
// by whoever rotated or copied it. So what is broken is reported and left out, from
// the start of the broken element to the end of its line, and reading goes on.
type Reader struct {
	// Strict makes Next return the first broken line as its error instead of going on.
	Strict bool
	// Report, if set, is called for each broken or rejected element with an error that
	// says file and line.
	Report func(error)
	// Headers, if set, names the headers that the records are to carry.
	Headers *Headers

	name    string
	in      *bufio.Reader
	plain   io.Reader // in, or what it decompresses to; nil before the first byte
	decoder *Decoder
	buf     []byte
	pos     int   // of the next byte of buf to read
	line    int   // that pos is in, from 1
	ended   error // why there is no more input than buf; nil while there may be
	err     error // what Next ended with
	stats   ReaderStats

	// inside an array of elements at the top
	inArray   bool
	arrayLine int  // where it began
	wantComma bool // an element has just ended
	first     bool // no element has been seen: the array may end here
	resync    bool // something broken was left out just before
}

// ReaderStats counts what a Reader has seen so far.
type ReaderStats struct {
	Lines    int   // complete ones
	Bytes    int64 // decompressed
	Records  int
	Rejected int // valid JSON, but no record of Kong's
	Broken   int // places where the JSON was broken
}

// NewReader reads r, which errors call by name.
func NewReader(r io.Reader, name string) *Reader {
	const window = 256 << 10 // about 100 records
	return &Reader{
		name:    name,
		in:      bufio.NewReader(r),
		decoder: NewDecoder(Limits{}),
		buf:     make([]byte, 0, window),
		line:    1,
	}
}

// Stats returns what was seen up to the end of the last batch.
func (r *Reader) Stats() ReaderStats {
	s := r.stats
	s.Lines = r.line - 1
	return s
}

// Next returns the next records, at least one, valid until Next is called again.
// After the last ones it returns io.EOF. Any other error is final: r cannot be read
// (Unavailable), its gzip is damaged or, with Strict, its JSON is (Invalid).
func (r *Reader) Next() ([]gatewarden.Record, error) {
	r.decoder.Headers = r.Headers
	r.decoder.begin()
	for r.err == nil {
		err := r.step()
		switch {
		case errors.Is(err, errMore) && len(r.decoder.records) > 0:
			// Hand on what there is before waiting for more: the input may be a live pipe.
			return r.batch(), nil
		case errors.Is(err, errMore):
			r.fill()
		default:
			r.err = err
		}
	}
	if len(r.decoder.records) > 0 {
		return r.batch(), nil
	}
	return nil, r.err
}

func (r *Reader) batch() []gatewarden.Record {
	records := r.decoder.finish().Records
	r.stats.Records += len(records)
	return records
}

// errMore says that the window must move on.
var errMore = errors.New("more input is needed")

// step reads one element, or one bracket or comma between elements.
func (r *Reader) step() error {
	d := r.decoder
	d.b = r.buf
	r.advance(d.space(r.pos))
	if r.pos == len(r.buf) {
		if r.ended == nil {
			return errMore
		}
		return r.end()
	}
	switch c := r.buf[r.pos]; {
	case !r.inArray && c == '[':
		r.inArray, r.arrayLine, r.wantComma, r.first = true, r.line, false, true
		r.advance(r.pos + 1)
		return nil
	case r.inArray && c == ']' && (r.wantComma || r.first || r.resync):
		r.inArray = false
		r.advance(r.pos + 1)
		return nil
	case r.inArray && r.resync && c == ',':
		r.resync = false
		r.advance(r.pos + 1)
		return nil
	case r.inArray && r.wantComma:
		if c != ',' {
			d.wrong(r.pos, "comma or ]")
			return r.broken()
		}
		r.wantComma = false
		r.advance(r.pos + 1)
		return nil
	}
	return r.element()
}

// element reads the element at pos. With errMore it has done nothing.
func (r *Reader) element() error {
	d := r.decoder
	rejected := d.rejected
	d.elements, d.depth, d.reason = 0, 0, ""
	end := d.element(r.pos)
	switch {
	case r.ended == nil && r.unfinished(end):
		d.rejected = rejected
		if len(r.buf)-r.pos <= d.limits.MaxRecordBytes {
			return errMore
		}
		d.fail(r.pos, syntax, "an element is longer than "+ByteSize(d.limits.MaxRecordBytes).String())
		return r.broken()
	case end < 0:
		return r.broken()
	case r.textLine(end):
		d.rejected = rejected
		d.wrong(end, "value on this line")
		return r.broken()
	}
	if d.rejected > rejected {
		r.stats.Rejected++
		r.report(gatewarden.Errorf(gatewarden.Invalid, "%s:%d: no log record of Kong's: %s", r.name, r.line, d.reason))
	}
	r.advance(end)
	r.first, r.resync, r.wantComma = false, false, r.inArray
	return nil
}

// unfinished reports whether the element at pos, which the decoder thinks ends at end
// or is broken, may go on in what was not read yet.
func (r *Reader) unfinished(end int) bool {
	if end < 0 {
		return r.decoder.fault.at == len(r.buf)
	}
	return end == len(r.buf) && r.buf[end-1] != '}' // a number can have more digits
}

// textLine reports whether the element at pos is only the beginning of a line of
// text, such as the year of a date.
func (r *Reader) textLine(end int) bool {
	return !r.inArray && r.buf[r.pos] != '{' && end < len(r.buf) && r.buf[end] > ' '
}

// broken reports the decoder's fault and moves on to the line after the one where the
// broken element began.
func (r *Reader) broken() error {
	r.stats.Broken++
	fault := r.decoder.fault
	const around = 24
	near := r.buf[max(fault.at-around, 0):min(fault.at+around, len(r.buf))]
	err := gatewarden.Errorf(gatewarden.Invalid, "%s:%d: broken JSON: %s, near %q", r.name, r.line, fault.what, near)
	r.report(err)
	if r.Strict {
		return err.WithHint("without strict reading, broken lines are counted and left out")
	}
	if r.inArray && r.arrayLine == r.line {
		r.inArray = false
	}
	r.first, r.resync, r.wantComma = false, true, false
	for {
		if k := bytes.IndexByte(r.buf[r.pos:], '\n'); k >= 0 {
			r.advance(r.pos + k + 1)
			return nil
		}
		r.advance(len(r.buf))
		if r.over() {
			return nil
		}
		r.fill()
	}
}

// over reports whether there is nothing more to read.
func (r *Reader) over() bool { return r.ended != nil }

// end is where the input ends.
func (r *Reader) end() error {
	if r.inArray {
		r.decoder.wrong(r.pos, "comma or ]")
		if err := r.broken(); err != nil {
			return err
		}
	}
	return r.ended
}

func (r *Reader) report(err error) {
	if r.Report != nil {
		r.Report(err)
	}
}

// advance moves pos to i and counts the lines on the way.
func (r *Reader) advance(i int) {
	r.line += bytes.Count(r.buf[r.pos:i], []byte{'\n'})
	r.pos = i
}

// fill drops what was read from the window and reads more into it.
func (r *Reader) fill() {
	if r.plain == nil {
		if r.ended = r.start(); r.ended != nil {
			return
		}
	}
	rest := copy(r.buf[:cap(r.buf)], r.buf[r.pos:])
	r.buf, r.pos = r.buf[:rest], 0
	if rest == cap(r.buf) {
		r.buf = append(make([]byte, 0, 2*cap(r.buf)), r.buf...)
	}
	n, err := r.plain.Read(r.buf[rest:cap(r.buf)])
	r.buf = r.buf[:rest+n]
	r.stats.Bytes += int64(n)
	if err != nil {
		r.ended = r.unreadable(err)
	}
}

// start looks at the first bytes: gzip says so by two of them, and a byte order mark
// is three that mean nothing.
func (r *Reader) start() error {
	r.plain = r.in
	// An error comes again, from Read, when what was peeked at has been read.
	switch head, _ := r.in.Peek(3); {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		unzipped, err := gzip.NewReader(r.in)
		if err != nil {
			return r.unreadable(err)
		}
		r.plain = unzipped
	case bytes.Equal(head, []byte("\xef\xbb\xbf")):
		_, _ = r.in.Discard(len(head))
	}
	return nil
}

// unreadable explains why reading ended; io.EOF needs no explanation.
func (r *Reader) unreadable(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return gatewarden.Errorf(gatewarden.Invalid, "%s: the gzip is cut off or damaged, near line %d: %w", r.name, r.line, err)
	}
	return gatewarden.Errorf(gatewarden.Unavailable, "%s: cannot be read on from line %d: %w", r.name, r.line, err)
}
