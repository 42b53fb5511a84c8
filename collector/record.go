package collector

import (
	"bytes"
	"time"

	"github.com/gatewarden/gatewarden"
)

// The limits within one record. None of them can be met by what Kong itself logs.
const (
	// maxTries is how many tries of a record are kept. Kong's default is at most 6; the
	// first one owns the request, and upstream_status says what came of the last.
	maxTries = 32
	// maxName is how long a name may be that tallies are kept for, in bytes. A record
	// with a longer one is rejected.
	maxName = 1024
)

// draft is a record while it is being read.
type draft struct {
	id, uri, clientIP text
	trace             [len(traceFormats)]text

	method    text
	workspace text
	service   *entity
	route     *entity
	consumer  *entity
	entity    *entity // the last of these that was read

	started        float64 // Unix time in milliseconds
	hasStarted     bool
	hasLatencies   bool
	latency        gatewarden.Latency
	session        time.Duration // what a TCP stream has instead of latency.Request
	responseStatus int           // 0 when there is none
	sessionStatus  int
	lastTry        int
	origin         gatewarden.Origin
}

func noLatencies() gatewarden.Latency {
	return gatewarden.Latency{Request: gatewarden.NoLatency, Upstream: gatewarden.NoLatency, Kong: gatewarden.NoLatency}
}

// maxStarted is the first instant of the year 10000, which RFC 3339 cannot write, in
// Unix milliseconds.
const maxStarted = 253402300800000

// unfit says why the draft is no record that can be counted, or "".
func (d *Decoder) unfit() string {
	r := &d.draft
	switch {
	case !r.hasLatencies:
		return "it has no latencies"
	case !r.hasStarted || r.started < 0 || r.started >= maxStarted:
		return "it has no started_at in milliseconds"
	case r.status() == 0:
		return "it has no response.status or session.status"
	case r.service.tooLong() || r.route.tooLong() || r.consumer.tooLong() || d.tooLong(r.workspace) || d.tooLong(r.id):
		return "a name in it is longer than 1 KiB"
	}
	return ""
}

// tooLong reports whether t is longer than a name may be.
func (d *Decoder) tooLong(t text) bool {
	n := t.to - t.from
	if t.odd && n > maxName/len("\ufffd") { // what it grows by at most
		n = len(d.name(t))
	}
	return n > maxName
}

func (r *draft) status() int {
	if r.responseStatus != 0 {
		return r.responseStatus
	}
	return r.sessionStatus
}

// record reads the object at i into the draft and the tries.
func (d *Decoder) record(i int) int {
	firstTry := len(d.tries)
	i, more := d.open(i, '}')
	for last := uint8(0); more; {
		var f field
		if f, last, i = d.keyAfter(ofRecord, last, i); i < 0 {
			return i
		}
		r := &d.draft
		switch f {
		case fieldRequest:
			i = d.request(i)
		case fieldResponse:
			i = d.response(i)
		case fieldSession:
			i = d.session(i)
		case fieldLatencies:
			i = d.latencies(i)
		case fieldTries:
			d.tries = d.tries[:firstTry]
			i = d.triesOf(i)
		case fieldService:
			r.service, i = d.entity(i, serviceEntity)
		case fieldRoute:
			r.route, i = d.entity(i, routeEntity)
		case fieldConsumer:
			r.consumer, i = d.entity(i, consumerEntity)
		case fieldTraceID:
			i = d.traceID(i)
		case fieldStartedAt:
			r.started, r.hasStarted, i = d.numberAt(i)
		case fieldClientIP:
			r.clientIP, i = d.textAt(i)
		case fieldWorkspace:
			r.workspace, i = d.textAt(i)
		case fieldSource:
			i = d.source(i)
		case fieldUpstreamStatus:
			i = d.upstreamStatus(i)
		default:
			i = d.skip(i)
		}
		if d.another(i) {
			i++
			continue
		}
		i, more = d.next(i, '}')
	}
	return i
}

// name returns a key as it is meant. The result is valid until the next call.
func (d *Decoder) name(key text) []byte {
	if !key.odd {
		return d.raw(key)
	}
	d.memo.scratch = d.appendText(d.memo.scratch[:0], key)
	return d.memo.scratch
}

// inside enters the object at i as open does; any other value is skipped.
func (d *Decoder) inside(i int) (_ int, more bool) {
	if i < len(d.b) && d.b[i] == '{' {
		return d.open(i, '}')
	}
	return d.skip(i), false
}

func (d *Decoder) request(i int) int {
	r := &d.draft
	r.id, r.uri, r.method = text{}, text{}, text{}
	d.forgetHeaders(false)
	i, more := d.inside(i)
	for last := uint8(0); more; {
		var f field
		if f, last, i = d.keyAfter(ofRequest, last, i); i < 0 {
			return i
		}
		switch f {
		case fieldID:
			r.id, i = d.textAt(i)
		case fieldURI:
			r.uri, i = d.textAt(i)
		case fieldMethod:
			r.method, i = d.textAt(i)
		case fieldHeaders:
			i = d.headersOf(i, false)
		default:
			i = d.skip(i)
		}
		if d.another(i) {
			i++
			continue
		}
		i, more = d.next(i, '}')
	}
	return i
}

func (d *Decoder) response(i int) int {
	r := &d.draft
	r.responseStatus = 0
	d.forgetHeaders(true)
	i, more := d.inside(i)
	for last := uint8(0); more; {
		var f field
		if f, last, i = d.keyAfter(ofResponse, last, i); i < 0 {
			return i
		}
		switch f {
		case fieldStatus:
			r.responseStatus, i = d.statusAt(i)
		case fieldHeaders:
			i = d.headersOf(i, true)
		default:
			i = d.skip(i)
		}
		if d.another(i) {
			i++
			continue
		}
		i, more = d.next(i, '}')
	}
	return i
}

// session reads the status of a TCP session.
func (d *Decoder) session(i int) int {
	r := &d.draft
	r.sessionStatus = 0
	i, more := d.inside(i)
	for more {
		var key text
		if key, i = d.key(i); i < 0 {
			return i
		}
		if string(d.name(key)) == "status" {
			r.sessionStatus, i = d.statusAt(i)
		} else {
			i = d.skip(i)
		}
		i, more = d.next(i, '}')
	}
	return i
}

// statusAt reads a status of up to three digits; anything else is 0. Kong logs a 9
// for an upstream that does not speak HTTP.
func (d *Decoder) statusAt(i int) (status, end int) {
	v, ok, end := d.numberAt(i)
	if !ok || v < 0 || v >= 1000 {
		return 0, end
	}
	return int(v), end
}

func (d *Decoder) latencies(i int) int {
	r := &d.draft
	r.latency, r.session = noLatencies(), gatewarden.NoLatency
	// An empty Lua table can be written as an array.
	r.hasLatencies = i < len(d.b) && (d.b[i] == '{' || d.b[i] == '[')
	i, more := d.inside(i)
	for last := uint8(0); more; {
		var f field
		if f, last, i = d.keyAfter(ofLatencies, last, i); i < 0 {
			return i
		}
		switch f {
		case fieldRequest:
			r.latency.Request, i = d.millisecondsAt(i)
		case fieldProxy:
			r.latency.Upstream, i = d.millisecondsAt(i)
		case fieldKong:
			r.latency.Kong, i = d.millisecondsAt(i)
		case fieldSession:
			r.session, i = d.millisecondsAt(i)
		default:
			i = d.skip(i)
		}
		if d.another(i) {
			i++
			continue
		}
		i, more = d.next(i, '}')
	}
	return i
}

// millisecondsAt reads a latency. Kong writes -1 where there is none; what cannot be
// one counts as none too.
func (d *Decoder) millisecondsAt(i int) (_ time.Duration, end int) {
	const longest = 1 << 40 // about 34 years, and far from overflow
	v, ok, end := d.numberAt(i)
	if !ok || v < 0 || v > longest {
		return gatewarden.NoLatency, end
	}
	return time.Duration(v * float64(time.Millisecond)), end
}

func (d *Decoder) source(i int) int {
	t, end := d.textAt(i)
	d.draft.origin = gatewarden.OriginUnknown
	if end < 0 {
		return end
	}
	switch string(d.name(t)) {
	case "upstream":
		d.draft.origin = gatewarden.OriginUpstream
	case "kong":
		d.draft.origin = gatewarden.OriginKong
	}
	return end
}

// upstreamStatus reads nginx's list of the statuses of all tries, such as "502, 200",
// of which the last item counts. "-" stands for a try without an answer; a colon
// stands between tries before and after an internal redirect.
func (d *Decoder) upstreamStatus(i int) int {
	d.draft.lastTry = 0
	if i < len(d.b) && d.b[i] != '"' {
		d.draft.lastTry, i = d.statusAt(i)
		return i
	}
	t, end := d.textAt(i)
	if end < 0 {
		return end
	}
	last := d.name(t)
	last = bytes.TrimSpace(last[bytes.LastIndexAny(last, ",:")+1:])
	if len(last) <= 3 {
		n := 0
		for _, c := range last {
			if c -= '0'; c > 9 {
				return end
			}
			n = n*10 + int(c)
		}
		d.draft.lastTry = n
	}
	return end
}

// triesOf reads the list of tries.
func (d *Decoder) triesOf(i int) int {
	if i >= len(d.b) || d.b[i] != '[' {
		return d.skip(i)
	}
	n := 0
	i, more := d.open(i, ']')
	for more {
		if n < maxTries && i < len(d.b) && d.b[i] == '{' {
			i = d.try(i)
			n++
		} else {
			i = d.skip(i)
		}
		i, more = d.next(i, ']')
	}
	return i
}

func (d *Decoder) try(i int) int {
	var t gatewarden.Try
	var ip text
	var port float64
	i, more := d.open(i, '}')
	for last := uint8(0); more; {
		var f field
		if f, last, i = d.keyAfter(ofTry, last, i); i < 0 {
			return i
		}
		switch f {
		case fieldIP:
			ip, i = d.textAt(i)
		case fieldPort:
			port, _, i = d.numberAt(i)
		case fieldCode:
			t.Code, i = d.statusAt(i)
		case fieldState:
			t.Failed = i < len(d.b) && d.b[i] != 'n' // not null
			i = d.skip(i)
		default:
			i = d.skip(i)
		}
		if d.another(i) {
			i++
			continue
		}
		i, more = d.next(i, '}')
	}
	if i >= 0 {
		t.Target = d.target(ip, port)
		d.tries = append(d.tries, t)
	}
	return i
}

// keep makes a record of the draft. Its strings and its tries, those from firstTry on,
// follow when the batch is finished.
func (d *Decoder) keep(firstTry int) {
	r := &d.draft
	if r.latency.Request < 0 {
		r.latency.Request = r.session
	}
	at := time.UnixMilli(int64(r.started)).UTC().Add(max(r.latency.Request, 0))
	d.records = append(d.records, gatewarden.Record{
		At:        at,
		Workspace: d.interned(r.workspace, &d.memo.workspace),
		Service:   r.service.label(),
		Route:     r.route.label(),
		Consumer:  r.consumer.label(),
		Tags:      r.route.tagsWith(r.service),
		Method:    d.interned(r.method, &d.memo.method),
		Status:    r.status(),
		Origin:    r.origin,
		Latency:   r.latency,
		LastTry:   r.lastTry,
		Weight:    1,
	})
	x := details{firstTry: firstTry, endTry: len(d.tries), firstHeader: len(d.headers)}
	d.texts = d.appendText(d.texts, r.id)
	x.id = len(d.texts)
	d.texts = d.appendText(d.texts, r.uri)
	if query := bytes.IndexByte(d.texts[x.id:], '?'); query >= 0 {
		d.texts = d.texts[:x.id+query]
	}
	x.path = len(d.texts)
	d.texts = d.appendText(d.texts, r.clientIP)
	x.clientIP = len(d.texts)
	d.texts = d.appendTrace(d.texts, &r.trace)
	x.traceID = len(d.texts)
	d.keepHeaders()
	x.endHeader = len(d.headers)
	d.details = append(d.details, x)
}
