package main

import (
	"fmt"
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

// pulledRules promise what is judged in these tests, and would call a webhook at once.
const pulledRules = `
slos:
  - {name: orders-availability, service: orders, objective: 99, window: 1h, sli: {availability: {}}, on_outage: [tell], on_page: [tell]}
actions:
  - name: tell
    mode: enforce
    steps: [{webhook: {url: %q}}]
`

// counting is a node of Kong's whose counters grow by fifty requests a second, and whose
// log, when it has one, has all of them.
type counting struct {
	t       *testing.T
	metrics *httptest.Server
	hooks   *httptest.Server
	called  atomic.Int64 // the webhook
	config  string

	mu    sync.Mutex
	total int
	logs  bool
	ill   http.HandlerFunc // answers in place of the counters
}

func startCounting(t *testing.T, blindAfter, sources string) *counting {
	t.Helper()
	c := &counting{t: t}
	c.metrics = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		total, ill := c.total, c.ill
		c.mu.Unlock()
		if ill != nil {
			ill(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		fmt.Fprintf(w, "kong_node_info{node_id=\"a\",version=\"3.9.1\"} 1\nkong_datastore_reachable 1\n"+
			"kong_http_requests_total{service=\"orders\",route=\"orders-route\",code=\"200\",source=\"service\",workspace=\"default\",consumer=\"\"} %d\n", total)
	}))
	c.hooks = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { c.called.Add(1) }))
	t.Cleanup(c.hooks.Close)
	t.Cleanup(c.metrics.Close)
	dir := t.TempDir()
	c.config = filepath.Join(dir, "gatewarden.yaml")
	for file, text := range map[string]string{
		"gatewarden.yaml": fmt.Sprintf("listen: {api: \"127.0.0.1:0\", ingest: \"127.0.0.1:0\"}\nrules: [rules.yaml]\nblind_after: %s\nlog: {format: json}\nsources:\n%s",
			blindAfter, strings.ReplaceAll(sources, "METRICS", c.metrics.URL+"/metrics")),
		"rules.yaml": fmt.Sprintf(pulledRules, c.hooks.URL),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// serve lets Kong serve requests until the test ends.
func (c *counting) serve(guard *process) {
	stop := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for id := 0; ; id += 5 {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				c.mu.Lock()
				c.total += 5
				logs := c.logs
				c.mu.Unlock()
				if logs {
					body := batch(5, func(i int) loglines.Line { return line(id+i, now, "orders") })
					if _, _, err := guard.post("/ingest/kong", body); err != nil {
						c.t.Error(err)
					}
				}
			}
		}
	})
	c.t.Cleanup(func() { close(stop); serving.Wait() })
}

func (c *counting) set(logs bool, ill http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs, c.ill = logs, ill
}

// until waits for a state of the SLO, whose reason has these words.
func (c *counting) until(guard *process, state gatewarden.State, words string) {
	c.t.Helper()
	eventually(c.t, "the SLO to be "+state.String(), func() error {
		slo, err := guard.slo("orders-availability")
		if err == nil && (slo.Verdict.State != state || !strings.Contains(slo.Verdict.Reason, words)) {
			err = fmt.Errorf("it is %s: %s", slo.Verdict.State, slo.Verdict.Reason)
		}
		return err
	})
	if n := c.called.Load(); n != 0 {
		c.t.Errorf("%d actions were started", n)
	}
}

// The log loses records while Kong goes on counting: nothing is judged until it is whole
// again. Kong's counters go away: the log is judged as before.
func TestALogIsCheckedByKongsCounters(t *testing.T) {
	t.Parallel()
	c := startCounting(t, "1h", `  - httplog: {}
  - kongmetrics: {targets: ["METRICS"], interval: 250ms, completeness: {window: 10s, settle: 1s, min_requests: 20}}
`)
	guard := startProcess(t, c.config)
	c.set(true, nil)
	c.serve(guard)
	c.until(guard, gatewarden.Healthy, "")
	eventually(t, "the log to be known as whole", func() error {
		s, err := guard.status()
		switch {
		case err != nil:
			return err
		case s.Completeness == nil || !s.Completeness.Whole || s.Completeness.All.Counted < 50 || s.Completeness.All.Ratio < 0.9:
			return fmt.Errorf("the status says %+v", s.Completeness)
		case len(s.Nodes) != 1 || s.Nodes[0].Version != "3.9.1" || s.Sources[0].Completeness == nil:
			return fmt.Errorf("the status says %+v, %+v", s.Nodes, s.Sources)
		}
		return nil
	})
	c.set(false, nil)
	c.until(guard, gatewarden.Inconclusive, "that Kong counted in 10s, the log brought")
	c.set(true, nil)
	c.until(guard, gatewarden.Healthy, "")
	c.set(true, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>down for maintenance</html>") })
	eventually(t, "the node to be known as unwell", func() error {
		s, err := guard.status()
		if err == nil && (len(s.Nodes) != 1 || !strings.Contains(s.Nodes[0].Problem, "no format of metrics")) {
			err = fmt.Errorf("the status says %+v", s.Nodes)
		}
		return err
	})
	c.until(guard, gatewarden.Healthy, "")
}

// Without a log the counters are judged; when they go away nothing is, within
// blind_after, and nothing is started; when they are back, everything is.
func TestKongsCountersAloneAreJudged(t *testing.T) {
	t.Parallel()
	c := startCounting(t, "5s", `  - kongmetrics: {targets: ["METRICS"], interval: 250ms, timeout: 500ms}
`)
	guard := startProcess(t, c.config)
	c.serve(guard)
	c.until(guard, gatewarden.Healthy, "")
	for _, ill := range []struct {
		name string
		is   http.HandlerFunc
	}{
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html></html>") }},
		{"half-open", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		t.Log(ill.name)
		c.set(false, ill.is)
		c.until(guard, gatewarden.Inconclusive, "no source has delivered a record for")
		c.set(false, nil)
		c.until(guard, gatewarden.Healthy, "")
	}
	if n := guard.counted(t); n < 100 {
		t.Errorf("%d requests were counted", n)
	}
}
