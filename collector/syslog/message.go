package syslog

import "bytes"

// payload returns the JSON in a syslog message, nil when there is none. Both formats
// are taken, as relays really write them, and told apart by the version behind the
// priority:
//
//	RFC 5424: <14>1 2026-11-21T20:39:11Z host kong 81 - [id name="value"] {"request":…
//	RFC 3164: <14>Nov 21 20:39:11 host kong[81]: {"request":…
//
// A JSON text of Kong's begins with a brace, or a bracket for an array. In 3164 nothing
// before it may hold one but the brackets of the process, so only a brace counts there.
// "@cee:" and a byte order mark before it mean nothing, nor does what relays end a message
// with: a NUL, a line feed.
func payload(message []byte) []byte {
	message = bytes.TrimRight(message, "\x00 \r\n\t")
	rest, ok := priority(message)
	if !ok {
		return from(message, '{') // no syslog, but perhaps JSON all the same
	}
	if version, after, ok := bytes.Cut(rest, space); ok && string(version) == "1" {
		return payload5424(after)
	}
	return from(rest, '{')
}

var space = []byte{' '}

// priority takes "<0>" to "<191>" off the front.
func priority(message []byte) (rest []byte, ok bool) {
	const longest = len("<191>")
	end := bytes.IndexByte(message[:min(len(message), longest)], '>')
	if end < 2 || message[0] != '<' {
		return nil, false
	}
	n := 0
	for _, c := range message[1:end] {
		if c < '0' || c > '9' {
			return nil, false
		}
		n = 10*n + int(c-'0')
	}
	return message[end+1:], n <= 191
}

// payload5424 goes over time, host, program, process, kind and structured data.
func payload5424(rest []byte) []byte {
	for range 5 {
		_, after, ok := bytes.Cut(rest, space)
		if !ok {
			return nil
		}
		rest = after
	}
	switch {
	case len(rest) == 0:
		return nil
	case rest[0] == '-':
		rest = rest[1:]
	default:
		if rest = structuredData(rest); rest == nil {
			return nil
		}
	}
	return from(rest, '{')
}

// structuredData goes over "[id name="value" …][…]". In a value, a quote, a backslash
// and a closing bracket stand behind a backslash (RFC 5424, 6.3.3).
func structuredData(rest []byte) []byte {
	for len(rest) > 0 && rest[0] == '[' {
		quoted, i := false, 1
		for ; i < len(rest) && (quoted || rest[i] != ']'); i++ {
			switch rest[i] {
			case '\\':
				if quoted {
					i++
				}
			case '"':
				quoted = !quoted
			}
		}
		if i >= len(rest) {
			return nil
		}
		rest = rest[i+1:]
	}
	return rest
}

// from returns b from the first such byte on, nil when there is none.
func from(b []byte, c byte) []byte {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[i:]
	}
	return nil
}
