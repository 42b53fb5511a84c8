package tcplog

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/internal/sourcetest"
)

// start runs a source and returns where it listens. It is stopped, and must end well,
// when the test ends.
func start(t *testing.T, settings Settings, dir string) (addr string, got *sourcetest.Sink, reg *prometheus.Registry) {
	t.Helper()
	got, reg = &sourcetest.Sink{}, prometheus.NewRegistry()
	settings.Listen = "127.0.0.1:0"
	built, err := New(collector.Env{Name: "tcplog", Sink: got, Log: slog.New(slog.DiscardHandler), Metrics: reg, Dir: dir}, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return built.(*Source).Addr().String(), got, reg
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func captured(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/kong/tcp-log.bin") // what a real Kong wrote
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	linesOfCapture = 13
	record         = `{"latencies":{"request":5},"started_at":1795293551908,"response":{"status":200}}`
)

func TestWhatKongWrites(t *testing.T) {
	addr, got, _ := start(t, DefaultSettings(), "")
	stream := captured(t)
	var all sync.WaitGroup
	const connections = 8
	for i := range connections {
		all.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for rest := stream; len(rest) > 0; { // each cuts it elsewhere
				n := min(len(rest), 1+i*701)
				if i == 0 {
					n = len(rest)
				}
				if _, err := conn.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
	}
	all.Wait()
	sourcetest.Until(t, "all records", func() bool { return got.Count() == connections*linesOfCapture })
}

func TestPeersThatMisbehave(t *testing.T) {
	t.Parallel()
	settings := DefaultSettings()
	settings.IdleTimeout = gatewarden.Duration(300 * time.Millisecond)
	settings.MaxLine = collector.ShortestLimit
	cases := map[string]struct {
		send    string
		stay    bool // half-open: the connection is not closed
		records int
		metric  string // that becomes 1
	}{
		"it is cut off within a line":      {send: record + "\n" + record[:40], records: 1, metric: "gatewarden_collector_frames_broken_total"},
		"the last line has no end":         {send: record + "\n" + record, records: 2, metric: "gatewarden_collector_connections_accepted_total"},
		"it says nothing":                  {stay: true, metric: "gatewarden_collector_connections_timed_out_total"},
		"it stops within a line":           {send: record + "\n" + record[:40], stay: true, records: 1, metric: "gatewarden_collector_connections_timed_out_total"},
		"it speaks HTTP":                   {send: "GET / HTTP/1.0\r\n\r\n", metric: "gatewarden_collector_frames_broken_total"},
		"it sends a line that is too long": {send: strings.Repeat("x", 100_000) + "\n" + record + "\n", records: 1, metric: "gatewarden_collector_frames_too_long_total"},
		"it sends an endless line":         {send: strings.Repeat("x", 3_000_000), metric: "gatewarden_collector_frames_too_long_total"},
		"it sends no bytes that are text":  {send: "\x00\xff\x16\x03\x01\n" + record + "\n", records: 1, metric: "gatewarden_collector_frames_broken_total"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, got, reg := start(t, settings, "")
			conn := dial(t, addr)
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Fatal(err)
			}
			if !c.stay {
				conn.Close()
			}
			sourcetest.Until(t, "its metric", func() bool { return sourcetest.Metric(t, reg, c.metric) == 1 })
			sourcetest.Until(t, "its connection to be over", func() bool { return sourcetest.Metric(t, reg, "gatewarden_collector_connections") == 0 })
			if got.Count() != c.records {
				t.Errorf("%d records, want %d", got.Count(), c.records)
			}
			// And another one is served all the same.
			fmt.Fprintln(dial(t, addr), record)
			sourcetest.Until(t, "the record of another", func() bool { return got.Count() == c.records+1 })
		})
	}
}

func TestTooManyConnections(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxConnections = 3
	addr, got, reg := start(t, settings, "")
	var served []net.Conn
	for i := range 3 {
		conn := dial(t, addr)
		fmt.Fprintln(conn, record)
		sourcetest.Until(t, "a record", func() bool { return got.Count() == i+1 })
		served = append(served, conn)
	}
	refused := dial(t, addr)
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("the fourth connection got an answer")
	}
	if n := sourcetest.Metric(t, reg, "gatewarden_collector_connections_refused_total"); n != 1 {
		t.Errorf("%v refused", n)
	}
	served[0].Close()
	sourcetest.Until(t, "a place", func() bool { return sourcetest.Metric(t, reg, "gatewarden_collector_connections") == 2 })
	fmt.Fprintln(dial(t, addr), record)
	sourcetest.Until(t, "the record of the next", func() bool { return got.Count() == 4 })
}

func TestAStopCountsWhatHasArrived(t *testing.T) {
	got := &sourcetest.Sink{}
	settings := DefaultSettings()
	settings.Listen = "127.0.0.1:0"
	built, err := New(collector.Env{Name: "tcplog", Sink: got, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx) }()
	conn := dial(t, built.(*Source).Addr().String())
	fmt.Fprintln(conn, record)
	sourcetest.Until(t, "the first record", func() bool { return got.Count() == 1 })
	fmt.Fprintln(conn, record)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got.Count() != 2 {
		t.Errorf("%d records, want 2", got.Count())
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	settings := DefaultSettings()
	settings.TLS = &collector.TLSFiles{CertFile: "server.crt", KeyFile: "server.key"}
	addr, got, reg := start(t, settings, dir)
	pool := x509.NewCertPool()
	crt, err := os.ReadFile(filepath.Join(dir, "server.crt"))
	if err != nil || !pool.AppendCertsFromPEM(crt) {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "gatewarden"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(captured(t)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	sourcetest.Until(t, "all records", func() bool { return got.Count() == linesOfCapture })

	fmt.Fprintln(dial(t, addr), record) // not encrypted
	sourcetest.Until(t, "the failure", func() bool { return sourcetest.Metric(t, reg, "gatewarden_collector_connections_failed_total") == 1 })
	if got.Count() != linesOfCapture {
		t.Error("what was not encrypted was counted")
	}
}

// certificate writes a certificate for gatewarden, signed by itself.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"gatewarden"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		says   string
	}{
		"no address":              {func(s *Settings) { s.Listen = "9514" }, `listen: "9514" is no address`},
		"no port":                 {func(s *Settings) { s.Listen = "host:tcp-log" }, "no address to listen at"},
		"no connections":          {func(s *Settings) { s.MaxConnections = 0 }, "above zero"},
		"no time":                 {func(s *Settings) { s.IdleTimeout = 0 }, "above zero"},
		"lines too short":         {func(s *Settings) { s.MaxLine = 1000 }, "is below 16KiB"},
		"half of the certificate": {func(s *Settings) { s.TLS = &collector.TLSFiles{CertFile: "x"} }, "both cert_file and key_file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := DefaultSettings()
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			c.change(&s)
			if err := s.Validate(); gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v", err)
			}
		})
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := DefaultSettings()
	s.Listen = taken.Addr().String()
	_, err = New(collector.Env{Name: "tcplog", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, s)
	if gatewarden.ErrorCode(err) != gatewarden.Conflict || !strings.Contains(err.Error(), s.Listen) {
		t.Errorf("an address that is taken: %v", err)
	}
	s = DefaultSettings()
	s.Listen, s.TLS = "127.0.0.1:0", &collector.TLSFiles{CertFile: "none.crt", KeyFile: "none.key"}
	if _, err := New(collector.Env{Name: "tcplog", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, s); gatewarden.ErrorCode(err) != gatewarden.Invalid {
		t.Errorf("a certificate that is not there: %v", err)
	}
}

func TestMetricsAreClean(t *testing.T) {
	_, _, reg := start(t, DefaultSettings(), "")
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// BenchmarkLines writes the captured stream over one connection on loopback, 20 lines a
// write; one operation is one record.
//
//	go test -run '^$' -bench Lines ./collector/tcplog
func BenchmarkLines(b *testing.B) {
	got := &sourcetest.Sink{}
	settings := DefaultSettings()
	settings.Listen = "127.0.0.1:0"
	built, err := New(collector.Env{Name: "tcplog", Sink: got, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, settings)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	conn, err := net.Dial("tcp", built.(*Source).Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	chunk := bytes.Repeat(captured(b), 2)
	b.SetBytes(int64(len(chunk) / (2 * linesOfCapture)))
	b.ResetTimer()
	sent := 0
	for ; sent < b.N; sent += 2 * linesOfCapture {
		if _, err := conn.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	for got.Count() < sent {
		time.Sleep(time.Millisecond)
	}
}
