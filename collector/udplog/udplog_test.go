package udplog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
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

// start runs a source and returns a connection to it.
func start(t *testing.T, settings Settings, got *sourcetest.Sink) (conn net.Conn, reg *prometheus.Registry, stop func()) {
	t.Helper()
	reg = prometheus.NewRegistry()
	settings.Listen = "127.0.0.1:0"
	built, err := New(collector.Env{Name: "udplog", Sink: got, Log: slog.New(slog.DiscardHandler), Metrics: reg}, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Cleanup(stop)
	if conn, err = net.Dial("udp", built.(*Source).Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, reg, stop
}

// captured are the datagrams that a real Kong sent: the lines of its tcp-log, without
// their ends.
func captured(t *testing.T) [][]byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/kong/tcp-log.bin")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(b), []byte("\n"))
}

func TestWhatKongSends(t *testing.T) {
	got := &sourcetest.Sink{}
	conn, reg, _ := start(t, DefaultSettings(), got)
	for i, datagram := range captured(t) {
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
		sourcetest.Until(t, "the record", func() bool { return got.Count() == i+1 })
	}
	if n := sourcetest.Metric(t, reg, "gatewarden_collector_datagrams_received_total"); n != 13 {
		t.Errorf("%v datagrams", n)
	}
}

func TestBrokenDatagramsHurtNobodyElse(t *testing.T) {
	got := &sourcetest.Sink{}
	conn, reg, _ := start(t, DefaultSettings(), got)
	good := captured(t)[0]
	for _, datagram := range [][]byte{good, good[:100], {}, []byte("\xff\x00"), []byte(`{"level":"info"}`), bytes.Repeat([]byte("["), 60_000), good} {
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
	}
	sourcetest.Until(t, "the good ones", func() bool { return got.Count() == 2 })
	sourcetest.Until(t, "the others", func() bool {
		return sourcetest.Metric(t, reg, "gatewarden_collector_frames_broken_total") == 3 && sourcetest.Metric(t, reg, "gatewarden_collector_records_rejected_total") == 1
	})
}

// TestWhatTheKernelDropsIsCounted sends more than the socket's buffer holds while
// nothing is counted: what was sent must be what is counted, and what is said to be
// dropped.
func TestWhatTheKernelDropsIsCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells what it drops")
	}
	got := &sourcetest.Sink{Hold: make(chan struct{})}
	settings := DefaultSettings()
	settings.ReadBuffer = 16 * collector.KiB
	conn, reg, _ := start(t, settings, got)
	datagram := captured(t)[0]
	sent := 0
	for range 2000 {
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	close(got.Hold)
	// The kernel tells with the next datagram that gets through, so there must be one
	// after the last that was dropped.
	dropped := func() int { return int(sourcetest.Metric(t, reg, "gatewarden_collector_datagrams_dropped_total")) }
	sourcetest.Until(t, "what is counted and what is dropped to be what was sent", func() bool {
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
		sent++
		for range 100 {
			if dropped() > 0 && got.Count()+dropped() == sent {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	})
}

func TestAStopCountsWhatWasReceived(t *testing.T) {
	got := &sourcetest.Sink{}
	conn, reg, stop := start(t, DefaultSettings(), got)
	for range 500 {
		fmt.Fprint(conn, `{"latencies":{"request":5},"started_at":1795293551908,"response":{"status":200}}`)
	}
	sourcetest.Until(t, "some of them", func() bool { return sourcetest.Metric(t, reg, "gatewarden_collector_datagrams_received_total") >= 100 })
	stop()
	if received := sourcetest.Metric(t, reg, "gatewarden_collector_datagrams_received_total"); got.Count() != int(received) {
		t.Errorf("%d counted of %v received", got.Count(), received)
	}
}

// What Kong has sent before the stop waits in the socket's buffer.
func TestAStopCountsWhatTheKernelHasReceived(t *testing.T) {
	got, settings := &sourcetest.Sink{}, DefaultSettings()
	settings.Listen = "127.0.0.1:0"
	built, err := New(collector.Env{Name: "udplog", Sink: got, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, settings)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", built.(*Source).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const sent = 100
	for range sent {
		fmt.Fprint(conn, `{"latencies":{"request":5},"started_at":1795293551908,"response":{"status":200}}`)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := built.Run(stopped); err != nil {
		t.Fatal(err)
	}
	if got.Count() != sent {
		t.Errorf("%d counted of %d", got.Count(), sent)
	}
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		says   string
	}{
		"no address":      {func(s *Settings) { s.Listen = "" }, "no address to listen at"},
		"no buffer":       {func(s *Settings) { s.ReadBuffer = 0 }, "read_buffer"},
		"too much buffer": {func(s *Settings) { s.ReadBuffer = collector.GiB }, "below 1GiB"},
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
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := DefaultSettings()
	s.Listen = taken.LocalAddr().String()
	_, err = New(collector.Env{Name: "udplog", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, s)
	if gatewarden.ErrorCode(err) != gatewarden.Conflict {
		t.Errorf("an address that is taken: %v", err)
	}
}

func TestMetricsAreClean(t *testing.T) {
	_, reg, _ := start(t, DefaultSettings(), &sourcetest.Sink{})
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
