package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/internal/sourcetest"
)

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// settings are of a source on loopback, on ports that are free.
func settings() Settings {
	s := DefaultSettings()
	s.GRPC, s.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	return s
}

// start runs a source until the test ends.
func start(t *testing.T, sink collector.Spans, settings Settings) (*Source, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	made, err := New(collector.Env{Name: "test", Spans: sink, Log: slog.New(slog.DiscardHandler), Metrics: reg}, settings)
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*Source)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return s, reg
}

// decoded returns what is in a body.
func decoded(t *testing.T, body []byte, decode func(*collector.SpanBatch, []byte) error) *collector.SpanBatch {
	t.Helper()
	b := &collector.SpanBatch{Max: 1000}
	if err := decode(b, body); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKongsSpansAreUnderstood(t *testing.T) {
	b := decoded(t, read(t, "otlp-kong-upstream-500.request.json"), decodeJSON)
	const trace, root = "28b5b7a767c76fb008f86bebb2737f6a", "6f0fb23c6f5da2ce"
	byName := map[string]gatewarden.Span{}
	for _, s := range b.Spans {
		byName[s.Operation] = s
		if s.TraceID != trace {
			t.Errorf("%+v is of another trace", s)
		}
	}
	first := byName["kong"]
	want := gatewarden.Span{
		TraceID: trace, ID: root, Service: "kong", Version: "3.9.1", Operation: "kong", Kind: gatewarden.SpanServer,
		Start: time.Unix(0, 1795294413987038720).UTC(), Duration: 61 * time.Millisecond, Status: 500,
	}
	first.Peer = ""
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	if !first.Failed() {
		t.Error("Kong's span with a status of 500 is no failure: Kong does not call it an error")
	}
	if s := byName["kong.balancer"]; s.Peer == "" || s.Kind != gatewarden.SpanClient || s.Parent != root {
		t.Errorf("the try of the balancer does not say whom it called: %+v", s)
	}
	var upstream gatewarden.Span
	for _, s := range b.Spans {
		if s.Service == "orders" {
			upstream = s
		}
	}
	if upstream.Version != "1.5.0" || !upstream.Failed() || upstream.Parent != byName["kong.balancer"].ID {
		t.Errorf("the span of the upstream: %+v", upstream)
	}
}

// oracle reads a body by the generated types, and makes spans of them in the simplest way.
func oracle(body []byte) ([]gatewarden.Span, error) {
	var m collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	var spans []gatewarden.Span
	for _, rs := range m.GetResourceSpans() {
		var of collector.SpanDraft
		for _, kv := range rs.GetResource().GetAttributes() {
			of.Attribute(kv.GetKey(), textOfAny(kv.GetValue()))
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				spans = append(spans, oracleSpan(s, of)...)
			}
		}
	}
	return spans, nil
}

func oracleSpan(s *tracepb.Span, of collector.SpanDraft) []gatewarden.Span {
	var d collector.SpanDraft
	for _, kv := range s.GetAttributes() {
		d.Attribute(kv.GetKey(), textOfAny(kv.GetValue()))
	}
	id := func(b []byte) string {
		if bytes.Equal(b, make([]byte, len(b))) {
			return ""
		}
		return hex.EncodeToString(b)
	}
	d.TraceID, d.ID, d.Parent = id(s.GetTraceId()), id(s.GetSpanId()), id(s.GetParentSpanId())
	d.Operation, d.Nanos = s.GetName(), [2]uint64{s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano()}
	d.KindNumber(uint64(s.GetKind()))
	d.Error = d.Error || s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR
	b := collector.SpanBatch{Max: 1}
	b.End(&d)
	b.Resource(of.Service, of.Version)
	return b.Spans
}

func TestTheWireIsReadAsTheGeneratedTypesReadIt(t *testing.T) {
	files, err := filepath.Glob("testdata/*_v1_traces.bin")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		body := read(t, filepath.Base(file))
		want, err := oracle(body)
		if err != nil || len(want) == 0 {
			t.Fatal(file, len(want), err)
		}
		got := decoded(t, body, decodeProtobuf)
		if diff := cmp.Diff(want, got.Spans); diff != "" || got.Rejected != 0 {
			t.Errorf("%s: %d rejected, %s", file, got.Rejected, diff)
		}
		for _, s := range got.Spans {
			if s.Service != "kong-edge" || s.Version != "3.9.1" {
				t.Errorf("%s: %+v", file, s)
			}
		}
	}
}

func TestJSONSaysTheSameAsProtobuf(t *testing.T) {
	body := read(t, "001_v1_traces.bin")
	var m collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	// protojson writes ids in base64, OTLP in hexadecimal.
	for _, rs := range m.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				for _, id := range [][]byte{s.GetTraceId(), s.GetSpanId(), s.GetParentSpanId()} {
					if quoted, err := protojson.Marshal(&tracepb.Span{TraceId: id}); err == nil && len(id) > 0 {
						_, base64, _ := strings.Cut(strings.ReplaceAll(string(quoted), " ", ""), ":")
						text = bytes.ReplaceAll(text, []byte(strings.TrimSuffix(base64, "}")), fmt.Appendf(nil, `"%x"`, id))
					}
				}
			}
		}
	}
	if diff := cmp.Diff(decoded(t, body, decodeProtobuf).Spans, decoded(t, text, decodeJSON).Spans); diff != "" {
		t.Error(diff)
	}
}

const goodSpan = `{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"x","startTimeUnixNano":"1795294413987038720","endTimeUnixNano":1795294413997038720}`

// resource returns a body with spans of a service.
func resource(service, spans string) string {
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + spans + `]}],"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"` + service + `"}}]}}]}`
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

// TestAnswers holds the answers to those of the captured reference receiver, where that has
// one: {}, nope, the id zz, text/plain. Only zeros it takes, and we do not.
func TestAnswers(t *testing.T) {
	limited := settings()
	limited.MaxBody, limited.MaxSpans = 64*collector.KiB, 100
	kong := string(read(t, "001_v1_traces.bin"))
	n := len(decoded(t, []byte(kong), decodeProtobuf).Spans)
	zeros := strings.NewReplacer("4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32)).Replace(goodSpan)
	for name, c := range map[string]struct {
		method, path, kind, encoding, body string
		sink                               error
		status                             int
		accepted                           int
		says                               string // all of the answer, or a part when it ends with …
	}{
		"nothing in JSON":                 {body: "{}", status: 200, says: `{"partialSuccess":{}}`},
		"nothing in protobuf":             {kind: typeProtobuf, status: 200},
		"Kong's":                          {kind: typeProtobuf, body: kong, status: 200, accepted: n},
		"Kong's, compressed":              {kind: typeProtobuf, body: gzipped(t, kong), encoding: "gzip", status: 200, accepted: n},
		"a span in JSON":                  {body: resource("orders", goodSpan), status: 200, accepted: 1, says: `{"partialSuccess":{}}`},
		"with a charset":                  {kind: "application/json; charset=utf-8", body: resource("orders", goodSpan), status: 200, accepted: 1, says: `{"partialSuccess":{}}`},
		"not JSON":                        {body: "nope", status: 400, says: `{"code":3,"message":"invalid character…`},
		"nothing at all, which is not {}": {body: "", status: 400, says: `{"code":3,"message":"unexpected EOF"}` + "\n"},
		"not protobuf":                    {kind: typeProtobuf, body: "nope", status: 400, says: "\x08\x03\x12…"},
		"protobuf that is cut":            {kind: typeProtobuf, body: kong[:1000], status: 400, says: "\x08\x03\x12…"},
		"a bad trace id":                  {body: resource("x", `{"traceId":"zz","spanId":"01","name":"x"}`), status: 400, says: `{"code":3,"message":"\"zz\" before byte…`},
		"an id of zeros": {body: resource("x", zeros+","+goodSpan), status: 200, accepted: 1,
			says: `{"partialSuccess":{"rejectedSpans":"1","errorMessage":"its trace id or its span id is missing or all zeros"}}`},
		"no service":                  {body: resource("", goodSpan), status: 200, says: `{"partialSuccess":{"rejectedSpans":"1","errorMessage":"its service has no name…`},
		"a type that OTLP has not":    {kind: "text/plain", body: "{}", status: 415, says: "415 unsupported media type, supported: [application/json, application/x-protobuf]"},
		"no type":                     {kind: "-", body: "{}", status: 415, says: "415 …"},
		"another encoding":            {body: "{}", encoding: "br", status: 415, says: `{"code":3,"message":"unknown Content-Encoding \"br\""}` + "\n"},
		"another method":              {method: http.MethodGet, status: 405, says: "405 method not allowed, supported: [POST]"},
		"metrics, which nobody wants": {path: "/v1/metrics", body: "{}", status: 404, says: "404 …"},
		"too large":                   {body: strings.Repeat(" ", 70_000), status: 413, says: `{"code":8…`},
		"a bomb":                      {body: gzipped(t, strings.Repeat(" ", 10<<20)), encoding: "gzip", status: 413, says: `{"code":8…`},
		"too many spans":              {body: resource("x", strings.Repeat(goodSpan+",", 100)+goodSpan), status: 413, says: `{"code":8,"message":"there are more spans…`},
		"too many spans, all empty":   {kind: typeProtobuf, body: "\x0a\xd3\x0f\x12\xd0\x0f" + strings.Repeat("\x12\x00", 1000), status: 413, says: "\x08\x08…"},
		"a sink that takes nothing":   {body: resource("x", goodSpan), sink: errors.New("closed"), status: 503, says: `{"code":14,"message":"the spans were not counted: closed"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := sourcetest.Spans{Err: c.sink}
			s, _ := start(t, &spans, limited)
			method, path, kind := http.MethodPost, "/v1/traces", typeJSON
			if c.method != "" {
				method = c.method
			}
			if c.path != "" {
				path = c.path
			}
			if c.kind != "" {
				kind = c.kind
			}
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr("http").String()+path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if kind != "-" {
				req.Header.Set("Content-Type", kind)
			}
			if c.encoding != "" {
				req.Header.Set("Content-Encoding", c.encoding)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			part, open := strings.CutSuffix(c.says, "…")
			if resp.StatusCode != c.status || len(spans.All()) != c.accepted || !strings.HasPrefix(string(answer), part) || !open && string(answer) != c.says {
				t.Errorf("%s %q with %d accepted, want %d %q with %d", resp.Status, answer, len(spans.All()), c.status, c.says, c.accepted)
			}
		})
	}
}

func client(t *testing.T, s *Source) collectortrace.TraceServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(s.Addr("grpc").String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return collectortrace.NewTraceServiceClient(conn)
}

func kongsRequest(t *testing.T) *collectortrace.ExportTraceServiceRequest {
	t.Helper()
	var m collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(read(t, "001_v1_traces.bin"), &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func TestTheGeneratedClientIsUnderstood(t *testing.T) {
	var spans sourcetest.Spans
	s, reg := start(t, &spans, settings())
	c, request := client(t, s), kongsRequest(t)
	want := decoded(t, read(t, "001_v1_traces.bin"), decodeProtobuf).Spans
	for name, options := range map[string][]grpc.CallOption{"plain": nil, "compressed": {grpc.UseCompressor(grpcgzip.Name)}} {
		before := len(spans.All())
		answer, err := c.Export(t.Context(), request, options...)
		if err != nil || answer.GetPartialSuccess() != nil {
			t.Fatalf("%s: %v, %v", name, answer, err)
		}
		if diff := cmp.Diff(want, spans.All()[before:]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	request.ResourceSpans[0].ScopeSpans[0].Spans[0].SpanId = make([]byte, 8)
	answer, err := c.Export(t.Context(), request)
	if err != nil || answer.GetPartialSuccess().GetRejectedSpans() != 1 || answer.GetPartialSuccess().GetErrorMessage() == "" {
		t.Errorf("a span id of zeros: %v, %v", answer, err)
	}
	if got := sourcetest.Metric(t, reg, "gatewarden_collector_spans_rejected_total"); got != 1 {
		t.Errorf("%v spans are counted as rejected", got)
	}
	problems, err := promlint.NewWithMetricFamilies(sourcetest.Gather(t, reg)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestACallThatIsRefusedSaysWhetherToComeAgain(t *testing.T) {
	limited := settings()
	limited.MaxBody, limited.MaxSpans, limited.MaxRequests = 64*collector.KiB, 100, 1
	spans := sourcetest.Spans{Hold: make(chan struct{})}
	s, reg := start(t, &spans, limited)
	c, request := client(t, s), kongsRequest(t)
	first := make(chan error)
	go func() {
		_, err := c.Export(t.Context(), request)
		first <- err
	}()
	sourcetest.Until(t, "the first call to be in", func() bool {
		return sourcetest.Metric(t, reg, "gatewarden_collector_span_received_bytes_total") > 0
	})
	// Another connection: on the same one, a client waits by itself for a stream that is free.
	if _, err := client(t, s).Export(t.Context(), request); status.Code(err) != codes.Unavailable {
		t.Errorf("one more than there may be: %v", err)
	}
	close(spans.Hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
	// A call's slot is free again a moment after its answer.
	code := func(request *collectortrace.ExportTraceServiceRequest) (code codes.Code) {
		sourcetest.Until(t, "a slot", func() bool {
			_, err := c.Export(t.Context(), request)
			code = status.Code(err)
			return code != codes.Unavailable
		})
		return code
	}
	many := proto.CloneOf(request)
	list := &many.ResourceSpans[0].ScopeSpans[0].Spans
	*list = slices.Repeat(*list, 20)
	if got := code(many); got != codes.ResourceExhausted {
		t.Errorf("too many spans: %v", got)
	}
	many.ResourceSpans[0].ScopeSpans[0].Spans = slices.Repeat(*list, 20)
	if got := code(many); got != codes.ResourceExhausted {
		t.Errorf("too large: %v", got)
	}
	request.ResourceSpans[0].ScopeSpans[0].Spans[0].TraceId = []byte{1, 2}
	if got := code(request); got != codes.InvalidArgument {
		t.Errorf("a bad id: %v", got)
	}
}

// A sender that begins a call and never ends it must not keep its slot.
func TestACallThatNeverEndsIsEnded(t *testing.T) {
	limited := settings()
	limited.MaxRequests, limited.Timeout = 1, gatewarden.Duration(50*time.Millisecond)
	var spans sourcetest.Spans
	s, _ := start(t, &spans, limited)
	conn, err := grpc.NewClient(s.Addr("grpc").String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
	if err != nil {
		t.Fatal(err)
	}
	c, request := client(t, s), kongsRequest(t)
	sourcetest.Until(t, "the slot to be free", func() bool {
		_, err := c.Export(t.Context(), request)
		return err == nil
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	limited := settings()
	limited.MaxConnections = 1
	var spans sourcetest.Spans
	s, reg := start(t, &spans, limited)
	post := func(c *http.Client) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr("http").String()+"/v1/traces", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", typeJSON)
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
	one, other := &http.Client{Transport: &http.Transport{}}, &http.Client{Transport: &http.Transport{}}
	if err := post(one); err != nil {
		t.Fatal(err)
	}
	if err := post(other); err == nil {
		t.Error("a second connection is served, where there may be one")
	}
	if got := sourcetest.Metric(t, reg, "gatewarden_otlp_connections_refused_total"); got < 1 {
		t.Error("and it is not counted")
	}
	one.CloseIdleConnections()
	sourcetest.Until(t, "the place of the first to be free", func() bool { return post(other) == nil })
	other.CloseIdleConnections()
}

func TestSettingsThatCannotWork(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"<nil>":                    func(*Settings) {},
		"neither grpc nor http":    func(s *Settings) { s.GRPC, s.HTTP = "", "" },
		`grpc: "4317" is no`:       func(s *Settings) { s.GRPC = "4317" },
		"max_connections":          func(s *Settings) { s.MaxConnections = 0 },
		"max_body must be":         func(s *Settings) { s.MaxBody = 1 },
		"both cert_file and":       func(s *Settings) { s.TLS = &collector.TLSFiles{CertFile: "x"} },
		"<nil>, for only one port": func(s *Settings) { s.GRPC = "" },
	} {
		s := DefaultSettings()
		change(&s)
		want, _, _ = strings.Cut(want, ", for")
		if got := fmt.Sprint(s.Validate()); !strings.Contains(got, want) {
			t.Errorf("%s, want %q", got, want)
		}
	}
	var spans sourcetest.Spans
	s, _ := start(t, &spans, settings())
	taken := settings()
	taken.HTTP = s.Addr("http").String()
	_, err := New(collector.Env{Name: "b", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, taken)
	if gatewarden.ErrorCode(err) != gatewarden.Conflict {
		t.Errorf("an address that is taken: %v", err)
	}
}

// FuzzProtobuf holds the reader to the generated types: what those take, it takes, with the
// same spans, unless an id has a length that ids have not.
func FuzzProtobuf(f *testing.F) {
	f.Add(read(f, "001_v1_traces.bin"))
	f.Add(read(f, "007_v1_logs.bin"))
	f.Add([]byte("\x0a\x06\x12\x04\x12\x02\x38\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := &collector.SpanBatch{Max: 50}
		err := decodeProtobuf(b, body)
		sourcetest.CheckSpans(t, b.Spans, 50)
		want, theirs := oracle(body)
		if err != nil || theirs != nil {
			if err != nil && theirs == nil && !errors.Is(err, collector.ErrSpanID) && !errors.Is(err, collector.ErrTooManySpans) {
				t.Errorf("refused, but good: %v", err)
			}
			return
		}
		if diff := cmp.Diff(want, b.Spans); len(want)+len(b.Spans) > 0 && diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzJSON holds that nothing crashes, and that what comes out is what a span must be.
func FuzzJSON(f *testing.F) {
	f.Add(read(f, "otlp-kong-ok.request.json"))
	f.Add([]byte(resource("orders", goodSpan)))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := &collector.SpanBatch{Max: 50}
		if decodeJSON(b, body) == nil {
			sourcetest.CheckSpans(t, b.Spans, 50)
		}
	})
}

// BenchmarkDecode reads a body of Kong's, as it sent it.
//
//	go test -run '^$' -bench Decode ./collector/otlp
func BenchmarkDecode(b *testing.B) {
	body := read(b, "001_v1_traces.bin")
	spans := 0
	b.ReportAllocs()
	for b.Loop() {
		batch := &collector.SpanBatch{Max: 1000}
		if err := decodeProtobuf(batch, body); err != nil {
			b.Fatal(err)
		}
		spans += len(batch.Spans)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(spans), "ns/span")
}
