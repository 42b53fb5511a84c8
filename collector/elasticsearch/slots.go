package elasticsearch

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/olivere/elastic/v7"

	"github.com/gatewarden/gatewarden"
)

// slots are the stretches of event time that are looked at again until they are older than
// lateness, by where they begin in Unix milliseconds. One that is not there had no
// documents.
type slots map[int64]slot

// slot is what was counted of a stretch.
type slot struct {
	N    uint64     `json:"n,omitempty"`   // documents, when these are read
	IDs  []byte     `json:"ids,omitempty"` // their keys, 4 bytes each; fewer than N when there are too many to keep
	Rows keptCounts `json:"rows,omitempty"`
}

// keptCounts are the counts of rows, when buckets are read.
type keptCounts map[kind]counts

// shaped says from which slot on rows have a shape.
type shaped struct {
	From  int64 `json:"from"`
	Shape shape `json:"shape"`
}

// slotWidth returns how long a slot is, in milliseconds.
func (s *Source) slotWidth() int64 {
	if s.settings.Read == readBuckets {
		return time.Duration(s.settings.Bucket).Milliseconds()
	}
	return time.Second.Milliseconds()
}

// floor returns the beginning of the slot that at is in.
func floor(at, width int64) int64 {
	rest := at % width
	if rest < 0 {
		rest += width
	}
	return at - rest
}

// piece bounds how much event time is looked at in one go: after a long rest there may be
// hours.
const piece = 10 * time.Minute

// followSlots counts what slots have grown by since they were looked at last. What is older
// than lateness is settled.
func (f *follower) followSlots(ctx context.Context, until int64) error {
	width, lateness := f.slotWidth(), time.Duration(f.settings.Lateness).Milliseconds()
	end, late := floor(until, width), floor(until-lateness, width)
	for from := max(f.mark.Until, min(f.from, late)); ; from = f.from {
		to := min(end, from+lateness+piece.Milliseconds())
		if to <= from {
			return nil
		}
		var err error
		if f.settings.Read == readBuckets {
			err = f.growRows(ctx, from, to)
		} else {
			err = f.growDocuments(ctx, from, to)
		}
		if err != nil {
			return err
		}
		f.from = min(late, to)
		f.settle(min(f.from, f.newest()-lateness))
		if to == end {
			return nil
		}
	}
}

// newest returns where the newest slot begins that has something. The mark follows that and
// not the clock, which may be ahead.
func (f *follower) newest() (at int64) {
	for begin := range f.mark.Slots {
		at = max(at, begin)
	}
	return at
}

// settle forgets the slots before an instant.
func (f *follower) settle(before int64) {
	f.mark.settle(before)
	maps.DeleteFunc(f.seen, func(at int64, _ map[uint32]struct{}) bool { return at < f.mark.Until })
}

// growDocuments reads the slots of [from, to) that have more documents than were counted.
func (f *follower) growDocuments(ctx context.Context, from, to int64) error {
	now, err := f.documentsBySlot(ctx, from, to)
	if err != nil {
		return err
	}
	var grown []int64
	for at, n := range now {
		if n > f.mark.Slots[at].N {
			grown = append(grown, at)
		}
	}
	slices.Sort(grown)
	width := f.slotWidth()
	for i := 0; i < len(grown); {
		if f.forgot(grown[i]) {
			if err := f.recount(ctx, grown[i]); err != nil {
				return err
			}
			i++
			continue
		}
		first := i
		for i++; i < len(grown) && grown[i] == grown[i-1]+width && !f.forgot(grown[i]); i++ {
			continue
		}
		if err := f.readSlots(ctx, grown[first], grown[i-1]+width); err != nil {
			return err
		}
	}
	return nil
}

// forgot reports whether it is known how many documents of a slot were counted, and not
// which: the process is another one since.
func (f *follower) forgot(at int64) bool { return f.mark.Slots[at].N > 0 && f.seen[at] == nil }

// documentsBySlot returns how many documents there are in [from, to), by slot.
func (f *follower) documentsBySlot(ctx context.Context, from, to int64) (map[int64]uint64, error) {
	l, width := f.layout, f.slotWidth()
	var by elastic.Aggregation = elastic.NewHistogramAggregation().Field(l.time.name).Interval(float64(width)).MinDocCount(1)
	if l.time.isDate() {
		by = elastic.NewDateHistogramAggregation().Field(l.time.name).FixedInterval(strconv.FormatInt(width, 10) + "ms").MinDocCount(1)
	}
	answer, err := f.index.search(ctx, elastic.NewSearchSource().Query(f.index.where(between(l.time, from, to))).Size(0).TrackTotalHits(false).Aggregation("slots", by))
	if err != nil {
		return nil, err
	}
	var found struct {
		Buckets []struct {
			At    float64 `json:"key"`
			Count uint64  `json:"doc_count"`
		} `json:"buckets"`
	}
	if raw, ok := answer.Aggregations["slots"]; ok {
		if err := json.Unmarshal(raw, &found); err != nil {
			return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading how many documents there are: %w", err)
		}
	}
	counts := make(map[int64]uint64, len(found.Buckets))
	for _, b := range found.Buckets {
		counts[int64(b.At)] = b.Count
	}
	return counts, nil
}

// readSlots reads the slots of [from, to) and counts the documents that are new.
func (f *follower) readSlots(ctx context.Context, from, to int64) error {
	return f.read(ctx, reading{layout: f.layout, by: f.layout.time}, from, to, func(hits []hit, _ int64) error {
		fresh := slices.DeleteFunc(hits, func(h hit) bool {
			_, known := f.seen[floor(h.at, f.slotWidth())][h.key()]
			return known
		})
		f.metrics.documents.WithLabelValues(fateKnown).Add(float64(len(hits) - len(fresh)))
		return f.countHits(ctx, fresh, nil)
	})
}

// recount reads a slot of which it is not known which documents were counted: as many as
// there are more now, those that were indexed last. The order of indexing is that of a
// shard, so which ones they are is a guess where there are several.
func (f *follower) recount(ctx context.Context, at int64) error {
	var all []hit
	err := f.read(ctx, reading{layout: f.layout, by: f.layout.time}, at, at+f.slotWidth(), func(hits []hit, _ int64) error {
		all = append(all, hits...)
		return nil
	})
	if err != nil {
		return err
	}
	counted := int(min(f.mark.Slots[at].N, uint64(len(all))))
	slices.SortStableFunc(all, func(a, b hit) int { return cmp.Compare(a.seq, b.seq) })
	return f.countHits(ctx, all[counted:], all[:counted])
}

// countHits counts documents, and remembers them and those that were counted before.
func (f *follower) countHits(ctx context.Context, hits, before []hit) error {
	d := f.decoders.Get()
	defer f.decoders.Put(d)
	next := f.mark
	next.Slots = maps.Clone(f.mark.Slots)
	if next.Slots == nil {
		next.Slots = slots{}
	}
	for i := range hits {
		at := floor(hits[i].at, f.slotWidth())
		next.Slots[at] = next.Slots[at].with(hits[i].key())
	}
	next.Slots.bound()
	if err := f.count(ctx, f.decode(d, f.layout, hits).Records, followed, f.keep(&next)); err != nil {
		return err
	}
	f.mark = next
	for _, list := range [][]hit{before, hits} {
		for i := range list {
			f.remember(&list[i])
		}
	}
	return nil
}

func (f *follower) remember(h *hit) {
	at := floor(h.at, f.slotWidth())
	if f.seen[at] == nil {
		f.seen[at] = map[uint32]struct{}{}
	}
	f.seen[at][h.key()] = struct{}{}
}

// with returns the slot with one document more.
func (s slot) with(key uint32) slot {
	if s.complete() {
		s.IDs = binary.BigEndian.AppendUint32(s.IDs, key)
	}
	s.N++
	return s
}

// complete reports whether it is known which documents were counted.
func (s slot) complete() bool { return uint64(len(s.IDs)) == keySize*s.N }

const (
	keySize = 4
	// mostKeys bounds how many keys are kept in a mark, which is written with each count.
	mostKeys = 20_000
)

// bound forgets keys beyond mostKeys, those of the oldest slots first.
func (s slots) bound() {
	kept := 0
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(s))) {
		one := s[at]
		if kept += len(one.IDs) / keySize; kept > mostKeys && len(one.IDs) > 0 {
			one.IDs = nil
			s[at] = one
		}
	}
}

// recall remembers the documents that a mark has kept the keys of.
func (f *follower) recall() {
	for at, s := range f.mark.Slots {
		if s.N == 0 || !s.complete() {
			continue
		}
		f.seen[at] = make(map[uint32]struct{}, s.N)
		for key := range slices.Chunk(s.IDs, keySize) {
			f.seen[at][binary.BigEndian.Uint32(key)] = struct{}{}
		}
	}
}

// key tells a document from others of its slot.
func (h *hit) key() uint32 {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(h.index)) // it never fails
	_, _ = sum.Write([]byte{0})
	_, _ = sum.Write([]byte(h.id))
	all := sum.Sum64()
	return uint32(all ^ all>>32)
}

// growRows aggregates [from, to) anew and counts what rows have grown by.
func (f *follower) growRows(ctx context.Context, from, to int64) error {
	if err := f.reshape(from); err != nil {
		return err
	}
	for i := range f.mark.Shapes {
		sh := &f.mark.Shapes[i]
		end := to
		if i+1 < len(f.mark.Shapes) {
			end = min(to, f.mark.Shapes[i+1].From)
		}
		if begin := max(from, sh.From); begin < end {
			if err := f.growRowsOf(ctx, &sh.Shape, begin, end); err != nil {
				return err
			}
		}
	}
	return nil
}

// reshape makes new slots be counted as the rules need it now. Those that were counted
// before keep their shape: only like can be compared with like.
func (f *follower) reshape(from int64) error {
	want, err := f.shape(true)
	if err != nil {
		return err
	}
	n := len(f.mark.Shapes)
	if n > 0 && f.mark.Shapes[n-1].Shape.equal(want) {
		return nil
	}
	for at := range f.mark.Slots {
		from = max(from, at+f.slotWidth())
	}
	f.mark.Shapes = append(slices.Clone(f.mark.Shapes), shaped{from, *want})
	return nil
}

func (f *follower) growRowsOf(ctx context.Context, sh *shape, from, to int64) error {
	rows, err := f.aggregate(ctx, f.layout, sh, time.Duration(f.slotWidth())*time.Millisecond, from, to)
	if err != nil {
		return err
	}
	next := f.mark
	next.Slots = maps.Clone(f.mark.Slots)
	if next.Slots == nil {
		next.Slots = slots{}
	}
	own := map[int64]bool{} // the slots whose rows are no longer those of the mark
	var records []gatewarden.Record
	for _, r := range merge(rows) {
		grown, now := r.count.since(next.Slots[r.at].Rows[r.kind])
		if grown.n == 0 {
			continue
		}
		records = sh.records(records, &row{at: r.at, kind: r.kind, count: grown})
		if !own[r.at] {
			kept := maps.Clone(next.Slots[r.at].Rows)
			if kept == nil {
				kept = keptCounts{}
			}
			own[r.at], next.Slots[r.at] = true, slot{Rows: kept}
		}
		next.Slots[r.at].Rows[r.kind] = now
	}
	if len(records) == 0 {
		return nil
	}
	if err := f.count(ctx, records, followed, f.keep(&next)); err != nil {
		return err
	}
	f.mark = next
	return nil
}

// merge adds up rows of one bucket and kind. Elasticsearch tells apart what has another id,
// such as a route that was made anew, and the rules only names.
func merge(rows []row) []*row {
	type place struct {
		at   int64
		kind kind
	}
	var list []*row
	known := make(map[place]*row, len(rows))
	for i := range rows {
		r := &rows[i]
		of := place{r.at, r.kind}
		if first := known[of]; first != nil {
			first.count.add(&r.count)
			continue
		}
		known[of], list = r, append(list, r)
	}
	return list
}

// add adds o, of the same shape, to c.
func (c *counts) add(o *counts) {
	c.n += o.n
	for part := range o.parts {
		if c.parts[part] == nil {
			c.parts[part] = o.parts[part]
			continue
		}
		for i, n := range o.parts[part] {
			c.parts[part][i] += n
		}
	}
}

// since returns what c has more than was counted, and what is counted then. Documents that
// are gone from the index stay counted.
func (c counts) since(before counts) (grown, now counts) {
	now.n = max(c.n, before.n)
	grown.n = now.n - before.n
	for part := range c.parts {
		now.parts[part] = slices.Clone(c.parts[part])
		grown.parts[part] = slices.Clone(c.parts[part])
		for i := range before.parts[part] {
			if i >= len(now.parts[part]) {
				break
			}
			now.parts[part][i] = max(c.parts[part][i], before.parts[part][i])
			grown.parts[part][i] = now.parts[part][i] - before.parts[part][i]
		}
	}
	return grown, now
}

// MarshalJSON writes rows as lists of numbers by the words of their kind.
func (k keptCounts) MarshalJSON() ([]byte, error) {
	out := make(map[string][]uint64, len(k))
	for of, c := range k {
		list := []uint64{c.n}
		for _, part := range c.parts {
			list = append(append(list, uint64(len(part))), part...)
		}
		out[of.encode()] = list
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (k *keptCounts) UnmarshalJSON(b []byte) error {
	var in map[string][]uint64
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*k = make(keptCounts, len(in))
	for text, list := range in {
		of, ok := decodeKind(text)
		c, fits := decodeCounts(list)
		if !ok || !fits {
			return gatewarden.Errorf(gatewarden.Invalid, "these are no counts of a row")
		}
		(*k)[of] = c
	}
	return nil
}

func decodeCounts(list []uint64) (c counts, ok bool) {
	if len(list) == 0 {
		return c, false
	}
	c.n, list = list[0], list[1:]
	for part := range c.parts {
		if len(list) == 0 || list[0] > uint64(len(list)-1) {
			return c, false
		}
		n := int(list[0])
		if n > 0 {
			c.parts[part] = slices.Clone(list[1 : 1+n])
		}
		list = list[1+n:]
	}
	return c, len(list) == 0
}

func (k kind) encode() string {
	return strings.Join([]string{
		k.service, k.route, k.consumer, k.workspace, strconv.Itoa(k.status), strconv.Itoa(int(k.origin)), strconv.Itoa(int(k.tags)),
	}, "\x1f")
}

func decodeKind(text string) (k kind, ok bool) {
	words := strings.Split(text, "\x1f")
	if len(words) != 7 {
		return k, false
	}
	status, err1 := strconv.Atoi(words[4])
	origin, err2 := strconv.ParseUint(words[5], 10, 8)
	tags, err3 := strconv.ParseUint(words[6], 10, 8)
	return kind{
		service: words[0], route: words[1], consumer: words[2], workspace: words[3],
		status: status, origin: gatewarden.Origin(origin), tags: uint8(tags),
	}, err1 == nil && err2 == nil && err3 == nil
}
