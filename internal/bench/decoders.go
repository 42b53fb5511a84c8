package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	gojson "github.com/goccy/go-json"
	"github.com/valyala/fastjson"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// decode reads a body as Kong's http-log sends it.
type decode func(body []byte) ([]gatewarden.Record, error)

// decoders are what one would otherwise use, each made for one goroutine.
var decoders = map[string]func() decode{
	"gatewarden": func() decode {
		d := collector.NewDecoder(collector.DefaultLimits())
		return func(body []byte) ([]gatewarden.Record, error) {
			batch, err := d.Decode(body)
			return batch.Records, err
		}
	},
	"fastjson":      decodeFastjson,
	"goccy/go-json": func() decode { return decodeStructs(gojson.Unmarshal) },
	"encoding/json": func() decode { return decodeStructs(json.Unmarshal) },
}

// kongLog is what a struct decoder needs of an element.
type kongLog struct {
	StartedAt int64 `json:"started_at"`
	Latencies struct {
		Request, Proxy, Kong int64
	} `json:"latencies"`
	Request struct {
		ID, Method, URI string
	} `json:"request"`
	Response struct {
		Status int `json:"status"`
	} `json:"response"`
	Service       struct{ Name string } `json:"service"`
	Route         struct{ Name string } `json:"route"`
	TraceID       map[string]string     `json:"trace_id"`
	Tries         []kongTry             `json:"tries"`
	ClientIP      string                `json:"client_ip"`
	WorkspaceName string                `json:"workspace_name"`
	Source        string                `json:"source"`
}

type kongTry struct {
	IP    string  `json:"ip"`
	Port  int     `json:"port"`
	State *string `json:"state"`
	Code  int     `json:"code"`
}

// decodeStructs decodes into structs with the given library.
func decodeStructs(unmarshal func([]byte, any) error) decode {
	var records []gatewarden.Record
	return func(body []byte) ([]gatewarden.Record, error) {
		logs, err := kongLogs(body, unmarshal)
		if err != nil {
			return nil, err
		}
		records = records[:0]
		for i := range logs {
			records = append(records, logs[i].record())
		}
		return records, nil
	}
}

// kongLogs decodes a body: an object, or an array of them.
func kongLogs(body []byte, unmarshal func([]byte, any) error) ([]kongLog, error) {
	if bytes.HasPrefix(body, []byte("{")) {
		var one [1]kongLog
		return one[:], unmarshal(body, &one[0])
	}
	var logs []kongLog
	return logs, unmarshal(body, &logs)
}

func (l *kongLog) record() gatewarden.Record {
	r := gatewarden.Record{
		ID: l.Request.ID, At: time.UnixMilli(l.StartedAt + l.Latencies.Request), Workspace: l.WorkspaceName,
		Service: l.Service.Name, Route: l.Route.Name, Method: l.Request.Method, Path: l.Request.URI, ClientIP: l.ClientIP,
		TraceID: l.TraceID["w3c"], Status: l.Response.Status, Origin: origin(l.Source), Weight: 1,
		Latency: gatewarden.Latency{Request: millis(l.Latencies.Request), Upstream: millis(l.Latencies.Proxy), Kong: millis(l.Latencies.Kong)},
	}
	for _, t := range l.Tries {
		r.Tries = append(r.Tries, gatewarden.Try{Target: t.IP + ":" + strconv.Itoa(t.Port), Failed: t.State != nil, Code: t.Code})
	}
	return r
}

// decodeFastjson reads the same fields by name.
func decodeFastjson() decode {
	var p fastjson.Parser
	var records []gatewarden.Record
	return func(body []byte) ([]gatewarden.Record, error) {
		v, err := p.ParseBytes(body)
		if err != nil {
			return nil, err
		}
		list := []*fastjson.Value{v}
		if v.Type() == fastjson.TypeArray {
			list, _ = v.Array() // it is one
		}
		records = records[:0]
		for _, e := range list {
			records = append(records, fastRecord(e))
		}
		return records, nil
	}
}

func fastRecord(e *fastjson.Value) gatewarden.Record {
	text := func(keys ...string) string { return string(e.GetStringBytes(keys...)) }
	request := e.GetInt64("latencies", "request")
	r := gatewarden.Record{
		ID: text("request", "id"), At: time.UnixMilli(e.GetInt64("started_at") + request), Workspace: text("workspace_name"),
		Service: text("service", "name"), Route: text("route", "name"), Method: text("request", "method"), Path: text("request", "uri"),
		ClientIP: text("client_ip"), TraceID: text("trace_id", "w3c"), Status: e.GetInt("response", "status"), Origin: origin(text("source")), Weight: 1,
		Latency: gatewarden.Latency{
			Request: millis(request), Upstream: millis(e.GetInt64("latencies", "proxy")), Kong: millis(e.GetInt64("latencies", "kong")),
		},
	}
	for _, t := range e.GetArray("tries") {
		target := string(t.GetStringBytes("ip")) + ":" + strconv.Itoa(t.GetInt("port"))
		r.Tries = append(r.Tries, gatewarden.Try{Target: target, Failed: t.Exists("state"), Code: t.GetInt("code")})
	}
	return r
}

func millis(ms int64) time.Duration {
	if ms < 0 {
		return gatewarden.NoLatency
	}
	return time.Duration(ms) * time.Millisecond
}

func origin(source string) gatewarden.Origin {
	return cmp.Or(map[string]gatewarden.Origin{"kong": gatewarden.OriginKong, "upstream": gatewarden.OriginUpstream}[source], gatewarden.OriginUnknown)
}
