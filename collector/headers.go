package collector

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gatewarden/gatewarden"
)

// Headers holds the names of the headers whose values the rules ask for. One Headers
// is shared by all sources; a Decoder looks at it at the beginning of each body. The
// zero Headers asks for none, which costs nothing.
type Headers struct {
	wanted atomic.Pointer[[]gatewarden.Header]
}

// Set asks for these headers of requests and of responses, and no longer for others.
// Case does not matter.
func (h *Headers) Set(request, response []string) {
	var wanted []gatewarden.Header
	add := func(names []string, response bool) {
		for _, name := range names {
			header := gatewarden.Header{Response: response, Name: strings.ToLower(name)}
			if name != "" && !slices.Contains(wanted, header) {
				wanted = append(wanted, header)
			}
		}
	}
	add(request, false)
	add(response, true)
	h.wanted.Store(&wanted)
}

// Asked reports whether any header is asked for.
func (h *Headers) Asked() bool { return len(h.names()) > 0 }

// names returns what is asked for, without values; nobody changes it.
func (h *Headers) names() []gatewarden.Header {
	if h == nil {
		return nil
	}
	if wanted := h.wanted.Load(); wanted != nil {
		return *wanted
	}
	return nil
}

// headerValue is where the value of a header that is asked for stands in the body.
type headerValue struct {
	key, value text
	ok         bool // there is one
}

// headersOf reads the object of headers at i. Names match in any case, as they do in
// HTTP; Kong itself logs them in lower case. Where several spellings of one name are
// there, the one that sorts last holds, so that the lower-case one does.
func (d *Decoder) headersOf(i int, response bool) int {
	if len(d.wanted) == 0 {
		return d.skipHeaders(i, response)
	}
	d.forgetHeaders(response)
	i, more := d.inside(i)
	for more {
		var key text
		if key, i = d.key(i); i < 0 {
			return i
		}
		var v headerValue
		if at := d.headerAsked(key, response); at < 0 {
			i = d.skip(i)
		} else if v, i = d.headerValueAt(i); i >= 0 {
			v.key = key
			d.found[at] = v
		}
		i, more = d.next(i, '}')
	}
	return i
}

// skipHeaders reads an object of headers that nobody asks for.
func (d *Decoder) skipHeaders(i int, response bool) int {
	object := ofRequestHeaders
	if response {
		object = ofResponseHeaders
	}
	i, more := d.inside(i)
	for last := uint8(0); more; {
		if _, last, i = d.keyAfter(object, last, i); i < 0 {
			return i
		}
		if i = d.skip(i); d.another(i) {
			i++
			continue
		}
		i, more = d.next(i, '}')
	}
	return i
}

// forgetHeaders empties the values of a side: the last of several equal keys holds.
func (d *Decoder) forgetHeaders(response bool) {
	for i := range d.wanted {
		if d.wanted[i].Response == response {
			d.found[i] = headerValue{}
		}
	}
}

// headerAsked returns which of the headers that are asked for the key names, or -1.
func (d *Decoder) headerAsked(key text, response bool) int {
	if !key.odd {
		length := key.to - key.from
		known := false
		for i := range d.wanted {
			known = known || len(d.wanted[i].Name) == length
		}
		if !known {
			return -1
		}
	}
	name := d.name(key)
	for i := range d.wanted {
		w := &d.wanted[i]
		if w.Response != response || !equalFold(name, w.Name) {
			continue
		}
		// d.name has one buffer, so the spelling found before is written out.
		if before := d.found[i].key; before.to > before.from && bytes.Compare(name, d.appendText(nil, before)) < 0 {
			return -1
		}
		return i
	}
	return -1
}

// equalFold reports whether b is the lower-case name in any case of ASCII's letters.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// headerValueAt reads a header's value: a string or a number, or the first of a list
// of these, as Kong logs a header that came several times. Anything else is none.
func (d *Decoder) headerValueAt(i int) (headerValue, int) {
	if i >= len(d.b) || d.b[i] != '[' {
		return d.headerScalarAt(i)
	}
	var first headerValue
	i, more := d.open(i, ']')
	for n := 0; more; n++ {
		if n == 0 {
			first, i = d.headerScalarAt(i)
		} else {
			i = d.skip(i)
		}
		i, more = d.next(i, ']')
	}
	return first, i
}

func (d *Decoder) headerScalarAt(i int) (headerValue, int) {
	if i < len(d.b) && d.b[i] == '"' {
		value, end := d.textAt(i)
		return headerValue{value: value, ok: true}, end
	}
	end := d.skip(i)
	if end < 0 || d.b[i] != '-' && d.b[i]-'0' > 9 {
		return headerValue{}, end
	}
	return headerValue{value: text{from: i, to: end}, ok: true}, end
}

// keepHeaders appends the headers of the draft, whose values follow when the batch is
// finished.
func (d *Decoder) keepHeaders() {
	for i := range d.wanted {
		if v := &d.found[i]; v.ok {
			d.texts = d.appendText(d.texts, v.value)
			d.headers = append(d.headers, d.wanted[i])
			d.headerEnds = append(d.headerEnds, len(d.texts))
		}
	}
}
