package collector

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// textAt reads the value at i. One that is no string reads as the empty string.
func (s *scanner) textAt(i int) (text, int) {
	if i < len(s.b) && s.b[i] == '"' {
		end, odd := s.str(i + 1)
		return text{i + 1, end - 1, odd}, end
	}
	return text{}, s.skip(i)
}

// numberAt reads the value at i: a number, or a string that is one, as Lua code that
// does not care writes it. Anything else is not ok.
func (s *scanner) numberAt(i int) (v float64, ok bool, end int) {
	if n, end := s.wholeAt(i); end > 0 {
		return float64(n), true, end
	}
	if i < len(s.b) && s.b[i] == '"' {
		t, end := s.textAt(i)
		if end < 0 || t.from == t.to {
			return 0, false, end
		}
		inner := scanner{b: s.raw(t)}
		if t.odd {
			inner.b = s.appendText(nil, t)
		}
		if inner.number(0) != len(inner.b) {
			return 0, false, end
		}
		v, ok = parseNumber(inner.b)
		return v, ok, end
	}
	end = s.skip(i)
	if end < 0 || s.b[i] != '-' && s.b[i]-'0' > 9 {
		return 0, false, end
	}
	v, ok = parseNumber(s.b[i:end])
	return v, ok, end
}

// wholeAt reads a whole number that is the value at i, as nearly all of Kong's are. Its end
// is 0 when the value is anything else, and when it has so many digits that a float64 may
// not hold it exactly.
func (s *scanner) wholeAt(i int) (n int64, end int) {
	const exact = 15
	for end = i; end < len(s.b) && s.b[end]-'0' <= 9; end++ {
		n = n*10 + int64(s.b[end]-'0')
		if end-i >= exact {
			return 0, 0
		}
	}
	switch {
	case end == i, end == len(s.b), s.b[i] == '0' && end > i+1:
		return 0, 0
	case s.b[end] != ',' && s.b[end] != '}' && s.b[end] != ']':
		return 0, 0
	}
	return n, end
}

// parseNumber returns the value of a valid JSON number; not ok when it is beyond what
// a float64 holds.
func parseNumber(b []byte) (v float64, ok bool) {
	const exact = 15 // so many digits are always exact
	if len(b) <= exact {
		n := 0
		for _, c := range b {
			if c -= '0'; c > 9 {
				n = -1
				break
			}
			n = n*10 + int(c)
		}
		if n >= 0 {
			return float64(n), true
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil
}

// raw returns a text as it stands in the body.
func (s *scanner) raw(t text) []byte { return s.b[t.from:t.to] }

// appendText appends what a text means: without escapes, and with U+FFFD for every
// byte that is not UTF-8.
func (s *scanner) appendText(dst []byte, t text) []byte {
	b := s.raw(t)
	if !t.odd {
		return append(dst, b...)
	}
	for len(b) > 0 {
		plain := 0
		for plain < len(b) && b[plain] < utf8.RuneSelf && b[plain] != '\\' {
			plain++
		}
		if dst, b = append(dst, b[:plain]...), b[plain:]; len(b) == 0 {
			break
		}
		if b[0] != '\\' {
			r, n := utf8.DecodeRune(b)
			dst, b = utf8.AppendRune(dst, r), b[n:]
			continue
		}
		r, n := unescape(b)
		dst, b = utf8.AppendRune(dst, r), b[n:]
	}
	return dst
}

// unescape returns what the valid escape at the start of b stands for, and how long
// it is. A surrogate without its other half is U+FFFD.
func unescape(b []byte) (rune, int) {
	switch c := b[1]; c {
	case 'u':
		r := hexRune(b[2:6])
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if pair := utf16.DecodeRune(r, hexRune(b[8:12])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	default:
		if k := bytes.IndexByte([]byte("bfnrt"), c); k >= 0 {
			return rune("\b\f\n\r\t"[k]), 2
		}
		return rune(c), 2
	}
}

func hexRune(b []byte) rune {
	r := rune(0)
	for _, c := range b {
		r = r<<4 | rune(hexValue(c))
	}
	return r
}
