package elasticsearch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// standin answers as Elasticsearch does, as far as the source asks: searches in a time range
// sorted by time, histograms, composites of terms and ranges, scrolls, field capabilities.
// What test/elasticsearch finds out about real servers holds for it too. It is an
// http.RoundTripper: tests of it may run in virtual time.
type standin struct {
	mu      sync.Mutex
	caps    string // the answer to _field_caps
	docs    []document
	trouble func(*http.Request) (*http.Response, error) // what it answers instead; nil answers go on
}

type document struct {
	index, id string
	source    map[string]any
}

// flatCaps is what Elasticsearch 7.17.28 says of an index with the mapping of
// test/elasticsearch, shortened to what is read.
const flatCaps = `{"indices":["kong-1"],"fields":{
	"@timestamp":{"date":{"type":"date","searchable":true,"aggregatable":true}},
	"event.ingested":{"date":{"type":"date","searchable":true,"aggregatable":true}},
	"response.status":{"short":{"type":"short","searchable":true,"aggregatable":true}},
	"service":{"object":{"type":"object","searchable":false,"aggregatable":false}},
	"service.name":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"service.host":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"service.tags":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"route.id":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"route.name":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"consumer.username":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"workspace_name":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"source":{"keyword":{"type":"keyword","searchable":true,"aggregatable":true}},
	"latencies.request":{"double":{"type":"double","searchable":true,"aggregatable":true}},
	"latencies.proxy":{"double":{"type":"double","searchable":true,"aggregatable":true}},
	"latencies.kong":{"long":{"type":"long","searchable":true,"aggregatable":true}}}}`

// withoutIngested is flatCaps of an index whose documents do not say when they came.
func withoutIngested() string {
	return strings.Replace(flatCaps, `"event.ingested"`, `"event.other"`, 1)
}

// add indexes a document of Kong's log.
func (s *standin) add(at, ingested time.Time, change func(map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("%032x", len(s.docs)+1)
	source := map[string]any{
		"@timestamp": at.UTC().Format("2006-01-02T15:04:05.000Z07:00"), "event": map[string]any{"ingested": ingested.UTC().Format("2006-01-02T15:04:05.000Z07:00")},
		"started_at": at.UnixMilli() - 20, "latencies": map[string]any{"request": 20, "proxy": 18, "kong": 2}, "response": map[string]any{"status": 200},
		"request": map[string]any{"id": id, "method": "GET", "uri": "/"}, "service": map[string]any{"name": "orders"}, "source": "upstream",
		// As after a route was made anew: rows of one name.
		"route": map[string]any{"name": "list", "id": strconv.Itoa(len(s.docs) % 3)},
	}
	if change != nil {
		change(source)
	}
	s.docs = append(s.docs, document{index: "kong-1", id: id, source: source})
}

// RoundTrip implements http.RoundTripper.
func (s *standin) RoundTrip(r *http.Request) (*http.Response, error) {
	body := []byte{}
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble != nil {
		if response, err := s.trouble(r); response != nil || err != nil {
			return response, err
		}
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/_field_caps"):
		return answer(http.StatusOK, s.caps), nil
	case strings.HasSuffix(r.URL.Path, "/_search/scroll") && r.Method == http.MethodDelete:
		return answer(http.StatusOK, `{"succeeded":true}`), nil
	case strings.HasSuffix(r.URL.Path, "/_search/scroll"):
		return answer(http.StatusOK, `{"_scroll_id":"1","_shards":{"total":1,"successful":1,"failed":0},"hits":{"hits":[]}}`), nil
	case strings.HasSuffix(r.URL.Path, "/_search"):
		if r.URL.Query().Has("scroll") && bytes.Contains(body, []byte("track_total_hits")) {
			return answer(http.StatusBadRequest, `{"error":{"type":"action_request_validation_exception","reason":"disabling [track_total_hits] is not allowed in a scroll context"},"status":400}`), nil
		}
		return answer(http.StatusOK, s.search(body, r.URL.Query().Has("scroll"))), nil
	}
	return answer(http.StatusNotFound, `{"error":"no handler found"}`), nil
}

func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

type searchBody struct {
	Query map[string]any              `json:"query"`
	Size  int                         `json:"size"`
	Sort  []map[string]map[string]any `json:"sort"`
	Aggs  map[string]struct {
		DateHistogram *struct {
			Field    string `json:"field"`
			Interval string `json:"fixed_interval"`
		} `json:"date_histogram"`
		Filter *struct {
			Exists struct{ Field string }
		} `json:"filter"`
		Missing   *struct{ Field string } `json:"missing"`
		Composite *struct {
			Size    int              `json:"size"`
			Sources []map[string]any `json:"sources"`
			After   map[string]any   `json:"after"`
		} `json:"composite"`
		Aggs map[string]struct {
			Range struct {
				Field  string `json:"field"`
				Ranges []struct{ From, To *float64 }
			} `json:"range"`
		} `json:"aggregations"`
	} `json:"aggregations"`
}

func (s *standin) search(body []byte, scroll bool) string {
	var q searchBody
	if err := json.Unmarshal(body, &q); err != nil {
		return `{"error":{"reason":"` + err.Error() + `"}}`
	}
	var found []document
	for _, d := range s.docs {
		if matches(q.Query, d.source) {
			found = append(found, d)
		}
	}
	out := map[string]any{"timed_out": false, "_shards": map[string]any{"total": 1, "successful": 1, "failed": 0}, "_scroll_id": "1"}
	if q.Size > 0 || scroll {
		out["hits"] = map[string]any{"hits": hitsFor(found, &q, scroll)}
	}
	aggregations := map[string]any{}
	for name, a := range q.Aggs {
		switch {
		case a.DateHistogram != nil:
			aggregations[name] = histogram(found, a.DateHistogram.Field, a.DateHistogram.Interval)
		case a.Filter != nil:
			aggregations[name] = map[string]any{"doc_count": len(found) - without(found, a.Filter.Exists.Field)}
		case a.Missing != nil:
			aggregations[name] = map[string]any{"doc_count": without(found, a.Missing.Field)}
		case a.Composite != nil:
			parts := map[string]func([]document) any{}
			for part, sub := range a.Aggs {
				parts[part] = func(docs []document) any { return inRanges(docs, sub.Range.Field, sub.Range.Ranges) }
			}
			aggregations[name] = compose(found, a.Composite.Sources, a.Composite.After, a.Composite.Size, parts)
		}
	}
	out["aggregations"] = aggregations
	text, err := json.Marshal(out)
	if err != nil {
		panic(err) // what was decoded from JSON
	}
	return string(text)
}

func hitsFor(found []document, q *searchBody, scroll bool) []any {
	by := ""
	for name := range q.Sort[0] {
		by = name
	}
	sort.SliceStable(found, func(i, j int) bool { return value(found[i].source, by) < value(found[j].source, by) })
	hits := []any{}
	for i, d := range found {
		if i == q.Size && !scroll {
			break
		}
		seq, _ := strconv.ParseInt(d.id, 16, 64)
		hits = append(hits, map[string]any{
			"_index": d.index, "_id": d.id, "_seq_no": seq, "_source": d.source, "sort": []any{int64(value(d.source, by))},
			"fields": map[string]any{"@timestamp": []any{strconv.FormatInt(int64(value(d.source, "@timestamp")), 10)}},
		})
	}
	return hits
}

// field returns what a document has at a path.
func fieldOf(source map[string]any, path string) any {
	var at any = source
	for key := range strings.SplitSeq(path, ".") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[key]
	}
	return at
}

// value returns a number, or a time in milliseconds; -1e18 when there is none.
func value(source map[string]any, path string) float64 {
	switch v := fieldOf(source, path).(type) {
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return float64(t.UnixMilli())
		}
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return -1e18
}

func list(v any) []map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []any:
		var all []map[string]any
		for _, one := range v {
			all = append(all, one.(map[string]any))
		}
		return all
	}
	return nil
}

func matches(query map[string]any, source map[string]any) bool {
	for kind, what := range query {
		of := what.(map[string]any)
		switch kind {
		case "bool":
			for _, q := range list(of["filter"]) {
				if !matches(q, source) {
					return false
				}
			}
			for _, q := range list(of["must_not"]) {
				if matches(q, source) {
					return false
				}
			}
			should := list(of["should"])
			if len(should) > 0 && !slices.ContainsFunc(should, func(q map[string]any) bool { return matches(q, source) }) {
				return false
			}
		case "range":
			for name, bounds := range of {
				at, b := value(source, name), bounds.(map[string]any)
				if at < b["gte"].(float64) || at >= b["lt"].(float64) {
					return false
				}
			}
		case "term":
			for name, want := range of {
				if tags, ok := fieldOf(source, name).([]string); ok {
					return slices.Contains(tags, want.(string))
				}
				return fieldOf(source, name) == want
			}
		}
	}
	return true
}

func histogram(docs []document, name, interval string) any {
	width, _ := strconv.ParseFloat(strings.TrimSuffix(interval, "ms"), 64)
	counts := map[float64]int{}
	for _, d := range docs {
		counts[float64(floor(int64(value(d.source, name)), int64(width)))]++
	}
	buckets := []any{}
	for _, at := range slices.Sorted(maps.Keys(counts)) {
		buckets = append(buckets, map[string]any{"key": at, "doc_count": counts[at]})
	}
	return map[string]any{"buckets": buckets}
}

// without returns how many documents lack a field.
func without(docs []document, name string) (n int) {
	for _, d := range docs {
		if fieldOf(d.source, name) == nil {
			n++
		}
	}
	return n
}

func inRanges(docs []document, name string, ranges []struct{ From, To *float64 }) any {
	buckets := []any{}
	for _, r := range ranges {
		n := 0
		for _, d := range docs {
			v := value(d.source, name)
			if (r.From == nil || v >= *r.From) && (r.To == nil || v < *r.To) && v > -1e17 {
				n++
			}
		}
		buckets = append(buckets, map[string]any{"doc_count": n})
	}
	return map[string]any{"buckets": buckets}
}

func compose(docs []document, sources []map[string]any, after map[string]any, size int, parts map[string]func([]document) any) any {
	groups, keys := map[string][]document{}, map[string]map[string]any{}
	for _, d := range docs {
		key := map[string]any{}
		for _, source := range sources {
			for name, how := range source {
				for kind, of := range how.(map[string]any) {
					f := of.(map[string]any)
					if kind == "terms" {
						key[name] = fieldOf(d.source, f["field"].(string))
						continue
					}
					width, _ := strconv.ParseInt(strings.TrimSuffix(f["fixed_interval"].(string), "ms"), 10, 64)
					key[name] = floor(int64(value(d.source, f["field"].(string))), width)
				}
			}
		}
		text, _ := json.Marshal(key)
		groups[string(text)], keys[string(text)] = append(groups[string(text)], d), key
	}
	from, _ := json.Marshal(after)
	buckets, last := []any{}, map[string]any(nil)
	for _, text := range slices.Sorted(maps.Keys(groups)) {
		if after != nil && text <= string(from) || len(buckets) == size {
			continue
		}
		b := map[string]any{"key": keys[text], "doc_count": len(groups[text])}
		for part, count := range parts {
			b[part] = count(groups[text])
		}
		buckets, last = append(buckets, b), keys[text]
	}
	out := map[string]any{"buckets": buckets}
	if last != nil {
		out["after_key"] = last
	}
	return out
}
