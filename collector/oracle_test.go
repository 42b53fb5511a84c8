package collector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// oracle decodes a body by encoding/json into maps: slow, and too simple to be wrong
// in the same way as the scanner.
func oracle(body []byte, wanted []gatewarden.Header) (records []gatewarden.Record, rejected int, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	values := 0
	for {
		var v any
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, 0, err
		}
		values++
		elements, ok := v.([]any)
		if !ok {
			elements = []any{v}
		}
		for _, e := range elements {
			if r, ok := oracleRecord(e, wanted); ok {
				records = append(records, r)
			} else {
				rejected++
			}
		}
	}
	if values == 0 {
		return nil, 0, errors.New("empty")
	}
	return records, rejected, nil
}

type object = map[string]any

func oracleRecord(v any, wanted []gatewarden.Header) (gatewarden.Record, bool) {
	o, ok := v.(object)
	if !ok {
		return gatewarden.Record{}, false
	}
	request, response, session, latencies := sub(o, "request"), sub(o, "response"), sub(o, "session"), sub(o, "latencies")
	switch o["latencies"].(type) {
	case object, []any:
	default:
		return gatewarden.Record{}, false
	}
	started, ok := number(o["started_at"])
	if !ok || started < 0 || started >= maxStarted {
		return gatewarden.Record{}, false
	}
	r := gatewarden.Record{
		ID:        str(request["id"]),
		Workspace: str(o["workspace_name"]),
		Service:   firstOf(sub(o, "service"), "name", "host", "id"),
		Route:     firstOf(sub(o, "route"), "name", "id"),
		Consumer:  firstOf(sub(o, "consumer"), "username", "custom_id", "id"),
		Method:    str(request["method"]),
		ClientIP:  str(o["client_ip"]),
		TraceID:   oracleTrace(sub(o, "trace_id")),
		Status:    status(response["status"]),
		Latency:   gatewarden.Latency{Request: millis(latencies["request"]), Upstream: millis(latencies["proxy"]), Kong: millis(latencies["kong"])},
		Tries:     oracleTries(o["tries"]),
		LastTry:   oracleLast(o["upstream_status"]),
		Headers:   oracleHeaders(o, wanted),
		Weight:    1,
	}
	r.Path, _, _ = strings.Cut(str(request["uri"]), "?")
	if r.Status == 0 {
		r.Status = status(session["status"])
	}
	if r.Latency.Request < 0 {
		r.Latency.Request = millis(latencies["session"])
	}
	switch str(o["source"]) {
	case "kong":
		r.Origin = gatewarden.OriginKong
	case "upstream":
		r.Origin = gatewarden.OriginUpstream
	}
	r.At = time.UnixMilli(int64(started)).UTC().Add(max(r.Latency.Request, 0))
	seen := map[string]bool{}
	for _, owner := range []string{"service", "route"} {
		tags, _ := sub(o, owner)["tags"].([]any)
		for _, tag := range tags {
			if s := str(tag); s != "" && !seen[s] {
				seen[s], r.Tags = true, append(r.Tags, s)
			}
		}
	}
	names := append([]string{r.Service, r.Route, r.Consumer, r.Workspace, r.ID}, r.Tags...)
	tags, _ := sub(o, "consumer")["tags"].([]any)
	for _, tag := range tags {
		names = append(names, str(tag))
	}
	for _, name := range names {
		if len(name) > maxName {
			return r, false
		}
	}
	return r, r.Status != 0
}

func sub(o object, key string) object { s, _ := o[key].(object); return s }
func str(v any) string                { s, _ := v.(string); return s }

func firstOf(o object, keys ...string) string {
	for _, k := range keys {
		if s := str(o[k]); s != "" {
			return s
		}
	}
	return ""
}

func number(v any) (float64, bool) {
	var n json.Number
	switch v := v.(type) {
	case json.Number:
		n = v
	case string:
		// A string counts when it is exactly a JSON number.
		if v != strings.TrimSpace(v) || json.Unmarshal([]byte(v), &n) != nil || string(n) != v {
			return 0, false
		}
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(string(n), 64)
	return f, err == nil
}

func status(v any) int {
	if f, ok := number(v); ok && f >= 0 && f < 1000 {
		return int(f)
	}
	return 0
}

func millis(v any) time.Duration {
	if f, ok := number(v); ok && f >= 0 && f <= 1<<40 {
		return time.Duration(f * 1e6)
	}
	return gatewarden.NoLatency
}

func oracleTries(v any) (tries []gatewarden.Try) {
	list, _ := v.([]any)
	seen := 0
	for _, e := range list {
		o, ok := e.(object)
		if !ok {
			continue
		}
		if seen++; seen > maxTries {
			break
		}
		t := gatewarden.Try{Code: status(o["code"]), Failed: o["state"] != nil, Target: str(o["ip"])}
		if len(t.Target) > maxName {
			t.Target = ""
		}
		if port, ok := number(o["port"]); ok && port >= 1 && port <= 65535 && t.Target != "" {
			if strings.Contains(t.Target, ":") && t.Target[0] != '[' {
				t.Target = "[" + t.Target + "]"
			}
			t.Target += ":" + strconv.Itoa(int(port))
		}
		tries = append(tries, t)
	}
	return tries
}

func oracleHeaders(o object, wanted []gatewarden.Header) (headers []gatewarden.Header) {
	for _, w := range wanted {
		side := "request"
		if w.Response {
			side = "response"
		}
		logged := sub(sub(o, side), "headers")
		// Of several spellings, the one that sorts last.
		var spelling string
		for name := range logged {
			// strings.EqualFold would take the Kelvin sign for a K.
			if len(name) == len(w.Name) && strings.EqualFold(name, w.Name) && name > spelling {
				spelling = name
			}
		}
		if spelling == "" {
			continue
		}
		v := logged[spelling]
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		switch v := v.(type) {
		case string:
			w.Value = v
		case json.Number:
			w.Value = v.String()
		default:
			continue
		}
		headers = append(headers, w)
	}
	return headers
}

func oracleLast(v any) int {
	s, ok := v.(string)
	if !ok {
		return status(v)
	}
	s = strings.TrimSpace(s[strings.LastIndexAny(s, ",:")+1:])
	if len(s) > 3 || strings.Trim(s, "0123456789") != "" {
		return 0
	}
	n, _ := strconv.Atoi(s)
	return n
}

func oracleTrace(o object) string {
	for _, format := range traceFormats {
		id := str(o[format])
		switch format {
		case "datadog":
			n, err := strconv.ParseUint(id, 10, 64)
			if err != nil {
				continue
			}
			id = strconv.FormatUint(n, 16)
			id = strings.Repeat("0", 16-len(id)) + id
		case "aws":
			if len(id) != 35 || id[1] != '-' || id[10] != '-' {
				continue
			}
			id = id[2:10] + id[11:]
		}
		if id != "" && strings.Trim(id, "0123456789abcdefABCDEF") == "" {
			return strings.ToLower(id)
		}
	}
	return ""
}
