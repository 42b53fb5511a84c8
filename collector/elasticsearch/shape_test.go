package elasticsearch

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// latencies are those of requests, in milliseconds; -1 is none.
func latencies(t *rapid.T, n int) (all [][len(parts)]int64) {
	for range n {
		var one [len(parts)]int64
		for part := range one {
			one[part] = rapid.Int64Range(-1, 700).Draw(t, "latency")
		}
		all = append(all, one)
	}
	return all
}

func drawSLOs(t *rapid.T) (slos []gatewarden.SLO) {
	for range rapid.IntRange(0, 6).Draw(t, "slos") {
		slos = append(slos, gatewarden.SLO{SLI: gatewarden.SLI{
			Kind: gatewarden.SLILatency, Of: rapid.SampledFrom(append(parts[:], "")).Draw(t, "of"),
			Threshold: time.Duration(rapid.Int64Range(1, 600_000).Draw(t, "µs")) * time.Microsecond,
		}})
	}
	return slos
}

// rowOf is what Elasticsearch counts of requests.
func rowOf(sh *shape, whole bool, requests [][len(parts)]int64) *row {
	r := &row{count: counts{n: uint64(len(requests))}}
	for part, cuts := range sh.Cuts {
		if len(cuts) == 0 {
			continue
		}
		r.count.parts[part] = make([]uint64, len(cuts)+1)
		for _, one := range requests {
			low := 0.0
			for i := range r.count.parts[part] {
				high := math.Inf(1)
				if i < len(cuts) {
					high = field{whole: whole}.above(cuts[i])
				}
				if ms := float64(one[part]); ms >= low && ms < high {
					r.count.parts[part][i]++
				}
				low = high
			}
		}
	}
	return r
}

func TestRecordsOfARowAreJudgedAsItsRequestsAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slos := drawSLOs(t)
		sh, err := shapeOf(slos, rapid.Bool().Draw(t, "distribution"))
		if err != nil {
			t.Fatal(err)
		}
		requests := latencies(t, rapid.IntRange(1, 60).Draw(t, "requests"))
		records := sh.records(nil, rowOf(sh, rapid.Bool().Draw(t, "whole"), requests))
		for i := range slos {
			sli := &slos[i].SLI
			var want, got [2]uint64
			for _, one := range requests {
				l := gatewarden.Latency{Request: ms(one[0]), Upstream: ms(one[1]), Kong: ms(one[2])}
				judge(sli, &gatewarden.Record{Latency: l, Weight: 1}, &want)
			}
			for i := range records {
				judge(sli, &records[i], &got)
			}
			if got != want {
				t.Fatalf("%s: good and bad %v, want %v", sli.ID(), got, want)
			}
		}
		n := uint64(0)
		for i := range records {
			n += uint64(records[i].Weight)
		}
		if n != uint64(len(requests)) {
			t.Fatalf("%d of %d requests", n, len(requests))
		}
	})
}

func ms(n int64) time.Duration {
	if n < 0 {
		return gatewarden.NoLatency
	}
	return time.Duration(n) * time.Millisecond
}

func judge(sli *gatewarden.SLI, r *gatewarden.Record, into *[2]uint64) {
	if good, valid := sli.Judge(r); valid && good {
		into[0] += uint64(r.Weight)
	} else if valid {
		into[1] += uint64(r.Weight)
	}
}

func TestARowOfMoreRequestsThanARecordWeighs(t *testing.T) {
	sh := &shape{}
	records := sh.records(nil, &row{count: counts{n: maxWeight + 5}})
	if len(records) != 2 || records[0].Weight != maxWeight || records[1].Weight != 5 {
		t.Errorf("%+v", records)
	}
}

func TestRulesThatBucketsCannotBeJudgedBy(t *testing.T) {
	tags := make([]gatewarden.SLO, mostTags+1)
	for i := range tags {
		tags[i].Series.Tag = string(rune('a' + i))
	}
	for name, slos := range map[string][]gatewarden.SLO{
		"on single records": {{Name: "x", SLI: gatewarden.SLI{Kind: gatewarden.SLIGood}}},
		"on many tags":      tags,
	} {
		if _, err := shapeOf(slos, true); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sh, err := shapeOf([]gatewarden.SLO{{SLI: gatewarden.SLI{Kind: gatewarden.SLIGood}, Series: gatewarden.Series{Signal: gatewarden.SignalTraces}}}, false); err != nil || !sh.equal(&shape{}) {
		t.Errorf("an SLO of traces asks for %+v, %v", sh, err)
	}
}

func TestWhatRowsHaveGrownBy(t *testing.T) {
	before := counts{n: 10, parts: [len(parts)][]uint64{{4, 6}}}
	grown, now := counts{n: 12, parts: [len(parts)][]uint64{{3, 9}}}.since(before)
	if diff := cmp.Diff([]counts{{n: 2, parts: [len(parts)][]uint64{{0, 3}}}, {n: 12, parts: [len(parts)][]uint64{{4, 9}}}}, []counts{grown, now}, cmp.AllowUnexported(counts{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if grown, now := (counts{n: 3}).since(before); grown.n != 0 || now.n != 10 {
		t.Errorf("documents that are gone: grown by %d, counted %d", grown.n, now.n)
	}
}

func TestKeptCountsReadBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := keptCounts{}
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			k := kind{
				service: rapid.StringMatching(`[^\x1f]{0,9}`).Draw(t, "service"), route: rapid.StringMatching(`[a-z\x00"]{0,9}`).Draw(t, "route"),
				status: rapid.IntRange(1, 999).Draw(t, "status"), origin: gatewarden.OriginKong, tags: rapid.Uint8().Draw(t, "tags"),
			}
			c := counts{n: rapid.Uint64().Draw(t, "n")}
			c.parts[1] = rapid.SliceOfN(rapid.Uint64(), 1, 4).Draw(t, "part")
			want[k] = c
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got keptCounts
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(kind{}, counts{})); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
	})
}

func FuzzKeptCounts(f *testing.F) {
	f.Add([]byte(`{"orders\u001f\u001f\u001f\u001f200\u001f1\u001f0":[3,2,1,2,0,0]}`))
	f.Add([]byte(`{"a":[1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var k keptCounts
		if json.Unmarshal(b, &k) != nil {
			return
		}
		if _, err := json.Marshal(k); err != nil {
			t.Error(err)
		}
	})
}

// FuzzDocument decodes what may be in a document's _source.
func FuzzDocument(f *testing.F) {
	f.Add(`{"started_at":1,"latencies":{"request":3},"response":{"status":200}}`, "", int64(5))
	f.Add(`{"kong":{"latencies":{},"response":{"status":200}}}`, "kong", int64(1795294000000))
	f.Add(`{"log":"{\"latencies\":{},\"response\":{\"status\":200}}"}`, "log", int64(1795294000000))
	f.Add(`{"log":"{\"cut\":"}`, "log", int64(0))
	s := newSource(f, newGuard(), &standin{}, nil)
	d := collector.NewDecoder(collector.Limits{})
	f.Fuzz(func(t *testing.T, source, prefix string, at int64) {
		if !json.Valid([]byte(source)) {
			return // it was part of an answer that is
		}
		batch := s.decode(d, &layout{prefix: prefix}, []hit{{source: json.RawMessage(source), time: at}, {source: json.RawMessage(good), time: 1}})
		if prefix == "" && len(batch.Records) == 0 {
			t.Errorf("a good document was lost beside %q", source)
		}
	})
}

const good = `{"latencies":{"request":3},"response":{"status":200}}`

func FuzzStatus(f *testing.F) {
	f.Add([]byte(`200`))
	f.Add([]byte(`"404"`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if status, ok := statusOf(raw); ok && status <= 0 {
			t.Errorf("%q is read as %d", raw, status)
		}
	})
}

func TestADocumentsEventTimeStandsInForItsStart(t *testing.T) {
	s := newSource(t, newGuard(), &standin{}, nil)
	for name, c := range map[string]struct {
		source string
		at     int64
		want   int64 // of Record.At
	}{
		"a start of its own":    {`{"started_at":1795294000000,"latencies":{"request":3},"response":{"status":200}}`, 5, 1795294000003},
		"none":                  {good, 1795294000000, 1795294000003},
		"none, and a line end":  {"{\n" + good[1:], 1795294000000, 1795294000003},
		"as a string in a name": {`{"event":{"original":` + quoted(good) + `}}`, 1795294000000, 1795294000003},
	} {
		t.Run(name, func(t *testing.T) {
			l := &layout{}
			if c.source[:8] == `{"event"` {
				l.prefix = "event.original"
			}
			batch := s.decode(collector.NewDecoder(collector.Limits{}), l, []hit{{source: json.RawMessage(c.source), time: c.at}})
			if len(batch.Records) != 1 || batch.Records[0].At.UnixMilli() != c.want {
				t.Errorf("%+v", batch)
			}
		})
	}
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string
	}
	return string(b)
}
