package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What the tables of ingest feed.
const (
	ingestConnections = 4
	ingestServices    = 20
)

// batches are how many records a body has, 1 being Kong's default, and how many records
// are fed for a figure: enough for a second of the guard's processor.
var batches = [4]struct{ size, records int }{{1, 60_000}, {10, 200_000}, {100, 600_000}, {200, 600_000}}

// slowly is how much less a server is fed that needs ten times as long.
const slowly = 10

// contender is a server that takes Kong's log in over HTTP.
type contender struct {
	name  string
	slow  bool
	lines bool // a line a record, because it can't split Kong's arrays
	start func(context.Context) (*server, error)

	costs [4]float64 // µs a record, by batches
	peak  int        // kB
}

// server is a contender that runs in a process of its own.
type server struct {
	pid int
	url string
	end func()
}

// ingestRounds is how often each figure of ingest is measured. The least counts: whatever else
// the machine does can only add to it.
const ingestRounds = 3

// ingest prints what a record costs by every way in, beside others. Contenders take turns
// at each batch, so that all of them have the same of a machine that is busy with other
// work.
func ingest(ctx context.Context) error {
	heading("Taking in Kong's log over HTTP", fmt.Sprintf(
		"Processor time of the server process for a record, the least of %d runs; %d keep-alive connections with one request in flight\n"+
			"each, %d services. The peers get the same records, a line each where they can't split Kong's arrays.", ingestRounds, ingestConnections, ingestServices))
	fmt.Printf("  %-56s", "µs of a processor a record, at a batch of")
	for _, b := range batches {
		fmt.Printf("  %6d", b.size)
	}
	fmt.Printf("  %9s\n", "peak")
	all := contenders()
	for range ingestRounds {
		for b := range batches {
			for i := range all {
				if err := all[i].add(ctx, b); err != nil {
					return fmt.Errorf("%s: %w", all[i].name, err)
				}
			}
		}
	}
	for i := range all {
		all[i].print()
	}
	return nil
}

func contenders() []contender {
	return []contender{
		{name: "net/http that only reads the body: the limit", start: startSelf("bare")},
		{name: "gatewarden run: the whole guard, 100 SLOs", start: startGuard},
		{name: "net/http + gatewarden's decoder + its store", start: startSelf("gatewarden")},
		{name: "net/http + goccy/go-json + the store", start: startSelf("goccy/go-json")},
		{name: "net/http + fastjson + the store", start: startSelf("fastjson")},
		{name: "net/http + encoding/json + the store", start: startSelf("encoding/json")},
		{name: "net/http + encoding/json + client_golang: the naive way", start: startSelf("naive")},
		{name: "OpenTelemetry Collector: ParseJSON, signal_to_metrics", slow: true, lines: true, start: startCollector},
	}
}

// add measures the contender at one of batches. It is started anew for each, so that its
// peak is of the worst.
func (c *contender) add(ctx context.Context, b int) error {
	records := batches[b].records
	if c.slow {
		records /= slowly
	}
	cost, memory, err := c.measure(ctx, batches[b].size, records)
	if err != nil {
		return err
	}
	each := cost.Seconds() * 1e6 / float64(records)
	if c.costs[b] == 0 || each < c.costs[b] {
		c.costs[b] = each
	}
	c.peak = max(c.peak, memory)
	return nil
}

// print prints the contender's line.
func (c *contender) print() {
	fmt.Printf("  %-56s", c.name)
	for _, cost := range c.costs {
		fmt.Printf("  %6.2f", cost)
	}
	fmt.Printf("  %6d MB\n", c.peak>>10)
}

// measure feeds a new server, a tenth more to warm it up, and returns the processor time
// of the rest and its peak of resident memory in kB.
func (c *contender) measure(ctx context.Context, batch, records int) (cost time.Duration, peak int, err error) {
	s, err := c.start(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer s.end()
	f := feeder{url: s.url, batch: batch, connections: ingestConnections, lines: c.lines}
	warm := records / 10 / batch
	if err := f.run(ctx, 0, warm); err != nil {
		return 0, 0, err
	}
	before, err := cpuOf(s.pid)
	if err != nil {
		return 0, 0, err
	}
	if err := f.run(ctx, warm, warm+records/batch); err != nil {
		return 0, 0, err
	}
	after, err := cpuOf(s.pid)
	if err != nil {
		return 0, 0, err
	}
	peak, err = memory(s.pid, "VmHWM")
	return after - before, peak, err
}

// exactly prints what the guard counted of what it accepted, when bodies are cut on their
// way and when answers get lost, so that Kong sends again.
func exactly(ctx context.Context) error {
	heading("Counted minus accepted", "The real binary; one body in seven is cut and sent again, one in eleven is sent twice.")
	for _, connections := range []int{1, 4, 16} {
		g, err := startBinary(ctx, guardRules())
		if err != nil {
			return err
		}
		f := feeder{url: "http://" + g.ingest + "/ingest/kong", batch: 50, connections: connections, cut: 7, twice: 11}
		const bodies = 4_000
		err = f.run(ctx, 0, bodies)
		counted, duplicates, countErr := countedBy(ctx, g.api)
		g.end()
		if err := firstError(err, countErr); err != nil {
			return err
		}
		fmt.Printf("  %2d connections: %d accepted, %d counted, %d repeats dropped: %+d\n",
			connections, bodies*f.batch, counted, duplicates, counted-bodies*f.batch)
	}
	return nil
}

// countedBy asks the guard how many records it counted, and how many were repeats.
func countedBy(ctx context.Context, api string) (counted, duplicates int, err error) {
	family, err := scrape(ctx, "http://"+api+"/metrics", "gatewarden_app_records_total")
	if err != nil {
		return 0, 0, err
	}
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			switch l.GetValue() {
			case "counted":
				counted += int(m.GetCounter().GetValue())
			case "duplicate":
				duplicates += int(m.GetCounter().GetValue())
			}
		}
	}
	return counted, duplicates, nil
}

// scrape returns a family of metrics.
func scrape(ctx context.Context, url, name string) (*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	return families[name], nil
}

const (
	steadyBatch = 100
	steadyEach  = 5_000_000
)

// steady prints how much memory the guard has after millions of records.
func steady(ctx context.Context) error {
	heading("Memory over 20 million records", "The real binary with 100 SLOs and 120 series, batches of 100 as fast as they are taken.")
	g, err := startBinary(ctx, guardRules())
	if err != nil {
		return err
	}
	defer g.end()
	f := feeder{url: "http://" + g.ingest + "/ingest/kong", batch: steadyBatch, connections: ingestConnections, services: 60}
	for i := range 4 {
		first := i * steadyEach / steadyBatch
		if err := f.run(ctx, first, first+steadyEach/steadyBatch); err != nil {
			return err
		}
		resident, err := memory(g.process.Pid, "VmRSS")
		if err != nil {
			return err
		}
		peak, err := memory(g.process.Pid, "VmHWM")
		if err != nil {
			return err
		}
		fmt.Printf("  %2d million: %d MB resident, %d MB at the peak\n", (i+1)*steadyEach/1_000_000, resident>>10, peak>>10)
	}
	return nil
}

// guardRules are 100 SLOs.
func guardRules() string {
	var b bytes.Buffer
	b.WriteString("slos:\n")
	for i := range 50 {
		fmt.Fprintf(&b, "  - {name: a-%d, service: %s, objective: 99.9, sli: {availability: {}}}\n", i, service(i))
		fmt.Fprintf(&b, "  - {name: l-%d, service: %s, objective: 99, sli: {latency: {threshold: 300ms}}}\n", i, service(i))
	}
	return b.String()
}

// startGuard starts the real binary.
func startGuard(ctx context.Context) (*server, error) {
	g, err := startBinary(ctx, guardRules())
	if err != nil {
		return nil, err
	}
	return &server{pid: g.process.Pid, url: "http://" + g.ingest + "/ingest/kong", end: g.end}, nil
}

// startSelf starts this program as a server of its own.
func startSelf(name string) func(context.Context) (*server, error) {
	return func(ctx context.Context) (*server, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return startServer(ctx, self, "-serve", name)
	}
}
