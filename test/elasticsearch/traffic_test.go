package elasticsearch_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
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
	made   int
}

func newShop(seed uint64) *shop { return &shop{random: rand.New(rand.NewPCG(seed, 1))} }

// at makes a request that completes at an instant, and is indexed after a delay.
func (s *shop) at(completed time.Time, delay time.Duration) request {
	s.made++
	completed = completed.Truncate(time.Millisecond)
	latency := int64(s.random.ExpFloat64() * 120)
	id := fmt.Sprintf("%032x", s.made)
	object := map[string]any{
		"request":        map[string]any{"id": id, "method": "GET", "uri": "/x?y=1", "headers": map[string]any{"host": "shop"}},
		"latencies":      map[string]any{"request": latency, "proxy": max(latency-3, 0), "kong": min(latency, 3)},
		"response":       map[string]any{"status": 200, "headers": map[string]any{"x-version": "v1"}},
		"started_at":     completed.UnixMilli() - latency,
		"source":         "upstream",
		"client_ip":      "203.0.113.7",
		"workspace_name": []string{"default", "partners"}[s.random.IntN(2)],
		"tries":          []any{map[string]any{"ip": "10.0.0.1", "port": 8080}},
	}
	service := []string{"orders", "payments", "inventory", ""}[s.random.IntN(4)]
	named := map[string]any{"id": "id-of-" + service, "host": service + "-up", "tags": []string{"team:shop"}}
	if service != "" {
		named["name"] = service
	}
	if service == "orders" {
		named["tags"] = []string{"team:shop", "env:prod"}
	}
	object["service"] = named
	object["route"] = map[string]any{"id": fmt.Sprint("route-", s.random.IntN(3)), "name": fmt.Sprint(service, "-", s.random.IntN(3))}
	if s.random.IntN(3) == 0 {
		object["consumer"] = map[string]any{"username": []string{"alice", "bob"}[s.random.IntN(2)], "id": "c"}
	}
	switch p := s.random.IntN(100); {
	case p < 3:
		object["response"].(map[string]any)["status"] = 502
	case p < 5:
		object["response"].(map[string]any)["status"] = 404
	case p < 7: // Kong's own
		object["response"].(map[string]any)["status"] = 429
		object["source"] = "kong"
		object["latencies"] = map[string]any{"request": latency, "proxy": -1, "kong": latency}
	case p < 8: // no route
		delete(object, "service")
		delete(object, "route")
		object["response"].(map[string]any)["status"] = 404
	}
	line, err := json.Marshal(object)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return request{id: id, completed: completed, ingested: completed.Add(delay).Truncate(time.Millisecond), line: string(line)}
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

// create makes an index.
func (s shipper) create(t testing.TB, url, index string) {
	t.Helper()
	mapping := ""
	if s.template != "" {
		mapping = `,"mappings":` + s.template
	}
	call(t, "PUT", url+"/"+index, `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"1s"}`+mapping+`}`)
}

// ship indexes requests, so that a search finds them.
func (s shipper) ship(t testing.TB, url, index string, requests []request) {
	t.Helper()
	for len(requests) > 0 {
		n := min(len(requests), 5000)
		var body strings.Builder
		for _, r := range requests[:n] {
			body.WriteString(`{"index":{}}` + "\n" + s.document(r) + "\n")
		}
		requests = requests[n:]
		if answer := call(t, "POST", url+"/"+index+"/_bulk?refresh=true", body.String()); answer["errors"] != false {
			t.Fatalf("the bulk has errors: %.2000v", answer)
		}
	}
}

// counted returns a store that counted the lines themselves.
func counted(t testing.TB, g *guard, requests []request, at time.Time) *store.Store {
	t.Helper()
	want := newStore(g.slos, at)
	d := collector.NewDecoder(collector.Limits{MaxRecords: 1 << 30})
	for len(requests) > 0 {
		n := min(len(requests), 1000)
		var lines strings.Builder
		for _, r := range requests[:n] {
			lines.WriteString(r.line + "\n")
		}
		requests = requests[n:]
		batch, err := d.Decode([]byte(lines.String()))
		if err != nil || batch.Rejected > 0 {
			t.Fatalf("%v, %d rejected: %s", err, batch.Rejected, batch.Reason)
		}
		want.Add(batch.Records, at, nil)
	}
	return want
}
