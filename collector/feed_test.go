package collector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// tally counts what it is given, after failing so many times.
type tally struct {
	mu    sync.Mutex
	paths []string
	fails int
}

func (s *tally) Accept(_ context.Context, _ string, records []gatewarden.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return errors.New("not now")
	}
	for i := range records {
		s.paths = append(s.paths, strings.Clone(records[i].Path))
	}
	return nil
}

func newFeed(t testing.TB, sink Sink) (*Feed, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	f, err := NewFeed(Env{Name: "test", Sink: sink, Log: slog.New(slog.DiscardHandler), Metrics: reg}, ShortestLimit)
	if err != nil {
		t.Fatal(err)
	}
	return f, reg
}

// at returns a record of this path.
func at(path string) string {
	return strings.TrimSuffix(minimal, "}") + `,"request":{"uri":"` + path + `"}}`
}

func TestFeedLeavesOutWhatIsBroken(t *testing.T) {
	cases := map[string]struct {
		lines            string
		want             string
		broken, rejected float64
	}{
		"good lines":               {at("a") + "\n" + at("b") + "\n", "a b", 0, 0},
		"a broken one between":     {at("a") + "\n" + at("x")[:50] + "\n" + at("b") + "\n", "a b", 1, 0},
		"the last lacks its end":   {at("a") + "\n" + at("b"), "a b", 0, 0},
		"the last is cut":          {at("a") + "\n" + at("b")[:30], "a", 1, 0},
		"nothing but broken ones":  {"x\n{\n", "", 2, 0},
		"blank lines":              {"\n \r\n\n", "", 0, 0},
		"CRLF":                     {at("a") + "\r\n" + at("b") + "\r\n", "a b", 0, 0},
		"arrays":                   {"[" + at("a") + "," + at("b") + "]\n[]\n", "a b", 0, 0},
		"JSON of somebody else's":  {`{"level":"info"}` + "\n" + at("a") + "\n", "a", 0, 1},
		"both kinds of wrong":      {"{}\nnot JSON\n" + at("a") + "\n", "a", 1, 1},
		"a record beyond the size": {strings.Replace(at("a"), "{", `{"x":"`+strings.Repeat("y", int(ShortestLimit))+`",`, 1) + "\n" + at("b") + "\n", "b", 0, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			sink := &tally{}
			f, _ := newFeed(t, sink)
			if err := f.Take(t.Context(), Block{Data: []byte(c.lines)}, nil); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(sink.paths, " "); got != c.want {
				t.Errorf("counted %q, want %q", got, c.want)
			}
			if b, r := testutil.ToFloat64(f.metrics.broken), testutil.ToFloat64(f.metrics.rejected); b != c.broken || r != c.rejected {
				t.Errorf("%v broken, %v rejected", b, r)
			}
		})
	}
}

func TestFeedOffersAgainUntilItIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &tally{fails: 4}
		f, _ := newFeed(t, sink)
		began := time.Now()
		if err := f.Take(t.Context(), Block{Data: []byte(at("a"))}, nil); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 1500*time.Millisecond { // 0.1 + 0.2 + 0.4 + 0.8
			t.Errorf("it took %s", waited)
		}
		if len(sink.paths) != 1 || testutil.ToFloat64(f.metrics.retries) != 4 {
			t.Errorf("counted %q after %v retries", sink.paths, testutil.ToFloat64(f.metrics.retries))
		}

		sink.fails = 1000
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Take(ctx, Block{Data: []byte(at("b"))}, nil); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Errorf("it ended with %v", err)
		}
	})
}

// TestPumpFindsEveryLineHoweverItComes cuts a stream of lines, some of them too long,
// anywhere.
func TestPumpFindsEveryLineHoweverItComes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var stream bytes.Buffer
		var want []string
		tooLong := 0
		for i := range rapid.IntRange(0, 12).Draw(rt, "lines") {
			path := string(rune('a' + i))
			switch rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
				tooLong++
				stream.WriteString(strings.Repeat("x", int(ShortestLimit)+rapid.IntRange(1, 400_000).Draw(rt, "length")))
			default:
				stream.WriteString(at(path))
				want = append(want, path)
			}
			stream.WriteByte('\n')
		}
		sink := &tally{}
		f, _ := newFeed(t, sink)
		var in io.Reader = &stream
		switch rapid.IntRange(0, 2).Draw(rt, "reads") {
		case 0:
			in = iotest.HalfReader(in)
		case 1:
			in = iotest.DataErrReader(in)
		}
		if err := f.Pump(t.Context(), in, Lines(ShortestLimit), nil); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, sink.paths); diff != "" {
			rt.Error(diff)
		}
		// One that has come as a whole before it was looked at is broken as well as too long.
		if got := testutil.ToFloat64(f.metrics.tooLong) + testutil.ToFloat64(f.metrics.broken); got != float64(tooLong) {
			rt.Errorf("%v too long, want %d", got, tooLong)
		}
	})
}

// FuzzLines holds the framing of lines, fed in pieces, to bytes.Lines.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), uint8(1))
	f.Add([]byte("0123456789abcdef\nx\n"), uint8(5))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		const longest = 8
		var want [][]byte
		for line := range bytes.Lines(stream) {
			if len(bytes.TrimSuffix(line, []byte("\n"))) <= longest {
				want = append(want, line)
			}
		}
		framing, buf := Lines(longest), []byte(nil)
		var got [][]byte
		for from := 0; ; {
			to := min(from+1+int(step)%6, len(stream))
			buf = append(buf, stream[from:to]...)
			from = to
			block, used := framing.Cut(buf, from == len(stream))
			for line := range block.frames() {
				if len(bytes.TrimSuffix(line, []byte("\n"))) <= longest { // a block that came at once may hold longer ones
					got = append(got, bytes.Clone(line))
				}
			}
			if used < 0 || used > len(buf) {
				t.Fatalf("%d of %d bytes used", used, len(buf))
			}
			buf = buf[used:]
			if from == len(stream) {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q in steps of %d: %s", stream, 1+int(step)%6, diff)
		}
	})
}

func TestQuiet(t *testing.T) {
	var q Quiet
	now := time.Unix(0, 0)
	for i := range 25 { // one a second
		due, held := q.Due(now.Add(time.Duration(i) * time.Second))
		if due != (i%10 == 0) || due && i > 0 && held != 9 {
			t.Errorf("second %d: due %v, held back %d", i, due, held)
		}
	}
}
