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

	raw string // as it stands in a line; "" when it is not remembered
	// then is the entity that came after it in a line the last time: the route after its
	// service, or the service after its route.
	then     *entity
	thenKind entityKind
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
	targets  [16]target

	workspace, method string // of the record before
}

// target is the address of a try, with what it was made of.
type target struct {
	ip      string
	port    float64
	address string
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

// add remembers an entity. All kinds are forgotten together, so that none that is known
// holds on to one that is not by its then.
func (m *memo) add(raw []byte, kind entityKind, e *entity) {
	if len(raw) > memoLongest {
		return
	}
	if m.entities[kind].bytes+len(raw) > memoBytes {
		for k := range m.entities {
			clear(m.entities[k].known)
			m.entities[k].bytes = 0
		}
	}
	e.raw = string(raw)
	m.entities[kind].known[e.raw] = e
	m.entities[kind].bytes += len(raw)
}

// entity reads the service, route or consumer at i; nil when there is none.
func (d *Decoder) entity(i int, kind entityKind) (*entity, int) {
	before := d.draft.entity
	if before != nil && before.then != nil && before.thenKind == kind {
		if e := before.then; len(d.b)-i >= len(e.raw) && string(d.b[i:i+len(e.raw)]) == e.raw {
			d.draft.entity = e
			return e, i + len(e.raw)
		}
	}
	e, end := d.memo.entities[kind].find(d.b, i)
	if e == nil {
		if end = d.skip(i); end < 0 || d.b[i] != '{' {
			return nil, end
		}
		e = d.readEntity(i, kind)
		d.memo.add(d.b[i:end], kind, e)
	}
	if before != nil && e.raw != "" {
		before.then, before.thenKind = e, kind
	}
	d.draft.entity = e
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

// interned returns a string that repeats often; last is what it was the last time.
func (d *Decoder) interned(t text, last *string) string {
	name := d.name(t)
	if string(name) == *last {
		return *last
	}
	s := d.memo.name(name)
	if len(s) <= maxName {
		*last = s
	}
	return s
}

func (m *memo) name(b []byte) string {
	if len(b) == 0 {
		return ""
	}
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
	// Which target comes next nobody knows, but most differ in these two.
	known := &d.memo.targets[(uint16(min(max(port, 0), 65535))+uint16(d.b[ip.to-1]))%uint16(len(d.memo.targets))]
	if !ip.odd && known.port == port && known.ip == string(d.raw(ip)) {
		return known.address
	}
	address := d.appendText(d.memo.scratch[:0], ip)
	if port >= 1 && port <= 65535 {
		if address[0] != '[' && bytes.IndexByte(address, ':') >= 0 {
			address = append(append([]byte{'['}, address...), ']')
		}
		address = strconv.AppendInt(append(address, ':'), int64(port), 10)
	}
	d.memo.scratch = address
	name := d.memo.name(address)
	if !ip.odd {
		*known = target{string(d.raw(ip)), port, name}
	}
	return name
}
