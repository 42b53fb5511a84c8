package zipkin

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/internal/sourcetest"
)

// newSource returns a source, what serves its path, and its metrics.
func newSource(t *testing.T, sink collector.Spans, settings Settings) (*Source, http.Handler, *prometheus.Registry) {
	t.Helper()
	mux, reg := http.NewServeMux(), prometheus.NewPedanticRegistry()
	s, err := New(collector.Env{Name: "test", Spans: sink, Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: reg}, settings)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source), mux, reg
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKongsSpansAreUnderstood(t *testing.T) {
	var spans sourcetest.Spans
	_, handler, reg := newSource(t, &spans, DefaultSettings())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v2/spans", bytes.NewReader(read(t, "zipkin-kong-500.request.json"))))
	if w.Code != http.StatusAccepted || w.Body.Len() != 0 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	at := func(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
	const trace, root = "3fddd8033a3534aea85ae76507b2486c", "3800ed4ab091f3b7"
	want := []gatewarden.Span{
		{TraceID: trace, ID: root, Service: "kong", Operation: "GET", Kind: gatewarden.SpanServer, Start: at(1795294399972137), Duration: 55 * time.Millisecond, Status: 500, Peer: "203.0.113.7:51234"},
		// That which names the target tried last has no peer.
		{TraceID: trace, ID: "de00715d17243de3", Parent: root, Service: "kong", Operation: "GET (proxy)", Kind: gatewarden.SpanClient, Start: at(1795294399972437), Duration: 54 * time.Millisecond},
		{TraceID: trace, ID: "fa437f16d1a041cd", Parent: root, Service: "kong", Operation: "GET (balancer try 1)", Kind: gatewarden.SpanClient, Start: at(1795294399974137), Duration: 52 * time.Millisecond, Peer: "10.0.0.21:8080"},
	}
	if diff := cmp.Diff(want, spans.All()); diff != "" {
		t.Error(diff)
	}
	if n := sourcetest.Metric(t, reg, "gatewarden_collector_spans_accepted_total"); n != 3 {
		t.Errorf("%v spans are counted as accepted", n)
	}
	problems, err := promlint.NewWithMetricFamilies(sourcetest.Gather(t, reg)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// What Kong really sent, and an unrelated reader of the same JSON: each span must be there.
func TestEverySpanOfKongsIsTaken(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		body := read(t, filepath.Base(file))
		var want []struct{ TraceID, ID, ParentID, Name string }
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		b := &collector.SpanBatch{Max: 100}
		if err := decode(b, body); err != nil || b.Rejected != 0 || len(b.Spans) != len(want) {
			t.Fatalf("%s: %d of %d spans, %d rejected, %v", file, len(b.Spans), len(want), b.Rejected, err)
		}
		for i, s := range b.Spans {
			if s.TraceID != want[i].TraceID || s.ID != want[i].ID || s.Parent != want[i].ParentID || s.Operation != want[i].Name || s.Service != "kong" {
				t.Errorf("%s: %+v, want %+v", file, s, want[i])
			}
		}
	}
}

const good = `{"traceId":"a1","id":"b2","timestamp":1795294399972137,"duration":5,"localEndpoint":{"serviceName":"orders"}}`

func TestAnswers(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxBody, settings.MaxSpans = 64*collector.KiB, 100
	list := func(n int) string { return "[" + strings.Repeat(good+",", n-1) + good + "]" }
	for name, c := range map[string]struct {
		method, body, encoding string
		sink                   error
		status                 int
		accepted               int
		says                   string
	}{
		"a list":                          {body: list(3), status: 202, accepted: 3},
		"an empty list":                   {body: "[]", status: 202},
		"fields that nobody knows":        {body: `[{"debug":true,"annotations":[{"a":[1,{}]}],` + good[1:] + "]", status: 202, accepted: 1},
		"null":                            {body: "null", status: 202},
		"ids of zeros are left out":       {body: "[" + strings.Replace(good, "a1", "0", 1) + "," + good + "]", status: 202, accepted: 1},
		"so is a span without a service":  {body: "[" + strings.Replace(good, "orders", "", 1) + "," + good + "]", status: 202, accepted: 1},
		"so is one without a time":        {body: "[" + strings.Replace(good, "1795294399972137", "0", 1) + "]", status: 202},
		"so is one of an impossible time": {body: "[" + strings.Replace(good, "1795294399972137", "18446744073709551615", 1) + "]", status: 202},
		"a timestamp below zero":          {body: "[" + strings.Replace(good, "1795294399972137", "-5", 1) + "]", status: 400, says: "no whole number"},
		"an id that is none":              {body: strings.Replace(list(1), "a1", "xyz", 1), status: 400, says: "hexadecimal"},
		"an id that is too long":          {body: strings.Replace(list(1), "a1", strings.Repeat("a", 33), 1), status: 400, says: "hexadecimal"},
		"no JSON":                         {body: "nope", status: 400, says: "invalid character"},
		"nothing":                         {body: "", status: 400, says: "unexpected EOF"},
		"cut":                             {body: list(2)[:100], status: 400, says: "EOF"},
		"an object":                       {body: good, status: 400, says: "where [ should be"},
		"something after the end":         {body: "[]{}", status: 400, says: "after the end"},
		"nested too deep":                 {body: `[{"x":` + strings.Repeat("[", 1000), status: 400, says: "nested deeper"},
		"as many spans as there may be":   {body: list(100), status: 202, accepted: 100},
		"more":                            {body: list(101), status: 413, says: "more spans than the limit"},
		"too large":                       {body: "[" + strings.Repeat(" ", 70_000) + "]", status: 413, says: "larger"},
		"a bomb":                          {body: gzipped(t, strings.Repeat(" ", 10<<20)), encoding: "gzip", status: 413, says: "larger"},
		"gzip":                            {body: gzipped(t, list(2)), encoding: "gzip", status: 202, accepted: 2},
		"gzip that is none":               {body: list(1), encoding: "gzip", status: 400},
		"another encoding":                {body: list(1), encoding: "br", status: 415, says: "Content-Encoding"},
		"another method":                  {method: http.MethodGet, status: 405},
		"a sink that does not take them":  {body: list(1), sink: errors.New("closed"), status: 503, says: "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := sourcetest.Spans{Err: c.sink}
			_, handler, _ := newSource(t, &spans, settings)
			method := http.MethodPost
			if c.method != "" {
				method = c.method
			}
			r := httptest.NewRequest(method, "/api/v2/spans", strings.NewReader(c.body))
			if c.encoding != "" {
				r.Header.Set("Content-Encoding", c.encoding)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != c.status || len(spans.All()) != c.accepted || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d %s, %d accepted, want %d with %q, %d", w.Code, w.Body, len(spans.All()), c.status, c.says, c.accepted)
			}
		})
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTagsSayWhatFailed(t *testing.T) {
	for tags, want := range map[string]bool{
		`{}`: false, `{"error":"true"}`: true, `{"error":"connection refused"}`: true, `{"error":""}`: true, `{"error":"false"}`: false,
		`{"http.status_code":"500"}`: true, `{"http.status_code":"404","error":"true"}`: false, `{"http.status_code":"two"}`: false,
	} {
		b := &collector.SpanBatch{Max: 1}
		if err := decode(b, []byte("["+strings.Replace(good, "{", `{"tags":`+tags+",", 1)+"]")); err != nil || len(b.Spans) != 1 {
			t.Fatal(tags, err, b.Reason)
		}
		if got := b.Spans[0].Failed(); got != want {
			t.Errorf("%s: failed is %v, want %v", tags, got, want)
		}
	}
}

func TestTooManyAtOnceAreToComeAgain(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxRequests = 1
	spans := sourcetest.Spans{Hold: make(chan struct{})}
	_, handler, reg := newSource(t, &spans, settings)
	post := func(ctx context.Context) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v2/spans", strings.NewReader("["+good+"]")))
		return w
	}
	first := make(chan int)
	go func() { first <- post(t.Context()).Code }()
	sourcetest.Until(t, "the first body to be in", func() bool {
		return sourcetest.Metric(t, reg, "gatewarden_collector_span_received_bytes_total") > 0
	})
	if w := post(t.Context()); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	close(spans.Hold)
	if code := <-first; code != http.StatusAccepted {
		t.Error(code)
	}
	if w := post(t.Context()); w.Code != http.StatusAccepted {
		t.Errorf("%d once there is room again", w.Code)
	}
	if n, err := testutil.GatherAndCount(reg, "gatewarden_collector_span_bodies_refused_total"); err != nil || n != 1 {
		t.Error(n, err)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"":                      func(*Settings) {},
		`"spans" is not a path`: func(s *Settings) { s.Path = "spans" },
		"max_body must be":      func(s *Settings) { s.MaxBody = 1 },
		"max_spans":             func(s *Settings) { s.MaxSpans = 0 },
		"timeout above zero":    func(s *Settings) { s.Timeout = 0 },
	} {
		s := DefaultSettings()
		change(&s)
		if got := fmt.Sprint(s.Validate()); !strings.Contains(got, want) {
			t.Errorf("%s, want %q", got, want)
		}
	}
	mux := http.NewServeMux()
	env := collector.Env{Name: "a", Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
	if _, err := New(env, DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	env.Metrics = prometheus.NewRegistry()
	if _, err := New(env, DefaultSettings()); gatewarden.ErrorCode(err) != gatewarden.Conflict {
		t.Errorf("a path that is taken: %v", err)
	}
}

// FuzzDecode holds that nothing crashes, and that what comes out is what a span must be.
func FuzzDecode(f *testing.F) {
	f.Add(read(f, "zipkin-kong-500.request.json"))
	f.Add([]byte("[" + good + "]"))
	f.Add([]byte(`[{"tags":{"error":""},"remoteEndpoint":{"ipv6":"::1","port":1}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := &collector.SpanBatch{Max: 50}
		err := decode(b, body)
		if err == nil && !json.Valid(body) {
			t.Errorf("taken, but it is no JSON: %q", body)
		}
		sourcetest.CheckSpans(t, b.Spans, 50)
	})
}
