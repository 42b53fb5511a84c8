package elasticsearch

import (
	"context"
	"slices"
	"time"

	"github.com/olivere/elastic/v7"

	"github.com/gatewarden/gatewarden"
)

// filler fills in the past.
type filler struct {
	*Source
	layout *layout
	mark   fillMark
	span   int64 // how much is asked for at once, in milliseconds
}

// fill fills in what is left of the past, the newest first, until ctx is done.
func (f *filler) fill(ctx context.Context) {
	var wait backoff
	began := f.left()
	if began == 0 {
		return
	}
	f.log.Info("filling in the past", "from", time.UnixMilli(f.mark.Left[0].From).UTC(), "to", time.UnixMilli(f.mark.Left[len(f.mark.Left)-1].To).UTC())
	for f.left() > 0 {
		f.metrics.past.Set(float64(f.left()) / 1000)
		if err := f.step(ctx); err == nil {
			wait = 0
		} else if ctx.Err() == nil {
			f.failed("filling in the past", err)
			f.span = max(f.span/4, time.Second.Milliseconds())
			if !sleep(ctx, wait.next()) {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
	f.metrics.past.Set(0)
	f.log.Info("the past is filled in", "seconds", began/1000)
}

// left returns how much of the past is left, in milliseconds.
func (f *filler) left() (ms int64) {
	for _, i := range f.mark.Left {
		ms += i.To - i.From
	}
	return ms
}

// The most and the first that is asked for at once.
const (
	mostPast  = 7 * 24 * time.Hour
	firstPast = time.Minute
)

// step fills in the newest piece of what is left.
func (f *filler) step(ctx context.Context) error {
	sh, err := f.shapeFor()
	if err == nil && f.settings.Past != readDocuments {
		return f.fillRows(ctx, sh)
	}
	if err != nil && f.settings.Past == readBuckets {
		return err
	}
	return f.fillDocuments(ctx)
}

// distributions is how far back the store keeps distributions of latencies.
const distributions = 26 * time.Hour

func (f *filler) shapeFor() (*shape, error) {
	if f.layout.problem != nil {
		return nil, f.layout.problem
	}
	newest := f.mark.Left[len(f.mark.Left)-1].To
	return f.shape(f.now().Sub(time.UnixMilli(newest)) < distributions)
}

// only returns the filter that keeps out what is followed.
func (f *filler) only() []elastic.Query {
	if f.mark.Ingested == 0 || f.layout.ingested.name == "" {
		return nil
	}
	const never = int64(253402300800000) // the year 10000
	return []elastic.Query{elastic.NewBoolQuery().MustNot(between(f.layout.ingested, f.mark.Ingested, never))}
}

// fillRows counts the newest piece by buckets.
func (f *filler) fillRows(ctx context.Context, sh *shape) error {
	last := &f.mark.Left[len(f.mark.Left)-1]
	width := f.past.Resolution(f.now().Sub(time.UnixMilli(last.To)))
	if f.span == 0 {
		f.span = firstPast.Milliseconds()
	}
	from := max(last.From, floor(last.To-1, width.Milliseconds())-max(f.span-width.Milliseconds(), 0))
	from = max(last.From, floor(from, width.Milliseconds()))
	began := f.now()
	rows, err := f.aggregate(ctx, f.layout, sh, width, from, last.To, f.only()...)
	if err != nil {
		return err
	}
	var records []gatewarden.Record
	covered := coverage{gap: max(width, mostSilence).Milliseconds()}
	for i := range rows {
		records = sh.records(records, &rows[i])
		covered.add(rows[i].at, rows[i].at+width.Milliseconds())
	}
	if err := f.done(ctx, records, interval{from, last.To}, &covered); err != nil {
		return err
	}
	f.pace(len(rows)>>len(sh.Tags), f.rowsAtOnce(sh), f.now().Sub(began))
	return nil
}

// pace makes the next answer about one page: each further page goes through all documents
// anew. It must not take so long that it may not come in time.
func (f *filler) pace(rows, most int, took time.Duration) {
	factor := 0.8 * float64(most) / float64(max(rows, 1))
	if took > 0 {
		factor = min(factor, float64(f.settings.Timeout)/5/float64(took))
	}
	span := float64(f.span) * min(max(factor, 1.0/16), 8)
	f.span = int64(min(max(span, float64(time.Second.Milliseconds())), float64(mostPast.Milliseconds())))
}

// documentsAtOnce is how much of the past is read as documents before the next piece.
const documentsAtOnce = time.Hour

// fillDocuments counts the newest piece by single documents.
func (f *filler) fillDocuments(ctx context.Context) error {
	last := f.mark.Left[len(f.mark.Left)-1]
	if from := floor(last.To-1, documentsAtOnce.Milliseconds()); from > last.From {
		f.mark.Left = append(f.mark.Left[:len(f.mark.Left)-1:len(f.mark.Left)-1], interval{last.From, from}, interval{from, last.To})
		last.From = from
	}
	return f.read(ctx, reading{layout: f.layout, by: f.layout.time, filter: f.only()}, last.From, last.To, func(hits []hit, upTo int64) error {
		d := f.decoders.Get()
		defer f.decoders.Put(d)
		covered := coverage{gap: mostSilence.Milliseconds()}
		for i := range hits {
			covered.add(hits[i].at, hits[i].at+1)
		}
		of := interval{last.From, upTo}
		last.From = upTo
		return f.done(ctx, f.decode(d, f.layout, hits).Records, of, &covered)
	})
}

// done counts records of an interval and takes it off what is left.
func (f *filler) done(ctx context.Context, records []gatewarden.Record, of interval, covered *coverage) error {
	next := fillMark{Ingested: f.mark.Ingested}
	for _, i := range f.mark.Left {
		for _, rest := range []interval{{i.From, min(i.To, of.From)}, {max(i.From, of.To), i.To}} {
			if rest.From < rest.To {
				next.Left = append(next.Left, rest)
			}
		}
	}
	if err := f.count(ctx, records, filled, &next); err != nil {
		return err
	}
	f.mark = next
	for _, c := range covered.spans(of) {
		f.past.Watched(time.UnixMilli(c.From), time.UnixMilli(c.To))
	}
	return nil
}

// mostSilence is how long no document may have come in for the time in between to count as
// watched: nobody can tell whether nothing happened, or nothing was indexed.
const mostSilence = 10 * time.Minute

// coverage is when documents happened.
type coverage struct {
	gap  int64
	list []interval
}

// add notes that there were documents in [from, to). It is quick when that goes on from
// what came last.
func (c *coverage) add(from, to int64) {
	if n := len(c.list); n > 0 && from >= c.list[n-1].From && from <= c.list[n-1].To+c.gap {
		c.list[n-1].To = max(c.list[n-1].To, to)
		return
	}
	c.list = append(c.list, interval{from, to})
}

// spans returns when there were documents in an interval, with the silences that are short
// enough, also those at its ends.
func (c *coverage) spans(of interval) []interval {
	slices.SortFunc(c.list, func(a, b interval) int { return int(a.From - b.From) })
	joined := coverage{gap: c.gap}
	for _, i := range c.list {
		joined.add(i.From, i.To)
	}
	for n := range joined.list {
		i := &joined.list[n]
		if i.From-of.From <= c.gap {
			i.From = of.From
		}
		if of.To-i.To <= c.gap {
			i.To = of.To
		}
		i.From, i.To = max(i.From, of.From), min(i.To, of.To)
	}
	return joined.list
}
