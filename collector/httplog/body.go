package httplog

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Why a body is not received.
var (
	errTooLarge = errors.New("the decompressed body is larger than the limit")
	errBusy     = errors.New("the bodies that are being received are as much as the limit allows")
	errEncoding = errors.New("unknown Content-Encoding")
)

// body is a buffer for one body, used again for others.
type body struct {
	data     []byte
	reserved int64 // what is reserved of the source's budget for data
}

// The sizes of buffers, in bytes.
const (
	firstBuffer = 32 << 10
	trusted     = 256 << 10 // a Content-Length up to here is believed before the bytes are there
	keptBuffer  = 4 << 20   // larger ones are not kept for the next body
)

// fill reads r to its end. length is what the sender announced, or negative.
func (b *body) fill(r io.Reader, length, limit int64, s *Source) error {
	// One byte more than announced, so that the end is found without growing.
	if err := b.grow(min(max(length+1, firstBuffer), trusted), s); err != nil {
		return err
	}
	for {
		n, err := r.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		switch {
		case int64(len(b.data)) > limit:
			return errTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if len(b.data) == cap(b.data) {
			if err := b.grow(min(2*int64(cap(b.data)), limit+1), s); err != nil {
				return err
			}
		}
	}
}

// grow makes room for size bytes and reserves it of the source's budget.
func (b *body) grow(size int64, s *Source) error {
	size = max(size, int64(cap(b.data)))
	more := size - b.reserved
	b.reserved = size
	if s.buffered.Add(more) > int64(s.settings.MaxBuffered) {
		return errBusy
	}
	if size > int64(cap(b.data)) {
		b.data = append(make([]byte, 0, size), b.data...)
	}
	return nil
}

// bodies keeps buffers for use again.
type bodies struct{ pool sync.Pool }

func (p *bodies) get() *body {
	if b, ok := p.pool.Get().(*body); ok {
		return b
	}
	return &body{}
}

func (p *bodies) put(b *body) {
	if cap(b.data) > keptBuffer {
		return
	}
	b.data, b.reserved = b.data[:0], 0
	p.pool.Put(b)
}

// decompress returns a reader of what r holds. Deflate is zlib by the standard, and
// bare deflate by those who read the name and not the standard: both are taken.
func decompress(encodings []string, r io.Reader) (io.Reader, error) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(encodings, ","))); encoding {
	case "", "identity":
		return r, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(r)
	case "deflate":
		buffered := bufio.NewReader(r)
		head, err := buffered.Peek(2)
		if err != nil {
			return nil, fmt.Errorf("deflate: %w", err)
		}
		// RFC 1950: method 8, and a header that is a multiple of 31.
		if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			return zlib.NewReader(buffered)
		}
		return flate.NewReader(buffered), nil
	default:
		return nil, fmt.Errorf("%w %q", errEncoding, encoding)
	}
}
