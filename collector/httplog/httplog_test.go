package httplog

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

const record = `{"latencies":{"request":5},"started_at":1795293551908,"response":{"status":200},"request":{"id":"a"}}`

// sinkFunc is a collector.Sink.
type sinkFunc func(ctx context.Context, source string, records []gatewarden.Record) error

func (f sinkFunc) Accept(ctx context.Context, source string, records []gatewarden.Record) error {
	return f(ctx, source, records)
}

// counter is a sink that counts.
type counter struct{ records atomic.Int64 }

func (c *counter) Accept(_ context.Context, _ string, records []gatewarden.Record) error {
	c.records.Add(int64(len(records)))
	return nil
}

// newSource returns a source, what serves its path, and its metrics.
func newSource(t testing.TB, sink collector.Sink, settings Settings) (*Source, http.Handler, *prometheus.Registry) {
	t.Helper()
	mux, reg := http.NewServeMux(), prometheus.NewPedanticRegistry()
	env := collector.Env{Name: "test", Sink: sink, Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: reg}
	s, err := New(env, settings)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source), mux, reg
}

func compressed(t testing.TB, w io.WriteCloser, out *bytes.Buffer, body string) string {
	t.Helper()
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func gzipped(t testing.TB, body string) string {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the default is slow under the race detector
	if err != nil {
		t.Fatal(err)
	}
	return compressed(t, w, &out, body)
}

func zlibbed(t testing.TB, body string) string {
	var out bytes.Buffer
	return compressed(t, zlib.NewWriter(&out), &out, body)
}

func deflated(t testing.TB, body string) string {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	return compressed(t, w, &out, body)
}

func TestAnswers(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxBody, settings.MaxBuffered, settings.MaxBatch = 64*collector.KiB, 256*collector.KiB, 100
	batch := func(n int) string { return "[" + strings.Repeat(record+",", n-1) + record + "]" }
	broken := errors.New("the store is closed")
	cases := map[string]struct {
		method, body, encoding string
		sink                   error
		status                 int
		accepted, rejected     int
		says                   string // in the error
	}{
		"a record, as Kong sends it by default": {body: record, status: 200, accepted: 1},
		"a batch":                               {body: batch(10), status: 200, accepted: 10},
		"lines":                                 {body: record + "\n" + record + "\n", status: 200, accepted: 2},
		"PUT":                                   {method: "PUT", body: record, status: 200, accepted: 1},
		"PATCH":                                 {method: "PATCH", body: record, status: 200, accepted: 1},
		"GET":                                   {method: "GET", status: 405, says: "GET is not a way to send logs"},
		"DELETE":                                {method: "DELETE", body: record, status: 405, says: "DELETE"},
		"nothing":                               {status: 400, says: "the body is empty"},
		"white space":                           {body: " \r\n", status: 400, says: "the body is empty"},
		"an empty batch":                        {body: "[]", status: 200},
		"something that is no record":           {body: "[" + record + `,{"hello":"world"},7,` + record + "]", status: 200, accepted: 2, rejected: 2},
		"only what is no record":                {body: "{}", status: 200, rejected: 1},
		"no JSON":                               {body: "hello", status: 400, says: "broken JSON at byte 0 of 5"},
		"a batch that is cut":                   {body: batch(10)[:500], status: 400, says: "broken JSON at byte 500"},
		"gzip":                                  {body: gzipped(t, batch(5)), encoding: "gzip", status: 200, accepted: 5},
		"GZIP":                                  {body: gzipped(t, batch(5)), encoding: "GZIP", status: 200, accepted: 5},
		"identity":                              {body: record, encoding: "identity", status: 200, accepted: 1},
		"deflate as the standard says":          {body: zlibbed(t, batch(5)), encoding: "deflate", status: 200, accepted: 5},
		"deflate as its name says":              {body: deflated(t, batch(5)), encoding: "deflate", status: 200, accepted: 5},
		"an encoding that is unknown":           {body: record, encoding: "br", status: 415, says: `unknown Content-Encoding "br"`},
		"two encodings":                         {body: record, encoding: "gzip, gzip", status: 415, says: "unknown"},
		"gzip that is none":                     {body: record, encoding: "gzip", status: 400, says: "cannot be read"},
		"gzip that is cut":                      {body: gzipped(t, batch(50))[:60], encoding: "gzip", status: 400, says: "cannot be read"},
		"gzip of nothing":                       {body: gzipped(t, ""), encoding: "gzip", status: 400, says: "empty"},
		"no gzip at all":                        {encoding: "gzip", status: 400, says: "cannot be read"},
		"no deflate at all":                     {encoding: "deflate", status: 400, says: "cannot be read"},
		"deflate that is damaged":               {body: "\x78\x9cnonsense", encoding: "deflate", status: 400, says: "cannot be read"},
		"a body of the largest size":            {body: record + strings.Repeat(" ", 64<<10-len(record)), status: 200, accepted: 1},
		"a body that is one byte too large":     {body: record + strings.Repeat(" ", 64<<10-len(record)+1), status: 413, says: "larger than 64KiB"},
		"a bomb of 100 MB":                      {body: gzipped(t, strings.Repeat(" ", 100<<20)), encoding: "gzip", status: 413, says: "larger than 64KiB"},
		"a bomb within a bomb":                  {body: gzipped(t, gzipped(t, strings.Repeat(" ", 100<<10))), encoding: "gzip", status: 400, says: "broken JSON"},
		"as many records as a body may have":    {body: batch(100), status: 200, accepted: 100},
		"more records than that":                {body: batch(101), status: 413, says: "more than 100 records"},
		"deep nesting":                          {body: strings.Repeat("[", 60<<10), status: 400, says: "nested"},
		"a sink that does not count":            {body: batch(3), sink: broken, status: 503, says: "the store is closed"},
		"a sink that finds the records wrong":   {body: batch(3), sink: gatewarden.Errorf(gatewarden.Invalid, "no"), status: 503, says: "not taken"},
		"nothing for a sink that would not accept": {body: "[{}]", sink: broken, status: 200, rejected: 1},
	}
	// One server for all cases: it waits for half a second when it closes a connection
	// whose body it did not want to read.
	var current atomic.Pointer[http.Handler]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*current.Load()).ServeHTTP(w, r) }))
	defer server.Close()
	for name, c := range cases {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %v", name, chunked), func(t *testing.T) {
				var counted counter
				s, handler, reg := newSource(t, sinkFunc(func(ctx context.Context, source string, records []gatewarden.Record) error {
					if c.sink != nil {
						return c.sink
					}
					if source != "test" || records[0].ID != "a" {
						t.Errorf("the sink got %+v of %q", records[0], source)
					}
					return counted.Accept(ctx, source, records)
				}), settings)
				current.Store(&handler)
				var body io.Reader = strings.NewReader(c.body)
				if chunked {
					body = io.MultiReader(body)
				}
				method := "POST"
				if c.method != "" {
					method = c.method
				}
				req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/ingest/kong", body)
				if err != nil {
					t.Fatal(err)
				}
				if c.encoding != "" {
					req.Header.Set("Content-Encoding", c.encoding)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				answer := readAll(t, resp)
				if resp.StatusCode != c.status || counted.records.Load() != int64(c.accepted) {
					t.Fatalf("%d %s with %d counted, want %d with %d", resp.StatusCode, answer, counted.records.Load(), c.status, c.accepted)
				}
				checkAnswer(t, resp, answer, c.accepted, c.rejected, c.says)
				checkMetrics(t, reg, c.status, c.accepted, c.rejected)
				if n := s.buffered.Load(); n != 0 {
					t.Errorf("%d bytes are still taken for buffered", n)
				}
			})
		}
	}
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func checkAnswer(t *testing.T, resp *http.Response, answer string, accepted, rejected int, says string) {
	t.Helper()
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if resp.StatusCode == http.StatusOK {
		if want := fmt.Sprintf("{\"accepted\":%d,\"rejected\":%d}\n", accepted, rejected); answer != want {
			t.Errorf("answer %q, want %q", answer, want)
		}
		return
	}
	var got struct {
		Error struct{ Code, Message, Hint string }
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil || got.Error.Code == "" || got.Error.Hint == "" && says != "the body is empty" && says != "empty" ||
		!strings.Contains(got.Error.Message, says) {
		t.Errorf("answer %s, want one that says %q (%v)", answer, says, err)
	}
	for status, header := range map[int]string{405: "Allow", 415: "Accept-Encoding", 503: "Retry-After"} {
		if (resp.Header.Get(header) != "") != (resp.StatusCode == status) {
			t.Errorf("%d with %s %q", resp.StatusCode, header, resp.Header.Get(header))
		}
	}
}

func checkMetrics(t *testing.T, reg *prometheus.Registry, status, accepted, rejected int) {
	t.Helper()
	got := gather(t, reg)
	if got[fmt.Sprintf("gatewarden_httplog_requests_total %d", status)] != 1 ||
		got["gatewarden_httplog_records_accepted_total"] != float64(accepted) ||
		got["gatewarden_httplog_records_rejected_total"] != float64(rejected) {
		t.Errorf("metrics %v", got)
	}
}

// gather returns the values of all metrics by name and label value.
func gather(t testing.TB, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue()
		}
	}
	return values
}

func TestMetricsAreClean(t *testing.T) {
	_, handler, reg := newSource(t, &counter{}, DefaultSettings())
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/ingest/kong", strings.NewReader("x")))
	problems, err := testutil.GatherAndLint(reg)
	if diff := cmp.Diff([]promlint.Problem(nil), problems); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got := gather(t, reg); got["gatewarden_httplog_decode_errors_total"] != 1 || got["gatewarden_httplog_received_bytes_total"] != 1 {
		t.Errorf("metrics %v", got)
	}
}

// TestCaptures posts what a real Kong posted.
func TestCaptures(t *testing.T) {
	for file, want := range map[string]int{"http-log.jsonl": 324, "http-log-batch.jsonl": 25, "http-log-custom.jsonl": 2, "http-log-retry.jsonl": 30} {
		whole, err := os.ReadFile("../testdata/kong/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var counted counter
		_, handler, _ := newSource(t, &counted, DefaultSettings())
		for body := range bytes.Lines(whole) {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest("POST", "/ingest/kong", bytes.NewReader(bytes.TrimSuffix(body, []byte("\n")))))
			if answer.Code != http.StatusOK {
				t.Errorf("%s: %d %s", file, answer.Code, answer.Body)
			}
		}
		if got := counted.records.Load(); got != int64(want) {
			t.Errorf("%s: %d records, want %d", file, got, want)
		}
	}
}

// pipeListener accepts in-memory connections, so that a server can run where time is
// synctest's.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial() net.Conn {
	here, there := net.Pipe()
	l.conns <- there
	return here
}

// serve runs a server of handler in a synctest bubble and calls f with a connection.
func serve(t *testing.T, handler http.Handler, f func(conn net.Conn)) {
	listener := newPipeListener()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Hour}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	conn := listener.dial()
	f(conn)
	_ = conn.Close()
	_ = server.Close()
	<-done
}

func TestSlowClientGetsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counted counter
		s, handler, reg := newSource(t, &counted, DefaultSettings())
		serve(t, handler, func(conn net.Conn) {
			begun := time.Now()
			if _, err := io.WriteString(conn, "POST /ingest/kong HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"+record); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) || !bytes.Contains(answer, []byte("did not arrive within 10s")) {
				t.Errorf("answer %q, %v", answer, err)
			}
			if took := time.Since(begun); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("it took %s", took)
			}
		})
		synctest.Wait()
		checkMetrics(t, reg, http.StatusRequestTimeout, 0, 0)
		if counted.records.Load() != 0 || s.buffered.Load() != 0 {
			t.Errorf("%d records counted, %d bytes buffered", counted.records.Load(), s.buffered.Load())
		}
	})
}

func TestClientGoneMidBodyCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counted counter
		_, handler, reg := newSource(t, &counted, DefaultSettings())
		serve(t, handler, func(conn net.Conn) {
			// A whole record has arrived, but the body was announced to be longer.
			if _, err := io.WriteString(conn, "POST /ingest/kong HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"+record+"\n"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the server has begun to read the body
		})
		synctest.Wait()
		checkMetrics(t, reg, http.StatusBadRequest, 0, 0)
		if n := counted.records.Load(); n != 0 {
			t.Errorf("%d records counted", n)
		}
	})
}

func TestSinkThatHangsIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, handler, reg := newSource(t, sinkFunc(func(ctx context.Context, _ string, _ []gatewarden.Record) error {
			<-ctx.Done()
			return ctx.Err()
		}), DefaultSettings())
		serve(t, handler, func(conn net.Conn) {
			if _, err := fmt.Fprintf(conn, "POST /ingest/kong HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(record), record); err != nil {
				t.Fatal(err)
			}
			if answer, err := io.ReadAll(conn); !bytes.HasPrefix(answer, []byte("HTTP/1.1 503 ")) {
				t.Errorf("answer %q, %v", answer, err)
			}
		})
		checkMetrics(t, reg, http.StatusServiceUnavailable, 0, 0)
	})
}

// TestTooManyBodiesAtOnce holds bodies half received until the budget is used up.
func TestTooManyBodiesAtOnce(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxBody, settings.MaxBuffered = 64*collector.KiB, 64*collector.KiB
	var counted counter
	s, handler, _ := newSource(t, &counted, settings)
	post := func(body io.Reader) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("POST", "/ingest/kong", body))
		return answer
	}
	var first sync.WaitGroup
	var ends []*io.PipeWriter
	for range 2 {
		in, out := io.Pipe()
		ends = append(ends, out)
		first.Go(func() {
			if answer := post(in); answer.Code != http.StatusOK {
				t.Errorf("a body within the budget: %d %s", answer.Code, answer.Body)
			}
		})
		if _, err := io.WriteString(out, record); err != nil { // returns when it was read
			t.Fatal(err)
		}
	}
	if answer := post(strings.NewReader(record)); answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "too many bodies") {
		t.Errorf("beyond the budget: %d %s", answer.Code, answer.Body)
	}
	for _, end := range ends {
		if err := end.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first.Wait()
	if answer := post(strings.NewReader(record)); answer.Code != http.StatusOK || counted.records.Load() != 3 || s.buffered.Load() != 0 {
		t.Errorf("afterwards: %d %s, %d counted, %d bytes buffered", answer.Code, answer.Body, counted.records.Load(), s.buffered.Load())
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	var counted counter
	_, handler, _ := newSource(t, &counted, DefaultSettings())
	body := "[" + strings.Repeat(record+",", 19) + record + "]"
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for n := range 50 {
				cut := body
				if n%5 == 0 {
					cut = body[:len(body)-1-n]
				}
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, httptest.NewRequest("POST", "/ingest/kong", strings.NewReader(cut)))
				if ok := n%5 != 0; ok != (answer.Code == http.StatusOK) {
					t.Errorf("post %d: %d %s", n, answer.Code, answer.Body)
				}
			}
		})
	}
	clients.Wait()
	if got := counted.records.Load(); got != 8*40*20 {
		t.Errorf("%d records, want %d", got, 8*40*20)
	}
}

func TestSettings(t *testing.T) {
	cases := map[string]struct {
		change func(*Settings)
		ok     bool
	}{
		"the defaults":             {func(*Settings) {}, true},
		"no path":                  {func(s *Settings) { s.Path = "" }, false},
		"a path with a wildcard":   {func(s *Settings) { s.Path = "/{x}" }, false},
		"a path with a method":     {func(s *Settings) { s.Path = "POST /x" }, false},
		"no body":                  {func(s *Settings) { s.MaxBody = 0 }, false},
		"no batch":                 {func(s *Settings) { s.MaxBatch = 0 }, false},
		"no time":                  {func(s *Settings) { s.Timeout = 0 }, false},
		"a budget below one body":  {func(s *Settings) { s.MaxBuffered = s.MaxBody - 1 }, false},
		"a budget of one body":     {func(s *Settings) { s.MaxBuffered = s.MaxBody }, true},
		"another path":             {func(s *Settings) { s.Path = "/kong" }, true},
		"a path that is not clean": {func(s *Settings) { s.Path = "kong" }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			factory := Factory()
			decode := func(into any) error { c.change(into.(*Settings)); return nil }
			env := collector.Env{Mux: http.NewServeMux(), Metrics: prometheus.NewRegistry()}
			_, err := factory.Build(env, decode)
			if (err == nil) != c.ok || !c.ok && gatewarden.ErrorCode(err) != gatewarden.Invalid {
				t.Errorf("built: %v", err)
			}
			if err := factory.Check(decode); (err == nil) != c.ok {
				t.Errorf("checked: %v", err)
			}
		})
	}
}

// TestSettingsInYAML reads them as the configuration does: strictly, over the
// defaults.
func TestSettingsInYAML(t *testing.T) {
	strict := func(text string) func(any) error {
		return func(into any) error {
			dec := yaml.NewDecoder(strings.NewReader(text))
			dec.KnownFields(true)
			return dec.Decode(into)
		}
	}
	if err := Factory().Check(strict("{path: /kong, max_body: 1MiB, max_batch: 5, max_buffered: 2MiB, timeout: 1m30s}")); err != nil {
		t.Error(err)
	}
	var got Settings
	if err := strict("{path: /kong, max_body: 1MiB, timeout: 1m30s}")(&got); err != nil ||
		got != (Settings{Path: "/kong", MaxBody: collector.MiB, Timeout: gatewarden.Duration(90 * time.Second)}) {
		t.Errorf("%+v, %v", got, err)
	}
	for text, says := range map[string]string{"{max_bodi: 1}": "max_bodi", "{max_body: lots}": "is not a size", "{timeout: soon}": "is not a duration", "{path: [a]}": "line 1"} {
		if err := Factory().Check(strict(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTwoSourcesOnOneListener(t *testing.T) {
	env := collector.Env{Mux: http.NewServeMux(), Metrics: prometheus.NewRegistry()}
	build := func(path string) error {
		_, err := Factory().Build(env, func(into any) error { into.(*Settings).Path = path; return nil })
		return err
	}
	if err := build("/a"); err != nil {
		t.Error(err)
	}
	if err := build("/b"); err != nil { // shares the metrics
		t.Error(err)
	}
	if err := build("/a"); gatewarden.ErrorCode(err) != gatewarden.Conflict {
		t.Errorf("a path that is taken: %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s, _, _ := newSource(t, &counter{}, DefaultSettings())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestWarningsDoNotFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, handler, _ := newSource(t, &counter{}, DefaultSettings())
		var logged bytes.Buffer
		s.log = slog.New(slog.NewTextHandler(&logged, nil))
		post := func(n int) {
			for range n {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/ingest/kong", strings.NewReader("x")))
			}
		}
		post(100)
		if n := strings.Count(logged.String(), "\n"); n != 1 {
			t.Errorf("%d lines logged", n)
		}
		time.Sleep(10 * time.Second) // synctest's
		post(1)
		if !strings.Contains(logged.String(), "refused_before_unlogged=99") {
			t.Error(logged.String())
		}
	})
}

// FuzzEndpoint posts anything. The status must be a known one, and the counts must
// agree: of the sink, of the answer and of the metrics.
func FuzzEndpoint(f *testing.F) {
	for _, encoding := range []string{"", "gzip", "deflate", "br"} {
		for _, body := range []string{record, "[" + record + ",{}]", "", "[", gzipped(f, record), zlibbed(f, record), deflated(f, record), gzipped(f, record)[:20]} {
			f.Add("POST", encoding, []byte(body), true)
			f.Add("PUT", encoding, []byte(body), false)
		}
	}
	f.Add("GET", "", []byte(nil), true)
	settings := DefaultSettings()
	settings.MaxBody, settings.MaxBuffered, settings.MaxBatch = 16*collector.KiB, 64*collector.KiB, 50
	f.Fuzz(func(t *testing.T, method, encoding string, body []byte, announced bool) {
		var counted counter
		s, _, reg := newSource(t, &counted, settings)
		req := httptest.NewRequest("POST", "/ingest/kong", bytes.NewReader(body))
		req.Method = method
		req.Header.Set("Content-Encoding", encoding)
		if !announced {
			req.ContentLength = -1
		}
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, req)
		switch answer.Code {
		case 200, 400, 405, 413, 415:
		default:
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
		var got struct {
			Accepted, Rejected int
			Error              *struct{ Code, Message string }
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || (got.Error == nil) != (answer.Code == 200) {
			t.Errorf("%d %s: %v", answer.Code, answer.Body, err)
		}
		if int64(got.Accepted) != counted.records.Load() || s.buffered.Load() != 0 {
			t.Errorf("%d said to be accepted, %d counted, %d bytes buffered", got.Accepted, counted.records.Load(), s.buffered.Load())
		}
		checkMetrics(t, reg, answer.Code, got.Accepted, got.Rejected)
	})
}
