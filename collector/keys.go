package collector

// field says what a key of a log line is, in the object that it is in.
type field uint8

const (
	fieldOther field = iota // nobody reads it
	fieldRequest
	fieldResponse
	fieldSession
	fieldLatencies
	fieldTries
	fieldService
	fieldRoute
	fieldConsumer
	fieldTraceID
	fieldStartedAt
	fieldClientIP
	fieldWorkspace
	fieldSource
	fieldUpstreamStatus
	fieldID
	fieldURI
	fieldMethod
	fieldHeaders
	fieldStatus
	fieldProxy
	fieldKong
	fieldIP
	fieldPort
	fieldCode
	fieldState
)

// The objects of a log line, each with its own keys.
const (
	ofRecord = iota
	ofRequest
	ofResponse
	ofLatencies
	ofTry
	ofRequestHeaders
	ofResponseHeaders
	objects
)

// fieldOf returns what a key means in an object.
func fieldOf(object int, name []byte) field {
	switch object {
	case ofRecord:
		return fieldOfRecord(name)
	case ofRequest, ofResponse:
		switch string(name) {
		case "id":
			return fieldID
		case "uri":
			return fieldURI
		case "method":
			return fieldMethod
		case "headers":
			return fieldHeaders
		case "status":
			return fieldStatus
		}
	case ofLatencies:
		switch string(name) {
		case "request":
			return fieldRequest
		case "proxy":
			return fieldProxy
		case "kong":
			return fieldKong
		case "session":
			return fieldSession
		}
	case ofTry:
		switch string(name) {
		case "ip":
			return fieldIP
		case "port":
			return fieldPort
		case "code":
			return fieldCode
		case "state":
			return fieldState
		}
	}
	return fieldOther
}

func fieldOfRecord(name []byte) field {
	switch string(name) {
	case "request":
		return fieldRequest
	case "response":
		return fieldResponse
	case "session":
		return fieldSession
	case "latencies":
		return fieldLatencies
	case "tries":
		return fieldTries
	case "service":
		return fieldService
	case "route":
		return fieldRoute
	case "consumer":
		return fieldConsumer
	case "trace_id":
		return fieldTraceID
	case "started_at":
		return fieldStartedAt
	case "client_ip":
		return fieldClientIP
	case "workspace_name":
		return fieldWorkspace
	case "source":
		return fieldSource
	case "upstream_status":
		return fieldUpstreamStatus
	}
	return fieldOther
}

// keyring remembers the keys of one kind of object and which of them came after which.
// Kong writes an object's keys in the same order nearly every time, so the next key is
// compared with the one that is expected, which costs a fraction of reading it. A key that
// is not the expected one is read as any other.
type keyring struct {
	known []knownKey       // the first stands for the beginning of an object
	index map[string]uint8 // of known, by text
}

// knownKey is a key as it stands in a line.
type knownKey struct {
	text  string // with its quotes and its colon
	field field
	next  uint8 // the index of the key that came after it the last time; 0 is none
}

const (
	maxKnown    = 256 // keys of one kind of object; beyond it they are forgotten and learned again
	maxKnownKey = 64  // bytes of one
)

func newKeyring() keyring { return keyring{known: make([]knownKey, 1, 8), index: map[string]uint8{}} }

// keyAfter reads the key at i of an object. last is the place of the key before it, 0 at
// the beginning, and is given back for the next one. It returns the position of the value.
func (d *Decoder) keyAfter(object int, last uint8, i int) (f field, at uint8, value int) {
	known := d.keys[object].known
	at = known[last].next
	k := &known[at]
	if at == 0 || len(d.b)-i < len(k.text) || string(d.b[i:i+len(k.text)]) != k.text {
		return d.unexpected(object, last, i)
	}
	if i += len(k.text); i < len(d.b) && d.b[i] <= ' ' {
		i = d.space(i)
	}
	return k.field, at, i
}

// another reports whether a comma and the next key are at i, as they are where no space is
// between them. It is next for what Kong writes.
func (s *scanner) another(i int) bool {
	return i >= 0 && i+1 < len(s.b) && s.b[i] == ',' && s.b[i+1] == '"'
}

// unexpected reads a key that is not the one that came the last time, and expects it from
// now on.
func (d *Decoder) unexpected(object int, last uint8, i int) (f field, at uint8, value int) {
	key, value := d.key(i)
	if value < 0 {
		return fieldOther, 0, value
	}
	f = fieldOf(object, d.name(key))
	if key.odd || key.to-key.from > maxKnownKey || d.b[key.to+1] != ':' {
		return f, last, value
	}
	ring := &d.keys[object]
	text := d.b[i : key.to+2]
	at, ok := ring.index[string(text)]
	if !ok {
		if len(ring.known) == maxKnown {
			*ring, last = newKeyring(), 0
		}
		at = uint8(len(ring.known))
		ring.known = append(ring.known, knownKey{text: string(text), field: f})
		ring.index[ring.known[at].text] = at
	}
	ring.known[last].next = at
	return f, at, value
}
