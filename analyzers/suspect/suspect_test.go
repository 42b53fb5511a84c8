package suspect

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// maker makes traces of a shop: kong calls orders, which calls payments and then inventory.
type maker struct {
	rand *rand.Rand
	no   uint64
}

// call is what a service does in a trace.
type call struct {
	fails float64 // probability
	takes time.Duration
}

type world map[string]call

func usualWorld() world {
	return world{
		"kong": {0, 2 * time.Millisecond}, "orders": {0.001, 20 * time.Millisecond},
		"payments": {0.002, 30 * time.Millisecond}, "inventory": {0.002, 5 * time.Millisecond},
	}
}

func (w world) with(service string, c call) world {
	other := world{}
	maps.Copy(other, w)
	other[service] = c
	return other
}

func (m *maker) ids() (trace string, span func() string) {
	m.no++
	trace = fmt.Sprintf("%032x", m.no)
	k := uint64(0)
	return trace, func() string { k++; return fmt.Sprintf("%016x", m.no<<8|k) }
}

// trace returns the spans of one request that ended at an instant: with a client's span for
// each call between services, as tracing libraries make them.
func (m *maker) trace(w world, end time.Time) []gatewarden.Span {
	trace, id := m.ids()
	var spans []gatewarden.Span
	var serve func(service, parent string, start time.Time) (time.Time, bool)
	calls := map[string][]string{"kong": {"orders"}, "orders": {"payments", "inventory"}}
	serve = func(service, parent string, start time.Time) (time.Time, bool) {
		self, c := id(), w[service]
		at := start.Add(time.Duration(float64(c.takes) * (0.5 + m.rand.Float64())))
		failed := m.rand.Float64() < c.fails
		for _, other := range calls[service] {
			if failed {
				break
			}
			client := id()
			over, bad := serve(other, client, at)
			spans = append(spans, gatewarden.Span{
				TraceID: trace, ID: client, Parent: self, Service: service, Operation: "call " + other, Kind: gatewarden.SpanClient,
				Start: at, Duration: over.Sub(at), Error: bad, Peer: "10.0.0.1:80",
			})
			at, failed = over, bad
		}
		spans = append(spans, gatewarden.Span{
			TraceID: trace, ID: self, Parent: parent, Service: service, Operation: "serve", Kind: gatewarden.SpanServer,
			Start: start, Duration: at.Sub(start), Status: map[bool]int{false: 200, true: 500}[failed],
		})
		return at, failed
	}
	over, _ := serve("kong", "", end)
	for i := range spans {
		spans[i].Start = spans[i].Start.Add(end.Sub(over))
	}
	return spans
}

// live shows a Book so many traces a second of a world, from one instant to another.
func (m *maker) live(b *Book, w world, from, to time.Time, perSecond int) {
	for at := from; at.Before(to); at = at.Add(time.Second) {
		for range perSecond {
			b.Add(m.trace(w, at), at)
		}
		b.Close(at)
	}
}

func newBook() (*Book, *maker) {
	b := New(DefaultConfig())
	b.SetScopes([]string{"orders", ""})
	return b, &maker{rand: rand.New(rand.NewPCG(1, 2))}
}

func TestTheSuspectIsWhereTheTroubleBegan(t *testing.T) {
	usual := usualWorld()
	for name, c := range map[string]struct {
		now     world
		service string
		slow    bool
		want    string // service and cause; "" for none
	}{
		"nothing has changed":                        {usual, "orders", false, ""},
		"nothing has changed, for a latency":         {usual, "orders", true, ""},
		"payments fails, so orders and kong do too":  {usual.with("payments", call{0.41, 30 * time.Millisecond}), "orders", false, "payments errors"},
		"the whole gateway is asked about":           {usual.with("payments", call{0.41, 30 * time.Millisecond}), "", false, "payments errors"},
		"orders fails by itself":                     {usual.with("orders", call{0.3, 20 * time.Millisecond}), "orders", false, "orders errors"},
		"the gateway fails by itself":                {usual.with("kong", call{0.3, 2 * time.Millisecond}), "orders", false, ""}, // no request reaches orders then
		"the gateway fails, and is asked about":      {usual.with("kong", call{0.3, 2 * time.Millisecond}), "", false, "kong errors"},
		"inventory is slow":                          {usual.with("inventory", call{0.002, 500 * time.Millisecond}), "orders", true, "inventory time"},
		"the gateway is slow":                        {usual.with("kong", call{0, 300 * time.Millisecond}), "orders", true, "kong time"},
		"a slow service makes requests fail":         {usual.with("inventory", call{0.002, 500 * time.Millisecond}), "orders", false, "inventory time"},
		"errors are the second guess for a latency":  {usual.with("payments", call{0.41, 30 * time.Millisecond}), "orders", true, "payments errors"},
		"payments is faster, so others' shares rise": {usual.with("payments", call{0.002, time.Millisecond}), "orders", true, ""},
		"a service that no SLO is about":             {usual.with("payments", call{0.41, 30 * time.Millisecond}), "inventory", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, m := newBook()
			m.live(b, usual, noon.Add(-20*time.Minute), noon, 2)
			m.live(b, c.now, noon, noon.Add(2*time.Minute), 5)
			got, found := b.Find(Question{Service: c.service, From: noon, At: noon.Add(2 * time.Minute), Slow: c.slow})
			text := ""
			if found {
				text = got.Service + " " + string(got.Cause)
			}
			if text != c.want {
				t.Errorf("got %q (%v), want %q", text, got, c.want)
			}
		})
	}
}

func TestTheSuspectIsSaidInWords(t *testing.T) {
	for want, s := range map[string]Suspect{
		"the trouble is in payments: 41 % of its spans fail, 0.2 % before": {
			Service: "payments", Cause: Errors, Now: Share{Ratio: 0.41}, Before: Share{Ratio: 0.002},
		},
		"the trouble is in payments: 100 % of its spans fail, 0 % before": {Service: "payments", Cause: Errors, Now: Share{Ratio: 1}},
		"the trouble is in payments: 99 % of its spans fail, 9.5 % before": {
			Service: "payments", Cause: Errors, Now: Share{Ratio: 0.9999}, Before: Share{Ratio: 0.0951},
		},
		"the trouble is in inventory: 88 % of the time goes by in it, 8.8 % before (1.25s in each trace, 4.9ms before)": {
			Service: "inventory", Cause: Time,
			Now: Share{Ratio: 0.88, Self: 1250 * time.Millisecond}, Before: Share{Ratio: 0.088, Self: 4900 * time.Microsecond},
		},
	} {
		if got := s.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAHandfulOfTracesAccusesNobody(t *testing.T) {
	bad := usualWorld().with("payments", call{1, time.Second})
	for name, c := range map[string]struct{ before, now time.Duration }{
		"few now":        {20 * time.Minute, time.Second},
		"nothing before": {0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			b, m := newBook()
			m.live(b, usualWorld(), noon.Add(-c.before), noon, 2)
			m.live(b, bad, noon, noon.Add(c.now), 5)
			b.Close(noon.Add(2 * time.Minute))
			if s, found := b.Find(Question{Service: "orders", From: noon, At: noon.Add(2 * time.Minute)}); found {
				t.Errorf("%v", s)
			}
		})
	}
}

// It must not accuse by chance, however often it is asked: here 6 times an hour for each of
// the two causes, over worlds that never change.
func TestHealthyTrafficIsSeldomSuspected(t *testing.T) {
	b, m := newBook()
	wrong := 0
	m.live(b, usualWorld(), noon.Add(-30*time.Minute), noon, 2)
	for i := range 60 {
		at := noon.Add(time.Duration(i) * 10 * time.Minute)
		m.live(b, usualWorld(), at, at.Add(10*time.Minute), 1)
		for _, slow := range []bool{false, true} {
			if s, found := b.Find(Question{Service: "orders", From: at, At: at.Add(5 * time.Minute), Slow: slow}); found {
				t.Log(s)
				wrong++
			}
		}
	}
	if wrong > 0 {
		t.Errorf("accused %d times of 120", wrong)
	}
}

// The time of each service must be right, whatever clock it goes by.
func TestTimeIsThatOfTheServiceItself(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	span := func(id, parent, service string, kind gatewarden.SpanKind, start, length int) gatewarden.Span {
		pad := func(s string) string {
			if s == "" {
				return ""
			}
			return strings.Repeat("0", 16-len(s)) + s
		}
		return gatewarden.Span{
			TraceID: strings.Repeat("a", 32), ID: pad(id), Parent: pad(parent), Service: service, Kind: kind, Start: noon.Add(ms(start)), Duration: ms(length),
		}
	}
	const server, client, internal, consumer = gatewarden.SpanServer, gatewarden.SpanClient, gatewarden.SpanInternal, gatewarden.SpanConsumer
	for name, c := range map[string]struct {
		spans []gatewarden.Span
		want  map[string]time.Duration
	}{
		"one span": {[]gatewarden.Span{span("1", "", "a", server, 0, 100)}, map[string]time.Duration{"a": ms(100)}},
		"children of the same service that overlap count once": {
			[]gatewarden.Span{span("1", "", "a", server, 0, 100), span("2", "1", "a", client, 10, 40), span("3", "1", "a", client, 30, 40), span("4", "2", "b", server, 12, 30), span("5", "3", "c", server, 32, 40)},
			// 40 of the server's, and 10 and 0 of the clients'
			map[string]time.Duration{"a": ms(50), "b": ms(30), "c": ms(40)},
		},
		"a call to a service whose clock is an hour wrong": {
			[]gatewarden.Span{span("1", "", "a", client, 0, 100), span("2", "1", "b", server, 3_600_000, 70)},
			map[string]time.Duration{"a": ms(30), "b": ms(70)},
		},
		"a child that says it took longer than its parent": {
			[]gatewarden.Span{span("1", "", "a", client, 0, 100), span("2", "1", "b", server, 0, 500)},
			map[string]time.Duration{"a": 0, "b": ms(500)},
		},
		"a message is worked on after it was sent": {
			[]gatewarden.Span{span("1", "", "a", server, 0, 100), span("2", "1", "b", consumer, 50, 500)},
			map[string]time.Duration{"a": ms(100), "b": ms(500)},
		},
		"a parent that never came": {
			[]gatewarden.Span{span("2", "1", "b", server, 0, 70)}, map[string]time.Duration{"b": ms(70)},
		},
		"the two sides of a call share an id, as with Zipkin": {
			[]gatewarden.Span{span("2", "1", "b", server, 10, 70), span("1", "", "a", server, 0, 100), span("2", "1", "a", client, 5, 80), span("3", "2", "b", internal, 20, 10)},
			map[string]time.Duration{"a": ms(30), "b": ms(70)},
		},
		"spans that are each other's parents": {
			[]gatewarden.Span{span("1", "2", "a", server, 0, 100), span("2", "1", "a", server, 0, 100)},
			map[string]time.Duration{"a": ms(100)},
		},
		"a span that is its own parent": {
			[]gatewarden.Span{span("1", "1", "a", server, 0, 100)}, map[string]time.Duration{"a": ms(100)},
		},
		"a span that came three times": {
			[]gatewarden.Span{span("1", "", "a", server, 0, 100), span("1", "", "a", server, 0, 100), span("1", "", "a", server, 0, 100)},
			map[string]time.Duration{"a": ms(100)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := New(DefaultConfig())
			b.SetScopes([]string{""})
			b.Add(c.spans, noon)
			b.Close(noon.Add(time.Minute))
			got := map[string]time.Duration{}
			for k, tally := range b.tally {
				sum := tally.between(number(noon)-1000, number(noon)+1000)
				got[b.names[k.service]] = time.Duration(sum.self * float64(time.Second)).Round(time.Microsecond)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a trace says must not depend on the order in which its spans come, nor on whether
// they come twice.
func TestTheOrderOfSpansDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := []string{"a", "b", "c"}
		kinds := []gatewarden.SpanKind{gatewarden.SpanServer, gatewarden.SpanClient, gatewarden.SpanInternal}
		n := rapid.IntRange(1, 12).Draw(t, "spans")
		spans := make([]gatewarden.Span, n)
		for i := range spans {
			spans[i] = gatewarden.Span{
				TraceID: strings.Repeat("7", 32), ID: fmt.Sprintf("%016x", i+1),
				Service: rapid.SampledFrom(services).Draw(t, "service"), Kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
				Start: noon.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "start")) * time.Millisecond), Duration: time.Duration(rapid.IntRange(0, 50).Draw(t, "length")) * time.Millisecond,
				Error: rapid.Bool().Draw(t, "error"),
			}
			if p := rapid.IntRange(0, i).Draw(t, "parent"); p > 0 { // of those before: no circles
				spans[i].Parent = fmt.Sprintf("%016x", p)
			}
		}
		told := func(spans []gatewarden.Span) (out Trace) {
			cfg := DefaultConfig()
			cfg.Closed = func(tr Trace) { out = tr }
			b := New(cfg)
			b.SetScopes([]string{"", "a"})
			b.Add(spans, noon)
			b.Close(noon.Add(time.Minute))
			return out
		}
		want := told(spans)
		other := slices.Concat(spans, spans)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)).Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		got := told(other)
		// Which root is the first of several of one length is open, and with it the end.
		got.End = want.End
		for i := range got.Services {
			got.Services[i].Depth = 0
		}
		for i := range want.Services {
			want.Services[i].Depth = 0
		}
		byName := func(a, b Visit) int { return strings.Compare(a.Service, b.Service) }
		slices.SortFunc(got.Services, byName)
		slices.SortFunc(want.Services, byName)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestATraceIsWholeWhenNothingMoreComes(t *testing.T) {
	var closed []string
	cfg := DefaultConfig()
	cfg.Closed = func(tr Trace) { closed = append(closed, fmt.Sprint(tr.Services)) }
	b := New(cfg)
	m := &maker{rand: rand.New(rand.NewPCG(1, 2))}
	spans := m.trace(usualWorld().with("orders", call{}), noon)
	b.Add(spans[:3], noon)
	b.Close(noon.Add(5 * time.Second))
	b.Add(spans[3:], noon.Add(5*time.Second))
	b.Close(noon.Add(10 * time.Second))
	if len(closed) != 0 || b.Waiting() != len(spans) {
		t.Fatalf("closed %v while spans came, %d wait", closed, b.Waiting())
	}
	b.Close(noon.Add(11 * time.Second))
	if want := []string{"[{kong 1 0 0} {orders 1 0 1} {inventory 1 0 2} {payments 1 0 2}]"}; !slices.Equal(closed, want) || b.Waiting() != 0 {
		t.Fatalf("closed %v, want %v; %d wait", closed, want, b.Waiting())
	}
	b.Add(spans, noon.Add(20*time.Second)) // its sender had no answer and sends it again
	if got := b.Counts(); got.Late != uint64(len(spans)) || b.Waiting() != 0 {
		t.Errorf("%+v: what came again is not left out", got)
	}
}

func TestATraceThatNeverEndsIsClosed(t *testing.T) {
	b, m := newBook()
	trace, id := m.ids()
	for i := range 120 {
		at := noon.Add(time.Duration(i) * time.Second)
		b.Add([]gatewarden.Span{{TraceID: trace, ID: id(), Service: "orders", Start: at, Duration: time.Second}}, at)
		b.Close(at)
	}
	if c := b.Counts(); c.Traces != 1 || c.Late < 50 || b.Waiting() != 0 {
		t.Errorf("%+v, and %d spans wait", c, b.Waiting())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	cfg := Config{Quiet: time.Minute, Longest: 2 * time.Minute, MaxSpans: 1000, MaxTrace: 50, MaxServices: 10, MaxTallies: 15}
	b := New(cfg)
	b.SetScopes([]string{"", "service 3"})
	m := &maker{rand: rand.New(rand.NewPCG(1, 2))}
	for i := range 5000 {
		trace, id := m.ids()
		b.Add([]gatewarden.Span{{TraceID: trace, ID: id(), Service: fmt.Sprintf("service %d", i%100), Start: noon, Duration: time.Second}}, noon)
	}
	trace, id := m.ids()
	for range 100 {
		b.Add([]gatewarden.Span{{TraceID: trace, ID: id(), Service: "service 3", Start: noon, Duration: time.Second}}, noon)
	}
	b.Add([]gatewarden.Span{{TraceID: "zz", ID: "1", Service: "service 3"}}, noon)
	c := b.Counts()
	if b.spans > cfg.MaxSpans || len(b.names) > cfg.MaxServices+1 || len(b.tally) > cfg.MaxTallies || len(b.closed[0])+len(b.closed[1]) > 2*cfg.MaxSpans+2 {
		t.Errorf("%d spans, %d services, %d tallies, %d and %d closed", b.spans, len(b.names), len(b.tally), len(b.closed[0]), len(b.closed[1]))
	}
	if c.Hurried == 0 || c.Beyond != 50 {
		t.Errorf("%+v", c)
	}
	b.Close(noon.Add(time.Hour))
	b.Close(noon.Add(2 * time.Hour))
	if b.spans+len(b.tally)+len(b.closed[0]) != 0 {
		t.Errorf("after two hours there are %d spans, %d tallies, %d closed traces", b.spans, len(b.tally), len(b.closed[0]))
	}
}

func TestTracesOfAnotherTimeDoNotCount(t *testing.T) {
	b, m := newBook()
	b.Add(m.trace(usualWorld(), noon.Add(time.Hour)), noon)
	b.Add(m.trace(usualWorld(), noon.Add(-time.Hour)), noon)
	b.Close(noon.Add(10 * time.Second))
	if c := b.Counts(); c.Untimed != c.Spans || c.Spans == 0 || len(b.tally) != 0 {
		t.Errorf("%+v with %d tallies", c, len(b.tally))
	}
}

// BenchmarkTrace takes a trace of seven spans, from its arrival to the tallies.
//
//	go test -run '^$' -bench Trace ./analyzers/suspect
func BenchmarkTrace(b *testing.B) {
	book, m := newBook()
	at := noon
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		spans := m.trace(usualWorld(), at)
		b.StartTimer()
		book.Add(spans, at)
		if i%100 == 0 {
			at = at.Add(time.Second)
			book.Close(at)
		}
	}
}
