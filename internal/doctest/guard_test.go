package doctest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatewarden/gatewarden/app"
)

// Nothing listens on the port of Kong and Jenkins: the guard runs all the same, and
// what it exposes does not depend on their answers.
const guardConfig = `
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
sources:
  - httplog: {}
  - tcplog: {listen: "127.0.0.1:0"}
  - udplog: {listen: "127.0.0.1:0"}
  - filelog: {paths: ["*.json"]}
  - syslog: {tcp: "127.0.0.1:0", udp: "127.0.0.1:0"}
  - elasticsearch: {url: "http://127.0.0.1:1", index: "kong-*"}
  - kongmetrics: {targets: ["http://127.0.0.1:1/metrics"]}
  - prometheus: {url: "http://127.0.0.1:1"}
  - otlp: {grpc: "127.0.0.1:0", http: "127.0.0.1:0"}
  - zipkin: {}
  - jaeger: {url: "http://127.0.0.1:1"}
kong: {admin_url: "http://127.0.0.1:1"}
jenkins: {url: "http://127.0.0.1:1"}
audit:
  - file: {path: audit.jsonl}
`

// startGuard runs a guard on loopback until the test ends, and returns the URL of its
// API.
func startGuard(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"gatewarden.yaml": guardConfig, "rules/some.yaml": someRules} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	guard, err := app.New(ctx, app.Options{
		ConfigFile: filepath.Join(dir, "gatewarden.yaml"),
		Env:        func(string) (string, bool) { return "", false },
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- guard.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + guard.Addr("api")
}

// ask sends a request without a body and returns the answer's status and body.
func ask(t *testing.T, method, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
