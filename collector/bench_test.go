//go:build unix

package collector

import (
	"bytes"
	"encoding/json"
	"syscall"
	"testing"

	gojson "github.com/goccy/go-json"
	"github.com/valyala/fastjson"
)

// The benchmarks decode the same captured lines, one a call, and read the same
// fields. The columns of interest are ns/record and, of CPU time, records/s:
//
//	go test -run '^$' -bench Decode ./collector

// kongLog is what struct decoders need of a line.
type kongLog struct {
	StartedAt int64 `json:"started_at"`
	Latencies struct {
		Request int `json:"request"`
		Proxy   int `json:"proxy"`
		Kong    int `json:"kong"`
	} `json:"latencies"`
	Request struct {
		ID     string `json:"id"`
		Method string `json:"method"`
		URI    string `json:"uri"`
	} `json:"request"`
	Response struct {
		Status int `json:"status"`
	} `json:"response"`
	Service        entityLog         `json:"service"`
	Route          entityLog         `json:"route"`
	Consumer       consumerLog       `json:"consumer"`
	TraceID        map[string]string `json:"trace_id"`
	Tries          []tryLog          `json:"tries"`
	ClientIP       string            `json:"client_ip"`
	WorkspaceName  string            `json:"workspace_name"`
	Source         string            `json:"source"`
	UpstreamStatus string            `json:"upstream_status"`
}

type entityLog struct {
	ID, Name, Host string
	Tags           []string
}

type consumerLog struct {
	ID, Username string
	CustomID     string `json:"custom_id"`
}

type tryLog struct {
	IP    string  `json:"ip"`
	Port  int     `json:"port"`
	State *string `json:"state"`
	Code  int     `json:"code"`
}

// sum is what every decoder must find: it goes through the fields that a record is
// made of.
type sum struct {
	records, status, request, upstream, tries, codes, strings int
	started                                                   int64
}

func (s *sum) addLog(l *kongLog) {
	s.records++
	s.status += l.Response.Status
	s.request += l.Latencies.Request
	s.upstream += l.Latencies.Proxy
	s.tries += len(l.Tries)
	for i := range l.Tries {
		s.codes += l.Tries[i].Code
		s.strings += len(l.Tries[i].IP)
	}
	s.started += l.StartedAt
	s.strings += len(l.Request.ID) + len(l.Request.Method) + len(l.Service.Name) + len(l.Route.Name) +
		len(l.Consumer.Username) + len(l.ClientIP) + len(l.WorkspaceName) + len(l.TraceID["w3c"]) + len(l.TraceID["b3"])
}

func lines(tb testing.TB) (all [][]byte, bytesTotal int) {
	tb.Helper()
	for line := range bytes.Lines(readFile(tb, "testdata/kong/http-log.jsonl")) {
		all = append(all, line)
		bytesTotal += len(line)
	}
	return all, bytesTotal
}

// wantSum is what encoding/json finds.
func wantSum(tb testing.TB, all [][]byte) (want sum) {
	tb.Helper()
	for _, line := range all {
		var l kongLog
		if err := json.Unmarshal(line, &l); err != nil {
			tb.Fatal(err)
		}
		want.addLog(&l)
	}
	return want
}

func (s *sum) addRecords(b Batch) {
	for i := range b.Records {
		r := &b.Records[i]
		s.records++
		s.status += r.Status
		request, upstream := r.Latency.Request.Milliseconds(), int64(-1)
		if r.Latency.Upstream >= 0 {
			upstream = r.Latency.Upstream.Milliseconds()
		}
		s.request += int(request)
		s.upstream += int(upstream)
		s.tries += len(r.Tries)
		for _, t := range r.Tries {
			s.codes += t.Code
			host, _, _ := bytes.Cut([]byte(t.Target), []byte(":"))
			s.strings += len(host)
		}
		s.started += r.At.UnixMilli() - request
		s.strings += len(r.ID) + len(r.Method) + len(r.Consumer) + len(r.ClientIP) + len(r.Workspace) + len(r.TraceID)
	}
}

func cpuSeconds(tb testing.TB) float64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// measure runs decode over all lines, again and again, and reports per record.
func measure(b *testing.B, decode func(line []byte) error) {
	all, total := lines(b)
	b.SetBytes(int64(total / len(all)))
	b.ReportAllocs()
	b.ResetTimer()
	start, n := cpuSeconds(b), 0
	for b.Loop() {
		if err := decode(all[n%len(all)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)/(cpuSeconds(b)-start), "records/s")
}

func BenchmarkDecode(b *testing.B) {
	all, _ := lines(b)
	want := wantSum(b, all)
	b.Run("gatewarden", func(b *testing.B) { benchmarkOurs(b, all, want) })
	b.Run("gatewarden-batch100", func(b *testing.B) { benchmarkOurBatch(b, all) })
	b.Run("encoding-json", func(b *testing.B) { benchmarkStruct(b, all, want, json.Unmarshal) })
	b.Run("goccy-go-json", func(b *testing.B) {
		benchmarkStruct(b, all, want, func(line []byte, into any) error { return gojson.UnmarshalWithOption(line, into) })
	})
	b.Run("fastjson", func(b *testing.B) { benchmarkFastjson(b, all, want) })
}

func checkSum(b *testing.B, got, want sum) {
	b.Helper()
	if got != want {
		b.Fatalf("it found %+v, encoding/json %+v", got, want)
	}
}

func benchmarkOurs(b *testing.B, all [][]byte, want sum) {
	d := NewDecoder(Limits{})
	var got sum
	for _, line := range all {
		batch, err := d.Decode(line)
		if err != nil {
			b.Fatal(err)
		}
		got.addRecords(batch)
		// The names are left to TestCaptures: a record's may be a host or an id.
		var l kongLog
		if err := json.Unmarshal(line, &l); err != nil {
			b.Fatal(err)
		}
		got.strings += len(l.Service.Name) + len(l.Route.Name)
	}
	checkSum(b, got, want)
	measure(b, func(line []byte) error { _, err := d.Decode(line); return err })
}

// benchmarkOurBatch decodes 100 lines at once; one operation is still one record.
func benchmarkOurBatch(b *testing.B, all [][]byte) {
	d, body := NewDecoder(Limits{}), batchOf(all, 100)
	b.SetBytes(int64(len(body) / 100))
	b.ReportAllocs()
	start, n := cpuSeconds(b), 0
	for b.Loop() {
		if n%100 == 0 {
			if batch, err := d.Decode(body); err != nil || len(batch.Records) != 100 {
				b.Fatal(err)
			}
		}
		n++
	}
	b.ReportMetric(float64(n)/(cpuSeconds(b)-start), "records/s")
}

func benchmarkStruct(b *testing.B, all [][]byte, want sum, unmarshal func([]byte, any) error) {
	var got sum
	for _, line := range all {
		var l kongLog
		if err := unmarshal(line, &l); err != nil {
			b.Fatal(err)
		}
		got.addLog(&l)
	}
	checkSum(b, got, want)
	measure(b, func(line []byte) error {
		var l kongLog
		return unmarshal(line, &l)
	})
}

func benchmarkFastjson(b *testing.B, all [][]byte, want sum) {
	var p fastjson.Parser
	var got sum
	for _, line := range all {
		v, err := p.ParseBytes(line)
		if err != nil {
			b.Fatal(err)
		}
		l := fromFastjson(v)
		got.addLog(&l)
	}
	checkSum(b, got, want)
	measure(b, func(line []byte) error {
		v, err := p.ParseBytes(line)
		if err == nil {
			readFastjson(v)
		}
		return err
	})
}

func batchOf(all [][]byte, n int) []byte {
	body := []byte("[")
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, bytes.TrimSpace(all[i%len(all)])...)
	}
	return append(body, ']')
}

func fromFastjson(v *fastjson.Value) (l kongLog) {
	text := func(keys ...string) string { return string(v.GetStringBytes(keys...)) }
	l.StartedAt = v.GetInt64("started_at")
	l.Latencies.Request, l.Latencies.Proxy = v.GetInt("latencies", "request"), v.GetInt("latencies", "proxy")
	l.Request.ID, l.Request.Method = text("request", "id"), text("request", "method")
	l.Response.Status = v.GetInt("response", "status")
	l.Service.Name, l.Route.Name, l.Consumer.Username = text("service", "name"), text("route", "name"), text("consumer", "username")
	l.ClientIP, l.WorkspaceName = text("client_ip"), text("workspace_name")
	l.TraceID = map[string]string{"w3c": text("trace_id", "w3c"), "b3": text("trace_id", "b3")}
	for _, t := range v.GetArray("tries") {
		l.Tries = append(l.Tries, tryLog{IP: string(t.GetStringBytes("ip")), Code: t.GetInt("code")})
	}
	return l
}

// readFastjson reads what a record needs, without copying it: the least that fastjson
// can be used for.
func readFastjson(v *fastjson.Value) (n int) {
	request, latencies, service, route := v.Get("request"), v.Get("latencies"), v.Get("service"), v.Get("route")
	n += v.GetInt("started_at") + latencies.GetInt("request") + latencies.GetInt("proxy") + latencies.GetInt("kong") +
		v.GetInt("response", "status")
	n += len(request.GetStringBytes("id")) + len(request.GetStringBytes("method")) + len(request.GetStringBytes("uri"))
	n += len(service.GetStringBytes("name")) + len(route.GetStringBytes("name")) + len(v.GetStringBytes("consumer", "username"))
	n += len(v.GetStringBytes("client_ip")) + len(v.GetStringBytes("workspace_name")) + len(v.GetStringBytes("trace_id", "w3c")) +
		len(v.GetStringBytes("source")) + len(v.GetStringBytes("upstream_status"))
	for _, tag := range service.GetArray("tags") {
		n += len(tag.GetStringBytes())
	}
	for _, t := range v.GetArray("tries") {
		n += len(t.GetStringBytes("ip")) + t.GetInt("port") + t.GetInt("code")
	}
	return n
}
