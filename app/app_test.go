package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

// lockedBuffer is a log that several write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// TestAStopAnswersWhatItCounts ends a guard that acknowledges what is durable, while posts
// come of either kind: those that net/http reads and those that it does not. What is counted
// and not answered would come again, to another guard, and count twice.
func TestAStopAnswersWhatItCounts(t *testing.T) {
	dir, log := t.TempDir(), &lockedBuffer{}
	config := filepath.Join(dir, "gatewarden.yaml")
	if err := os.WriteFile(config, []byte(`
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
state: {dir: data, acknowledge: durable}
rules: [rules.yaml]
sources:
  - httplog: {path: /ingest/kong}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(`slos: [{name: orders, service: orders, objective: 99, window: 1d, sli: {availability: {}}}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), Options{ConfigFile: config, Env: os.LookupEnv, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan error)
	go func() { over <- a.Run(ctx) }()

	var answered, id atomic.Int64
	var posting sync.WaitGroup
	for i := range 8 {
		posting.Go(func() {
			client := &http.Client{Transport: &http.Transport{}} // a connection of its own
			w := loglines.NewWriter()
			for {
				body := w.Append(nil, loglines.Line{ID: uint64(id.Add(1)), At: time.Now(), Service: "orders", Status: 200, Millis: 5})
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://%s/ingest/kong", a.Addr("ingest")), bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 1 {
					req.ContentLength = -1 // in chunks: for net/http
				}
				res, err := client.Do(req)
				if err != nil {
					return
				}
				res.Body.Close()
				if res.StatusCode == http.StatusOK && answered.Add(1) == 200 {
					cancel()
				}
			}
		})
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	posting.Wait()
	for _, line := range []string{"posts were still being answered at the stop", "connections were cut at the stop"} {
		if strings.Contains(log.b.String(), line) {
			t.Errorf("%s:\n%s", line, log.b.String())
		}
	}

	k, _ := keep(t, filepath.Join(dir, "data"), &bytes.Buffer{})
	k.checkpoints = newCheckpoints()
	if err := k.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	sli := gatewarden.SLI{Kind: gatewarden.SLIAvailability}
	if n := k.store.Count(gatewarden.Series{Service: "orders"}, &sli, time.Now().Add(-time.Hour), time.Now().Add(time.Minute)).Total(); n != uint64(answered.Load()) {
		t.Errorf("%d records are in the state, and %d were answered with 200", n, answered.Load())
	}
}

// TestAPostThatIsReadAtTheStopIsNotCounted: its connection counts as one that waits for a
// request, and is closed before the answer.
func TestAPostThatIsReadAtTheStopIsNotCounted(t *testing.T) {
	served := 0
	u := &untilShut{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })}
	post := func() int {
		w := httptest.NewRecorder()
		u.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/ingest/kong", nil))
		return w.Code
	}
	if code := post(); code != http.StatusOK || served != 1 {
		t.Errorf("before: %d, and %d were served", code, served)
	}
	u.shut.Store(true)
	if code := post(); code != http.StatusServiceUnavailable || served != 1 {
		t.Errorf("afterwards: %d, and %d were served", code, served)
	}
}
