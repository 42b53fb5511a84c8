package fakekong

import (
	"net/http"
	"strings"
	"time"
)

// account does what Kong does after a response: it logs and counts.
func (x *exchange) account() {
	ended := x.k.cfg.Now()
	latencies := x.latencies(ended)
	x.k.mu.Lock()
	logger := x.view.plugin("http-log", x.route, x.service, x.consumer)
	if x.view.plugin("prometheus", x.route, x.service, x.consumer) != nil && x.route != nil {
		x.k.metrics.count(x, latencies)
	}
	x.k.mu.Unlock()
	if logger != nil {
		x.k.enqueue(logger, appendJSON(nil, x.line(latencies)))
	}
}

// latencies are in whole milliseconds. proxy covers the last try only, -1 when
// nothing was proxied; tries before it are in kong.
func (x *exchange) latencies(ended time.Time) entity {
	ms := func(from, to time.Time) float64 { return float64(to.UnixMilli() - from.UnixMilli()) }
	total := ms(x.started, ended)
	if x.lastTry.IsZero() {
		return entity{"request": total, "kong": total, "proxy": -1, "receive": 0}
	}
	head := x.firstByte
	if head.IsZero() {
		head = ended
	}
	return entity{"request": total, "kong": ms(x.started, x.lastTry), "proxy": ms(x.lastTry, head), "receive": ms(head, ended)}
}

// line is what the log plugins make of the request.
func (x *exchange) line(latencies entity) entity {
	e := entity{
		"workspace": x.k.workspc, "workspace_name": "default", "source": x.source,
		"client_ip": x.clientIP(), "started_at": float64(x.started.UnixMilli()),
		"latencies": latencies, "upstream_uri": x.upstreamURI, "upstream_status": strings.ReplaceAll(strings.Join(x.codes, ", "), " : , ", " : "),
		"request":  x.requestPart(),
		"response": entity{"status": float64(x.status), "size": float64(x.respSize), "headers": headerPart(x.respHeader)},
	}
	if x.tries != nil {
		tries := make([]any, len(x.tries))
		for i, t := range x.tries {
			tries[i] = t
		}
		e["tries"] = tries
	}
	if x.route != nil {
		e["route"] = x.withoutNulls(x.route, true)
	}
	if x.service != nil {
		e["service"] = x.withoutNulls(x.service, true)
	}
	if x.consumer != nil {
		e["consumer"] = x.withoutNulls(x.consumer, false)
		e["authenticated_entity"] = entity{"id": x.credential["id"]}
	}
	if id := x.traceID(); id != "" {
		e["trace_id"] = entity{"w3c": id}
	}
	return e
}

// traceID returns the W3C trace of the request when a tracing plugin reads it.
func (x *exchange) traceID() string {
	if x.view.plugin("opentelemetry", x.route, x.service, x.consumer) == nil && x.view.plugin("zipkin", x.route, x.service, x.consumer) == nil {
		return ""
	}
	parts := strings.Split(x.r.Header.Get("Traceparent"), "-")
	if len(parts) != 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}

// withoutNulls copies an entity as logs show it: unset fields are missing there.
func (x *exchange) withoutNulls(e entity, workspace bool) entity {
	out := entity{}
	for name, v := range e {
		if v != nil {
			out[name] = v
		}
	}
	if workspace {
		out["ws_id"] = x.k.workspc
	}
	return out
}

func (x *exchange) requestPart() entity {
	uri := x.r.URL.RequestURI()
	headers := headerPart(x.r.Header)
	headers["host"] = x.r.Host
	if x.r.ContentLength >= 0 && x.r.Header.Get("Content-Length") == "" && (x.r.ContentLength > 0 || x.r.Method == http.MethodPost || x.r.Method == http.MethodPut) {
		headers["content-length"] = milliseconds(time.Duration(x.r.ContentLength) * time.Millisecond)
	}
	for _, secret := range []string{"authorization", "proxy-authorization"} {
		if headers[secret] != nil {
			headers[secret] = "REDACTED"
		}
	}
	query := entity{}
	for name, values := range x.r.URL.Query() {
		switch {
		case len(values) == 1:
			query[name] = values[0]
		default:
			query[name] = values
		}
	}
	return entity{
		"id": x.id, "method": x.r.Method, "uri": uri, "url": "http://" + x.r.Host + uri, "querystring": query, "headers": headers,
		"size": float64(len(x.r.Method) + len(uri) + len(" HTTP/1.1\r\nHost: \r\n") + len(x.r.Host) + headSize(x.r.Header) - len("HTTP/1.1 200 OK\r\n") + len(x.body)),
	}
}

// headerPart shows headers as logs do: a string, or a list where there are more.
func headerPart(h http.Header) entity {
	out := entity{}
	for name, values := range h {
		name = strings.ToLower(name)
		if len(values) == 1 {
			out[name] = values[0]
			continue
		}
		out[name] = values
	}
	return out
}
