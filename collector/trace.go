package collector

import "strconv"

// traceFormats are the keys that trace_id may have, the best first: what Kong's
// tracing plugins extract or inject, in the sender's own notation.
var traceFormats = [...]string{"w3c", "b3", "jaeger", "ot", "gcp", "aws", "datadog"}

// traceID reads the trace's id in whatever notations it is logged.
func (d *Decoder) traceID(i int) int {
	d.draft.trace = [len(traceFormats)]text{}
	i, more := d.inside(i)
	for more {
		var key text
		if key, i = d.key(i); i < 0 {
			return i
		}
		format, name := -1, d.name(key)
		for k := range traceFormats {
			if string(name) == traceFormats[k] {
				format = k
			}
		}
		if format >= 0 {
			d.draft.trace[format], i = d.textAt(i)
		} else {
			i = d.skip(i)
		}
		i, more = d.next(i, '}')
	}
	return i
}

// appendTrace appends the first usable id as lower-case hexadecimal digits.
func (d *Decoder) appendTrace(dst []byte, ids *[len(traceFormats)]text) []byte {
	start := len(dst)
	for k, id := range ids {
		if id.from == id.to {
			continue
		}
		switch b := d.raw(id); traceFormats[k] {
		case "datadog": // decimal, 64 bits
			if n, err := strconv.ParseUint(string(b), 10, 64); err == nil {
				return appendHex64(dst, n)
			}
			continue
		case "aws": // "1-", 8 digits, "-", 24 digits
			if len(b) == 35 && b[1] == '-' && b[10] == '-' {
				dst = append(append(dst, b[2:10]...), b[11:]...)
			}
		default:
			dst = append(dst, b...)
		}
		if lowerHex(dst[start:]) {
			return dst
		}
		dst = dst[:start]
	}
	return dst
}

func appendHex64(dst []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&0xf])
	}
	return dst
}

// lowerHex makes hexadecimal digits lower case, in place, and reports whether b is
// nothing but such digits.
func lowerHex(b []byte) bool {
	for i, c := range b {
		switch {
		case c-'0' <= 9 || c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			b[i] = c + 'a' - 'A'
		default:
			return false
		}
	}
	return len(b) > 0
}
