package elasticsearch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/olivere/elastic/v7"

	"github.com/gatewarden/gatewarden"
)

// hit is a document of an answer.
type hit struct {
	at     int64 // of the field it was sorted by, in Unix milliseconds
	time   int64 // when it happened, in Unix milliseconds; 0 when it does not say
	index  string
	id     string
	seq    int64 // the order of indexing within its shard
	source json.RawMessage
}

// reading is what documents are read by.
type reading struct {
	layout *layout
	by     field           // in whose order
	filter []elastic.Query // besides the source's own
}

// read takes the documents that have r.by in [from, to), in Unix milliseconds, in that
// order and page by page: take is given all documents of [from, upTo), then those from there
// on. No order among the documents of one millisecond is needed for that, nor anything that
// Elasticsearch has to keep between two pages.
func (s *Source) read(ctx context.Context, r reading, from, to int64, take func(hits []hit, upTo int64) error) error {
	for from < to {
		hits, err := s.page(ctx, r, from, to)
		if err != nil {
			return err
		}
		upTo := to
		if len(hits) >= s.settings.Page {
			if upTo, hits, err = s.cut(ctx, r, hits); err != nil {
				return err
			}
		}
		if err := take(hits, upTo); err != nil {
			return err
		}
		from = upTo
	}
	return nil
}

// cut leaves the last millisecond of a full page to the next one: it may go on there. When
// there is no other in the page, that millisecond is read as a whole.
func (s *Source) cut(ctx context.Context, r reading, hits []hit) (upTo int64, kept []hit, err error) {
	last := hits[len(hits)-1].at
	n := len(hits)
	for n > 0 && hits[n-1].at == last {
		n--
	}
	if n > 0 {
		return last, hits[:n], nil
	}
	kept, err = s.scroll(ctx, r, last)
	return last + 1, kept, err
}

// page returns the first documents of [from, to).
func (s *Source) page(ctx context.Context, r reading, from, to int64) ([]hit, error) {
	answer, err := s.index.search(ctx, s.body(r, from, to).TrackTotalHits(false))
	if err != nil {
		return nil, err
	}
	return hitsOf(answer, r)
}

// body returns the search for documents of [from, to). A scroll may not be told to leave
// their number out.
func (s *Source) body(r reading, from, to int64) *elastic.SearchSource {
	body := elastic.NewSearchSource().
		Query(s.index.where(append([]elastic.Query{between(r.by, from, to)}, r.filter...)...)).
		SortBy(elastic.NewFieldSort(r.by.name).Asc().UnmappedType(r.by.kind)).
		Size(s.settings.Page).SeqNoAndPrimaryTerm(true).
		FetchSourceIncludeExclude(s.includes(r.layout), nil)
	format := ""
	if r.layout.time.isDate() {
		format = "epoch_millis"
	}
	return body.DocvalueFieldWithFormat(elastic.DocvalueField{Field: r.layout.time.name, Format: format})
}

// mostAtOnce bounds how many documents of one millisecond are read: they are in memory
// together.
const mostAtOnce = 200_000

// clearWithin bounds how long it takes to give back the place of a scroll: nobody waits for
// an Elasticsearch that hangs.
const clearWithin = 5 * time.Second

// scroll returns all documents of one millisecond. There is no order among them that a
// later search could go on from, so Elasticsearch keeps the place.
func (s *Source) scroll(ctx context.Context, r reading, at int64) ([]hit, error) {
	scroll := s.index.client.Scroll(s.index.names...).SearchSource(s.body(r, at, at+1)).
		KeepAlive("1m").IgnoreUnavailable(true).AllowNoIndices(true)
	defer func() { // without it, it ends by itself in a minute
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearWithin)
		defer cancel()
		_ = scroll.Clear(ctx)
	}()
	var all []hit
	for {
		answer, err := s.index.scrolled(ctx, scroll)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		hits, err := hitsOf(answer, r)
		if err != nil {
			return nil, err
		}
		if all = append(all, hits...); len(all) > mostAtOnce {
			return nil, gatewarden.Errorf(gatewarden.Invalid, "more than %d documents have the same %s (%d)", mostAtOnce, r.by.name, at).
				WithHint("let the shipper or an ingest pipeline stamp each document, or read: buckets")
		}
	}
}

func (x *index) scrolled(ctx context.Context, scroll *elastic.ScrollService) (*elastic.SearchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	answer, err := scroll.Do(ctx)
	switch {
	case errors.Is(err, io.EOF):
		return nil, err
	case err != nil:
		x.metrics.requests.WithLabelValues(outcomeFailed).Inc()
		return nil, refused(err)
	}
	if err := whole(answer); err != nil {
		x.metrics.requests.WithLabelValues(outcomePartial).Inc()
		return nil, err
	}
	x.metrics.requests.WithLabelValues(outcomeOK).Inc()
	return answer, nil
}

func hitsOf(answer *elastic.SearchResult, r reading) ([]hit, error) {
	if answer.Hits == nil {
		return nil, nil
	}
	hits := make([]hit, 0, len(answer.Hits.Hits))
	for _, h := range answer.Hits.Hits {
		at, ok := sortedBy(h, r.by)
		if !ok {
			return nil, gatewarden.Errorf(gatewarden.Unavailable, "a document came back without the %s that it was found by", r.by.name)
		}
		one := hit{at: at, index: h.Index, id: h.Id, source: h.Source, time: happened(h, r)}
		if h.SeqNo != nil {
			one.seq = *h.SeqNo
		}
		hits = append(hits, one)
	}
	return hits, nil
}

// sortedBy returns the millisecond that a document was sorted by.
func sortedBy(h *elastic.SearchHit, by field) (ms int64, ok bool) {
	if len(h.Sort) == 0 {
		return 0, false
	}
	number, ok := h.Sort[0].(json.Number)
	if !ok {
		return 0, false
	}
	n, err := number.Int64()
	if err != nil {
		f, err := number.Float64() // OpenSearch writes some as 1.7e12
		if err != nil {
			return 0, false
		}
		n = int64(f)
	}
	per := by.perMilli()
	if n < 0 && n%per != 0 {
		n -= per // down, also before 1970
	}
	return n / per, true
}

// happened returns the document's event time, 0 when it has none.
func happened(h *elastic.SearchHit, r reading) int64 {
	values, ok := h.Fields[r.layout.time.name].([]any)
	if !ok || len(values) == 0 {
		return 0
	}
	text := ""
	switch v := values[0].(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	}
	ms, err := strconv.ParseFloat(text, 64) // date_nanos come with a fraction
	if err != nil {
		return 0
	}
	return int64(ms)
}
