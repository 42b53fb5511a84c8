package collector

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewarden/gatewarden"
)

// readAll reads to the end and returns copies of all records, and what was reported.
func readAll(r *Reader) (records []gatewarden.Record, reports []string, err error) {
	r.Report = func(err error) { reports = append(reports, err.Error()) }
	for {
		batch, err := r.Next()
		for i := range batch {
			records = append(records, batch[i].Clone())
		}
		if errors.Is(err, io.EOF) {
			return records, reports, nil
		}
		if err != nil {
			return records, reports, err
		}
	}
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the default is slow under the race detector
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReaderFindsWhatTheDecoderFinds(t *testing.T) {
	for _, file := range captures(t) {
		whole := readFile(t, file)
		batch, err := NewDecoder(Limits{}).Decode(whole)
		if err != nil {
			t.Fatal(err)
		}
		inputs := map[string]io.Reader{
			"plain":             bytes.NewReader(whole),
			"gzip":              bytes.NewReader(gzipped(t, whole)),
			"gzip in two parts": io.MultiReader(bytes.NewReader(gzipped(t, whole[:1000])), bytes.NewReader(gzipped(t, whole[1000:]))),
			"half reads":        iotest.HalfReader(bytes.NewReader(whole)),
			"byte order mark":   io.MultiReader(strings.NewReader("\xef\xbb\xbf"), bytes.NewReader(whole)),
			"data with the end": iotest.DataErrReader(bytes.NewReader(whole)),
		}
		for name, in := range inputs {
			r := NewReader(in, file)
			got, reports, err := readAll(r)
			if err != nil || len(reports) > 0 {
				t.Fatalf("%s, %s: %v, %q", file, name, err, reports)
			}
			if diff := cmp.Diff(batch.Records, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, %s: (-decoder +reader)\n%s", file, name, diff)
			}
			if s := r.Stats(); s.Lines != bytes.Count(whole, []byte("\n")) || s.Records != len(got) {
				t.Errorf("%s, %s: stats %+v", file, name, s)
			}
		}
	}
}

func TestReader(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", 2<<20) + `"}`
	cases := map[string]struct {
		in      string
		records int
		reports []string // what they say
	}{
		"nothing":                      {in: ""},
		"blank lines":                  {in: "\n\r\n\n"},
		"no line end at the end":       {in: minimal + "\n" + minimal, records: 2},
		"one array on one line":        {in: "[" + minimal + "," + minimal + "]\n[]\n" + minimal, records: 3},
		"one array over many lines":    {in: "[\n" + minimal + ",\n" + minimal + "\n,\n" + minimal + "\n]\n", records: 3},
		"pretty-printed":               {in: strings.ReplaceAll(minimal, ",", ",\n"), records: 1},
		"the last line is cut":         {in: minimal + "\n" + minimal[:40], records: 1, reports: []string{"kong.log:2: broken JSON: it ends"}},
		"a line in the middle is cut":  {in: minimal + "\n" + minimal[:40] + "\n" + minimal + "\n", records: 2, reports: []string{"kong.log:2: broken JSON"}},
		"it is cut where JSON goes on": {in: minimal[:12] + "\n" + minimal + "\n" + minimal, records: 2, reports: []string{"kong.log:1: broken"}},
		"another program's lines": {in: "2026/11/21 [notice] start\n" + minimal + "\n{\"level\":\"info\"}\n", records: 1,
			reports: []string{"kong.log:1: broken JSON: there is no value on this line", "kong.log:3: no log record of Kong's: it has no latencies"}},
		"an array that never ends": {in: "[" + minimal + ",\n" + minimal + "\n", records: 2, reports: []string{"kong.log:3: broken JSON: it ends where comma or ]"}},
		"a broken element in an array of lines": {in: "[\n" + minimal + ",\n{\"a\":},\n" + minimal + "\n,{nope}\n," + minimal + "\n]\n" + minimal, records: 4,
			reports: []string{"kong.log:3: ", "kong.log:5: "}},
		"a broken element in an array of one line": {in: "[" + minimal + ",{\"a\":}," + minimal + "]\n" + minimal, records: 2, reports: []string{"kong.log:1: "}},
		"no comma in an array":                     {in: "[" + minimal + minimal + "]\n" + minimal, records: 2, reports: []string{"kong.log:1: broken JSON: there is no comma or ]"}},
		"an element beyond the limit":              {in: minimal + "\n" + long + "\n" + minimal, records: 2, reports: []string{"kong.log:2: broken JSON: an element is longer than 1MiB"}},
		"a line that is no JSON and has no end":    {in: minimal + "\n\"" + strings.Repeat("x", 3<<20), records: 1, reports: []string{"kong.log:2: "}},
		"deep nesting":                             {in: strings.Repeat("[", 1000) + "\n" + minimal, records: 1, reports: []string{"kong.log:1: broken JSON: it is nested"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := NewReader(strings.NewReader(c.in), "kong.log")
			records, reports, err := readAll(r)
			if err != nil || len(records) != c.records || len(reports) != len(c.reports) {
				t.Fatalf("%d records, error %v, reports %q; want %d records and reports %q", len(records), err, reports, c.records, c.reports)
			}
			for i, says := range c.reports {
				if !strings.Contains(reports[i], says) {
					t.Errorf("report %q does not say %q", reports[i], says)
				}
			}
			if s := r.Stats(); s.Broken+s.Rejected != len(reports) {
				t.Errorf("stats %+v for %d reports", s, len(reports))
			}
			if cap(r.buf) > 4<<20 {
				t.Errorf("the window grew to %d bytes", cap(r.buf))
			}

			strict := NewReader(strings.NewReader(c.in), "kong.log")
			strict.Strict = true
			_, _, err = readAll(strict)
			if broken := r.Stats().Broken > 0; broken != (gatewarden.ErrorCode(err) == gatewarden.Invalid) {
				t.Errorf("strict: %v, broken lines: %v", err, broken)
			}
		})
	}
}

func TestReaderErrorsThatAreFinal(t *testing.T) {
	packed := gzipped(t, bytes.Repeat([]byte(minimal+"\n"), 1000))
	cases := map[string]struct {
		in      io.Reader
		atLeast int
		code    gatewarden.Code
	}{
		"a gzip that is cut":        {bytes.NewReader(packed[:len(packed)-10]), 900, gatewarden.Invalid},
		"a gzip header that is cut": {bytes.NewReader(packed[:5]), 0, gatewarden.Invalid},
		"a gzip with a wrong sum":   {bytes.NewReader(append(packed[:len(packed)-8:len(packed)-8], 1, 2, 3, 4, 5, 6, 7, 8)), 900, gatewarden.Invalid},
		"a disk that fails":         {io.MultiReader(strings.NewReader(minimal+"\n"), iotest.ErrReader(errors.New("disk on fire"))), 1, gatewarden.Unavailable},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := NewReader(c.in, "kong.log.gz")
			records, _, err := readAll(r)
			if len(records) < c.atLeast || gatewarden.ErrorCode(err) != c.code || !strings.Contains(err.Error(), "kong.log.gz") {
				t.Errorf("%d records, %v", len(records), err)
			}
			if _, again := r.Next(); !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
		})
	}
}

// TestReaderHandsOnBeforeItWaits feeds one line at a time through a pipe: each must be
// handed on before the next is there, because replay may read a live log.
func TestReaderHandsOnBeforeItWaits(t *testing.T) {
	in, out := io.Pipe()
	r := NewReader(in, "pipe")
	for range 3 {
		written := make(chan error, 1)
		go func() { _, err := io.WriteString(out, minimal+"\n"); written <- err }()
		records, err := r.Next()
		if err != nil || len(records) != 1 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
