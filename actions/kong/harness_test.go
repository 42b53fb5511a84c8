package kong

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// bench is a gateway with the shop on it, and an executor that talks to it.
type bench struct {
	t    *testing.T
	kong *fakekong.Kong
	url  string
	wire *wire
	exec *Executor
}

func newBench(t *testing.T, c fakekong.Config) *bench {
	t.Helper()
	b := &bench{t: t, kong: fakekong.New(c), wire: &wire{next: http.DefaultTransport.(*http.Transport).Clone()}}
	b.wire.left.Store(1 << 30)
	t.Cleanup(b.kong.Close)
	if err := b.kong.Load(shop()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(b.kong.Admin())
	t.Cleanup(server.Close)
	t.Cleanup(b.wire.next.CloseIdleConnections)
	b.url = server.URL
	b.exec = b.executor(Config{})
	return b
}

func (b *bench) executor(c Config) *Executor {
	b.t.Helper()
	c.AdminURL, c.Transport = b.url, b.wire
	e, err := New(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func shop() fakekong.Setup {
	return fakekong.Setup{
		Upstreams: []fakekong.Upstream{{Name: "orders-up", Targets: []fakekong.Target{
			{Target: "10.0.0.7:8080", Weight: 90, Tags: []string{"version:v1"}},
			{Target: "10.0.0.8:8080", Weight: 10, Tags: []string{"version:v2"}},
			{Target: "10.0.0.9:8000", Weight: 5, Tags: []string{"version:v2"}},
		}}},
		Services: []fakekong.Service{
			{Name: "orders", Host: "orders-up", Routes: []fakekong.Route{{Name: "orders-list", Paths: []string{"/orders"}}}},
			{Name: "recommendations", URL: "http://10.0.0.20:8080", Routes: []fakekong.Route{{Name: "recommendations", Paths: []string{"/recommendations"}}}},
		},
		Consumers: []fakekong.Consumer{{Username: "zoë"}},
	}
}

// wire carries requests to the gateway until it is cut.
type wire struct {
	next *http.Transport
	left atomic.Int64 // requests that still get through
	deaf atomic.Bool  // the request after that arrives, but its answer is lost
	sent atomic.Int64
}

var errCut = errors.New("the wire is cut")

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.sent.Add(1)
	switch left := w.left.Add(-1); {
	case left >= 0:
		return w.next.RoundTrip(r)
	case left == -1 && w.deaf.Load():
		if resp, err := w.next.RoundTrip(r); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	return nil, errCut
}

func (w *wire) cutAfter(n int, deaf bool) {
	w.deaf.Store(deaf)
	w.left.Store(int64(n))
}

func (w *wire) mend() { w.left.Store(1 << 30) }

// get returns what the Admin API answers, without the time of the last change.
func (b *bench) get(path string) string {
	b.t.Helper()
	resp, err := http.Get(b.url + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return untimed(b.t, body)
}

func untimed(t *testing.T, body []byte) string {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	dropTimes(v)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func dropTimes(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "updated_at")
		for _, inner := range v {
			dropTimes(inner)
		}
	case []any:
		for _, inner := range v {
			dropTimes(inner)
		}
	}
}

// send changes the gateway as somebody else would.
func (b *bench) send(method, path, body string) string {
	b.t.Helper()
	req, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		b.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, answer, err)
	}
	return string(answer)
}

// record is an action with its memo, as the journal keeps it.
type record struct {
	gatewarden.Action
}

func (r *record) save(memo json.RawMessage) error {
	r.Memo = slices.Clone(memo)
	return nil
}

// run does what the engine does to begin with: Prepare, the memo into the journal,
// Apply.
func (b *bench) run(r *record) (gatewarden.Outcome, error) {
	if len(r.Memo) == 0 {
		memo, err := b.exec.Prepare(context.Background(), r.Action)
		if err != nil {
			return gatewarden.Outcome{}, err
		}
		r.Memo = memo
	}
	return b.exec.Apply(context.Background(), r.Action, r.save)
}

func (b *bench) mustRun(r *record) gatewarden.Outcome {
	b.t.Helper()
	out, err := b.run(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) mustRevert(r *record) gatewarden.Outcome {
	b.t.Helper()
	out, err := b.exec.Revert(context.Background(), r.Action)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func pluginAction(id string, step gatewarden.PluginStep) *record {
	return &record{gatewarden.Action{ID: id, Spec: gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &step}}}
}

func weightAction(id string, kind gatewarden.StepKind, step gatewarden.WeightStep) *record {
	return &record{gatewarden.Action{ID: id, Spec: gatewarden.Step{Kind: kind, Weight: &step}}}
}

func rateLimit(second int) gatewarden.PluginStep {
	return gatewarden.PluginStep{Name: "rate-limiting", Route: "orders-list", Config: map[string]any{"second": second, "policy": "local", "limit_by": "service"}}
}

func wantStatus(t *testing.T, out gatewarden.Outcome, want gatewarden.ActionStatus) {
	t.Helper()
	if out.Status != want {
		t.Errorf("status %s, want %s: %+v", out.Status, want, out)
	}
}

func wantCode(t *testing.T, err error, code gatewarden.Code, words ...string) {
	t.Helper()
	if gatewarden.ErrorCode(err) != code {
		t.Errorf("code %q, want %q: %v", gatewarden.ErrorCode(err), code, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

const shortTimeout = 50 * time.Millisecond
