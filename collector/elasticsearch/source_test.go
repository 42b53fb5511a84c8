package elasticsearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/olivere/elastic/v7"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// guard is what a source is given to work with: it counts, and keeps marks in the same step.
type guard struct {
	mu      sync.Mutex
	n       int
	ids     map[string]int
	seconds map[int64]int
	kept    map[string][]byte
	refuse  int // so many counts to come
	longest int // of the values that were kept, in bytes
	slos    []gatewarden.SLO
	since   time.Time
	watched time.Duration
	log     bytes.Buffer
}

func newGuard() *guard {
	return &guard{ids: map[string]int{}, seconds: map[int64]int{}, kept: map[string][]byte{}}
}

func (g *guard) Load(string) map[string][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.kept)
}

func (g *guard) Accept(_ context.Context, _ string, records []gatewarden.Record, values map[string][]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse > 0 {
		g.refuse--
		return errors.New("not now")
	}
	for i := range records {
		r := &records[i]
		g.n += int(r.Weight)
		g.seconds[r.At.Unix()] += int(r.Weight)
		if r.ID != "" {
			g.ids[strings.Clone(r.ID)]++
		}
	}
	maps.Copy(g.kept, values)
	for _, value := range values {
		g.longest = max(g.longest, len(value))
	}
	return nil
}

func (g *guard) Resolution(age time.Duration) time.Duration {
	if age > time.Hour {
		return time.Minute
	}
	return time.Second
}

func (g *guard) SLOs() []gatewarden.SLO {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.slos
}

func (g *guard) Since() time.Time { return g.since }

func (g *guard) Watched(from, to time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched += to.Sub(from)
}

func (g *guard) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.Write(p)
}

func (g *guard) counted() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// asSink is the guard as a collector.Sink.
type asSink struct{ *guard }

func (s asSink) Accept(ctx context.Context, source string, records []gatewarden.Record) error {
	return s.guard.Accept(ctx, source, records, nil)
}

// newSource returns a source that asks the stand-in.
func newSource(t testing.TB, g *guard, s *standin, change func(*Settings)) *Source {
	t.Helper()
	settings := DefaultSettings()
	settings.URL, settings.Index = "http://es:9200", "kong-*"
	settings.PastReach = gatewarden.Duration(3 * time.Hour)
	settings.Poll = gatewarden.Duration(15 * time.Second) // in virtual time every look costs what it does
	if change != nil {
		change(&settings)
	}
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	made, err := New(collector.Env{
		Name: "es", Sink: asSink{g}, Checkpoints: g, Past: g, Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(g, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	source := made.(*Source)
	source.index.client, err = elastic.NewSimpleClient(elastic.SetURL(settings.nodes()...), elastic.SetHttpClient(&http.Client{Transport: s}), elastic.SetDecoder(&elastic.NumberDecoder{}))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// run runs a source until stop.
func run(t testing.TB, s *Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// ways are the ways that an index can be read in.
var ways = map[string]struct {
	caps   string
	change func(*Settings)
}{
	"documents by ingest time": {flatCaps, nil},
	"documents by event time":  {withoutIngested(), nil},
	"buckets":                  {flatCaps, func(s *Settings) { s.Read = readBuckets }},
	"small pages":              {flatCaps, func(s *Settings) { s.Page, s.Buckets = 10, 1000 }},
	"small pages, event time":  {withoutIngested(), func(s *Settings) { s.Page = 10 }},
	"past by documents":        {flatCaps, func(s *Settings) { s.Past = readDocuments }},
}

func TestEachDocumentIsCountedOnceWheneverTheGuardIsKilled(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { killAndRestart(t, way.caps, way.change) })
		})
	}
}

// killAndRestart lets documents come in, some late, while the guard is killed and started
// again and again, and its counts are refused now and then.
func killAndRestart(t *testing.T, caps string, change func(*Settings)) {
	random := rand.New(rand.NewPCG(3, 4))
	s, g := &standin{caps: caps}, newGuard()
	for range 300 { // the past
		at := time.Now().Add(-time.Duration(random.Int64N(int64(150 * time.Minute))))
		s.add(at, at.Add(time.Second), nil)
	}
	time.Sleep(10 * time.Second)
	for range 12 {
		stop := run(t, newSource(t, g, s, change))
		for range random.IntN(200) {
			time.Sleep(time.Duration(random.Int64N(int64(400 * time.Millisecond))))
			late := time.Duration(random.ExpFloat64() * float64(5*time.Second))
			if random.IntN(10) == 0 {
				late = time.Duration(random.Int64N(int64(4 * time.Minute)))
			}
			s.add(time.Now().Add(-late), time.Now(), nil)
		}
		g.mu.Lock()
		g.refuse = random.IntN(3)
		g.mu.Unlock()
		time.Sleep(time.Duration(random.Int64N(int64(20 * time.Second))))
		stop()
		time.Sleep(time.Duration(random.Int64N(int64(10 * time.Second))))
	}
	stop := run(t, newSource(t, g, s, change))
	time.Sleep(10 * time.Minute)
	stop()
	if g.n != len(s.docs) {
		t.Errorf("%d documents, %d counted\n%.3000s", len(s.docs), g.n, g.log.String())
	}
	for id, n := range g.ids {
		if n != 1 {
			t.Errorf("%s was counted %d times", id, n)
		}
	}
}

func TestSlotsForgetTheOldestKeysOnly(t *testing.T) {
	s := slots{}
	for i := range mostKeys + 10 {
		at := int64(i / 100)
		s[at] = s[at].with(uint32(i))
	}
	s.bound()
	for at, one := range s {
		if one.complete() != (at > 0) {
			t.Errorf("slot %d has %d keys of %d documents", at, len(one.IDs)/keySize, one.N)
		}
	}
}

// A mark is in each message of the counts: beyond what a message may be nothing would be
// kept any more. What a process knows by itself is not bound by that.
func TestMarksOfManyRoutesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, g := time.Now(), newGuard()
		b := &busy{began: began.UnixMilli(), late: map[int64]int{}}
		s := &standin{caps: flatCaps, trouble: b.answer}
		change := func(s *Settings) {
			s.Read, s.PastReach, s.Bucket, s.Poll = readBuckets, 0, gatewarden.Duration(busySlot*time.Millisecond), gatewarden.Duration(time.Minute)
		}
		source := newSource(t, g, s, change)
		stop := run(t, source)
		time.Sleep(6 * time.Minute)
		b.addLate(began.Add(3*time.Minute).UnixMilli(), 7)
		time.Sleep(70 * time.Second)
		stop()
		if want := b.requests(source.until()) + 7; g.n < want-100*busyRoutes || g.n > want || g.n%busyRoutes != 7 {
			t.Errorf("%d counted of %d\n%.2000s", g.n, want, g.log.String())
		}
		if g.longest > mostKept || g.longest < mostKept/2 {
			t.Errorf("a mark of %d bytes, at most %d are kept", g.longest, mostKept)
		}
		if testutil.ToFloat64(source.metrics.unkept) == 0 || strings.Count(g.log.String(), "too many rows") != 1 {
			t.Errorf("what is not kept was not told\n%.2000s", g.log.String())
		}
		source = newSource(t, g, s, change)
		stop = run(t, source)
		time.Sleep(time.Minute)
		stop()
		if want := b.requests(source.until()) + 7; g.n < want-100*busyRoutes || g.n > want || g.n%busyRoutes != 7 {
			t.Errorf("after a restart %d counted of %d\n%.2000s", g.n, want, g.log.String())
		}
	})
}

// busy answers as Elasticsearch does of a gateway with a request a second on each of many
// routes, which would be too many documents for the stand-in.
type busy struct {
	mu    sync.Mutex
	began int64
	late  map[int64]int // requests to the first route that came in late, by the slot
}

const (
	busyRoutes = 1000
	busySlot   = 15_000 // in milliseconds
)

func (b *busy) addLate(at int64, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late[floor(at, busySlot)] += n
}

// requests returns how many there were before an instant, but for late ones.
func (b *busy) requests(until int64) int { return int(until-b.began) / 1000 * busyRoutes }

func (b *busy) answer(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/_search") {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var q struct {
		Query struct {
			Bool struct {
				Filter struct {
					Range map[string]struct{ GTE, LT int64 }
				}
			}
		}
		Aggregations struct {
			Rows struct {
				Composite struct {
					Size  int
					After *struct {
						At    int64  `json:"t"`
						Route string `json:"r0"`
					}
				}
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return nil, err
	}
	of, c := q.Query.Bool.Filter.Range["@timestamp"], q.Aggregations.Rows.Composite
	at, route := max(of.GTE, floor(b.began, busySlot)+busySlot), 0
	if c.After != nil {
		at = c.After.At
		route, _ = strconv.Atoi(c.After.Route)
		route++
	}
	var rows []string
	after := ""
	for ; at < of.LT && len(rows) < c.Size; at, route = at+busySlot, 0 {
		for ; route < busyRoutes && len(rows) < c.Size; route++ {
			n := busySlot / 1000
			if route == 0 {
				n += b.late[at]
			}
			key := fmt.Sprintf(`{"t":%d,"r0":"%04d","st":200}`, at, route)
			rows, after = append(rows, fmt.Sprintf(`{"key":%s,"doc_count":%d}`, key, n)), `"after_key":`+key+`,`
		}
		if route < busyRoutes {
			break
		}
	}
	return answer(200, fmt.Sprintf(`{"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"aggregations":{"rows":{%s"buckets":[%s]}}}`,
		after, strings.Join(rows, ","))), nil
}

func TestRecordsAreLateByTheLag(t *testing.T) {
	for read, want := range map[string]time.Duration{readDocuments: 17 * time.Second, readBuckets: 22 * time.Second, readNothing: 0} {
		s := newSource(t, newGuard(), &standin{caps: flatCaps}, func(s *Settings) { s.Read, s.Poll = read, DefaultSettings().Poll })
		if got := s.Lag(); got != want {
			t.Errorf("read: %s has a lag of %s, want %s", read, got, want)
		}
		if s.Follows() != (want > 0) {
			t.Errorf("read: %s follows: %v", read, s.Follows())
		}
	}
}

func TestTheBucketsAreThoseOfTheSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &standin{caps: flatCaps}, newGuard()
		want := map[int64]int{}
		for i := range 200 {
			at := time.Now().Add(-time.Duration(i) * 13 * time.Second)
			s.add(at, at, nil)
			if age := time.Since(at); age < 58*time.Minute {
				want[at.Unix()]++
			}
		}
		time.Sleep(30 * time.Second)
		stop := run(t, newSource(t, g, s, nil))
		time.Sleep(time.Minute)
		stop()
		if diff := cmp.Diff(want, g.seconds); diff != "" {
			t.Errorf("seconds, -want +got:\n%s", diff)
		}
		if g.watched < 40*time.Minute || g.watched > 45*time.Minute {
			t.Errorf("%s are said to be watched; documents are there of 43m", g.watched)
		}
	})
}

func TestThePastEndsWhereOthersHaveCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &standin{caps: flatCaps}, newGuard()
		g.since = time.Now().Add(-30 * time.Minute)
		for i := range 60 {
			at := time.Now().Add(-time.Duration(i)*time.Minute - time.Second)
			s.add(at, at, nil)
		}
		stop := run(t, newSource(t, g, s, func(s *Settings) { s.Read = readNothing }))
		time.Sleep(time.Minute)
		s.add(time.Now(), time.Now(), nil)
		time.Sleep(time.Minute)
		stop()
		if g.n != 30 {
			t.Errorf("%d counted, want the 30 of before", g.n)
		}
	})
}

func TestNotAllDataCountsNothing(t *testing.T) {
	for name, trouble := range map[string]func() (*http.Response, error){
		"a shard failed": func() (*http.Response, error) {
			return answer(200, `{"timed_out":false,"_shards":{"total":2,"successful":1,"failed":1,"failures":[{"index":"kong-2","reason":{"reason":"boom"}}]},"hits":{"hits":[]}}`), nil
		},
		"it timed out": func() (*http.Response, error) {
			return answer(200, `{"timed_out":true,"_shards":{"total":2,"successful":2,"failed":0},"hits":{"hits":[]}}`), nil
		},
		"a cluster was skipped": func() (*http.Response, error) {
			return answer(200, `{"timed_out":false,"_clusters":{"total":2,"successful":1,"skipped":1},"_shards":{"total":2,"successful":2,"failed":0},"hits":{"hits":[]}}`), nil
		},
		"a page to log in at":    func() (*http.Response, error) { return answer(200, `<html>log in</html>`), nil },
		"JSON of something else": func() (*http.Response, error) { return answer(200, `{"hello":"world"}`), nil },
		"a proxy's error":        func() (*http.Response, error) { return answer(502, `<html>bad gateway</html>`), nil },
		"too busy": func() (*http.Response, error) {
			return answer(429, `{"error":{"type":"circuit_breaking_exception","reason":"Data too large"},"status":429}`), nil
		},
		"no connection":              func() (*http.Response, error) { return nil, errors.New("connection refused") },
		"OpenSearch's kind of error": func() (*http.Response, error) { return answer(400, `{"error":"no handler found for uri"}`), nil },
	} {
		for _, way := range []string{"documents by ingest time", "documents by event time", "buckets"} {
			how := ways[way]
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, g := &standin{caps: how.caps}, newGuard()
					for i := range 50 {
						s.add(time.Now().Add(-time.Duration(i)*time.Minute), time.Now().Add(-time.Duration(i)*time.Minute), nil)
					}
					s.trouble = func(r *http.Request) (*http.Response, error) {
						if strings.HasSuffix(r.URL.Path, "/_search") {
							return trouble()
						}
						return nil, nil
					}
					source := newSource(t, g, s, how.change)
					stop := run(t, source)
					time.Sleep(5 * time.Minute)
					if n := g.counted(); n != 0 {
						t.Errorf("%d counted", n)
					}
					s.mu.Lock()
					s.trouble = nil
					s.mu.Unlock()
					time.Sleep(10 * time.Minute)
					stop()
					if g.n != len(s.docs) {
						t.Errorf("when all is well again: %d of %d counted\n%.2000s", g.n, len(s.docs), g.log.String())
					}
				})
			})
		}
	}
}

func TestManyDocumentsOfOneMillisecondAreReadByAScroll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &standin{caps: flatCaps}, newGuard()
		stop := run(t, newSource(t, g, s, func(s *Settings) { s.Page = 10 }))
		time.Sleep(20 * time.Second)
		at := time.Now()
		for range 35 {
			s.add(at, at, nil)
		}
		s.add(at.Add(time.Millisecond), at.Add(time.Millisecond), nil)
		time.Sleep(time.Minute)
		stop()
		if g.n != 36 {
			t.Errorf("%d of 36 counted\n%s", g.n, g.log.String())
		}
	})
}

func TestRulesThatChangeKeepEachBucketCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &standin{caps: flatCaps}, newGuard()
		stop := run(t, newSource(t, g, s, func(s *Settings) { s.Read = readBuckets }))
		for i := range 600 {
			time.Sleep(time.Second)
			s.add(time.Now(), time.Now(), nil)
			if i%7 == 0 {
				s.add(time.Now().Add(-2*time.Minute), time.Now(), nil)
			}
			if i == 200 || i == 300 {
				g.mu.Lock()
				g.slos = append(g.slos, gatewarden.SLO{SLI: gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: time.Duration(i) * time.Millisecond}})
				g.mu.Unlock()
			}
		}
		time.Sleep(time.Minute)
		stop()
		if g.n != len(s.docs) {
			t.Errorf("%d of %d counted\n%s", g.n, len(s.docs), g.log.String())
		}
	})
}

func TestAMarkOfAnotherIndexSaysOnlyWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &standin{caps: flatCaps}, newGuard()
		for range 5 {
			s.add(time.Now().Add(-time.Minute), time.Now().Add(-time.Minute), nil)
		}
		stop := run(t, newSource(t, g, s, nil))
		time.Sleep(time.Minute)
		stop()
		stop = run(t, newSource(t, g, s, func(s *Settings) { s.Index = "kong-eu-*" }))
		s.add(time.Now(), time.Now(), nil)
		time.Sleep(time.Minute)
		stop()
		if g.n != 6 || !strings.Contains(g.log.String(), "another way") {
			t.Errorf("%d counted, want 6\n%s", g.n, g.log.String())
		}
	})
}

// Filebeat's template maps event.ingested, and without an ingest pipeline nobody fills it in.
func TestAFieldThatIsMappedAndNotFilledInIsNotFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		past    int
		stamped func(i int) bool
		counted int
		says    string
	}{
		"none has it":                 {20, func(int) bool { return false }, 80, "no document says when it was indexed"},
		"none has it, an empty index": {0, func(int) bool { return false }, 60, "no document says when it was indexed"},
		"some have it":                {20, func(i int) bool { return i%2 == 0 }, 50, "some documents do not say"},
		"all have it":                 {20, func(int) bool { return true }, 80, "followed by event.ingested"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g := &standin{caps: flatCaps}, newGuard()
				add := func(i int, at time.Time) {
					s.add(at, at, func(d map[string]any) {
						if !c.stamped(i) {
							delete(d, "event")
						}
					})
				}
				for i := range c.past {
					add(i, time.Now().Add(-time.Duration(i+1)*time.Minute))
				}
				stop := run(t, newSource(t, g, s, nil))
				for i := range 60 {
					time.Sleep(time.Second)
					add(i, time.Now())
				}
				time.Sleep(time.Minute)
				if n := g.counted(); n != c.counted {
					t.Errorf("%d of %d counted, want %d\n%.2000s", n, len(s.docs), c.counted, g.log.String())
				}
				time.Sleep(70 * time.Minute) // nothing comes
				for i := range 60 {
					time.Sleep(time.Second)
					add(i, time.Now())
				}
				time.Sleep(time.Minute)
				stop()
				if want := c.counted + (c.counted - c.past); g.n != want {
					t.Errorf("after a silence %d of %d counted, want %d\n%.2000s", g.n, len(s.docs), want, g.log.String())
				}
				if !strings.Contains(g.log.String(), c.says) {
					t.Errorf("it does not say %q:\n%.2000s", c.says, g.log.String())
				}
			})
		})
	}
}

// A clock that was ahead and is set right again: what came meanwhile, and what comes then,
// is counted once and soon.
func TestAClockThatWasAheadIsForgotten(t *testing.T) {
	for _, way := range []string{"documents by ingest time", "documents by event time", "buckets"} {
		how := ways[way]
		for name, restart := range map[string]bool{"": false, ", restarted meanwhile": true} {
			t.Run(way+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, g := &standin{caps: how.caps}, newGuard()
					var ahead atomic.Int64
					begin := func() (stop func()) {
						source := newSource(t, g, s, how.change)
						source.settings.Poll = gatewarden.Duration(5 * time.Second)
						source.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
						return run(t, source)
					}
					come := func(seconds int) {
						for range seconds {
							time.Sleep(time.Second)
							s.add(time.Now(), time.Now(), nil)
						}
					}
					stop := begin()
					come(60)
					ahead.Store(int64(time.Hour))
					come(30)
					if restart {
						stop()
						stop = begin()
						come(10)
					}
					ahead.Store(0)
					come(30)
					time.Sleep(time.Minute)
					stop()
					if g.n != len(s.docs) {
						t.Errorf("%d of %d counted\n%.3000s", g.n, len(s.docs), g.log.String())
					}
				})
			})
		}
	}
}

// Marks of before may be in the future.
func TestAMarkInTheFutureIsSetBack(t *testing.T) {
	for _, way := range []string{"documents by ingest time", "documents by event time", "buckets"} {
		how := ways[way]
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g := &standin{caps: how.caps}, newGuard()
				source := newSource(t, g, s, how.change)
				source.now = func() time.Time { return time.Now().Add(time.Hour) }
				stop := run(t, source)
				time.Sleep(time.Minute)
				stop()
				stop = run(t, newSource(t, g, s, how.change))
				time.Sleep(20 * time.Second)
				for range 30 {
					time.Sleep(time.Second)
					s.add(time.Now(), time.Now(), nil)
				}
				time.Sleep(time.Minute)
				stop()
				if g.n != 30 || !strings.Contains(g.log.String(), "the clock was ahead") {
					t.Errorf("%d of 30 counted\n%.3000s", g.n, g.log.String())
				}
			})
		})
	}
}

// Nobody waits for an Elasticsearch that hangs: least of all who wants to end.
func TestTheEndOfAScrollIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &standin{caps: flatCaps}, newGuard()
		s.trouble = func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodDelete {
				return nil, nil
			}
			s.mu.Unlock()
			defer s.mu.Lock()
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		stop := run(t, newSource(t, g, s, func(s *Settings) { s.Page = 10 }))
		at := time.Now().Add(time.Minute)
		for range 35 {
			s.add(at, at, nil)
		}
		time.Sleep(2*time.Minute + 30*time.Second)
		stop()
		if g.n != 35 {
			t.Errorf("%d of 35 counted\n%s", g.n, g.log.String())
		}
	})
}

func TestAFileOfCredentialsIsReadForEachRequest(t *testing.T) {
	for scheme, secret := range map[string]string{"ApiKey": "ApiKey key-2", "Basic": "Basic Z3VhcmQ6a2V5LTI="} {
		t.Run(scheme, func(t *testing.T) {
			value := "key-1\n"
			var sent string
			tr := &transport{
				user: "guard", scheme: scheme, maxBody: 10, secret: func() (string, error) { return strings.TrimSpace(value), nil },
				next: roundTrip(func(r *http.Request) (*http.Response, error) {
					sent = r.Header.Get("Authorization")
					return answer(200, `{"too":"long for it"}`), nil
				}),
			}
			for range 2 {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://es", nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := tr.RoundTrip(request)
				if err != nil {
					t.Fatal(err)
				}
				var body bytes.Buffer
				if _, err := body.ReadFrom(response.Body); !errors.Is(err, errTooLong) || body.Len() != 10 {
					t.Errorf("an answer longer than allowed: %d bytes, %v", body.Len(), err)
				}
				response.Body.Close()
				value = "key-2"
			}
			if sent != secret {
				t.Errorf("sent %q, want %q", sent, secret)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"url is missing":         func(s *Settings) { s.URL = "" },
		"no address":             func(s *Settings) { s.URL = "es:9200" },
		"holds credentials":      func(s *Settings) { s.URL = "http://a:b@es:9200" },
		"index is missing":       func(s *Settings) { s.Index = " " },
		"begins as JSON":         func(s *Settings) { s.Query = `{"term":` },
		`read is "all"`:          func(s *Settings) { s.Read = "all" },
		`past is "never"`:        func(s *Settings) { s.Past = "never" },
		"time names no field":    func(s *Settings) { s.Time = "" },
		"poll must be":           func(s *Settings) { s.Poll = 0 },
		"lateness must be":       func(s *Settings) { s.Lateness = 1 },
		"bucket must be":         func(s *Settings) { s.Bucket = gatewarden.Duration(1500 * time.Millisecond) },
		"page must be":           func(s *Settings) { s.Page = 10_001 },
		"buckets must be":        func(s *Settings) { s.Buckets = 1 },
		"only one can be sent":   func(s *Settings) { s.APIKey, s.User, s.PasswordFile = gatewarden.NewSecret("x"), "u", "f" },
		"only one can be right":  func(s *Settings) { s.User, s.Password, s.PasswordFile = "u", gatewarden.NewSecret("x"), "f" },
		"password":               func(s *Settings) { s.User = "u" },
		"cert_file and key_file": func(s *Settings) { s.CertFile = "x" },
	} {
		s := DefaultSettings()
		s.URL, s.Index = "http://es:9200", "kong-*"
		change(&s)
		if err := s.Validate(); gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want one of code invalid that says %q", err, want)
		}
	}
}
