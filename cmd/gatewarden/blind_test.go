package main

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

// blindConfig has the source that falls silent, and one that goes on: what that says is
// no comfort to those who live on the other.
const blindConfig = `
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
state: {dir: data}
rules: [rules.yaml]
blind_after: 5s
log: {format: json}
sources:
  - httplog: {path: /ingest/goes-on}
%s
`

const blindRules = `
slos:
  - {name: orders, service: orders, objective: 99, window: 1h, sli: %s, on_outage: [tell], on_page: [tell]}
  - {name: payments, service: payments, objective: 99, window: 1h, sli: {availability: {}}, on_outage: [tell], on_page: [tell]}
actions:
  - name: tell
    mode: enforce
    steps: [{webhook: {url: %q}}]
`

// feeder is what a source hears from.
type feeder struct {
	t     *testing.T
	guard *process
	addr  string // that the source listens on, if it does
	file  string // that it follows, if it does

	conn net.Conn // that it was dialled by, if it was; of the one who speaks

	mu   sync.Mutex
	mute bool
}

// say says that there were more requests of orders.
type say func(f *feeder, id int, now time.Time) error

func ofOrders(id int, now time.Time) []byte {
	return append(batch(5, func(i int) loglines.Line { return line(id+i, now, "orders") }), '\n')
}

func posted(path string) say {
	return func(f *feeder, id int, now time.Time) error {
		_, _, err := f.guard.post(path, ofOrders(id, now))
		return err
	}
}

// dial writes lines or datagrams.
func dial(network string, frame func(id int, now time.Time) []byte) say {
	return func(f *feeder, id int, now time.Time) (err error) {
		if f.conn == nil {
			if f.conn, err = net.Dial(network, f.addr); err != nil {
				return err
			}
		}
		_, err = f.conn.Write(frame(id, now))
		return err
	}
}

// asSyslog is a message of RFC 5424 with a record.
func asSyslog(id int, now time.Time) []byte {
	return append([]byte("<14>1 2026-11-21T12:00:00Z kong kong - - - "), loglines.NewWriter().Append(nil, line(id, now, "orders"))...)
}

func toFile(f *feeder, id int, now time.Time) error {
	file, err := os.OpenFile(f.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(ofOrders(id, now))
	return err
}

// spansTo posts five spans of orders, to the source's own address or to the ingest listener.
func spansTo(path string, own bool, body func(id int, now time.Time) string) say {
	return func(f *feeder, id int, now time.Time) error {
		if !own {
			_, _, err := f.guard.post(path, []byte(body(id, now)), "Content-Type", "application/json")
			return err
		}
		resp, err := http.Post("http://"+f.addr+path, "application/json", strings.NewReader(body(id, now)))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
}

func fiveSpans(id int, now time.Time, one func(id uint64, at time.Time) string) string {
	var list []string
	for i := range 5 {
		list = append(list, one(uint64(id+i)+1, now.Add(-5*time.Millisecond)))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func asOTLP(id int, now time.Time) string { return otlpOf(fiveSpans(id, now, otlpSpan)) }

// otlpOf is a message with a list of spans of orders.
func otlpOf(spans string) string {
	return `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"orders"}}]},"scopeSpans":[{"spans":` + spans + `}]}]}`
}

func otlpSpan(id uint64, at time.Time) string {
	return fmt.Sprintf(`{"traceId":"%032x","spanId":"%016x","name":"GET /","kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","status":{}}`,
		id, id, at.UnixNano(), at.UnixNano()+5e6)
}

func asZipkin(id int, now time.Time) string {
	return fiveSpans(id, now, func(id uint64, at time.Time) string {
		return fmt.Sprintf(`{"traceId":"%032x","id":"%016x","name":"get","kind":"SERVER","timestamp":%d,"duration":5000,"localEndpoint":{"serviceName":"orders"},"tags":{"http.status_code":"200"}}`,
			id, id, at.UnixMicro())
	})
}

// isAsked says nothing by itself.
func isAsked(*feeder, int, time.Time) error { return nil }

// aPrometheus has fifty events a second of anything but errors, which are none.
func aPrometheus(f *feeder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var from, to, step int64
		_ = r.ParseForm()
		_, err := fmt.Sscan(r.PostForm.Get("start")+" "+r.PostForm.Get("end")+" "+r.PostForm.Get("step"), &from, &to, &step)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.mute || err != nil || step <= 0 {
			fmt.Fprint(w, "<html>down for maintenance</html>")
			return
		}
		value := "50"
		if strings.Contains(r.PostForm.Get("query"), "errors") {
			value = "0"
		}
		var points []string
		for at := from; at <= to; at += step {
			points = append(points, fmt.Sprintf("[%d,%q]", at, value))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[%s]}]}}`, strings.Join(points, ","))
	})
}

// aJaeger has ten spans of orders a second.
func aJaeger(f *feeder) http.Handler {
	return answering(f, func(w http.ResponseWriter, r *http.Request) error {
		switch r.URL.Path {
		case "/api/v3/services":
			fmt.Fprint(w, `{"services":["orders"]}`)
			return nil
		case "/api/v3/traces":
		default:
			http.NotFound(w, r)
			return nil
		}
		from, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("query.start_time_min"))
		if err != nil {
			return err
		}
		to, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("query.start_time_max"))
		if err != nil {
			return err
		}
		var spans []string
		for at := range tenASecond(from, to) {
			spans = append(spans, otlpSpan(uint64(at.UnixMilli()), at))
		}
		fmt.Fprintf(w, `{"result":%s}`, otlpOf("["+strings.Join(spans, ",")+"]"))
		return nil
	})
}

// kongFields is what Elasticsearch says of an index with Kong's log, as far as it is read.
const kongFields = `{"indices":["kong-1"],"fields":{
	"@timestamp":{"date":{"type":"date","searchable":true,"aggregatable":true}},
	"event.ingested":{"date":{"type":"date","searchable":true,"aggregatable":true}},
	"response.status":{"short":{"type":"short","searchable":true,"aggregatable":true}},
	"service.name":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"route.name":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"source":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"latencies.request":{"long":{"type":"long","searchable":true,"aggregatable":true}}}}`

// anElasticsearch has ten documents of orders a second, indexed as they are written.
func anElasticsearch(f *feeder) http.Handler {
	return answering(f, func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/_field_caps") {
			fmt.Fprint(w, kongFields)
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if bytes.Contains(body, []byte(`"exists":{"field":"event.ingested"}`)) {
			fmt.Fprint(w, `{"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"aggregations":{"with":{"doc_count":100},"without":{"doc_count":0}}}`)
			return nil
		}
		bounds := ingestedBetween.FindSubmatch(body)
		if bounds == nil {
			return fmt.Errorf("%s is asked what the source is not known to ask: %s", r.URL.Path, body)
		}
		from, _ := strconv.ParseInt(string(bounds[1]), 10, 64)
		to, _ := strconv.ParseInt(string(bounds[2]), 10, 64)
		var hits []string
		for at := range tenASecond(time.UnixMilli(from), time.UnixMilli(to)) {
			ms, record := at.UnixMilli(), loglines.NewWriter().Append(nil, line(int(at.UnixMilli()), at, "orders"))
			hits = append(hits, fmt.Sprintf(`{"_index":"kong-1","_id":"%d","sort":[%d],"fields":{"@timestamp":["%d"]},"_source":{"@timestamp":%d,"event":{"ingested":%d},%s}`,
				ms, ms, ms, ms, ms, record[1:]))
		}
		fmt.Fprintf(w, `{"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"hits":[%s]}}`, strings.Join(hits, ","))
		return nil
	})
}

// ingestedBetween is the range of a search by the time of indexing.
var ingestedBetween = regexp.MustCompile(`"event\.ingested":\{[^}]*"gte":([0-9]+)[^}]*"lt":([0-9]+)`)

// answering answers as a peer does, while that is not mute: then a page is all there is.
func answering(f *feeder, answer func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		mute := f.mute
		f.mu.Unlock()
		if mute {
			fmt.Fprint(w, "<html>down for maintenance</html>")
		} else if err := answer(w, r); err != nil {
			f.t.Error(err)
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
}

// tenASecond yields the tenths of seconds in [from, to).
func tenASecond(from, to time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		const each = 100 * time.Millisecond
		at := from.Truncate(each)
		if at.Before(from) {
			at = at.Add(each)
		}
		for ; at.Before(to) && yield(at); at = at.Add(each) {
		}
	}
}

// Each source in turn falls silent while another goes on: whoever lives on it is
// inconclusive after blind_after, nothing is started, and it recovers alone.
func TestEachSourceInTurnFallsSilent(t *testing.T) {
	t.Parallel()
	const requests = "{availability: {}}"
	for name, c := range map[string]struct {
		source string
		sli    string
		say    say
		peer   func(*feeder) http.Handler
		words  string
	}{
		"httplog-2": {"httplog: {path: /ingest/kong}", requests, posted("/ingest/kong"), nil, "httplog-2, which brings the records of orders"},
		"tcplog":    {`tcplog: {listen: "ADDR"}`, requests, dial("tcp", ofOrders), nil, "tcplog, which brings the records of orders"},
		"udplog":    {`udplog: {listen: "ADDR"}`, requests, dial("udp", ofOrders), nil, "udplog, which brings the records of orders"},
		"syslog":    {`syslog: {udp: "ADDR"}`, requests, dial("udp", asSyslog), nil, "syslog, which brings the records of orders"},
		"filelog":   {`filelog: {paths: ["FILE"]}`, requests, toFile, nil, "filelog, which brings the records of orders"},
		"otlp":      {`otlp: {http: "ADDR"}`, "{traces: {}}", spansTo("/v1/traces", true, asOTLP), nil, "no source has delivered a span for"},
		"zipkin":    {`zipkin: {}`, "{traces: {}}", spansTo("/api/v2/spans", false, asZipkin), nil, "no source has delivered a span for"},
		"jaeger": {
			`jaeger: {url: "PEER", services: [orders], interval: 1s, settle: 1s}`, "{traces: {}}", isAsked, aJaeger, "no source has delivered a span for",
		},
		"elasticsearch": {
			`elasticsearch: {url: "PEER", index: "kong-*", poll: 500ms, lag: 1s, history: 0s}`, requests, isAsked, anElasticsearch,
			"elasticsearch, which brings the records of orders",
		},
		"prometheus": {
			`prometheus: {url: "PEER", step: 1s, window: 1s, delay: 1s, backfill: 1m}`,
			"{prometheus: {total_query: 'sum(rate(requests_total[{{.window}}]))', error_query: 'sum(rate(errors_total[{{.window}}]))'}}",
			isAsked, aPrometheus, "prometheus: total_query: the answer is a web page",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &feeder{t: t, addr: freeAddr(t), file: filepath.Join(t.TempDir(), "kong.json")}
			peer := "http://" + f.addr
			if c.peer != nil {
				server := httptest.NewServer(c.peer(f))
				t.Cleanup(server.Close)
				peer = server.URL
			}
			var called atomic.Int64
			hooks := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Add(1) }))
			t.Cleanup(hooks.Close)
			f.guard = startProcess(t, writeBlind(t, strings.NewReplacer("ADDR", f.addr, "FILE", f.file, "PEER", peer).Replace("  - "+c.source), c.sli, hooks.URL))
			f.run(c.say)
			for round := range 2 {
				f.until("orders", gatewarden.Healthy, "")
				f.until("payments", gatewarden.Healthy, "")
				f.setMute(true)
				f.until("orders", gatewarden.Inconclusive, c.words)
				f.untilEvent(name, "blind", round+1)
				f.until("payments", gatewarden.Healthy, "")
				f.setMute(false)
				f.untilEvent(name, "seeing", round+1)
			}
			f.until("orders", gatewarden.Healthy, "")
			if n := called.Load(); n != 0 {
				t.Errorf("%d actions were started", n)
			}
		})
	}
}

func writeBlind(t *testing.T, source, sli, hook string) (config string) {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{"gatewarden.yaml": fmt.Sprintf(blindConfig, source), "rules.yaml": fmt.Sprintf(blindRules, sli, hook)} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gatewarden.yaml")
}

// run feeds the source, and the one that goes on, until the test ends.
func (f *feeder) run(speak say) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for id := 0; ; id += 10 {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				f.mu.Lock()
				mute := f.mute
				f.mu.Unlock()
				if !mute {
					if err := speak(f, id, now); err != nil {
						f.t.Error(err)
					}
				}
				if _, _, err := f.guard.post("/ingest/goes-on", batch(5, func(i int) loglines.Line { return line(id+5+i, now, "payments") })); err != nil {
					f.t.Error(err)
				}
			}
		}
	})
	f.t.Cleanup(func() {
		close(stop)
		running.Wait()
		if f.conn != nil { // not before: what is still being said would be an error
			f.conn.Close()
		}
	})
}

func (f *feeder) setMute(mute bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = mute
}

// until waits for a state of an SLO, whose reason has these words.
func (f *feeder) until(slo string, state gatewarden.State, words string) {
	f.t.Helper()
	eventually(f.t, slo+" to be "+state.String(), func() error {
		s, err := f.guard.slo(slo)
		if err == nil && (s.Verdict.State != state || !strings.Contains(s.Verdict.Reason, words)) {
			err = fmt.Errorf("it is %s: %s", s.Verdict.State, s.Verdict.Reason)
		}
		return err
	})
}

// untilEvent waits for the n-th event of a source that says so.
func (f *feeder) untilEvent(source, state string, n int) {
	f.t.Helper()
	eventually(f.t, source+" to be told "+state, func() error {
		events, err := f.guard.events(0)
		if err != nil {
			return err
		}
		found := 0
		for _, e := range events {
			if e.Type == gatewarden.EventSource && e.Name == source && e.State == state {
				found++
			}
		}
		if found < n {
			return fmt.Errorf("there are %d such events", found)
		}
		return nil
	})
}
