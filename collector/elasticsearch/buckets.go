package elasticsearch

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/olivere/elastic/v7"

	"github.com/gatewarden/gatewarden"
)

// row is what Elasticsearch counted of one kind of request in one bucket of time.
type row struct {
	at    int64 // where the bucket begins, in Unix milliseconds
	kind  kind
	count counts
}

// kind is what requests of a row have in common: all that a rule can ask of them, but for
// their latencies.
type kind struct {
	service, route, consumer, workspace string
	status                              int
	origin                              gatewarden.Origin
	tags                                uint8 // a set of shape.Tags, by bit
}

// counts is how many requests there were, and how many of them in each range of latency,
// by part: the requests in a part's ranges are at most all of them.
type counts struct {
	n     uint64
	parts [len(parts)][]uint64
}

// parts are the latencies, in the order of layout.latency.
var parts = [...]gatewarden.LatencyPart{gatewarden.OfRequest, gatewarden.OfUpstream, gatewarden.OfKong}

// composite is the part of an answer that holds rows.
type composite struct {
	After   map[string]json.RawMessage `json:"after_key"`
	Buckets []struct {
		Key struct {
			At        float64         `json:"t"`
			Service0  *string         `json:"s0"`
			Service1  *string         `json:"s1"`
			Service2  *string         `json:"s2"`
			Route0    *string         `json:"r0"`
			Route1    *string         `json:"r1"`
			Consumer0 *string         `json:"c0"`
			Consumer1 *string         `json:"c1"`
			Consumer2 *string         `json:"c2"`
			Workspace *string         `json:"w"`
			Origin    *string         `json:"o"`
			Status    json.RawMessage `json:"st"`
		} `json:"key"`
		Count uint64 `json:"doc_count"`
		Part0 ranges `json:"p0"`
		Part1 ranges `json:"p1"`
		Part2 ranges `json:"p2"`
	} `json:"buckets"`
}

type ranges struct {
	Buckets []struct {
		Count uint64 `json:"doc_count"`
	} `json:"buckets"`
}

// compositePaths are the parts of an answer that are needed: the rest is more than half.
var compositePaths = []string{
	"aggregations.rows.after_key", "aggregations.rows.buckets.key", "aggregations.rows.buckets.doc_count",
	"aggregations.rows.buckets.p0.buckets.doc_count", "aggregations.rows.buckets.p1.buckets.doc_count", "aggregations.rows.buckets.p2.buckets.doc_count",
}

// aggregate counts the documents of [from, to), in Unix milliseconds, in buckets of the
// width, which begin at multiples of it.
func (s *Source) aggregate(ctx context.Context, l *layout, sh *shape, width time.Duration, from, to int64, filter ...elastic.Query) (rows []row, err error) {
	for set := range uint8(1) << len(sh.Tags) {
		query := s.index.where(append([]elastic.Query{between(l.time, from, to)}, filter...)...)
		l.tagged(query, sh.Tags, set)
		var after map[string]json.RawMessage
		for more := true; more; {
			size := s.rowsAtOnce(sh)
			body := elastic.NewSearchSource().Query(query).Size(0).TrackTotalHits(false).Aggregation("rows", l.composite(sh, width, size, after))
			answer, err := s.index.search(ctx, body, compositePaths...)
			if err != nil {
				return nil, err
			}
			var page composite
			if raw, ok := answer.Aggregations["rows"]; ok {
				if err := json.Unmarshal(raw, &page); err != nil {
					return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading what Elasticsearch counted: %w", err)
				}
			}
			rows = s.append(rows, &page, sh, set)
			after, more = page.After, len(page.Buckets) >= size && len(page.After) > 0
		}
	}
	s.metrics.buckets.Add(float64(len(rows)))
	return rows, nil
}

// rowsAtOnce returns how many rows one answer may have, so that all its buckets stay below
// what Elasticsearch allows.
func (s *Source) rowsAtOnce(sh *shape) int {
	each := 1
	for _, cuts := range sh.Cuts {
		if len(cuts) > 0 {
			each += len(cuts) + 1
		}
	}
	return max(s.settings.Buckets/each, 1)
}

// tagged narrows a query to the documents that have the tags of the set and none of the
// others, so that each document is in one set.
func (l *layout) tagged(query *elastic.BoolQuery, tags []string, set uint8) {
	for i, tag := range tags {
		tagged := elastic.NewBoolQuery()
		for _, f := range l.tags {
			tagged.Should(elastic.NewTermQuery(f.name, tag))
		}
		tagged.MinimumNumberShouldMatch(1)
		if set>>i&1 == 1 {
			query.Filter(tagged)
		} else {
			query.MustNot(tagged)
		}
	}
}

// composite returns the aggregation that makes rows.
func (l *layout) composite(sh *shape, width time.Duration, size int, after map[string]json.RawMessage) elastic.Aggregation {
	rows := elastic.NewCompositeAggregation().Size(size).Sources(l.sources(sh, width)...)
	if len(after) > 0 {
		from := make(map[string]any, len(after))
		for name, value := range after {
			from[name] = value
		}
		rows.AggregateAfter(from)
	}
	for part, cuts := range sh.Cuts {
		if len(cuts) == 0 || l.latency[part].name == "" {
			continue
		}
		in := elastic.NewRangeAggregation().Field(l.latency[part].name)
		low := 0.0
		for _, cut := range cuts {
			high := l.latency[part].above(cut)
			in.Between(low, high)
			low = high
		}
		rows.SubAggregation("p"+strconv.Itoa(part), in.Gt(low))
	}
	return rows
}

// above returns the end of the range whose last latency is cut, in milliseconds: a range
// ends before its upper bound.
func (f field) above(cut time.Duration) float64 {
	ms := float64(cut) / float64(time.Millisecond)
	if f.whole {
		return math.Floor(ms) + 1
	}
	return math.Nextafter(ms, math.Inf(1))
}

// sources returns what rows are told apart by.
func (l *layout) sources(sh *shape, width time.Duration) []elastic.CompositeAggregationValuesSource {
	var list []elastic.CompositeAggregationValuesSource
	if l.time.isDate() {
		list = append(list, elastic.NewCompositeAggregationDateHistogramValuesSource("t").Field(l.time.name).
			FixedInterval(strconv.FormatInt(width.Milliseconds(), 10)+"ms"))
	} else {
		list = append(list, elastic.NewCompositeAggregationHistogramValuesSource("t", float64(width.Milliseconds())).Field(l.time.name))
	}
	term := func(name string, f field) {
		if f.name != "" {
			list = append(list, elastic.NewCompositeAggregationTermsValuesSource(name).Field(f.name).MissingBucket(true))
		}
	}
	each := func(name string, of names) {
		for i, f := range of {
			term(name+strconv.Itoa(i), f)
		}
	}
	each("s", l.service)
	each("r", l.route)
	term("st", l.status)
	term("o", l.origin)
	if sh.Consumers {
		each("c", l.consumer)
	}
	if sh.Workspaces {
		term("w", l.workspace)
	}
	return list
}

// append appends the rows of a page.
func (s *Source) append(rows []row, page *composite, sh *shape, set uint8) []row {
	for i := range page.Buckets {
		b := &page.Buckets[i]
		status, ok := statusOf(b.Key.Status)
		if !ok { // no log record of Kong's
			s.metrics.documents.WithLabelValues(fateRejected).Add(float64(b.Count))
			continue
		}
		r := row{
			at: int64(b.Key.At),
			kind: kind{
				service: first(b.Key.Service0, b.Key.Service1, b.Key.Service2), route: first(b.Key.Route0, b.Key.Route1),
				consumer: first(b.Key.Consumer0, b.Key.Consumer1, b.Key.Consumer2), workspace: first(b.Key.Workspace),
				status: status, origin: originOf(first(b.Key.Origin)), tags: set,
			},
			count: counts{n: b.Count},
		}
		for part, in := range []*ranges{&b.Part0, &b.Part1, &b.Part2} {
			if n := len(in.Buckets); n == 0 || n != len(sh.Cuts[part])+1 {
				continue // not asked for, or not mapped
			}
			for _, one := range in.Buckets {
				r.count.parts[part] = append(r.count.parts[part], one.Count)
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// first returns the first name that is there.
func first(names ...*string) string {
	for _, n := range names {
		if n != nil && *n != "" {
			return *n
		}
	}
	return ""
}

func originOf(word string) gatewarden.Origin {
	for _, o := range []gatewarden.Origin{gatewarden.OriginUpstream, gatewarden.OriginKong} {
		if o.String() == word {
			return o
		}
	}
	return gatewarden.OriginUnknown
}

// statusOf reads a status, which some indices have as a keyword.
func statusOf(raw json.RawMessage) (status int, ok bool) {
	text := string(raw)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || f <= 0 || f > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}
