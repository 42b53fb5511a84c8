package collector

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"strconv"

	"github.com/gatewarden/gatewarden"
)

// ErrTooMany says that a body has more elements than Limits.MaxRecords.
var ErrTooMany = errors.New("too many records")

// maxDepth is how deep arrays and objects may nest, the batch's own array included.
// What Kong was seen to log nests 4 deep; the rest is for fields that users add. The
// scanner is recursive, so there must be a limit.
const maxDepth = 64

// scanner checks JSON and finds its way in it. Its methods take a position in b and
// return the position behind what they read; a negative one means that it was not
// valid, and fault says why.
type scanner struct {
	b     []byte
	depth int
	fault fault
}

// fault is what is wrong with a body. It is at len(b) exactly when the body may only
// be incomplete.
type fault struct {
	at   int
	kind faultKind
	what string
}

type faultKind uint8

const (
	syntax faultKind = iota
	tooDeep
	tooMany
)

func (s *scanner) fail(at int, kind faultKind, what string) int {
	s.fault = fault{at: at, kind: kind, what: what}
	return -1
}

// wrong reports a byte that cannot be at i, or that the body ends there.
func (s *scanner) wrong(i int, expected string) int {
	if i >= len(s.b) {
		return s.fail(len(s.b), syntax, "it ends where "+expected+" should be")
	}
	return s.fail(i, syntax, "there is no "+expected)
}

// err returns the fault as an error.
func (s *scanner) err() error {
	const around = 24
	near := s.b[max(s.fault.at-around, 0):min(s.fault.at+around, len(s.b))]
	switch s.fault.kind {
	case tooMany:
		return gatewarden.Errorf(gatewarden.Invalid, "%w: %s", ErrTooMany, s.fault.what).
			WithHint("lower queue.max_batch_size of the log plugin, or raise max_batch of the source")
	case tooDeep:
		return gatewarden.Errorf(gatewarden.Invalid, "at byte %d: %s", s.fault.at, s.fault.what).
			WithHint("a field that custom_fields_by_lua adds nests too deep")
	default:
		return gatewarden.Errorf(gatewarden.Invalid, "broken JSON at byte %d of %d: %s, near %s",
			s.fault.at, len(s.b), s.fault.what, strconv.QuoteToASCII(string(near))).
			WithHint("it was cut off on its way, or its sender is not one of Kong's log plugins")
	}
}

// space returns the position of the first byte from i on that is not white space.
func (s *scanner) space(i int) int {
	for i < len(s.b) && s.b[i] <= ' ' && (s.b[i] == ' ' || s.b[i] == '\n' || s.b[i] == '\r' || s.b[i] == '\t') {
		i++
	}
	return i
}

// open enters the array or object at i, which ends with the given byte. more says
// that there is a first member, at the position returned.
func (s *scanner) open(i int, end byte) (_ int, more bool) {
	if s.depth++; s.depth > maxDepth {
		return s.fail(i, tooDeep, "it is nested more than "+strconv.Itoa(maxDepth)+" deep"), false
	}
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == end {
		s.depth--
		return i + 1, false
	}
	return i, true
}

// next leaves the member that ended at i. more says that there is another one, at the
// position returned; otherwise the array or object has ended there.
func (s *scanner) next(i int, end byte) (_ int, more bool) {
	if i < 0 {
		return i, false
	}
	if i = s.space(i); i < len(s.b) {
		switch s.b[i] {
		case ',':
			return s.space(i + 1), true
		case end:
			s.depth--
			return i + 1, false
		}
	}
	if end == ']' {
		return s.wrong(i, "comma or ]"), false
	}
	return s.wrong(i, "comma or }"), false
}

// key reads the key at i and returns it with the position of its value.
func (s *scanner) key(i int) (key text, value int) {
	if i >= len(s.b) || s.b[i] != '"' {
		return text{}, s.wrong(i, "key in quotes")
	}
	end, odd := s.str(i + 1)
	if end < 0 {
		return text{}, end
	}
	key = text{i + 1, end - 1, odd}
	if i = s.space(end); i >= len(s.b) || s.b[i] != ':' {
		return text{}, s.wrong(i, "colon")
	}
	return key, s.space(i + 1)
}

// skip reads any value at i.
func (s *scanner) skip(i int) int {
	if i >= len(s.b) {
		return s.wrong(i, "value")
	}
	switch s.b[i] {
	case '"':
		i, _ = s.str(i + 1)
		return i
	case '{':
		return s.skipObject(i)
	case '[':
		return s.skipArray(i)
	case 't':
		return s.word(i, "true")
	case 'f':
		return s.word(i, "false")
	case 'n':
		return s.word(i, "null")
	default:
		return s.number(i)
	}
}

func (s *scanner) skipObject(i int) int {
	i, more := s.open(i, '}')
	for more {
		if _, i = s.key(i); i < 0 {
			return i
		}
		i, more = s.next(s.skip(i), '}')
	}
	return i
}

func (s *scanner) skipArray(i int) int {
	i, more := s.open(i, ']')
	for more {
		i, more = s.next(s.skip(i), ']')
	}
	return i
}

// word reads one of JSON's three words.
func (s *scanner) word(i int, word string) int {
	for k := range len(word) {
		if i+k >= len(s.b) || s.b[i+k] != word[k] {
			return s.wrong(i+k, word)
		}
	}
	return i + len(word)
}

// number reads a number.
func (s *scanner) number(i int) int {
	if s.b[i] == '-' {
		i++
	}
	switch {
	case i < len(s.b) && s.b[i] == '0':
		i++
	default:
		if i = s.digits(i, "value"); i < 0 {
			return i
		}
	}
	if i < len(s.b) && s.b[i] == '.' {
		if i = s.digits(i+1, "digit"); i < 0 {
			return i
		}
	}
	if i < len(s.b) && s.b[i]|0x20 == 'e' {
		i++
		if i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		return s.digits(i, "digit")
	}
	return i
}

// digits reads one digit or more.
func (s *scanner) digits(i int, expected string) int {
	start := i
	for i < len(s.b) && s.b[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return s.wrong(i, expected)
	}
	return i
}

// text is a string in the body: what is between its quotes.
type text struct {
	from, to int
	odd      bool // it may have escapes or bytes that are not ASCII
}

// Eight bytes at a time, as one number: each of its bytes.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str reads a string whose opening quote is before i, up to behind its closing one.
// odd says that it may have escapes or bytes that are not ASCII.
//
// It looks at eight bytes at a time for those that mean something, by the "has less"
// and "has zero" tests of Anderson's Bit Twiddling Hacks: the lowest bit of their
// result is exact, those above it need not be. Exclusive or with 2 maps the quote
// (0x22) to 0x20 and the control characters among themselves, so that one test,
// less than 0x21, finds both.
func (s *scanner) str(i int) (end int, odd bool) {
	b, seen := s.b, uint64(0)
	for {
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, back := x^0x02*ones, x^'\\'*ones
			found := ((quote-0x21*ones)&^quote | (back-ones)&^back) & highs
			seen |= x
			if found != 0 {
				i += bits.TrailingZeros64(found) >> 3
				break
			}
			i += 8
		}
		for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
			seen |= uint64(b[i])
			i++
		}
		switch {
		case i == len(b):
			return s.fail(i, syntax, "it ends inside a string"), false
		case b[i] == '"':
			return i + 1, seen&highs != 0
		case b[i] == '\\':
			seen = highs
			if i = s.escape(i + 1); i < 0 {
				return i, false
			}
		default:
			return s.fail(i, syntax, "there is a control character in a string"), false
		}
	}
}

// escape reads what follows a backslash.
func (s *scanner) escape(i int) int {
	if i >= len(s.b) {
		return s.fail(i, syntax, "it ends inside a string")
	}
	switch s.b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for k := i + 1; k <= i+4; k++ {
			if k >= len(s.b) || hexValue(s.b[k]) < 0 {
				return s.wrong(k, "hexadecimal digit")
			}
		}
		return i + 5
	default:
		return s.fail(i, syntax, "there is an unknown escape in a string")
	}
}

// hexValue returns the value of a hexadecimal digit, or -1.
func hexValue(c byte) int {
	switch {
	case c-'0' <= 9:
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	default:
		return -1
	}
}
