package jaeger_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/jaeger"
)

// book keeps each span that it is given, once.
type book struct {
	mu    sync.Mutex
	spans map[string]gatewarden.Span
}

// AcceptSpans is collector.Spans'.
func (b *book) AcceptSpans(_ context.Context, _ string, spans []gatewarden.Span) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range spans {
		b.spans[s.TraceID+s.ID] = s
	}
	return nil
}

func (b *book) all() []gatewarden.Span {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]gatewarden.Span, 0, len(b.spans))
	for _, s := range b.spans {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b gatewarden.Span) int { return strings.Compare(a.TraceID+a.ID, b.TraceID+b.ID) })
	return list
}

// request returns what Kong and orders send about one request that ended now, in the JSON
// of OTLP, and the spans that it is.
func request(no int, end time.Time) (body string, spans []gatewarden.Span) {
	status := 200
	if no%3 == 0 {
		status = 500
	}
	trace, id := fmt.Sprintf("%032x", no+1), func(k int) string { return fmt.Sprintf("%016x", no*10+k) }
	end = end.UTC().Truncate(time.Microsecond) // what Jaeger keeps
	start := func(d time.Duration) time.Time { return end.Add(-d) }
	spans = []gatewarden.Span{
		{TraceID: trace, ID: id(1), Service: "kong", Version: "3.9.1", Operation: "kong", Kind: gatewarden.SpanServer, Start: start(50 * time.Millisecond), Duration: 50 * time.Millisecond, Status: status},
		{TraceID: trace, ID: id(2), Parent: id(1), Service: "kong", Version: "3.9.1", Operation: "kong.balancer", Kind: gatewarden.SpanClient, Start: start(45 * time.Millisecond), Duration: 40 * time.Millisecond, Peer: "10.0.0.21:8080"},
		{TraceID: trace, ID: id(3), Parent: id(2), Service: "orders", Version: "1.5.0", Operation: "GET /orders", Kind: gatewarden.SpanServer, Start: start(44 * time.Millisecond), Duration: 38 * time.Millisecond, Status: status, Error: status == 500},
	}
	var resources []string
	for _, s := range spans {
		attributes := fmt.Sprintf(`{"key":"http.status_code","value":{"intValue":"%d"}}`, s.Status)
		if s.Status == 0 {
			attributes = `{"key":"net.peer.ip","value":{"stringValue":"10.0.0.21"}},{"key":"net.peer.port","value":{"doubleValue":8080}}`
		}
		code, kind := 0, map[gatewarden.SpanKind]int{gatewarden.SpanServer: 2, gatewarden.SpanClient: 3}[s.Kind]
		if s.Error {
			code = 2
		}
		resources = append(resources, fmt.Sprintf(`{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}},{"key":"service.version","value":{"stringValue":%q}}]},
			"scopeSpans":[{"spans":[{"traceId":%q,"spanId":%q,"parentSpanId":%q,"name":%q,"kind":%d,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[%s],"status":{"code":%d}}]}]}`,
			s.Service, s.Version, s.TraceID, s.ID, s.Parent, s.Operation, kind, s.Start.UnixNano(), s.End().UnixNano(), attributes, code))
	}
	return `{"resourceSpans":[` + strings.Join(resources, ",") + `]}`, spans
}

func TestTheSourceReadsWhatWasSent(t *testing.T) {
	server := startJaeger(t)
	for name, hide := range map[string]string{"by the newer API": "", "by the older API": "/api/v3/"} {
		t.Run(name, func(t *testing.T) {
			read := &book{spans: map[string]gatewarden.Span{}}
			run(t, server, hide, read)
			base := 1000
			if hide != "" {
				base = 2000
			}
			var want []gatewarden.Span
			for i := range 20 {
				body, spans := request(base+i, time.Now())
				if err := server.send(t, body); err != nil {
					t.Fatal(err)
				}
				if i == 7 { // once more, as a sender does that heard no answer
					if err := server.send(t, body); err != nil {
						t.Fatal(err)
					}
				}
				want = append(want, spans...)
			}
			slices.SortFunc(want, func(a, b gatewarden.Span) int { return strings.Compare(a.TraceID+a.ID, b.TraceID+b.ID) })
			mine := func() []gatewarden.Span {
				return slices.DeleteFunc(read.all(), func(s gatewarden.Span) bool {
					return !slices.ContainsFunc(want, func(w gatewarden.Span) bool { return w.TraceID == s.TraceID })
				})
			}
			until(t, "the spans to be read", func() bool { return len(mine()) == len(want) })
			got := mine()
			for i := range got {
				// The newer API of 1.76 makes an error of Kong's status of 500 by itself.
				got[i].Error = want[i].Error && got[i].Error || want[i].Status < 500 && got[i].Error
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// run runs a source until the test ends. What is below the hidden path is not there.
func run(t *testing.T, s *server, hide string, spans collector.Spans) {
	t.Helper()
	target, err := url.Parse(s.query)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hide != "" && strings.HasPrefix(r.URL.Path, hide) {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	settings := jaeger.DefaultSettings()
	settings.URL, settings.Interval, settings.Settle = front.URL, gatewarden.Duration(time.Second), gatewarden.Duration(2*time.Second)
	source, err := jaeger.New(collector.Env{Name: "jaeger", Spans: spans, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
