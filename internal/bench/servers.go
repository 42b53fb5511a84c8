package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden/store"
)

// serve is a contender of this program's own, until the process is killed. It prints its
// address first.
func serve(ctx context.Context, name string) error {
	var handler http.Handler
	switch build, ok := decoders[name]; {
	case ok:
		handler = storing(build)
	case name == "bare":
		handler = reading(func([]byte) error { return nil })
	case name == "naive":
		handler = naive()
	default:
		return fmt.Errorf("there is no server %q", name)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: handler}
	return server.Serve(l)
}

// reading reads a body into memory that is used again, and hands it on.
func reading(each func(body []byte) error) http.Handler {
	pool := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := pool.Get().(*bytes.Buffer)
		defer pool.Put(body)
		body.Reset()
		_, err := io.Copy(body, r.Body)
		if err == nil {
			err = each(body.Bytes())
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
}

// storing decodes into the guard's store.
func storing(build func() decode) http.Handler {
	s := store.New(store.Config{KeepDeltas: true}, prometheus.NewRegistry())
	go func() {
		for range time.Tick(time.Second) {
			s.Drain() // as the keeper does
		}
	}()
	pool := sync.Pool{New: func() any { return build() }}
	return reading(func(body []byte) error {
		d := pool.Get().(decode)
		defer pool.Put(d)
		records, err := d(body)
		if err == nil {
			s.Add(records, time.Now(), nil)
		}
		return err
	})
}

// naive is what one would write in an afternoon: structs and two metrics.
func naive() http.Handler {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total", Help: "Requests."}, []string{"service", "route", "code"})
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "latency_seconds", Help: "How long they took."}, []string{"service", "route"})
	return reading(func(body []byte) error {
		logs, err := kongLogs(body, json.Unmarshal)
		for i := range logs {
			l := &logs[i]
			requests.WithLabelValues(l.Service.Name, l.Route.Name, strconv.Itoa(l.Response.Status)).Inc()
			latency.WithLabelValues(l.Service.Name, l.Route.Name).Observe(float64(l.Latencies.Request) / 1000)
		}
		return err
	})
}

// startCollector builds the OpenTelemetry Collector of test/otelcol, which takes minutes
// the first time, and starts it.
func startCollector(ctx context.Context) (*server, error) {
	path := filepath.Join(os.TempDir(), "gatewarden-bench-otelcol")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	build.Dir = filepath.Join("test", "otelcol")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the collector: %w\n%s", err, out)
	}
	return startServer(ctx, path)
}

// startServer starts a program that prints its address.
func startServer(ctx context.Context, path string, args ...string) (*server, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{pid: cmd.Process.Pid, end: func() {
		_ = cmd.Process.Kill() // it has nothing to lose
		_ = cmd.Wait()
	}}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.end()
		return nil, errors.Join(fmt.Errorf("%s printed no address", filepath.Base(path)), err)
	}
	s.url = "http://" + strings.TrimSpace(address)
	return s, nil
}
