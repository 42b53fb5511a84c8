package jaeger

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/internal/sourcetest"
)

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer is one of a Jaeger.
type answer struct {
	status int
	kind   string // Content-Type
	body   string
	err    error
	after  time.Duration
}

const (
	html    = `<!doctype html><html><body>Jaeger UI</body></html>`
	listV1  = `{"data":["kong","orders"],"total":2,"limit":0,"offset":0,"errors":null}`
	listV3  = `{"services":["kong","orders"]}`
	emptyV1 = `{"data":[],"total":0,"limit":0,"offset":0,"errors":null}`
)

// jaeger is a Jaeger within the test: it answers paths, and remembers what it was asked.
type jaeger struct {
	t       *testing.T
	answers func(u *url.URL) answer
	asked   []*url.URL
}

// RoundTrip is http.RoundTripper's.
func (j *jaeger) RoundTrip(r *http.Request) (*http.Response, error) {
	j.asked = append(j.asked, r.URL)
	a := j.answers(r.URL)
	if a.after > 0 {
		select {
		case <-time.After(a.after):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, nil
}

// searches returns the queries of the searches so far.
func (j *jaeger) searches() (list []url.Values) {
	for _, u := range j.asked {
		if strings.HasSuffix(u.Path, "/traces") {
			list = append(list, u.Query())
		}
	}
	return list
}

// source returns a source that asks j, in the time of the test.
func source(t *testing.T, j *jaeger, change func(*Settings)) (*Source, *sourcetest.Spans, *prometheus.Registry) {
	t.Helper()
	settings := DefaultSettings()
	settings.URL = "http://jaeger.test:16686/base"
	if change != nil {
		change(&settings)
	}
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	var spans sourcetest.Spans
	reg := prometheus.NewPedanticRegistry()
	s, err := New(collector.Env{Name: "jaeger", Spans: &spans, Log: slog.New(slog.DiscardHandler), Metrics: reg}, settings)
	if err != nil {
		t.Fatal(err)
	}
	j.t = t
	s.(*Source).client.Transport = j
	return s.(*Source), &spans, reg
}

// old answers as 1.76 with the given answer to searches, and html to what it does not know.
func old(search func(q url.Values) answer) func(*url.URL) answer {
	return func(u *url.URL) answer {
		switch u.Path {
		case "/base/api/services":
			return answer{kind: "application/json", body: listV1}
		case "/base/api/traces":
			return search(u.Query())
		}
		return answer{kind: "text/html", body: html}
	}
}

// newer answers by the API that stays.
func newer(search func(q url.Values) answer) func(*url.URL) answer {
	return func(u *url.URL) answer {
		switch u.Path {
		case "/base/api/v3/services":
			return answer{kind: "text/plain", body: listV3}
		case "/base/api/v3/traces":
			return search(u.Query())
		}
		return answer{status: 404, body: "404 page not found"}
	}
}

// TestBothAPIsSayTheSame holds what the two say of one captured trace against each other.
func TestBothAPIsSayTheSame(t *testing.T) {
	for _, version := range []string{"v1.76.0-all-in-one"} { // of 2.13 there is the newer one's below
		legacy, otlp := &collector.SpanBatch{Max: 100}, &collector.SpanBatch{Max: 100}
		if n, err := (v1{}).read(legacy, collector.NewWalker(strings.NewReader(read(t, version+"-trace-upstream_500_v1.5.0.json")))); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if n, err := (v3{}).read(otlp, collector.NewWalker(strings.NewReader(read(t, version+"-v3-trace-upstream_500.json")))); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		for _, b := range []*collector.SpanBatch{legacy, otlp} {
			slices.SortFunc(b.Spans, func(a, b gatewarden.Span) int { return strings.Compare(a.ID, b.ID) })
			for i := range b.Spans {
				// Its older API has microseconds, and its newer one of 1.76 says of itself that a
				// status of 500 is an error.
				b.Spans[i].Error = b.Spans[i].Failed()
				b.Spans[i].Start = b.Spans[i].Start.Truncate(time.Microsecond)
			}
		}
		if diff := cmp.Diff(legacy.Spans, otlp.Spans); diff != "" || len(legacy.Spans) < 5 {
			t.Errorf("%s: %d spans: %s", version, len(legacy.Spans), diff)
		}
	}
}

// TestCapturedTracesAreUnderstood says what of each captured trace must be known.
func TestCapturedTracesAreUnderstood(t *testing.T) {
	for file, want := range map[string]struct {
		spans  int
		failed []string // service and operation
		peers  []string
	}{
		"ok_v1.4.0":            {7, nil, []string{"10.0.0.21:8080"}},
		"upstream_500_v1.5.0":  {7, []string{"kong kong", "orders GET /orders/{id}"}, []string{"10.0.0.21:8080"}},
		"retry_then_ok":        {8, []string{"kong kong.balancer"}, []string{"10.0.0.21:8080", "10.0.0.22:8080"}},
		"kong_503_no_upstream": {4, []string{"kong kong"}, nil},
		"no_route_404":         {4, nil, nil},
		"orphan_upstream_only": {1, nil, nil},
		"zipkin_500":           {3, []string{"kong GET"}, nil},
	} {
		t.Run(file, func(t *testing.T) {
			b := &collector.SpanBatch{Max: 100}
			if _, err := (v1{}).read(b, collector.NewWalker(strings.NewReader(read(t, "v1.76.0-all-in-one-trace-"+file+".json")))); err != nil {
				t.Fatal(err)
			}
			var failed, peers []string
			for _, s := range b.Spans {
				if s.Failed() {
					failed = append(failed, s.Service+" "+s.Operation)
				}
				if s.Operation == "kong.balancer" {
					peers = append(peers, s.Peer)
				}
			}
			slices.Sort(failed)
			slices.Sort(peers)
			if len(b.Spans) != want.spans || b.Rejected != 0 || !slices.Equal(failed, want.failed) || !slices.Equal(peers, want.peers) {
				t.Errorf("%d spans, %d rejected (%s), failed %q, peers %q; want %+v", len(b.Spans), b.Rejected, b.Reason, failed, peers, want)
			}
			sourcetest.CheckSpans(t, b.Spans, 100)
		})
	}
}

func TestClosedWindowsAreAskedForOneAfterTheOther(t *testing.T) {
	for name, c := range map[string]struct {
		answers func(func(url.Values) answer) func(*url.URL) answer
		body    string
		start   func(q url.Values) string
		params  []string
	}{
		"by the older API": {old, read(t, "v1.76.0-all-in-one-trace-ok_v1.4.0.json"), func(q url.Values) string { return q.Get("start") + " " + q.Get("end") },
			[]string{"end", "limit", "service", "start"}},
		"by the newer API": {newer, read(t, "v1.76.0-all-in-one-v3-search.json"), func(q url.Values) string {
			return q.Get("query.start_time_min") + " " + q.Get("query.start_time_max")
		}, []string{"query.num_traces", "query.searchDepth", "query.service_name", "query.start_time_max", "query.start_time_min"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &jaeger{answers: c.answers(func(url.Values) answer { return answer{body: c.body} })}
				s, spans, reg := source(t, j, nil)
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now().UTC()
				go func() { time.Sleep(25 * time.Second); cancel() }()
				if err := s.Run(ctx); err != nil {
					t.Fatal(err)
				}
				searches := j.searches()
				if len(searches) != 3 || len(spans.All()) == 0 || len(spans.All())%3 != 0 {
					t.Fatalf("%d searches in 25 s, %d spans", len(searches), len(spans.All()))
				}
				for i, q := range searches {
					from, to := began.Add(time.Duration(i-4)*10*time.Second), began.Add(time.Duration(i-3)*10*time.Second)
					want := fmt.Sprintf("%d %d", from.UnixMicro(), to.UnixMicro()-1)
					if name == "by the newer API" {
						want = from.Format(time.RFC3339Nano) + " " + to.Format(time.RFC3339Nano)
					}
					if got := c.start(q); got != want {
						t.Errorf("search %d is of %s, want %s", i, got, want)
					}
					var params []string
					for p := range q {
						params = append(params, p)
					}
					slices.Sort(params)
					if !slices.Equal(params, c.params) {
						t.Errorf("it was asked with %q, want %q", params, c.params)
					}
				}
				problems, err := promlint.NewWithMetricFamilies(sourcetest.Gather(t, reg)).Lint()
				if err != nil || len(problems) > 0 {
					t.Errorf("%v %v", problems, err)
				}
			})
		})
	}
}

// traces returns n traces of one span in the older API's words.
func traces(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"traceID":"%032x","spans":[{"traceID":"%032[1]x","spanID":"1","operationName":"x","startTime":1795294399972137,"duration":5,"processID":"p1"}],"processes":{"p1":{"serviceName":"kong"}}}`, i+1)
	}
	return `{"data":[` + strings.Join(list, ",") + `],"errors":null}`
}

func TestAFullAnswerIsAskedForInHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 100 traces in each second, but for one second with 5,000.
		burst := time.Now().Add(-35 * time.Second)
		j := &jaeger{answers: old(func(q url.Values) answer {
			var from, to int64
			if _, err := fmt.Sscan(q.Get("start")+" "+q.Get("end"), &from, &to); err != nil {
				t.Fatal(err)
			}
			n := int((to - from) / 10_000)
			if at := burst.UnixMicro(); from <= at && at < to {
				n += 5000
			}
			return answer{body: traces(min(n, 1500))}
		})}
		s, _, reg := source(t, j, nil)
		if got := s.follow(t.Context(), "kong", time.Now().Add(-40*time.Second), time.Now().Add(-30*time.Second)); !got.Equal(time.Now().Add(-30 * time.Second)) {
			t.Errorf("it has the traces up to %s", got)
		}
		if n := sourcetest.Metric(t, reg, "gatewarden_jaeger_partial_windows_total"); n != 1 {
			t.Errorf("%v seconds count as partial, want the one with the burst", n)
		}
		last := int64(0)
		for _, q := range j.searches() {
			var from, to int64
			if _, err := fmt.Sscan(q.Get("start")+" "+q.Get("end"), &from, &to); err != nil {
				t.Fatal(err)
			}
			if last != 0 && from > last+1 {
				t.Errorf("nothing was asked between %d and %d", last, from)
			}
			last = to
		}
		if n := len(j.searches()); n > 20 {
			t.Errorf("%d searches for ten seconds", n)
		}
	})
}

func TestAClockThatWasAheadIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &jaeger{answers: old(func(url.Values) answer { return answer{body: emptyV1} })}
		s, _, _ := source(t, j, nil)
		var ahead atomic.Int64
		s.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(time.Minute)
		ahead.Store(int64(time.Hour))
		time.Sleep(35 * time.Second)
		ahead.Store(0)
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		searches := j.searches()
		last := searches[len(searches)-1].Get("end")
		if end := time.Now().Add(-30 * time.Second); last < strconv.FormatInt(end.Add(-10*time.Second).UnixMicro(), 10) || last > strconv.FormatInt(end.UnixMicro(), 10) {
			t.Errorf("a minute after, it is asked up to %s, which is not about %d", last, end.UnixMicro())
		}
	})
}

func TestWhatIsNoAnswerIsAskedForAgain(t *testing.T) {
	nothing := answer{status: 404, kind: "text/plain", body: `{"error":{"httpCode":404,"message":"No traces found"}}`}
	good := answer{body: traces(3)}
	for name, c := range map[string]struct {
		answers func(func(url.Values) answer) func(*url.URL) answer
		search  answer
		fails   bool
	}{
		"no traces, by the older API":     {old, answer{body: emptyV1}, false},
		"no traces, by the newer API":     {newer, nothing, false},
		"traces":                          {old, good, false},
		"a page instead of an answer":     {old, answer{kind: "text/html", body: html}, true},
		"another 404":                     {newer, answer{status: 404, body: "404 page not found"}, true},
		"an error of Jaeger's":            {old, answer{status: 500, body: `{"data":null,"errors":[{"code":500,"msg":"search depth must be greater than 0"}]}`}, true},
		"an error in a good answer":       {old, answer{body: `{"data":[],"errors":[{"code":404,"msg":"trace not found"}]}`}, true},
		"an answer without data":          {old, answer{body: `{"total":0}`}, true},
		"an answer that is cut":           {old, answer{body: traces(3)[:200]}, true},
		"nothing at all":                  {newer, answer{}, true},
		"a connection that breaks":        {old, answer{err: io.ErrUnexpectedEOF}, true},
		"an answer that never comes":      {old, answer{after: time.Hour}, true},
		"a page to log in at":             {old, answer{status: 302, body: "see other"}, true},
		"numbers where there are none":    {old, answer{body: strings.Replace(traces(1), "1795294399972137", `"soon"`, 1)}, true},
		"an id that is no id":             {old, answer{body: strings.Replace(traces(1), `"spanID":"1"`, `"spanID":"one"`, 1)}, true},
		"a stream of answers, as in OTLP": {newer, answer{body: `{"result":{"resourceSpans":[]}}` + "\n" + `{"result":{"resourceSpans":[]}}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				current := c.search
				j := &jaeger{answers: c.answers(func(url.Values) answer { return current })}
				s, spans, _ := source(t, j, nil)
				from, to := time.Now().Add(-40*time.Second), time.Now().Add(-30*time.Second)
				got := s.follow(t.Context(), "kong", from, to)
				if failed := !got.Equal(to); failed != c.fails {
					t.Fatalf("it has the traces up to %s of %s to %s, %d spans", got, from, to, len(spans.All()))
				}
				if !c.fails {
					return
				}
				j.answers = old(func(url.Values) answer { return good })
				if got := s.follow(t.Context(), "kong", got, to); !got.Equal(to) || len(spans.All()) != 3 {
					t.Errorf("once it answers again, it has the traces up to %s, and %d spans", got, len(spans.All()))
				}
			})
		})
	}
}

func TestALongSilenceIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &jaeger{answers: old(func(url.Values) answer { return answer{body: emptyV1} })}
		s, _, reg := source(t, j, nil)
		end := time.Now()
		if got := s.follow(t.Context(), "kong", end.Add(-time.Hour), end); !got.Equal(end) {
			t.Errorf("it has the traces up to %s of %s", got, end)
		}
		if n := sourcetest.Metric(t, reg, "gatewarden_jaeger_skipped_seconds_total"); n != 3000 {
			t.Errorf("%v seconds were skipped, want 3000", n)
		}
		if n := len(j.searches()); n != 60 {
			t.Errorf("%d searches for ten minutes", n)
		}
	})
}

func TestWhatIsSentAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got http.Header
		j := &jaeger{answers: old(func(url.Values) answer { return answer{body: emptyV1} })}
		s, _, _ := source(t, j, func(s *Settings) {
			s.Headers = map[string]gatewarden.Secret{"Authorization": gatewarden.NewSecret("Bearer x")}
		})
		s.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			got = r.Header
			return j.RoundTrip(r)
		})
		s.follow(t.Context(), "kong", time.Now().Add(-time.Second), time.Now())
		if got.Get("Authorization") != "Bearer x" {
			t.Errorf("headers %v", got)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnAnswerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &jaeger{answers: old(func(url.Values) answer { return answer{body: traces(1000)} })}
		s, spans, reg := source(t, j, func(s *Settings) { s.MaxSpans = 100 })
		end := time.Now()
		if got := s.follow(t.Context(), "kong", end.Add(-2*time.Second), end); !got.Equal(end) {
			t.Errorf("it stays at %s", got)
		}
		if n := sourcetest.Metric(t, reg, "gatewarden_jaeger_partial_windows_total"); n != 2 {
			t.Errorf("%v windows are partial", n)
		}
		sourcetest.CheckSpans(t, spans.All(), 300)
		j = &jaeger{answers: old(func(url.Values) answer { return answer{body: traces(1000)} })}
		s, _, reg = source(t, j, func(s *Settings) { s.MaxBody = 64 * collector.KiB })
		if got := s.follow(t.Context(), "kong", end.Add(-time.Second), end); !got.Equal(end) || sourcetest.Metric(t, reg, "gatewarden_jaeger_partial_windows_total") != 1 {
			t.Errorf("an answer that is too large: it stays at %s", got)
		}
	})
}

func TestSettingsThatCannotWork(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"<nil>":                  func(*Settings) {},
		"url is no address":      func(s *Settings) { s.URL = "jaeger:16686" },
		"services names none":    func(s *Settings) { s.Services = nil },
		"services has an empty":  func(s *Settings) { s.Services = []string{""} },
		"interval must be":       func(s *Settings) { s.Interval = 0 },
		"settle must be between": func(s *Settings) { s.Settle = -1 },
		"limit, max_spans":       func(s *Settings) { s.Limit = 0 },
	} {
		s := DefaultSettings()
		s.URL = "http://jaeger:16686"
		change(&s)
		if got := fmt.Sprint(s.Validate()); !strings.Contains(got, want) {
			t.Errorf("%s, want %q", got, want)
		}
	}
	_, err := New(collector.Env{Name: "x", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Dir: t.TempDir()}, Settings{CAFile: "none.pem"})
	if gatewarden.ErrorCode(err) != gatewarden.Invalid {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestQuestionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		current := answer{body: emptyV1}
		j := &jaeger{answers: old(func(url.Values) answer { return current })}
		s, _, reg := source(t, j, nil)
		end := time.Now()
		s.follow(t.Context(), "kong", end.Add(-10*time.Second), end)
		current = answer{status: 500}
		s.follow(t.Context(), "kong", end.Add(-10*time.Second), end)
		want := `
# HELP gatewarden_jaeger_questions_total Searches for traces, by their outcome: ok or failed.
# TYPE gatewarden_jaeger_questions_total counter
gatewarden_jaeger_questions_total{outcome="failed"} 1
gatewarden_jaeger_questions_total{outcome="ok"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "gatewarden_jaeger_questions_total"); err != nil {
			t.Error(err)
		}
	})
}

// FuzzRead holds that nothing crashes, and that what comes out is what a span must be.
func FuzzRead(f *testing.F) {
	f.Add([]byte(read(f, "v1.76.0-all-in-one-trace-retry_then_ok.json")))
	f.Add([]byte(read(f, "v1.76.0-all-in-one-v3-trace-upstream_500.json")))
	f.Add([]byte(traces(2)))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, d := range []dialect{v1{}, v3{}} {
			b := &collector.SpanBatch{Max: 50}
			if _, err := d.read(b, collector.NewWalker(strings.NewReader(string(body)))); err == nil {
				sourcetest.CheckSpans(t, b.Spans, 50)
			}
		}
	})
}
