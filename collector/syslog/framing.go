package syslog

import (
	"bytes"

	"github.com/gatewarden/gatewarden/collector"
)

// framing cuts a stream into messages, in both ways of RFC 6587, told apart at each
// message: one that begins with a digit has its length before it, any other ends with a
// line feed.
type framing struct {
	longest  int
	skipping int  // bytes of a message that is too long
	skipLine bool // the rest of a message that is too long, up to its line feed
	searched int  // how much of the message at hand is known to hold no line feed
	block    collector.Block
}

// maxDigits is how long a length may be; with more it is none.
const maxDigits = 9

func newFraming(longest collector.ByteSize) *framing { return &framing{longest: int(longest)} }

// Cut implements collector.Framing.
func (f *framing) Cut(buf []byte, last bool) (collector.Block, int) {
	f.block.Reset()
	used := 0
	for used < len(buf) {
		n := f.next(buf[used:], last)
		if n == 0 {
			break
		}
		used += n
	}
	return f.block, used
}

// next takes the first message of b and returns how many bytes are done with, 0 when
// more must come first.
func (f *framing) next(b []byte, last bool) int {
	switch {
	case f.skipping > 0:
		n := min(f.skipping, len(b))
		f.skipping -= n
		return n
	case f.skipLine:
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return len(b)
		}
		f.skipLine = false
		return end + 1
	case b[0] <= ' ': // between messages
		return 1
	}
	length, head, more := octets(b)
	switch {
	case more && !last:
		return 0
	case head == 0:
		return f.line(b, last)
	case length > f.longest:
		f.block.TooLong++
		f.skipping = head + length
		return f.next(b, last)
	case len(b) >= head+length:
		f.add(b[head : head+length])
		return head + length
	case last:
		f.add(b[head:])
		return len(b)
	default:
		return 0
	}
}

// line takes a message that ends with a line feed.
func (f *framing) line(b []byte, last bool) int {
	searched := f.searched
	f.searched = 0
	end := bytes.IndexByte(b[searched:], '\n')
	if end >= 0 {
		end += searched
	}
	switch {
	case end >= 0 && end <= f.longest:
		f.add(b[:end])
		return end + 1
	case end >= 0:
		f.block.TooLong++
		return end + 1
	case len(b) > f.longest:
		f.block.TooLong++
		f.skipLine = true
		return len(b)
	case last:
		f.add(b)
		return len(b)
	default:
		f.searched = len(b)
		return 0
	}
}

// add keeps the JSON of a message. One without is kept as a value that is no record,
// so that it is counted as rejected.
func (f *framing) add(message []byte) {
	if json := payload(message); json != nil {
		f.block.Add(json)
		return
	}
	f.block.Add(null)
}

var null = []byte("null")

// octets reads a length and the space behind it. head is how long both are, 0 when b
// does not begin with a length; more says that b ends before that is clear.
func octets(b []byte) (length, head int, more bool) {
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9' && i < maxDigits && b[0] != '0':
			length = 10*length + int(c-'0')
		case c == ' ' && i > 0:
			return length, i + 1, false
		default:
			return 0, 0, false
		}
	}
	return 0, 0, true
}
