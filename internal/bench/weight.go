package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden/internal/loglines"
)

const (
	weightServices = 250 // each with a route: 500 series
	weightSLOs     = 4   // for each service: availability and latency, of the service and of its route
	weightRate     = 2   // requests a second in each series
	weightSpan     = time.Hour
)

// weight prints what a guard with many SLOs needs.
func weight(ctx context.Context) error {
	heading("What the guard weighs", fmt.Sprintf(
		"The real binary with %d SLOs on %d series, an hour of history at %d requests/s in each, fed over HTTP; then half a minute more of it in its own time.",
		weightServices*weightSLOs, weightServices*2, weightRate))
	g, err := startBinary(ctx, weightRules())
	if err != nil {
		return err
	}
	defer g.end()
	if err := weightFeed(ctx, "http://"+g.ingest+"/ingest/kong"); err != nil {
		return err
	}
	before, err := ticks(ctx, "http://"+g.api+"/metrics")
	if err != nil {
		return err
	}
	if err := weightTraffic(ctx, "http://"+g.ingest+"/ingest/kong", 30); err != nil {
		return err
	}
	after, err := ticks(ctx, "http://"+g.api+"/metrics")
	if err != nil {
		return err
	}
	n := after.count - before.count
	fmt.Printf("  %-28s %.2f ms (mean of %.0f; %.0f of them within 5 ms)\n", "a tick over all SLOs", (after.sum-before.sum)/n*1000, n, after.short-before.short)
	for _, field := range []string{"VmRSS", "VmHWM"} {
		kb, err := memory(g.process.Pid, field)
		if err != nil {
			return err
		}
		fmt.Printf("  %-28s %.0f MB\n", field, float64(kb)/1024)
	}
	return nil
}

func weightRules() string {
	var b strings.Builder
	b.WriteString("slos:\n")
	for i := range weightServices {
		for j, rest := range []string{
			"service: %s, sli: {availability: {}}", "service: %s, sli: {latency: {threshold: 300ms}}",
			"service: %[1]s, route: %[1]s-route, sli: {availability: {}}", "service: %[1]s, route: %[1]s-route, sli: {latency: {threshold: 250ms}}",
		} {
			fmt.Fprintf(&b, "  - {name: %s-%d, objective: 99.9, window: 30d, %s}\n", service(i), j, fmt.Sprintf(rest, service(i)))
		}
	}
	return b.String()
}

// weightFeed posts the history, from the oldest second to now.
func weightFeed(ctx context.Context, url string) error {
	const posters = 4
	var (
		wg   sync.WaitGroup
		errs = make([]error, posters)
	)
	begin := time.Now().Add(-weightSpan)
	for p := range posters {
		wg.Go(func() {
			lines, client := loglines.NewWriter(), &http.Client{Timeout: 30 * time.Second}
			var body []byte
			for second := range int(weightSpan.Seconds()) {
				body = weightBatch(body[:0], lines, begin, second, p, posters)
				if errs[p] = post(ctx, client, url, body); errs[p] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return firstError(errs...)
}

// weightTraffic goes on like the history for so many seconds, in batches of 100 spread
// over each.
func weightTraffic(ctx context.Context, url string, seconds int) error {
	const batches = weightServices * weightRate / 100
	lines, client := loglines.NewWriter(), &http.Client{Timeout: 30 * time.Second}
	every := time.NewTicker(time.Second / batches)
	defer every.Stop()
	begin := time.Now()
	var body []byte
	for i := range seconds * batches {
		<-every.C
		second := int(weightSpan.Seconds()) + i/batches // ids go on where the history ends
		body = weightBatch(body[:0], lines, begin.Add(-weightSpan), second, i%batches, batches)
		if err := post(ctx, client, url, body); err != nil {
			return err
		}
	}
	return nil
}

// weightBatch appends a second's requests of every step-th service, from first on.
func weightBatch(body []byte, lines *loglines.Writer, begin time.Time, second, first, step int) []byte {
	body = append(body, '[')
	for i := first; i < weightServices; i += step {
		for k := range weightRate {
			if len(body) > 1 {
				body = append(body, ',')
			}
			body = lines.Append(body, loglines.Line{
				ID:      uint64(second)<<32 | uint64(i)<<8 | uint64(k),
				At:      begin.Add(time.Duration(second)*time.Second + time.Duration(k)*400*time.Millisecond),
				Service: service(i), Status: 200, Millis: 5 + (second*7+i*13+k*101)%240, // healthy: an event is a write to the disk more
			})
		}
	}
	return append(body, ']')
}

// tickCount is how many ticks there were, how many of them took 5 ms or less, and how
// many seconds they took in all.
type tickCount struct{ count, short, sum float64 }

func ticks(ctx context.Context, url string) (tickCount, error) {
	var t tickCount
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return t, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return t, err
	}
	defer resp.Body.Close()
	return readTicks(resp.Body)
}

func readTicks(r io.Reader) (t tickCount, err error) {
	const name = "gatewarden_app_tick_seconds"
	into := map[string]*float64{name + "_count": &t.count, name + `_bucket{le="0.005"}`: &t.short, name + "_sum": &t.sum}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if figure := into[name]; figure != nil {
			if *figure, err = strconv.ParseFloat(value, 64); err != nil {
				return t, err
			}
		}
	}
	return t, lines.Err()
}
