package elasticsearch_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/store"
)

// request is a request of the shop's, as Kong logs it, and how it got into the index.
type request struct {
	id        string
	completed time.Time
	ingested  time.Time
	line      string // Kong's object
}

// shop makes requests: four services, of which one has no name, routes, a few failures,
// answers of Kong's own, retries, requests that match no route.
type shop struct {
	random *rand.Rand
	lean   bool // without what the mapping leaves out, for tests of millions
	made   int
}

func newShop(seed uint64) *shop { return &shop{random: rand.New(rand.NewPCG(seed, 1))} }

// at makes a request that completes at an instant, and is indexed after a delay.
func (s *shop) at(completed time.Time, delay time.Duration) request {
	s.made++
	completed = completed.Truncate(time.Millisecond)
	id := fmt.Sprintf("%032x", s.made)
	return request{id: id, completed: completed, ingested: completed.Add(delay).Truncate(time.Millisecond), line: s.line(id, completed.UnixMilli())}
}

// line makes Kong's object. It is written out, as there are tests of millions.
func (s *shop) line(id string, completed int64) string {
	latency := int64(s.random.ExpFloat64() * 120)
	status, source, proxy, kong, routed := 200, "upstream", max(latency-3, 0), min(latency, 3), true
	switch p := s.random.IntN(100); {
	case p < 3:
		status = 502
	case p < 5:
		status = 404
	case p < 7: // Kong's own
		status, source, proxy, kong = 429, "kong", -1, latency
	case p < 8: // no route
		status, routed = 404, false
	}
	b := make([]byte, 0, 768)
	b = fmt.Appendf(b, `{"latencies":{"request":%d,"proxy":%d,"kong":%d},"started_at":%d,"source":"%s","workspace_name":"%s","response":{"status":%d`,
		latency, proxy, kong, completed-latency, source, [...]string{"default", "partners"}[s.random.IntN(2)], status)
	if s.lean {
		b = append(b, '}')
	} else {
		b = fmt.Appendf(b, `,"headers":{"x-version":"v1"}},"request":{"id":"%s","method":"GET","uri":"/x?y=1","headers":{"host":"shop"}}`, id)
		b = append(b, `,"client_ip":"203.0.113.7","tries":[{"ip":"10.0.0.1","port":8080}]`...)
	}
	if routed {
		b = s.appendPlace(b)
	}
	if s.random.IntN(3) == 0 {
		b = fmt.Appendf(b, `,"consumer":{"username":"%s","id":"c"}`, [...]string{"alice", "bob"}[s.random.IntN(2)])
	}
	return string(append(b, '}'))
}

// appendPlace appends the service and the route of a request.
func (s *shop) appendPlace(b []byte) []byte {
	service := [...]string{"orders", "payments", "inventory", ""}[s.random.IntN(4)]
	name, tags := "", `"team:shop"`
	if service != "" {
		name = `,"name":"` + service + `"`
	}
	if service == "orders" {
		tags += `,"env:prod"`
	}
	return fmt.Appendf(b, `,"service":{"id":"id-of-%s","host":"%s-up","tags":[%s]%s},"route":{"id":"route-%d","name":"%s-%d"}`,
		service, service, tags, name, s.random.IntN(3), service, s.random.IntN(3))
}

// between makes n requests spread over [from, to), indexed within a second.
func (s *shop) between(from, to time.Time, n int) []request {
	list := make([]request, 0, n)
	for range n {
		at := from.Add(time.Duration(s.random.Int64N(int64(to.Sub(from)))))
		list = append(list, s.at(at, time.Duration(s.random.Int64N(int64(time.Second)))))
	}
	return list
}

// shipper puts requests into an index as one of the usual shippers does.
type shipper struct {
	template string // the mapping; "" for what Elasticsearch makes of it by itself
	document func(request) string
}

// The shippers.
var (
	logstash = shipper{
		template: kongMapping,
		document: func(r request) string {
			return `{"@timestamp":"` + stamp(r.completed) + `","event":{"ingested":"` + stamp(r.ingested) + `"},` + r.line[1:]
		},
	}
	eventTimeOnly = shipper{ // no time of indexing, and the mapping that comes by itself
		document: func(r request) string { return `{"@timestamp":"` + stamp(r.completed) + `",` + r.line[1:] },
	}
	filebeat = shipper{
		document: func(r request) string {
			return `{"@timestamp":"` + stamp(r.completed) + `","event":{"ingested":"` + stamp(r.ingested) + `"},"kong":` + r.line + `}`
		},
	}
	fluentbit = shipper{ // nothing has parsed the line
		document: func(r request) string {
			text, err := json.Marshal(r.line)
			if err != nil {
				panic(err) // a string
			}
			return `{"@timestamp":"` + stamp(r.completed) + `","stream":"stdout","log":` + string(text) + `}`
		},
	}
)

const kongMapping = `{"dynamic":"false","properties":{
	"@timestamp":{"type":"date"},"event":{"properties":{"ingested":{"type":"date"}}},"source":{"type":"keyword"},"workspace_name":{"type":"keyword"},
	"response":{"properties":{"status":{"type":"short"}}},
	"latencies":{"properties":{"request":{"type":"double"},"proxy":{"type":"double"},"kong":{"type":"double"}}},
	"service":{"properties":{"id":{"type":"keyword"},"name":{"type":"keyword"},"host":{"type":"keyword"},"tags":{"type":"keyword"}}},
	"route":{"properties":{"id":{"type":"keyword"},"name":{"type":"keyword"},"tags":{"type":"keyword"}}},
	"consumer":{"properties":{"id":{"type":"keyword"},"username":{"type":"keyword"}}}}}`

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// create makes an index, with settings besides the usual ones.
func (s shipper) create(t testing.TB, url, index string, settings ...string) {
	t.Helper()
	mapping := ""
	if s.template != "" {
		mapping = `,"mappings":` + s.template
	}
	all := strings.Join(append([]string{`"number_of_shards":2,"number_of_replicas":0`}, settings...), ",")
	call(t, "PUT", url+"/"+index, `{"settings":{`+all+`}`+mapping+`}`)
}

// ship indexes requests, so that a search finds them.
func (s shipper) ship(t testing.TB, url, index string, requests []request) {
	t.Helper()
	for len(requests) > 0 {
		n := min(len(requests), perBulk)
		if err := indexed(call(t, "POST", url+"/"+index+"/_bulk?refresh=true&filter_path=errors,items.*.error", s.bulk(requests[:n]))); err != nil {
			t.Fatal(err)
		}
		requests = requests[n:]
	}
}

// perBulk is how many documents are shipped at a time.
const perBulk = 5000

// bulk returns the body of a bulk of requests.
func (s shipper) bulk(requests []request) string {
	var body strings.Builder
	for _, r := range requests {
		body.WriteString(`{"index":{}}` + "\n")
		body.WriteString(s.document(r))
		body.WriteByte('\n')
	}
	return body.String()
}

// indexed returns an error when the answer to a bulk says that something was not indexed.
func indexed(answer map[string]any) error {
	if answer["errors"] != false {
		return fmt.Errorf("the bulk has errors: %.2000v", answer)
	}
	return nil
}

// counted returns a store that counted the lines themselves.
func counted(t testing.TB, g *guard, requests []request, at time.Time) *store.Store {
	t.Helper()
	want := newStore(g.slos, at)
	d := collector.NewDecoder(collector.Limits{MaxRecords: 1 << 30})
	for list := range slices.Chunk(requests, 1000) {
		if err := count(want, d, list, at); err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// count counts the lines themselves.
func count(in *store.Store, d *collector.Decoder, requests []request, at time.Time) error {
	var lines strings.Builder
	for _, r := range requests {
		lines.WriteString(r.line)
		lines.WriteByte('\n')
	}
	batch, err := d.Decode([]byte(lines.String()))
	if err != nil {
		return err
	}
	if added := in.Add(batch.Records, at, nil); added.Counted != len(requests) {
		return fmt.Errorf("of %d lines %d count; %d are rejected: %s", len(requests), added.Counted, batch.Rejected, batch.Reason)
	}
	return nil
}
