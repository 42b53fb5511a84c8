package jaeger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is long because the machines
// that run tests are busy; nothing takes that long when all is well.
const patience = time.Minute

// server is a Jaeger on loopback that keeps traces in its memory.
type server struct{ query, otlp string } // URLs

// binary builds the Jaeger of the module server, once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "gatewarden-jaeger-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "all-in-one")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", file, "github.com/jaegertracing/jaeger/cmd/all-in-one")
	build.Dir = "server"
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("building Jaeger: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(file)) // a temporary folder
	}
	os.Exit(code)
}

// startJaeger runs a Jaeger until the test ends.
func startJaeger(t *testing.T) *server {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	query, otlp := free(t), free(t)
	log := &text{}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), file,
		"--query.http-server.host-port="+query, "--collector.otlp.http.host-port="+otlp,
		"--query.grpc-server.host-port="+free(t), "--collector.otlp.grpc.host-port="+free(t),
		"--collector.http-server.host-port="+free(t), "--collector.grpc-server.host-port="+free(t),
		"--admin.http.host-port="+free(t), "--memory.max-traces=10000")
	cmd.Env = append(os.Environ(), "SPAN_STORAGE_TYPE=memory", "OTEL_TRACES_SAMPLER=always_off") // none of its own
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it ends as it likes
		if t.Failed() {
			t.Logf("Jaeger's log:\n%s", log)
		}
	})
	s := &server{query: "http://" + query, otlp: "http://" + otlp}
	until(t, "Jaeger to answer", func() bool {
		var list struct{ Data []string }
		return s.ask(t, "/api/services", nil, &list) == nil
	})
	until(t, "Jaeger to take spans", func() bool { return s.send(t, `{}`) == nil })
	return s
}

// free returns an address on loopback that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// until waits for something to come true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, look := time.After(patience), time.NewTicker(50*time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// ask asks Jaeger's query API.
func (s *server) ask(t *testing.T, path string, query url.Values, into any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.query+path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// send sends spans in the JSON of OTLP.
func (s *server) send(t *testing.T, body string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.otlp+"/v1/traces", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s %w", resp.Status, answer, err)
	}
	return nil
}

// span is one of a trace, as Jaeger's query API has it.
type span struct {
	SpanID        string
	OperationName string
	References    []struct{ RefType, SpanID string }
	Tags          []struct {
		Key   string
		Value any
	}
}

func (s *span) tag(key string) string {
	for _, tag := range s.Tags {
		if tag.Key == key {
			return fmt.Sprint(tag.Value)
		}
	}
	return ""
}

// trace is a trace of Jaeger's.
type trace struct {
	TraceID string
	Spans   []span
}

// find returns the first span that is so.
func (tr *trace) find(is func(*span) bool) *span {
	for i := range tr.Spans {
		if is(&tr.Spans[i]) {
			return &tr.Spans[i]
		}
	}
	return nil
}

// line returns the operations from a span up to the first of its trace.
func (tr *trace) line(s *span) []string {
	var list []string
	for range tr.Spans {
		list = append(list, s.OperationName)
		if len(s.References) == 0 {
			return list
		}
		parent := s.References[0].SpanID
		if s = tr.find(func(s *span) bool { return s.SpanID == parent }); s == nil {
			return append(list, "a span that is not there")
		}
	}
	return list
}

// traces returns the traces of a service.
func (s *server) traces(t *testing.T, service string) []trace {
	t.Helper()
	var list struct{ Data []trace }
	if err := s.ask(t, "/api/traces", url.Values{"service": {service}, "limit": {"1000"}}, &list); err != nil {
		t.Fatal(err)
	}
	return list.Data
}

// text keeps what a process says.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *text) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *text) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}
