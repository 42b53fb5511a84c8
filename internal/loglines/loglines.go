// Package loglines writes log lines in Kong's JSON, as many as a test or a benchmark
// wants. The key set, the order and the sizes are those of a line that a real Kong
// 3.9.1 wrote; only the values that matter to the guard vary.
package loglines

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// Line is what varies from line to line.
type Line struct {
	ID      uint64    // becomes request.id
	At      time.Time // when the request completed; to the millisecond
	Service string    // the route is Service + "-route"
	Target  string    // "ip:port"; 127.0.0.1:9101 when ""
	Status  int
	Millis  int    // latencies.request
	Kong    bool   // Kong itself made the response; otherwise the upstream did
	Client  string // the address of the client; 203.0.113.35 when ""
	Version string // the response header x-backend-version; v1 when ""
}

// template is one captured line with its varying values as $NAME.
const template = `{"trace_id":{"w3c":"d0ff63e86ed2332f$ID"},"workspace_name":"default","source":"$SOURCE","workspace":"74d43fb3-7367-409a-8966-97f2c6b3d953",` +
	`"tries":[{"balancer_start":$START,"balancer_start_ns":$STARTNS,"ip":"$IP","balancer_latency":0,"port":$PORT,"balancer_latency_ns":19200}],` +
	`"response":{"headers":{"x-backend-version":"$VERSION","content-type":"application/json","x-kong-upstream-latency":"1","connection":"close","x-kong-request-id":"3fd2247cf508f50c$ID","via":"1.1 kong/3.9.1","x-kong-proxy-latency":"2","date":"Sat, 21 Nov 2026 20:39:11 GMT","server":"$SERVICE-v1"},"size":289,"status":$STATUS},` +
	`"client_ip":"$CLIENT","request":{"headers":{"accept-encoding":"identity","traceparent":"00-d0ff63e86ed2332f$ID-3899c4bc85b7f851-01","x-request-id":"req-0000","host":"127.0.0.1:8000","x-real-ip":"$CLIENT","user-agent":"traffic/1.0 (orders)"},"uri":"/$SERVICE/status/204","size":167,"querystring":{},"url":"http://127.0.0.1:8000/$SERVICE/status/204","method":"GET","id":"3fd2247cf508f50c$ID"},` +
	`"latencies":{"request":$MILLIS,"kong":1,"receive":0,"proxy":$PROXY},` +
	`"service":{"connect_timeout":60000,"path":"/api","tags":["team:shop","env:prod"],"updated_at":1795293418,"enabled":true,"retries":5,"ws_id":"74d43fb3-7367-409a-8966-97f2c6b3d953","name":"$SERVICE","port":80,"protocol":"http","host":"$SERVICE-up","created_at":1795293418,"read_timeout":60000,"write_timeout":60000,"id":"195f5e27-1e32-427d-9de2-f32c1d5608fd"},` +
	`"upstream_uri":"/api/status/204","started_at":$START,"upstream_status":"$UPSTREAM",` +
	`"route":{"strip_path":true,"paths":["/$SERVICE"],"created_at":1795293418,"updated_at":1795293418,"https_redirect_status_code":426,"service":{"id":"195f5e27-1e32-427d-9de2-f32c1d5608fd"},"regex_priority":0,"name":"$SERVICE-route","protocols":["http","https"],"ws_id":"74d43fb3-7367-409a-8966-97f2c6b3d953","preserve_host":false,"path_handling":"v0","tags":["team:shop","tier:gold"],"request_buffering":true,"response_buffering":true,"id":"7fd8842c-daf1-4572-b425-803eeca74ded"}}`

// piece is a part of the template: fixed text, then the name of a value.
type piece struct{ text, value string }

// Writer writes lines. It is not safe for concurrent use.
type Writer struct{ pieces []piece }

// NewWriter returns a writer.
func NewWriter() *Writer {
	w := &Writer{}
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "$")
		if !found {
			w.pieces = append(w.pieces, piece{text: text})
			break
		}
		end := strings.IndexFunc(after, func(r rune) bool { return r < 'A' || r > 'Z' })
		w.pieces = append(w.pieces, piece{text, after[:end]})
		rest = after[end:]
	}
	return w
}

// Append appends l to dst as one JSON object without a line end.
func (w *Writer) Append(dst []byte, l Line) []byte {
	start := l.At.UnixMilli() - int64(l.Millis)
	target := l.Target
	if target == "" {
		target = "127.0.0.1:9101"
	}
	ip, port, _ := strings.Cut(target, ":")
	for _, p := range w.pieces {
		dst = append(dst, p.text...)
		switch p.value {
		case "ID":
			dst = appendHex(dst, l.ID)
		case "SOURCE":
			if l.Kong {
				dst = append(dst, "kong"...)
			} else {
				dst = append(dst, "upstream"...)
			}
		case "START":
			dst = strconv.AppendInt(dst, start, 10)
		case "STARTNS":
			dst = strconv.AppendFloat(dst, float64(start)*1e6, 'e', 13, 64)
		case "IP":
			dst = append(dst, ip...)
		case "PORT":
			dst = append(dst, port...)
		case "CLIENT":
			dst = append(dst, cmp.Or(l.Client, "203.0.113.35")...)
		case "VERSION":
			dst = append(dst, cmp.Or(l.Version, "v1")...)
		case "SERVICE":
			dst = append(dst, l.Service...)
		case "STATUS":
			dst = strconv.AppendInt(dst, int64(l.Status), 10)
		case "UPSTREAM":
			if !l.Kong {
				dst = strconv.AppendInt(dst, int64(l.Status), 10)
			}
		case "MILLIS":
			dst = strconv.AppendInt(dst, int64(l.Millis), 10)
		case "PROXY":
			dst = strconv.AppendInt(dst, int64(max(l.Millis-1, 0)), 10)
		}
	}
	return dst
}

// appendHex appends v as 16 hexadecimal digits.
func appendHex(dst []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>shift&0xf])
	}
	return dst
}
