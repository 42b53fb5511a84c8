//go:build unix

package httplog

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden/collector"
)

// benchServer is set in the environment of the process that BenchmarkHTTP starts: the
// test binary once more, which then is the server and nothing else, so that its CPU
// time is that of the server alone.
const benchServer = "GATEWARDEN_HTTPLOG_BENCH_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(benchServer) == "" {
		os.Exit(m.Run())
	}
	if err := serveBench(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveBench prints its address and serves. For each line read from in, it prints the
// records it has counted and the CPU time that it has used.
func serveBench(in io.Reader, out io.Writer) error {
	var counted counter
	mux := http.NewServeMux()
	env := collector.Env{Name: "bench", Sink: &counted, Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
	if _, err := New(env, DefaultSettings()); err != nil {
		return err
	}
	mux.HandleFunc("/read", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, counted.records.Load(), u.Utime.Nano()+u.Stime.Nano(), u.Maxrss); err != nil {
			return err
		}
	}
	return nil
}

// bench is the server process.
type bench struct {
	address string
	in      io.WriteCloser
	out     *bufio.Reader
}

func startBench(b *testing.B) *bench {
	b.Helper()
	// It ends with its standard input, also when this process is killed. The benchmark's
	// own context would kill it before it can be asked to.
	cmd := exec.CommandContext(context.WithoutCancel(b.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s := &bench{in: in, out: bufio.NewReader(out)}
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	s.address = strings.TrimSpace(s.line(b))
	return s
}

func (s *bench) line(b *testing.B) string {
	b.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return line
}

// used returns what the server has counted, its CPU time, and its peak memory.
func (s *bench) used(b *testing.B) (records int64, cpu time.Duration, kib int64) {
	b.Helper()
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(s.line(b), &records, &cpu, &kib); err != nil {
		b.Fatal(err)
	}
	return records, cpu, kib
}

// BenchmarkHTTP posts batches of captured lines over loopback, on 4 connections with
// one request in flight each, as Kong's queues do. It reports records by CPU-second of
// the server process: HTTP, decoding and a sink that counts; the client is another
// process. "read" only reads the bodies: what HTTP itself costs. One operation is one
// record.
//
//	go test -run '^$' -bench HTTP ./collector/httplog
func BenchmarkHTTP(b *testing.B) {
	whole, err := os.ReadFile("../testdata/kong/http-log.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(whole), []byte("\n"))
	for _, path := range []string{"/ingest/kong", "/read"} {
		for _, size := range []int{1, 10, 100} {
			body := bytes.Join(lines[:size], []byte(","))
			if size > 1 {
				body = fmt.Appendf(nil, "[%s]", body)
			}
			b.Run(fmt.Sprintf("%s/batch=%d", path[1:], size), func(b *testing.B) {
				server := startBench(b)
				post(b, server, path, body, 20*size, size) // warm
				before, cpuBefore, _ := server.used(b)
				b.ResetTimer()
				sent := post(b, server, path, body, b.N, size)
				b.StopTimer()
				records, cpu, kib := server.used(b)
				if path == "/ingest/kong" && records-before != int64(sent) {
					b.Fatalf("%d records sent, %d counted", sent, records-before)
				}
				b.ReportMetric(float64(sent)/(cpu-cpuBefore).Seconds(), "records/CPU-s")
				b.ReportMetric(float64(kib)/1024, "peak-MiB")
			})
		}
	}
}

// post sends at least n records and returns how many they were.
func post(b *testing.B, server *bench, path string, body []byte, n, size int) int {
	b.Helper()
	const connections = 4
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var left, sent atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for left.Add(-int64(size)) > -int64(size) {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+server.address+path, bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Errorf("answer %s", resp.Status)
					return
				}
				sent.Add(int64(size))
			}
		})
	}
	all.Wait()
	return int(sent.Load())
}
