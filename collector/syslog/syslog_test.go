package syslog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/internal/sourcetest"
)

func TestPayload(t *testing.T) {
	for message, want := range map[string]string{
		`<14>1 2026-11-21T20:39:11.908Z host kong 81 - - {"a":1}`:              `{"a":1}`,
		`<14>1 2026-11-21T20:39:11.908Z host kong 81 kong [x@1 a="b"] {"a":1}`: `{"a":1}`,
		`<14>1 - - - - - [x@1 a="{\"b\":\]}"][y@1 c="]{"] {"a":1}`:             `{"a":1}`,
		"<14>1 2026-11-21T20:39:11Z host kong 81 - - \xef\xbb\xbf{\"a\":1}":    `{"a":1}`,
		`<191>1 2026-11-21T20:39:11Z host kong 81 - - @cee: {"a":1}`:           `{"a":1}`,
		`<14>1 2026-11-21T20:39:11Z host kong 81 - [x@1 a="b`:                  ``,
		`<14>1 2026-11-21T20:39:11Z host kong 81 - [x@1]`:                      ``,
		`<14>1 2026-11-21T20:39:11Z host kong`:                                 ``,
		`<14>1 2026-11-21T20:39:11Z host kong 81 - `:                           ``,
		`<14>Nov 21 20:39:11 host kong[81]: {"a":1}`:                           `{"a":1}`,
		`<14>Nov  1 20:39:11 kong: {"a":{"b":2}}`:                              `{"a":{"b":2}}`,
		`<14>2026-11-21T20:39:11+00:00 host kong: {"a":1}`:                     `{"a":1}`,
		`<14>kong: {"a":1}`: `{"a":1}`,
		`<6>{"a":1}`:        `{"a":1}`,
		`<14>Nov 21 20:39:11 host sshd[81]: Accepted publickey for ada`: ``,
		`<192>Nov 21 20:39:11 host kong: [1]`:                           ``,
		`<a>{"a":1}`:                                                    `{"a":1}`,
		`{"a":1}`:                                                       `{"a":1}`,
		"<14>Nov 21 20:39:11 host kong: {\"a\":1}\x00":                  `{"a":1}`,
		"<14>1 - - - - - - {\"a\":1}\r\n\x00":                           `{"a":1}`,
		``:                                                              ``,
		`<`:                                                             ``,
		`<14>`:                                                          ``,
	} {
		if got := string(payload([]byte(message))); got != want {
			t.Errorf("%s\nholds %q, want %q", message, got, want)
		}
	}
}

// frames cuts a stream that comes in pieces of step bytes.
func frames(stream []byte, step int, longest collector.ByteSize) (all []string, tooLong int) {
	framing, buf := newFraming(longest), []byte(nil)
	for from := 0; ; {
		to := min(from+step, len(stream))
		buf = append(buf, stream[from:to]...)
		from = to
		block, used := framing.Cut(buf, from == len(stream))
		last := 0
		for _, end := range block.Ends {
			all = append(all, strings.TrimSpace(string(block.Data[last:end])))
			last = end
		}
		tooLong += block.TooLong
		buf = buf[used:]
		if from == len(stream) {
			return all, tooLong
		}
	}
}

func TestFraming(t *testing.T) {
	octets := func(s string) string { return fmt.Sprintf("%d %s", len(s), s) }
	long := strings.Repeat("x", 300)
	cases := map[string]struct {
		stream  string
		want    []string
		tooLong int
	}{
		"line feeds":                     {"<6>{\"a\":1}\n<6>{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}, 0},
		"the last has none":              {"<6>{\"a\":1}\n<6>{\"a\":2}", []string{`{"a":1}`, `{"a":2}`}, 0},
		"octets counted":                 {octets(`<6>{"a":1}`) + octets(`<6>{"a":"`+"\n"+`"}`), []string{`{"a":1}`, "{\"a\":\"\n\"}"}, 0},
		"octets, and a line feed too":    {octets("<6>{\"a\":1}\n") + "\n" + octets(`<6>{"a":2}`), []string{`{"a":1}`, `{"a":2}`}, 0},
		"both":                           {"<6>{\"a\":1}\n" + octets(`<6>{"a":2}`) + "<6>{\"a\":3}\n", []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}, 0},
		"NUL at the end":                 {"<6>{\"a\":1}\x00\n", []string{`{"a":1}`}, 0},
		"another program's":              {"<6>sshd: hello\n<6>{\"a\":1}\n", []string{"null", `{"a":1}`}, 0},
		"octets that are too many":       {octets("<6>"+long) + octets(`<6>{"a":1}`), []string{`{"a":1}`}, 1},
		"a line that is too long":        {"<6>" + long + "\n<6>{\"a\":1}\n", []string{`{"a":1}`}, 1},
		"a line that never ends":         {"<6>" + long + long, nil, 1},
		"cut within counted octets":      {"99 <6>{\"a\":1}", []string{`{"a":1}`}, 0},
		"a number that is no length":     {"2026-11-21 kong: {\"a\":1}\n<6>{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}, 0},
		"a length that is no number":     {"12345678901 <6>{\"a\":1}\n", []string{`{"a":1}`}, 0},
		"nothing but a length":           {"12", []string{"null"}, 0},
		"nothing":                        {"\n\n \n", nil, 0},
		"a message of no octets, and on": {"0 <6>{\"a\":1}\n", []string{`{"a":1}`}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 2, 7, 1000} {
				got, tooLong := frames([]byte(c.stream), step, 200)
				if diff := cmp.Diff(c.want, got); diff != "" || tooLong != c.tooLong {
					t.Errorf("in steps of %d: %d too long, %s", step, tooLong, diff)
				}
			}
		})
	}
}

// FuzzFraming cuts anything, in two ways: the frames must be the same, and no byte may
// be used twice.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{"<6>{}\n", "5 <6>{}6 <6>{}\n", "99 <6>", "<14>1 - - - - - - {}\n", "0 1 2 3", "999999999 x"} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		const longest = 64
		// Lengths beyond the limit and lines beyond it are told apart by what has come so
		// far; the frames that remain must be the same all the same when none is beyond.
		whole, long := frames(stream, len(stream)+1, longest)
		pieces, longToo := frames(stream, 1+int(step), longest)
		if long+longToo > 0 {
			return
		}
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Errorf("%q in steps of %d: %s", stream, 1+int(step), diff)
		}
	})
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{`<14>1 - - - - - [x a="\]"] {}`, `<6>kong: {}`, `{}`, `<`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got := payload(message)
		if got != nil && (!bytes.HasSuffix(bytes.TrimRight(message, "\x00 \r\n\t"), got) || got[0] != '{') {
			t.Errorf("%q holds %q", message, got)
		}
	})
}

// TestOverUDPAndTCP sends what a real Kong logged in both formats and both framings.
func TestOverUDPAndTCP(t *testing.T) {
	got, reg := &sourcetest.Sink{}, prometheus.NewRegistry()
	settings := DefaultSettings()
	settings.UDP, settings.TCP = "127.0.0.1:0", "127.0.0.1:0"
	built, err := New(collector.Env{Name: "syslog", Sink: got, Log: slog.New(slog.DiscardHandler), Metrics: reg}, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx) }()
	udpAddr, tcpAddr := built.(*Source).Addrs()
	capture, err := os.ReadFile("../testdata/kong/tcp-log.bin")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(capture)), "\n")
	udp, err := net.Dial("udp", udpAddr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Dial("tcp", tcpAddr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	sent := 0
	for i, line := range lines {
		new5424 := `<14>1 2026-11-21T20:39:11.908Z host kong 81 - [meta sequenceId="1"] ` + line
		old3164 := "<14>Nov 21 20:39:11 host kong[81]: " + line
		fmt.Fprint(udp, new5424)
		fmt.Fprintf(udp, "%s\n\x00", old3164)
		if i%2 == 0 {
			fmt.Fprintf(tcp, "%d %s", len(new5424), new5424)
		} else {
			fmt.Fprintf(tcp, "%s\n", old3164)
		}
		sent += 3
	}
	fmt.Fprint(udp, "<14>Nov 21 20:39:11 host cron[81]: nothing to do")
	for deadline := time.Now().Add(30 * time.Second); got.Count() != sent; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records", got.Count(), sent)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		says   string
	}{
		"nowhere":            {func(*Settings) {}, "it listens nowhere"},
		"no address":         {func(s *Settings) { s.UDP = "x" }, `udp: "x" is no address`},
		"no connections":     {func(s *Settings) { s.TCP, s.MaxConnections = ":1", 0 }, "above zero"},
		"no buffer":          {func(s *Settings) { s.UDP, s.ReadBuffer = ":1", 0 }, "read_buffer"},
		"messages too short": {func(s *Settings) { s.TCP, s.MaxMessage = ":1", 100 }, "max_message"},
		"TLS without TCP":    {func(s *Settings) { s.UDP, s.TLS = ":1", &collector.TLSFiles{CertFile: "a", KeyFile: "b"} }, "tls is for tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			s := DefaultSettings()
			c.change(&s)
			if err := s.Validate(); gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v", err)
			}
		})
	}
}
