package prometheus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

// guard is the real binary, running.
type guard struct {
	api, ingest string // addresses
	log         *complaints
}

const guardConfig = `
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
state: {dir: data}
rules: [rules/]
sources:
  - httplog: {path: /ingest/kong}
  - kongmetrics: {targets: ["%[1]s/metrics"], interval: 1s, completeness: {window: 10s, settle: 1s, min_requests: 1}}
  - otlp: {http: "127.0.0.1:0"}
kong: {admin_url: "%[1]s"}
jenkins: {url: "%[2]s", user: gatewarden, token_file: jenkins-token}
log: {level: info, format: json}
tracing: {endpoint: "%[3]s", batches: 100%%}
`

// An outage of orders makes the guard use each way that it has to the outside, so that
// the metrics of all of them are there to be scraped.
const guardRules = `
slos:
  - name: orders-availability
    service: orders
    objective: 99.9
    window: 6h
    sli: {availability: {}}
    on_outage: [protect-orders]
  - name: payments-latency
    service: payments
    objective: 99
    window: 30d
    sli: {latency: {threshold: 300ms}}
canaries:
  - name: payments
    service: payments
    baseline: {response_header: "X-Backend-Version: v1"}
    canary: {response_header: "X-Backend-Version: v2"}
    warm_up: 0s
    deadline: 30m
actions:
  - name: protect-orders
    mode: enforce
    steps:
      - plugin: {name: request-termination, service: recommendations, config: {status_code: 503}}
      - webhook: {url: "%s", timeout: 5s}
        after: 1s
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
        after: 1s
    lease: 5m
    revert: {after: 5m}
`

const jenkinsToken = "11d0e5a1c5e2f4b6a8c0e2d4f6a8b0c2e4"

// peers are what the guard talks to: stand-ins for Kong and Jenkins, and a webhook.
type peers struct {
	kong, proxy, jenkins, hook, otlp string // URLs

	traces *complaints // what was posted as traces
}

func startPeers(t *testing.T) *peers {
	t.Helper()
	p := &peers{traces: &complaints{}}
	p.otlp = serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(p.traces, r.Body) // to memory; what is cut off is missed below
	}))
	kong := fakekong.New(fakekong.Config{Seed: 1})
	t.Cleanup(kong.Close)
	backend := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/fail") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	err := kong.Load(fakekong.Setup{
		Upstreams: []fakekong.Upstream{{Name: "payments-up", Targets: []fakekong.Target{{Target: strings.TrimPrefix(backend, "http://"), Weight: 100}}}},
		Services: []fakekong.Service{
			{Name: "recommendations", Host: "recommendations.test"},
			{Name: "orders", URL: backend + "/fail", Routes: []fakekong.Route{{Name: "orders-route", Paths: []string{"/orders"}}}},
			{Name: "payments", Host: "payments-up", Routes: []fakekong.Route{{Name: "payments-route", Paths: []string{"/payments"}}}},
		},
		Plugins: []fakekong.Plugin{{Name: "prometheus", Config: map[string]any{
			"status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true, "upstream_health_metrics": true,
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	jenkins := fakejenkins.New(fakejenkins.Config{
		Users: []fakejenkins.User{{Name: "gatewarden", Tokens: []string{jenkinsToken}, Permissions: fakejenkins.Operator()}},
	})
	t.Cleanup(jenkins.Close)
	jenkins.SetJob(fakejenkins.Job{
		Name: "shop/orders-rollback", Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: "GATEWARDEN_ACTION"}},
		Pipeline: func(context.Context, *fakejenkins.Build) error { return nil },
	})
	p.kong, p.proxy, p.jenkins = serve(t, kong.Admin()), serve(t, kong.Proxy()), serve(t, jenkins)
	p.hook = serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return p
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// startGuard builds the binary from the module that this one sits in and runs it in
// an empty folder. It is stopped with the test, and must then end with 0.
func startGuard(t *testing.T, p *peers) *guard {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "gatewarden")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/gatewarden")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the guard: %v\n%s", err, out)
	}
	for file, text := range map[string]string{
		"gatewarden.yaml": fmt.Sprintf(guardConfig, p.kong, p.jenkins, p.otlp),
		"rules/shop.yaml": fmt.Sprintf(guardRules, p.hook),
		"jenkins-token":   jenkinsToken + "\n",
	} {
		file = filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &guard{log: &complaints{}}
	g.run(t, exec.CommandContext(context.WithoutCancel(t.Context()), binary, "run", "-c", filepath.Join(dir, "gatewarden.yaml")))
	return g
}

// run starts the guard and waits until it says where it listens.
func (g *guard) run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guarding := make(chan *guard, 1)
	var reading sync.WaitGroup
	reading.Go(func() { g.read(stderr, guarding) })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // when it is gone already, Wait says how
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the guard ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the guard's log:\n%s", g.log)
		}
	})
	select {
	case at, ok := <-guarding:
		if !ok {
			t.Fatal("the guard ended before it was guarding")
		}
		g.api, g.ingest = at.api, at.ingest
	case <-time.After(patience):
		t.Fatalf("the guard is not guarding after %s", patience)
	}
}

// read keeps the guard's log and reports the addresses that it names, once. It ends
// with the log.
func (g *guard) read(stderr io.Reader, guarding chan<- *guard) {
	defer close(guarding)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var line struct{ Msg, API, Ingest string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "guarding" {
			guarding <- &guard{api: line.API, ingest: line.Ingest}
		}
		_, _ = g.log.Write(append(lines.Bytes(), '\n')) // to memory
	}
	_, _ = io.Copy(io.Discard, stderr) // after a line too long to scan: the guard must not wait for its reader
}

// post posts a body as Kong's http-log plugin does, and wants the status as answer.
func (g *guard) post(t *testing.T, body []byte, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.ingest+"/ingest/kong", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("the guard answers %s, want %d: %s", resp.Status, status, answer)
	}
}

// checkTraces wants the guard's own traces to have come: names of spans are as they are in
// OTLP's protobuf. How they hang together is for the tests of package app.
func (p *peers) checkTraces(t *testing.T) {
	t.Helper()
	deadline, look := time.After(patience), time.NewTicker(100*time.Millisecond)
	defer look.Stop()
	for _, name := range []string{"ingest", "breach orders-availability", "decide protect-orders plugin", "apply plugin", "apply webhook", "apply jenkins", "shop/job/orders-rollback", "POST"} {
		for !strings.Contains(p.traces.String(), name) {
			select {
			case <-look.C:
			case <-deadline:
				t.Fatalf("no span names %s", name)
			}
		}
	}
}

// request sends a request through the gateway, which counts it in its own metrics.
func (p *peers) request(t *testing.T, path string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.proxy+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

// judge asks the guard whether the canary of payments may go on.
func (g *guard) judge(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.api+"/api/v1/canaries/payments/runs", strings.NewReader(`{"by": "test"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("starting a run: %s, %v: %s", resp.Status, err, answer)
	}
}

// logs makes bodies of log lines, each line with a request id of its own.
type logs struct {
	writer *loglines.Writer
	id     uint64
}

// body returns n lines like l as one JSON array.
func (w *logs) body(n int, l loglines.Line) []byte {
	b := []byte{'['}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		w.id++
		l.ID = w.id
		b = w.writer.Append(b, l)
	}
	return append(b, ']')
}
