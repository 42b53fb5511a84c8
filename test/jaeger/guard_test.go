package jaeger_test

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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const guardConfig = `
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
state: {dir: data}
rules: [rules/]
sources:
  - httplog: {path: /ingest/kong}
kong: {admin_url: "%s"}
jenkins: {url: "%s", user: gatewarden, token_file: jenkins-token}
log: {level: info, format: json}
tracing: {endpoint: "%s"}
`

const guardRules = `
slos:
  - name: orders-availability
    service: orders
    objective: 99.9
    window: 6h
    sli: {availability: {}}
    on_outage: [protect-orders]
actions:
  - name: protect-orders
    mode: enforce
    steps:
      - plugin: {name: request-termination, service: recommendations, config: {status_code: 503}}
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
        after: 1s
    lease: 5m
    revert: {after: 5m}
`

const jenkinsToken = "11d0e5a1c5e2f4b6a8c0e2d4f6a8b0c2e4"

// startPeers runs stand-ins for Kong's Admin API and for Jenkins, and returns their URLs.
func startPeers(t *testing.T) (kongURL, jenkinsURL string) {
	t.Helper()
	kong := fakekong.New(fakekong.Config{Seed: 1})
	t.Cleanup(kong.Close)
	if err := kong.Load(fakekong.Setup{Services: []fakekong.Service{{Name: "recommendations", Host: "recommendations.test"}}}); err != nil {
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
	admin, master := httptest.NewServer(kong.Admin()), httptest.NewServer(jenkins)
	t.Cleanup(admin.Close)
	t.Cleanup(master.Close)
	return admin.URL, master.URL
}

// startGuard builds the binary from the module that this one sits in, runs it in an empty
// folder, and returns the address where it takes Kong's log. It is stopped with the test,
// and must then end with 0.
func startGuard(t *testing.T, kong, jenkins, otlp string) (ingest string) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "gatewarden")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/gatewarden")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the guard: %v\n%s", err, out)
	}
	for file, text := range map[string]string{
		"gatewarden.yaml": fmt.Sprintf(guardConfig, kong, jenkins, otlp), "rules/shop.yaml": guardRules, "jenkins-token": jenkinsToken + "\n",
	} {
		file = filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return runGuard(t, exec.CommandContext(context.WithoutCancel(t.Context()), binary, "run", "-c", filepath.Join(dir, "gatewarden.yaml")))
}

// runGuard starts the guard and waits until it says where it listens.
func runGuard(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log, guarding := &text{}, make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(guarding)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			var line struct{ Msg, Ingest string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "guarding" {
				guarding <- line.Ingest
			}
			_, _ = log.Write(append(lines.Bytes(), '\n')) // to memory
		}
		_, _ = io.Copy(io.Discard, stderr) // after a line too long to scan: the guard must not wait for its reader
	})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // when it is gone already, Wait says how
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the guard ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the guard's log:\n%s", log)
		}
	})
	select {
	case ingest, ok := <-guarding:
		if !ok {
			t.Fatal("the guard ended before it was guarding")
		}
		return ingest
	case <-time.After(patience):
		t.Fatalf("the guard is not guarding after %s", patience)
	}
	return ""
}

// TestABreachIsOneTrace makes orders fail, and asks Jaeger for the trace of what the guard
// made of it.
func TestABreachIsOneTrace(t *testing.T) {
	server := startJaeger(t)
	kong, jenkins := startPeers(t)
	ingest := startGuard(t, kong, jenkins, server.otlp)
	lines := &logs{writer: loglines.NewWriter()}

	var found *trace
	until(t, "a trace with a call of Kong and one of Jenkins", func() bool {
		lines.post(t, ingest, 50)
		for _, tr := range server.traces(t, "gatewarden") {
			if tr.find(callOf(kong, "/plugins")) != nil && tr.find(callOf(jenkins, "/build")) != nil {
				found = &tr
				return true
			}
		}
		return false
	})
	breaches := 0
	for _, s := range found.Spans {
		if len(s.References) == 0 {
			breaches++
		}
	}
	if breaches != 1 {
		t.Errorf("the trace has %d spans that are part of no other", breaches)
	}
	for name, c := range map[string]struct {
		call *span
		want []string
	}{
		"Kong's":    {found.find(callOf(kong, "/plugins")), []string{"PUT", "apply plugin", "decide protect-orders plugin", "breach orders-availability"}},
		"Jenkins's": {found.find(callOf(jenkins, "/build")), []string{"POST", "apply jenkins", "decide protect-orders jenkins", "breach orders-availability"}},
	} {
		if diff := cmp.Diff(c.want, found.line(c.call)); diff != "" {
			t.Errorf("the way from the call of %s up: %s", name, diff)
		}
		if status := c.call.tag("http.response.status_code"); !slices.Contains([]string{"200", "201"}, status) {
			t.Errorf("the call of %s was answered with %s", name, status)
		}
	}
	if s := found.find(func(s *span) bool { return strings.HasPrefix(s.OperationName, "breach") }); s.tag("gatewarden.severity") != "outage" {
		t.Errorf("the breach is one of severity %q", s.tag("gatewarden.severity"))
	}
}

// callOf returns what finds a call that changes something at a peer.
func callOf(peer, path string) func(*span) bool {
	return func(s *span) bool {
		return s.tag("span.kind") == "client" && s.OperationName != "GET" && strings.HasPrefix(s.tag("url.full"), peer) && strings.Contains(s.tag("url.full"), path)
	}
}

// logs makes bodies of log lines, each line with a request id of its own.
type logs struct {
	writer *loglines.Writer
	id     uint64
}

// post posts n requests that failed, as Kong's http-log plugin does.
func (w *logs) post(t *testing.T, ingest string, n int) {
	t.Helper()
	body := []byte{'['}
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		w.id++
		body = w.writer.Append(body, loglines.Line{ID: w.id, At: time.Now(), Service: "orders", Status: 500})
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ingest+"/ingest/kong", bytes.NewReader(append(body, ']')))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the guard answers %s, %v", resp.Status, err)
	}
}
