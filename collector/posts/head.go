package posts

import "bytes"

// head is what a post says before its body. Its texts are in the buffer.
type head struct {
	path, host []byte
	length     int // of the body
	end        int // where the body begins
}

// verdict is what the bytes that came are.
type verdict uint8

const (
	more  verdict = iota // the beginning of a post, perhaps
	whole                // a plain post, and perhaps the beginning of the next
	large                // the head of a plain post that is larger than Room
	other                // for net/http
)

// maxLengthDigits bounds Content-Length, far above Room, so that it cannot overflow.
const maxLengthDigits = 7

// readHead reads the head of the post that b begins with.
func readHead(b []byte) (h head, v verdict) {
	const method, version = "POST ", " HTTP/1.1"
	if n := min(len(b), len(method)); string(b[:n]) != method[:n] {
		return h, other
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return h, unfinished(b)
	}
	h.end = end + len("\r\n\r\n")
	line, fields, _ := bytes.Cut(b[:end], []byte("\r\n"))
	path, ok := bytes.CutSuffix(line[len(method):], []byte(version))
	if !ok || !plainPath(path) {
		return h, other
	}
	h.path, h.length = path, -1
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		if !h.field(field) {
			return h, other
		}
	}
	switch {
	case h.length < 0 || h.host == nil || h.length > Largest:
		return h, other
	case h.end+h.length > Room:
		return h, large
	case h.length > len(b)-h.end:
		return h, more
	default:
		return h, whole
	}
}

// unfinished returns what a head without an end is: net/http ends lines, and a head, at
// a line feed alone.
func unfinished(b []byte) verdict {
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			return other
		}
	}
	return more
}

// field reads a header field, and reports whether it is one that leaves the post plain.
func (h *head) field(field []byte) bool {
	name, value, ok := bytes.Cut(field, []byte(":"))
	if !ok || !plainName(name) || !plainValue(value) {
		return false
	}
	value = bytes.Trim(value, " \t")
	switch {
	case is(name, "content-length"):
		return h.length < 0 && h.digits(value)
	case is(name, "host"):
		if h.host != nil || !plainHost(value) {
			return false
		}
		h.host = value
		return true
	case is(name, "connection"):
		return is(value, "keep-alive")
	case is(name, "content-encoding"), is(name, "transfer-encoding"), is(name, "expect"), is(name, "trailer"), is(name, "upgrade"), is(name, "te"):
		return false
	default:
		return true
	}
}

// is reports whether a text is a word of lower case, whatever the text's own case is.
func is(text []byte, word string) bool {
	return len(text) == len(word) && bytes.EqualFold(text, []byte(word))
}

// digits reads the length of the body.
func (h *head) digits(value []byte) bool {
	if len(value) == 0 || len(value) > maxLengthDigits {
		return false
	}
	h.length = 0
	for _, c := range value {
		if c -= '0'; c > 9 {
			return false
		}
		h.length = 10*h.length + int(c)
	}
	return true
}

// plainPath reports whether a path is taken by its letters: without a query, escapes, and
// anything that http.ServeMux would clean.
func plainPath(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	for i, c := range path {
		switch {
		case alphanumeric(c), c == '-', c == '_':
		case c == '/' || c == '.':
			if i > 0 && path[i-1] == '/' {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// plainName reports whether a field's name is one of any use.
func plainName(name []byte) bool {
	for _, c := range name {
		if !alphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return len(name) > 0
}

// plainValue reports whether a field's value is without control characters.
func plainValue(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// plainHost reports whether a Host is a name or an address, with a port or without.
func plainHost(host []byte) bool {
	for _, c := range host {
		if !alphanumeric(c) && c != '.' && c != '-' && c != ':' && c != '[' && c != ']' && c != '_' {
			return false
		}
	}
	return len(host) > 0
}

func alphanumeric(c byte) bool { return c-'0' <= 9 || c|0x20-'a' <= 'z'-'a' }
