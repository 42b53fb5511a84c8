package collector

import (
	"bytes"
	"strconv"
)

// entityKind tells what an object is, because what it is called by differs.
type entityKind uint8

const (
	serviceEntity entityKind = iota
	routeEntity
	consumerEntity
	entityKinds
)

// labels are the keys that name an entity, the best first.
var labels = [entityKinds][]string{
	serviceEntity:  {"name", "host", "id"},
	routeEntity:    {"name", "id"},
	consumerEntity: {"username", "custom_id", "id"},
}

// entity is what a record needs of its service, route or consumer. The nil entity is
// that of a record without one.
type entity struct {
	name string
	tags []string

	// of a route: its tags with those of the service that it was last seen with, which
	// is nearly always the same one
	with     *entity
	allTags  []string
	longName bool
}

func (e *entity) label() string {
	if e == nil {
		return ""
	}
	return e.name
}

func (e *entity) tooLong() bool { return e != nil && e.longName }

// tagsWith returns the tags of a service and of the route e, each once.
func (e *entity) tagsWith(service *entity) []string {
	switch {
	case e == nil && service == nil:
		return nil
	case e == nil:
		return service.tags
	case service == nil:
		return e.tags
	}
	if e.with != service {
		e.with, e.allTags = service, union(service.tags, e.tags)
	}
	return e.allTags
}

func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	var all []string
	seen := make(map[string]bool, len(a)+len(b))
	for _, tags := range [][]string{a, b} {
		for _, tag := range tags {
			if !seen[tag] {
				seen[tag] = true
				all = append(all, tag)
			}
		}
	}
	return all
}

// The memo's bounds. When it is full, it is emptied and learns again, so that it
// follows a gateway whose entities change.
const (
	memoBytes   = 1 << 20 // of the entities of a kind: 2,000 of Kong's
	memoLongest = 4 << 10 // of one entity
	memoNames   = 2048
)

// memo remembers what repeats from record to record. Services, routes and consumers
// are nearly half of a log line and the same every time, byte by byte: they are looked
// up as they are.
type memo struct {
	entities [entityKinds]entityMemo
	names    map[string]string
	scratch  []byte
}

type entityMemo struct {
	known map[string]*entity
	bytes int // of its keys
}

func newMemo() memo {
	m := memo{names: make(map[string]string)}
	for kind := range m.entities {
		m.entities[kind].known = make(map[string]*entity)
	}
	return m
}

func (m *entityMemo) add(raw []byte, e *entity) {
	if len(raw) > memoLongest {
		return
	}
	if m.bytes += len(raw); m.bytes > memoBytes {
		clear(m.known)
		m.bytes = len(raw)
	}
	m.known[string(raw)] = e
}

// entity reads the service, route or consumer at i; nil when there is none.
func (d *Decoder) entity(i int, kind entityKind) (*entity, int) {
	known := &d.memo.entities[kind]
	if e, end := known.find(d.b, i); e != nil {
		return e, end
	}
	end := d.skip(i)
	if end < 0 || d.b[i] != '{' {
		return nil, end
	}
	e := d.readEntity(i, kind)
	known.add(d.b[i:end], e)
	return e, end
}

// find looks for a known entity at b[i:] and returns it with where it ends. Its end is
// guessed: it is one of the next few closing braces. A guess that is wrong is not
// known, since what is known is whole objects, none of which is the start of another.
func (m *entityMemo) find(b []byte, i int) (*entity, int) {
	const guesses = 3 // Kong's routes have one object inside
	if i >= len(b) || b[i] != '{' {
		return nil, i
	}
	near := b[i:min(i+memoLongest, len(b))]
	end := 0
	for range guesses {
		brace := bytes.IndexByte(near[end:], '}')
		if brace < 0 {
			break
		}
		end += brace + 1
		if e, ok := m.known[string(near[:end])]; ok {
			return e, i + end
		}
	}
	return nil, i
}

// readEntity reads the valid object at i.
func (d *Decoder) readEntity(i int, kind entityKind) *entity {
	e := &entity{}
	names := make([]string, len(labels[kind]))
	i, more := d.open(i, '}')
	for more {
		var key text
		key, i = d.key(i)
		name := string(d.name(key))
		if name == "tags" {
			e.tags, i = d.strings(i)
		} else {
			var value text
			value, i = d.textAt(i)
			for k, label := range labels[kind] {
				if name == label {
					names[k] = string(d.appendText(nil, value))
				}
			}
		}
		i, more = d.next(i, '}')
	}
	for _, name := range names {
		if e.name == "" {
			e.name = name
		}
	}
	e.longName = len(e.name) > maxName
	for _, tag := range e.tags {
		e.longName = e.longName || len(tag) > maxName
	}
	return e
}

// strings reads the strings of the valid array at i, each once. Anything else has
// none.
func (d *Decoder) strings(i int) ([]string, int) {
	if d.b[i] != '[' {
		return nil, d.skip(i)
	}
	var all []string
	i, more := d.open(i, ']')
	for more {
		var value text
		if value, i = d.textAt(i); value.to > value.from {
			all = append(all, string(d.appendText(nil, value)))
		}
		i, more = d.next(i, ']')
	}
	return union(nil, all), i
}

// interned returns a string that repeats often.
func (d *Decoder) interned(t text) string {
	if t.from == t.to {
		return ""
	}
	return d.memo.name(d.name(t))
}

func (m *memo) name(b []byte) string {
	if s, ok := m.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) <= maxName {
		if len(m.names) >= memoNames {
			clear(m.names)
		}
		m.names[s] = s
	}
	return s
}

// target returns the address of a try as Kong's Admin API lists targets: "ip:port",
// an IPv6 address in brackets. It is empty without an address, as when its name did
// not resolve.
func (d *Decoder) target(ip text, port float64) string {
	if ip.from == ip.to || d.tooLong(ip) {
		return ""
	}
	address := d.appendText(d.memo.scratch[:0], ip)
	if port >= 1 && port <= 65535 {
		if address[0] != '[' && bytes.IndexByte(address, ':') >= 0 {
			address = append(append([]byte{'['}, address...), ']')
		}
		address = strconv.AppendInt(append(address, ':'), int64(port), 10)
	}
	d.memo.scratch = address
	return d.memo.name(address)
}
