package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden/internal/loglines"
	"github.com/gatewarden/gatewarden/store"
)

const (
	ingestBatch       = 100
	ingestConnections = 4
	ingestBatches     = 3000 // for each decoder: 300,000 records
	ingestServices    = 20
)

// ingest prints how many records a CPU-second takes in over HTTP: the product, and
// the same server and store behind other decoders.
func ingest(ctx context.Context) error {
	heading("Taking in Kong's log over HTTP", fmt.Sprintf(
		"Batches of %d, %d connections, %d services, decoded and folded into the store. CPU of the server process alone.",
		ingestBatch, ingestConnections, ingestServices))
	product, err := ingestProduct(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  %-46s %8.0f records per CPU-second  %5.2f µs each\n", "gatewarden run: the whole guard", product, 1e6/product)
	for _, name := range []string{"gatewarden", "fastjson", "goccy/go-json", "encoding/json"} {
		rate, err := ingestWith(ctx, name)
		if err != nil {
			return fmt.Errorf("with %s: %w", name, err)
		}
		fmt.Printf("  %-46s %8.0f records per CPU-second  %5.2f µs each\n", "net/http + "+name+" + the store", rate, 1e6/rate)
	}
	return nil
}

// ingestProduct measures the real binary.
func ingestProduct(ctx context.Context) (float64, error) {
	g, err := startBinary(ctx, "slos: [{name: all, service: service-00, objective: 99.9, window: 30d, sli: {availability: {}}}]\n")
	if err != nil {
		return 0, err
	}
	defer g.end()
	return feedAndMeasure(ctx, g.process.Pid, "http://"+g.ingest+"/ingest/kong")
}

// ingestWith measures this program as a server with the named decoder.
func ingestWith(ctx context.Context, name string) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill() // it has nothing to lose
		_ = cmd.Wait()
	}()
	address := make([]byte, 64)
	n, err := out.Read(address)
	if err != nil {
		return 0, err
	}
	return feedAndMeasure(ctx, cmd.Process.Pid, "http://"+strings.TrimSpace(string(address[:n])))
}

// serve takes in bodies with the named decoder until the process is killed. It
// prints its address first.
func serve(ctx context.Context, name string) error {
	build, ok := decoders[name]
	if !ok {
		return fmt.Errorf("there is no decoder %q", name)
	}
	s := store.New(store.Config{KeepDeltas: true}, prometheus.NewRegistry())
	pool := sync.Pool{New: func() any { return build() }}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		for range time.Tick(time.Second) {
			s.Drain() // as the keeper does
		}
	}()
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d := pool.Get().(decode)
		defer pool.Put(d)
		records, err := d(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Add(records, time.Now(), nil)
	})}
	return server.Serve(l)
}

// feedAndMeasure posts the batches and returns records per CPU-second of the process.
func feedAndMeasure(ctx context.Context, pid int, url string) (float64, error) {
	if err := feedBatches(ctx, url, 0, ingestBatches/10); err != nil { // warm up
		return 0, err
	}
	before, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	if err := feedBatches(ctx, url, ingestBatches/10, ingestBatches); err != nil {
		return 0, err
	}
	after, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	return float64(ingestBatch*(ingestBatches-ingestBatches/10)) / (after - before).Seconds(), nil
}

// feedBatches posts the batches numbered from first up to end.
func feedBatches(ctx context.Context, url string, first, end int) error {
	var wg sync.WaitGroup
	errs := make([]error, ingestConnections)
	for c := range ingestConnections {
		wg.Go(func() {
			lines, client := loglines.NewWriter(), &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
			var body []byte
			for b := first + c; b < end; b += ingestConnections {
				body = append(body[:0], '[')
				for i := range ingestBatch {
					if i > 0 {
						body = append(body, ',')
					}
					id := b*ingestBatch + i
					body = lines.Append(body, loglines.Line{
						ID: uint64(id), At: time.Now(), Service: service(id % ingestServices), Status: 200, Millis: 2 + id%300,
					})
				}
				if errs[c] = post(ctx, client, url, append(body, ']')); errs[c] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// cpuOf returns the processor time that another process has used.
func cpuOf(pid int) (time.Duration, error) {
	if runtime.GOOS != "linux" {
		return 0, errors.New("the processor time of another process is read from /proc, which only Linux has")
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ") // the command's name may hold spaces
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is not as expected: %s", pid, text)
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
