package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/store"
)

// collectorStandIn takes traces as a collector of OTLP does.
type collectorStandIn struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	auth  string
}

func newCollectorStandIn(t *testing.T) *collectorStandIn {
	t.Helper()
	c := &collectorStandIn{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		text, err := io.ReadAll(body)
		var req collectortrace.ExportTraceServiceRequest
		if err = errors.Join(err, proto.Unmarshal(text, &req)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.auth = r.Header.Get("Authorization")
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// tree says which span is in which, as "child < parent", and that all are of one trace.
func (c *collectorStandIn) tree(t *testing.T) (links map[string]int, traceID string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[string]string{"": "nothing"}
	for _, s := range c.spans {
		names[string(s.GetSpanId())] = s.GetName()
	}
	links = map[string]int{}
	for _, s := range c.spans {
		parent, ok := names[string(s.GetParentSpanId())]
		if !ok {
			parent = "a span that never came"
		}
		links[s.GetName()+" < "+parent]++
		id := hex.EncodeToString(s.GetTraceId())
		if traceID != "" && traceID != id {
			t.Errorf("%s is of the trace %s, others of %s", s.GetName(), id, traceID)
		}
		traceID = id
	}
	return links, traceID
}

// startTracing returns tracing to a stand-in, and the log.
func startTracing(t *testing.T, c *collectorStandIn, started time.Time, batches rules.Share) (*tracing, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	logger := slog.New(traceIDs{slog.NewJSONHandler(log, nil)})
	tr, err := newTracing(t.Context(), rules.Tracing{
		Endpoint: c.URL, Batches: batches, Headers: map[string]gatewarden.Secret{"Authorization": gatewarden.NewSecret("Bearer x")},
	}, started, logger)
	if err != nil {
		t.Fatal(err)
	}
	return tr, log
}

func TestABreachAndWhatIsDoneAboutItAreOneTrace(t *testing.T) {
	c := newCollectorStandIn(t)
	since := noon.Add(-time.Second)
	tr, log := startTracing(t, c, noon.Add(-time.Hour), 0)
	var seen string
	kong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Traceparent")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer kong.Close()

	// The tick sees the breach, and later its actions are begun.
	tr.verdicts(t.Context(), []gatewarden.Event{{
		At: noon, Type: gatewarden.EventSLO, Name: "orders", State: "breach", Severity: "outage", Reason: "half of it fails",
		SLO: &gatewarden.SLOEvidence{Alerts: []gatewarden.AlertEvidence{{Severity: gatewarden.SeverityOutage, Firing: true, Since: &since}}},
	}}, noon)
	trigger := gatewarden.Trigger{Kind: gatewarden.EventSLO, Name: "orders", Severity: gatewarden.SeverityOutage, Since: since}
	for _, a := range []gatewarden.Action{
		{ID: "p-1", Policy: "p", Step: 1, Spec: gatewarden.Step{Kind: gatewarden.StepPlugin}, Trigger: trigger, PlannedAt: noon},
		{ID: "p-2", Policy: "p", Step: 2, Spec: gatewarden.Step{Kind: gatewarden.StepJenkins}, Trigger: trigger, PlannedAt: noon},
	} {
		for _, call := range []string{"prepare", "apply"} {
			ctx, end := tr.call(t.Context(), &a, call)
			get(ctx, t, kong.URL+"/services/T0/secret=x", true)
			get(ctx, t, kong.URL+"/plugins?secret=x", false)
			end(nil)
		}
	}
	if err := tr.close(t.Context()); err != nil {
		t.Fatal(err)
	}

	links, traceID := c.tree(t)
	if diff := cmp.Diff(map[string]int{
		"breach orders < nothing": 1, "decide p plugin < breach orders": 1, "decide p jenkins < breach orders": 1,
		"prepare plugin < decide p plugin": 1, "apply plugin < decide p plugin": 1,
		"prepare jenkins < decide p jenkins": 1, "apply jenkins < decide p jenkins": 1,
		"GET < prepare plugin": 2, "GET < apply plugin": 2, "GET < prepare jenkins": 2, "GET < apply jenkins": 2,
	}, links); diff != "" {
		t.Errorf("the trace (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(seen, "00-"+traceID+"-") || !strings.HasSuffix(seen, "-01") {
		t.Errorf("the peer was told %q, the trace is %s", seen, traceID)
	}
	if c.auth != "Bearer x" {
		t.Errorf("the collector was sent %q", c.auth)
	}
	for _, s := range c.spans {
		if strings.Contains(s.String(), "secret=") {
			t.Errorf("%s shows a secret: %s", s.GetName(), s)
		}
	}
	for line := range strings.Lines(log.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil || l["trace_id"] != traceID {
			t.Errorf("%v: %s", err, line)
		}
	}
}

// get asks by way of the transport that peers are asked by.
func get(ctx context.Context, t *testing.T, url string, path bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: traced{next: http.DefaultTransport, secretPath: path}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

// What a guard does after a restart about a breach from before is in the trace that its
// earlier life began, and does not begin it again.
func TestAfterARestartATraceGoesOn(t *testing.T) {
	before, after := newCollectorStandIn(t), newCollectorStandIn(t)
	a := gatewarden.Action{
		ID: "p-1", Policy: "p", Spec: gatewarden.Step{Kind: gatewarden.StepPlugin}, PlannedAt: noon,
		Trigger: gatewarden.Trigger{Kind: gatewarden.EventSLO, Name: "orders", Severity: gatewarden.SeverityPage, Since: noon},
	}
	for c, started := range map[*collectorStandIn]time.Time{before: noon.Add(-time.Minute), after: noon.Add(time.Minute)} {
		tr, _ := startTracing(t, c, started, 0)
		_, end := tr.call(t.Context(), &a, "revert")
		end(errors.New("no answer"))
		if err := tr.close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, first := before.tree(t)
	links, second := after.tree(t)
	if first != second {
		t.Errorf("the trace was %s, and is %s", first, second)
	}
	if diff := cmp.Diff(map[string]int{"revert plugin < a span that never came": 1}, links); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
	if s := after.spans[0].GetStatus(); s.GetCode() != tracepb.Status_STATUS_CODE_ERROR || s.GetMessage() != "no answer" {
		t.Errorf("the status of a call that failed is %v", s)
	}
}

func TestSomeBatchesHaveATrace(t *testing.T) {
	c := newCollectorStandIn(t)
	tr, _ := startTracing(t, c, noon, 0.25)
	for range 12 {
		_, end := tr.batch(t.Context(), "httplog", 7)
		end(store.Added{Counted: 5, Duplicate: 2})
	}
	if err := tr.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.spans) != 3 {
		t.Fatalf("%d spans for 12 batches, want 3", len(c.spans))
	}
	for _, want := range []string{"gatewarden.records.duplicate", "httplog"} {
		if !strings.Contains(c.spans[0].String(), want) {
			t.Errorf("the span has no %s: %s", want, c.spans[0])
		}
	}
}

func TestWithoutAnEndpointNothingIsTraced(t *testing.T) {
	tr, err := newTracing(t.Context(), rules.Tracing{Batches: 1}, noon, slog.New(slog.DiscardHandler))
	if err != nil || tr != nil {
		t.Fatalf("%v, %v", tr, err)
	}
	tr.verdicts(t.Context(), []gatewarden.Event{{State: "breach"}}, noon)
	_, end := tr.call(t.Context(), &gatewarden.Action{}, "apply")
	end(nil)
	_, endBatch := tr.batch(t.Context(), "httplog", 1)
	endBatch(store.Added{})
}

// A collector that is away costs traces and one line of the log, nothing else.
func TestACollectorThatIsAwayIsSaidOnce(t *testing.T) {
	c := newCollectorStandIn(t)
	c.Close()
	tr, log := startTracing(t, c, noon, 1)
	for range 3 {
		_, end := tr.batch(t.Context(), "httplog", 1)
		end(store.Added{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := tr.provider.ForceFlush(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	if err := tr.close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "traces cannot be sent"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, log)
	}
}
