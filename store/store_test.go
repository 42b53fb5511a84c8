package store

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

// request is a record of one successful request.
func request(id, service, route string, at time.Time) gatewarden.Record {
	return gatewarden.Record{
		ID: id, At: at, Service: service, Route: route, Status: 200, Weight: 1,
		Latency: gatewarden.Latency{Request: 10 * time.Millisecond, Upstream: 9 * time.Millisecond, Kong: time.Millisecond},
	}
}

// unsafeString returns a string that shares b's memory, as a decoder's may.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// counts returns how many good events of availability a series had in the minute
// around noon.
func counts(s *Store, series gatewarden.Series) uint64 {
	return s.Count(series, &gatewarden.SLI{}, noon.Add(-time.Minute), noon.Add(time.Minute)).Good
}

func TestRecordsBeyondTheLimitOnSeriesCountInTheOverflowSeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := New(Config{MaxSeries: 3}, reg)
	tagged := gatewarden.Series{Service: "late"}
	s.Configure([]Meter{{Series: tagged}})
	batch := []gatewarden.Record{
		request("1", "a", "x", noon), // two series
		request("2", "b", "x", noon), // one more, and its route has no room
		request("3", "c", "x", noon), // no room for either: counts once
		request("4", "late", "x", noon),
	}
	s.Add(batch, noon, nil)
	for _, c := range []struct {
		series gatewarden.Series
		want   uint64
	}{
		{gatewarden.Series{}, 4},
		{gatewarden.Series{Service: "a"}, 1},
		{gatewarden.Series{Service: "a", Route: "x"}, 1},
		{gatewarden.Series{Service: "b"}, 1},
		{gatewarden.Series{Service: "b", Route: "x"}, 0},
		{gatewarden.Series{Service: "c"}, 0},
		{tagged, 1},
		{overflow(), 3},
	} {
		if got := counts(s, c.series); got != c.want {
			t.Errorf("%s counts %d, want %d", c.series, got, c.want)
		}
	}
	want := strings.NewReader(`
# HELP gatewarden_store_overflowed_records_total Records counted in the overflow series because the limit on series was reached.
# TYPE gatewarden_store_overflowed_records_total counter
gatewarden_store_overflowed_records_total 3
# HELP gatewarden_store_series Series that tallies are kept for, those of configured meters among them.
# TYPE gatewarden_store_series gauge
gatewarden_store_series 6
`)
	if err := testutil.GatherAndCompare(reg, want, "gatewarden_store_overflowed_records_total", "gatewarden_store_series"); err != nil {
		t.Error(err)
	}
}

func TestASeriesThatOverflowedSaysWhatItDidNotCount(t *testing.T) {
	s := New(Config{MaxSeries: 1}, prometheus.NewRegistry())
	s.Watched(noon.Add(-time.Minute), noon.Add(time.Minute))
	s.Add([]gatewarden.Record{request("", "a", "", noon), request("", "b", "", noon)}, noon, nil)
	b := gatewarden.Series{Service: "b"}
	if got := s.Window(b, noon.Add(-time.Minute), noon.Add(time.Minute)).Coverage; math.Abs(got-59.0/120) > 1e-9 {
		t.Errorf("coverage of a series without room = %v, want the 59 s after the overflow: %v", got, 59.0/120)
	}
}

// What has room where it was counted may have none here.
func TestASeriesThatOverflowsOnlyHereSaysWhatItDidNotCount(t *testing.T) {
	there := New(Config{MaxSeries: 1, KeepDeltas: true}, prometheus.NewRegistry())
	here := New(Config{MaxSeries: 1}, prometheus.NewRegistry())
	here.Watched(noon.Add(-time.Minute), noon.Add(time.Minute))
	here.Add([]gatewarden.Record{request("", "a", "", noon)}, noon, nil)
	there.Add([]gatewarden.Record{request("", "b", "", noon)}, noon, nil)
	if err := here.Apply(there.Drain(), noon); err != nil {
		t.Fatal(err)
	}
	w := here.Window(gatewarden.Series{Service: "b"}, noon.Add(-time.Minute), noon.Add(time.Minute))
	if w.Requests() != 0 || math.Abs(w.Coverage-59.0/120) > 1e-9 {
		t.Errorf("a series without room counts %d, with a coverage of %v, want the 59 s after the overflow: %v", w.Requests(), w.Coverage, 59.0/120)
	}
}

func TestTenThousandServiceNamesAreBoundedInMemoryAndAllCounted(t *testing.T) {
	s := New(Config{MaxSeries: 100, KeepDeltas: true}, prometheus.NewRegistry())
	const names = 10_000
	for i := range names {
		s.Add([]gatewarden.Record{request(fmt.Sprint(i), fmt.Sprintf("service-%d", i), "route", noon)}, noon, nil)
	}
	if got := s.seriesCount(); got != 102 {
		t.Errorf("%d series, want 100, the overflow and the gateway", got)
	}
	if got := len(s.book.shapes); got > 4*100+1001 {
		t.Errorf("%d shapes are remembered, want a bounded number", got)
	}
	if got := counts(s, gatewarden.Series{}); got != names {
		t.Errorf("the gateway counts %d, want %d", got, names)
	}
	if got := counts(s, overflow()); got != names-50 {
		t.Errorf("the overflow series counts %d, want %d", got, names-50)
	}
	follower := New(Config{MaxSeries: 10}, prometheus.NewRegistry())
	if err := follower.Apply(s.Drain(), ever); err != nil {
		t.Fatal(err)
	}
	if got := follower.seriesCount(); got != 12 {
		t.Errorf("a follower has %d series, want 10, the overflow and the gateway", got)
	}
	if got := counts(follower, overflow()); got < names-50 || got > names {
		t.Errorf("its overflow series counts %d, want between %d and %d", got, names-50, names)
	}
}

func TestASeriesGoesWhenNothingOfItIsKeptAnyMore(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	s.Add([]gatewarden.Record{request("1", "old", "", noon)}, noon, nil)
	later := noon.Add(93 * 24 * time.Hour)
	hold(s, later)
	for range 3 {
		s.Add([]gatewarden.Record{request("", "new", "", later)}, later, nil)
	}
	want := []SeriesInfo{{Series: gatewarden.Series{}, Last: later}, {Series: gatewarden.Series{Service: "new"}, Last: later}}
	if diff := cmp.Diff(want, s.List()); diff != "" {
		t.Errorf("List(), -want +got:\n%s", diff)
	}
	s.Add([]gatewarden.Record{request("", "old", "", later)}, later, nil)
	if w := s.Window(gatewarden.Series{Service: "old"}, noon, later.Add(time.Second)); w.Requests() != 1 {
		t.Errorf("a series that came back counts %d, want 1", w.Requests())
	}
}

func TestANewLatencyMeterIsAnsweredFromTheDistributions(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	s.Watched(noon.Add(-40*time.Hour), noon.Add(time.Hour))
	ages := []time.Duration{30 * time.Hour, 20 * time.Hour, 100 * time.Minute, 10 * time.Second, 0}
	for _, age := range ages { // one fast and two slow ones at each age
		at := noon.Add(-age)
		fast, slow := request("", "orders", "", at), request("", "orders", "", at)
		slow.Latency.Request, slow.Weight = 100*time.Millisecond, 2
		hold(s, at)
		s.Add([]gatewarden.Record{fast, slow}, at, nil)
	}
	orders := gatewarden.Series{Service: "orders"}
	sli := slow(50 * time.Millisecond)
	s.Configure([]Meter{{Series: orders, SLI: sli}})
	for name, c := range map[string]struct {
		from time.Time
		want gatewarden.Count
	}{
		"a minute":                         {noon.Add(-time.Minute), gatewarden.Count{Good: 2, Bad: 4, Coverage: 1}},
		"hours":                            {noon.Add(-3 * time.Hour), gatewarden.Count{Good: 3, Bad: 6, Coverage: 1}},
		"as far as distributions reach":    {noon.Add(-26 * time.Hour), gatewarden.Count{Good: 4, Bad: 8, Coverage: 1}},
		"further, with the coverage of it": {noon.Add(-39 * time.Hour), gatewarden.Count{Good: 4, Bad: 8, Coverage: 26.0 / 39}},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.Count(orders, &sli, c.from, noon.Add(time.Second))
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-3 })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	upstream := gatewarden.SLI{Kind: gatewarden.SLILatency, Of: gatewarden.OfUpstream, Threshold: 50 * time.Millisecond}
	s.Configure([]Meter{{Series: orders, SLI: sli}, {Series: orders, SLI: upstream}})
	if got := s.Count(orders, &upstream, noon.Add(-time.Minute), noon.Add(time.Second)); got != (gatewarden.Count{}) {
		t.Errorf("a new meter of the upstream's latency: %+v, want nothing, not even coverage", got)
	}
	if got := s.Count(orders, &sli, noon.Add(-time.Minute), noon.Add(time.Second)); got.Total() != 6 {
		t.Errorf("the meter that was there before counts %+v after the reload, want 6 events", got)
	}
}

func TestAnSLIThatIsNotConfiguredHasNoCoverage(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	s.Watched(noon.Add(-time.Hour), noon)
	s.Add([]gatewarden.Record{request("", "orders", "", noon.Add(-time.Minute))}, noon, nil)
	sli := slow(time.Second)
	for _, series := range []gatewarden.Series{{Service: "orders"}, {Service: "unheard-of"}, {Tag: "core"}} {
		if got := s.Count(series, &sli, noon.Add(-time.Hour), noon); got != (gatewarden.Count{}) {
			t.Errorf("%s: %+v, want nothing", series, got)
		}
	}
	if got := s.Count(gatewarden.Series{Tag: "core"}, &gatewarden.SLI{}, noon.Add(-time.Hour), noon); got != (gatewarden.Count{}) {
		t.Errorf("availability of a tag nobody asked for: %+v, want nothing", got)
	}
	if got := s.Count(gatewarden.Series{Service: "idle"}, &gatewarden.SLI{}, noon.Add(-time.Hour), noon); got != (gatewarden.Count{Coverage: 1}) {
		t.Errorf("a service without a request: %+v, want no events and full coverage", got)
	}
}

func TestOneBatchIsSeenAsAWhole(t *testing.T) {
	s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	series := gatewarden.Series{Service: "orders"}
	s.Configure([]Meter{{Series: series, SLI: slow(time.Second)}})
	const writers, batches, size = 3, 60, 20
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() { // a reader that must never see a part of a batch
		sli := slow(time.Second)
		for {
			if got := s.Count(series, &sli, noon.Add(-time.Hour), noon.Add(time.Hour)).Good; got%size != 0 {
				t.Errorf("%d events are visible, want whole batches of %d", got, size)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	wg.Go(func() { // and one that takes snapshots and reloads meanwhile
		for i := 0; ; i++ {
			snapshot, err := s.Snapshot()
			if err != nil {
				t.Error(err)
			}
			copied := New(Config{}, prometheus.NewRegistry())
			if err := copied.Restore(snapshot, ever); err != nil {
				t.Error(err)
			}
			if got := counts(copied, series); got%size != 0 {
				t.Errorf("a snapshot holds %d events, want whole batches of %d", got, size)
			}
			s.Configure([]Meter{{Series: series, SLI: slow(time.Second)}, {Series: gatewarden.Series{Tag: fmt.Sprint(i)}}})
			s.Drain()
			select {
			case <-done:
				return
			default:
			}
		}
	})
	var adders sync.WaitGroup
	for w := range writers {
		adders.Go(func() {
			for b := range batches {
				var batch []gatewarden.Record
				for i := range size {
					batch = append(batch, request(fmt.Sprint(w, b, i), "orders", fmt.Sprint("route-", i), noon.Add(time.Duration(b%7)*time.Second)))
				}
				s.Add(batch, noon, nil)
				if got := s.Add(batch, noon, nil); got.Duplicate != size {
					t.Errorf("the same batch again: %+v, want %d duplicates", got, size)
				}
			}
		})
	}
	adders.Wait()
	close(done)
	wg.Wait()
	if got := counts(s, series); got != writers*batches*size {
		t.Errorf("%d events in the end, want %d", got, writers*batches*size)
	}
}

func TestIDsAreForgottenEarlyOnlyAtTheLimitAndThatIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := New(Config{DedupLimit: 300}, reg)
	for i := range 1000 {
		if got := s.Add([]gatewarden.Record{request(fmt.Sprint(i), "a", "", noon)}, noon, nil); got.Counted != 1 {
			t.Fatalf("request %d: %+v, want it counted", i, got)
		}
		if n := s.dedup.len(); n > 300 {
			t.Fatalf("%d ids are remembered, want at most 300", n)
		}
	}
	if got := s.Add([]gatewarden.Record{request("999", "a", "", noon), request("801", "a", "", noon)}, noon, nil); got.Duplicate != 2 {
		t.Errorf("the latest ids again: %+v, want duplicates", got)
	}
	if got := testutil.ToFloat64(s.metrics.forgotten); got != 9 {
		t.Errorf("ids were forgotten early %v times, want 9", got)
	}
}

func TestIDsAreRememberedForTheWholeWindowHoweverFewRequestsCome(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	batch := []gatewarden.Record{request("1", "a", "", noon)}
	s.Add(batch, noon, nil)
	for _, after := range []time.Duration{time.Second, 89 * time.Second, 179 * time.Second, 3 * time.Minute} {
		if got := s.Add(batch, noon.Add(after), nil); got.Duplicate != 1 {
			t.Errorf("after %s: %+v, want a duplicate", after, got)
		}
	}
	if got := s.Add(batch, noon.Add(5*time.Minute), nil); got.Counted != 1 {
		t.Errorf("after 5m: %+v, want it forgotten and counted", got)
	}
	if got := s.Add(batch, noon.Add(-time.Hour), nil); got.Duplicate+got.Future != 1 {
		t.Errorf("with the clock set back: %+v, want it still known, or the future", got)
	}
}

func TestStrangeTimesDoNoHarm(t *testing.T) {
	s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	times := []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Unix(math.MaxInt32, 0), time.Unix(1<<40, 0), time.Unix(math.MaxInt64, 0), noon}
	for _, now := range times {
		for _, at := range times {
			s.Add([]gatewarden.Record{request("", "a", "b", at)}, now, nil)
			s.Watched(at, now)
			for _, sli := range []gatewarden.SLI{{}, slow(time.Second)} {
				if c := s.Count(gatewarden.Series{Service: "a"}, &sli, at, now); c.Coverage < 0 || c.Coverage > 1 {
					t.Errorf("coverage of [%s, %s) = %v, want a share", at, now, c.Coverage)
				}
			}
			s.Window(gatewarden.Series{Service: "a"}, at, now)
		}
	}
	snapshot, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := New(Config{}, prometheus.NewRegistry()).Restore(snapshot, ever); err != nil {
		t.Error(err)
	}
	if err := New(Config{}, prometheus.NewRegistry()).Apply(s.Drain(), ever); err != nil {
		t.Error(err)
	}
}

func TestTheStoreKeepsNoMemoryOfTheBodyARecordCameFrom(t *testing.T) {
	s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	s.Configure([]Meter{{Series: gatewarden.Series{Consumer: "ann"}}, {Series: gatewarden.Series{Workspace: "west"}}})
	body := []byte("annwestorderslist")
	r := gatewarden.Record{
		Consumer: unsafeString(body[0:3]), Workspace: unsafeString(body[3:7]), Service: unsafeString(body[7:13]), Route: unsafeString(body[13:17]),
		At: noon, Status: 200, Weight: 1,
	}
	s.Add([]gatewarden.Record{r}, noon, nil)
	copy(body, "#################")
	r.Consumer, r.Workspace, r.Service, r.Route = "ann", "west", "orders", "list"
	s.Add([]gatewarden.Record{r}, noon, nil)
	for _, series := range []gatewarden.Series{{}, {Consumer: "ann"}, {Workspace: "west"}, {Service: "orders"}, {Service: "orders", Route: "list"}} {
		if got := counts(s, series); got != 2 {
			t.Errorf("%s counts %d, want 2", series, got)
		}
	}
	if got := s.seriesCount(); got != 5 {
		t.Errorf("%d series, want 5: %v", got, s.List())
	}
}

func TestMetricsFollowTheRules(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := New(Config{}, reg)
	s.Add([]gatewarden.Record{
		request("1", "a", "", noon), request("1", "a", "", noon),
		request("2", "a", "", noon.Add(-100*24*time.Hour)), request("3", "a", "", noon.Add(time.Hour)),
	}, noon, nil)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	want := strings.NewReader(`
# HELP gatewarden_store_records_total Records by what became of them: counted, shed (made by a change of the guard), duplicate (of an id seen before), too_late (older than anything kept) or future (further ahead than the limit).
# TYPE gatewarden_store_records_total counter
gatewarden_store_records_total{result="counted"} 1
gatewarden_store_records_total{result="duplicate"} 1
gatewarden_store_records_total{result="future"} 1
gatewarden_store_records_total{result="shed"} 0
gatewarden_store_records_total{result="too_late"} 1
`)
	if err := testutil.GatherAndCompare(reg, want, "gatewarden_store_records_total"); err != nil {
		t.Error(err)
	}
}

func TestCountAllocatesNothing(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	orders, sli := gatewarden.Series{Service: "orders"}, slow(time.Second)
	s.Configure([]Meter{{Series: orders, SLI: sli}})
	s.Add([]gatewarden.Record{request("", "orders", "list", noon)}, noon, nil)
	if n := testing.AllocsPerRun(100, func() { s.Count(orders, &sli, noon.Add(-time.Hour), noon) }); n != 0 {
		t.Errorf("Count allocates %v times, want 0", n)
	}
}

func TestAddSaysWhatCounted(t *testing.T) {
	s := New(Config{}, prometheus.NewRegistry())
	s.SetSheds([]gatewarden.Shed{{Status: 503, Scope: gatewarden.Series{Service: "shed"}, From: noon.Add(-time.Minute)}})
	stopped := request("3", "shed", "", noon)
	stopped.Status, stopped.Origin = 503, gatewarden.OriginKong
	batch := []gatewarden.Record{
		request("1", "a", "", noon), request("2", "a", "", noon), request("1", "a", "", noon), stopped,
		request("4", "a", "", noon.Add(-400*24*time.Hour)), request("5", "a", "", noon.Add(time.Hour)), request("6", "a", "", noon),
	}
	var ids []string
	added := s.Add(batch, noon, func(r *gatewarden.Record) {
		ids = append(ids, r.ID)
		if got := s.Window(gatewarden.Series{Service: "a"}, noon.Add(-time.Minute), noon.Add(time.Minute)); got.Requests() != 3 { // no lock is held
			t.Errorf("counted so far: %d", got.Requests())
		}
	})
	if diff := cmp.Diff([]string{"1", "2", "6"}, ids); diff != "" {
		t.Error(diff)
	}
	if want := (Added{Counted: 3, Shed: 1, Duplicate: 1, TooLate: 1, Future: 1}); added != want {
		t.Errorf("%+v", added)
	}
}
