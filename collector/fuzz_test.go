package collector

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func addSeeds(f *testing.F) {
	for _, file := range captures(f) {
		for line := range bytes.Lines(readFile(f, file)) {
			if len(line) < 4096 {
				f.Add(line)
			}
		}
	}
	for _, s := range []string{
		minimal, "[" + minimal + "]", minimal + "\r\n" + minimal, "[]", "{}", "[[]]", `{"a":"\ud83d\ude00\u0000"}`, "1 2 true", "truefalse", "-0.0e+1",
		`{"latencies":{"request":"5"},"started_at":"1","session":{"status":1e2},"tries":[{"ip":"::1","port":1,"state":null}],"upstream_status":"1 : 2"}`,
		`{"latencies":[],"started_at":0,"response":{"status":"\u0032"},"service":{"tags":["a","a",1]},"route":{"tags":["a"]},"service":{}}`,
		`{"latencies":{},"started_at":1,"response":{"status":1,"headers":{"server":"a","Server":"b","SERVER":1,"x-a":[-1.5e3,2]}},"request":{"headers":{"host":null,"\u0068OST":"\u00e9"}}}`,
		`{"trace_id":{"datadog":"18446744073709551615","aws":"1-00000000-000000000000000000000000"},"latencies":{},"started_at":1,"response":{"status":1}}`,
	} {
		f.Add([]byte(s))
	}
}

// FuzzDecode holds the decoder to encoding/json: the same records, or both refuse. The
// second time, the decoder knows all entities and keys of the body. Another decoder, which
// skips headers, expects them to be as in a line of Kong's.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	kongs, _, _ := bytes.Cut(readFile(f, "testdata/kong/http-log.jsonl"), []byte("\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := NewDecoder(Limits{})
		d.Headers = &Headers{}
		d.Headers.Set([]string{"Host", "x-a"}, []string{"server", "x-a"})
		sameAsOracle(t, d, body)
		sameAsOracle(t, d, body)
		d = NewDecoder(Limits{})
		if _, err := d.Decode(kongs); err != nil {
			t.Fatal(err)
		}
		sameAsOracle(t, d, body)
	})
}

// FuzzReader feeds anything to a reader. It must come to an end, and find what the
// decoder finds where nothing is broken.
func FuzzReader(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := NewReader(bytes.NewReader(body), "fuzz")
		got, _, err := readAll(r)
		if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
			return
		}
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if r.Stats().Broken > 0 {
			return
		}
		batch, err := NewDecoder(Limits{}).Decode(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
		if err != nil && len(bytes.TrimSpace(body)) > 0 && len(got) > 0 {
			t.Fatalf("the reader found nothing broken, the decoder says %v", err)
		}
		if err == nil {
			if !sameRecords(batch.Records, got) {
				t.Error(cmp.Diff(batch.Records, got, cmpopts.EquateEmpty()))
			}
		}
	})
}

func FuzzByteSize(f *testing.F) {
	for _, s := range []string{"32MiB", "0", "1KiB", "9223372036854775807", "-1", "1 GiB", "KiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b, again ByteSize
		if b.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b || b < 0 {
			t.Errorf("%q is %d, which writes %q, which reads %d, %v", s, b, b, again, err)
		}
	})
}
