package collector

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewarden/gatewarden"
)

var update = flag.Bool("update", false, "write the golden files anew")

func captures(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/kong/*")
	if err != nil || len(files) != 6 {
		t.Fatalf("captures: %v, %v", files, err)
	}
	return files
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameAsOracle decodes body by d and by encoding/json and fails where they differ.
func sameAsOracle(t *testing.T, d *Decoder, body []byte) Batch {
	t.Helper()
	got, err := d.Decode(body)
	if err != nil && d.fault.kind == tooDeep {
		return got
	}
	want, rejected, wantErr := oracle(body, d.Headers.names())
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("error %v, encoding/json says %v, on %q", err, wantErr, body)
	}
	if err != nil {
		if gatewarden.ErrorCode(err) != gatewarden.Invalid || len(got.Records) > 0 || got.Rejected > 0 {
			t.Fatalf("a refused body gave %d records and %v", len(got.Records), err)
		}
		return got
	}
	if !sameRecords(want, got.Records) {
		diff := cmp.Diff(want, got.Records, cmpopts.EquateEmpty())
		t.Fatalf("differs from encoding/json (-want +got) on %q\n%s", body, diff)
	}
	if got.Rejected != rejected || (got.Reason != "") != (rejected > 0) {
		t.Fatalf("rejected %d (%q), want %d, on %q", got.Rejected, got.Reason, rejected, body)
	}
	return got
}

// sameRecords is what cmp.Diff says, but quick enough for fuzzing.
func sameRecords(a, b []gatewarden.Record) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// TestCaptures decodes everything that a real Kong 3.9.1 was seen to send: once body
// by body, as it came over HTTP, and once as a whole, as it stands in a file.
func TestCaptures(t *testing.T) {
	for _, file := range captures(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			whole := readFile(t, file)
			d := NewDecoder(Limits{})
			var lines bytes.Buffer
			enc := json.NewEncoder(&lines)
			enc.SetEscapeHTML(false)
			count := 0
			for body := range bytes.Lines(whole) {
				batch := sameAsOracle(t, d, body)
				if batch.Rejected != 0 {
					t.Errorf("%d rejected: %s", batch.Rejected, batch.Reason)
				}
				for i := range batch.Records {
					if err := enc.Encode(&batch.Records[i]); err != nil {
						t.Fatal(err)
					}
				}
				count += len(batch.Records)
			}
			if all := sameAsOracle(t, d, whole); len(all.Records) != count {
				t.Errorf("%d records in the whole file, %d line by line", len(all.Records), count)
			}
			golden := filepath.Join("testdata/golden", filepath.Base(file))
			if *update {
				if err := os.WriteFile(golden, lines.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(readFile(t, golden)), lines.String()); diff != "" {
				t.Errorf("records changed; if they should, run with -update (-want +got):\n%s", diff)
			}
		})
	}
}

// minimal is the least that is a record.
const minimal = `{"latencies":{"request":5},"started_at":1795293551908,"response":{"status":200}}`

func TestDecodeOddButValid(t *testing.T) {
	with := func(members string) string { return strings.TrimSuffix(minimal, "}") + "," + members + "}" }
	cases := map[string]struct {
		body              string
		records, rejected int
		check             func(r gatewarden.Record) any
		want              any
	}{
		"one object":                             {body: minimal, records: 1},
		"an array, as above max_batch_size 1":    {body: "[" + minimal + "," + minimal + "]", records: 2},
		"an array of one":                        {body: "[" + minimal + "]", records: 1},
		"an empty array":                         {body: "[]"},
		"lines":                                  {body: minimal + "\n" + minimal + "\n", records: 2},
		"lines with CRLF and blank ones":         {body: "\r\n" + minimal + "\r\n\r\n" + minimal + "\r\n", records: 2},
		"objects without anything between them":  {body: minimal + minimal + minimal, records: 3},
		"a mix of arrays, objects and lines":     {body: minimal + "[" + minimal + "]\n[]" + minimal + " [" + minimal + "]", records: 4},
		"pretty-printed":                         {body: strings.NewReplacer(",", ",\n\t", ":", " : ", "{", "{ ", "}", " }").Replace(minimal), records: 1},
		"an empty Lua table":                     {body: "{}", rejected: 1},
		"something else between records":         {body: "[" + minimal + `,5,"x",null,true,[` + minimal + "]," + minimal + "]", records: 2, rejected: 5},
		"no latencies":                           {body: `{"started_at":1795293551908,"response":{"status":200}}`, rejected: 1},
		"null latencies":                         {body: `{"started_at":1795293551908,"response":{"status":200},"latencies":null}`, rejected: 1},
		"no started_at":                          {body: `{"latencies":{"request":5},"response":{"status":200}}`, rejected: 1},
		"started_at in nanoseconds":              {body: with(`"started_at":1.7952935519106e+18`), rejected: 1},
		"no status at all is not guessed":        {body: `{"latencies":{"request":5},"started_at":1795293551908}`, rejected: 1},
		"a status of four digits":                {body: with(`"response":{"status":2000}`), rejected: 1},
		"another program's log line":             {body: `{"level":"info","msg":"hello","ts":1}`, rejected: 1},
		"raw bytes that are not UTF-8 in a key":  {body: with("\"\xff\xfe\":\"\xff\""), records: 1},
		"an empty array where a table should be": {body: `{"latencies":[],"started_at":1,"response":{"status":200},"request":[],"tries":{},"route":[],"service":[]}`, records: 1},
		"a float status": {body: with(`"response":{"status":200.0}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Status }, want: 200},
		"a status as a string": {body: with(`"response":{"status":"503"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Status }, want: 503},
		"status 9, of an upstream that does not speak HTTP": {body: with(`"response":{"status":9}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Failed() }, want: true},
		"times with exponents": {body: with(`"started_at":1.795293551908e+12,"latencies":{"request":1e3}`), records: 1,
			check: func(r gatewarden.Record) any { return r.At.UnixMilli() }, want: int64(1795293552908)},
		"nothing was proxied": {body: with(`"latencies":{"request":1,"proxy":-1,"kong":1}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Latency.Upstream }, want: gatewarden.NoLatency},
		"a latency beyond all bounds": {body: with(`"latencies":{"request":1e300}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Latency.Request }, want: gatewarden.NoLatency},
		"a TCP stream": {body: `{"latencies":{"session":7},"started_at":1795293551908,"session":{"status":502}}`, records: 1,
			check: func(r gatewarden.Record) any { return []any{r.Status, r.Latency.Request.Milliseconds()} }, want: []any{502, int64(7)}},
		"the last of equal keys": {body: with(`"request":{"id":"a","uri":"/a"},"request":{"id":"b"},"service":{"name":"x"},"service":null`), records: 1,
			check: func(r gatewarden.Record) any { return r.ID + r.Path + r.Service }, want: "b"},
		"equal keys inside": {body: with(`"request":{"id":"a","id":7}`), records: 1,
			check: func(r gatewarden.Record) any { return r.ID }, want: ""},
		"escaped keys": {body: with(`"\u0073ervice":{"\u006eame":"or\u0064ers"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Service }, want: "orders"},
		"escaped slashes, as older Kongs write them": {body: with(`"request":{"uri":"\/a\/b?c=\/d"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Path }, want: "/a/b"},
		"surrogates, whole and half": {body: with(`"service":{"name":"\ud83d\ude00\ud83d\u0041\ude00"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Service }, want: "😀\ufffdA\ufffd"},
		"raw bytes that are not UTF-8": {body: with("\"request\":{\"uri\":\"/\xff\xfeä\"}"), records: 1,
			check: func(r gatewarden.Record) any { return r.Path }, want: "/\ufffd\ufffdä"},
		"a service without a name": {body: with(`"service":{"host":"h","id":"i"},"route":{"id":"r"},"consumer":{"custom_id":"c","id":"i"}`), records: 1,
			check: func(r gatewarden.Record) any { return []string{r.Service, r.Route, r.Consumer} }, want: []string{"h", "r", "c"}},
		"a service with only an id": {body: with(`"service":{"id":"i","name":null},"route":null`), records: 1,
			check: func(r gatewarden.Record) any { return []string{r.Service, r.Route} }, want: []string{"i", ""}},
		"tags of both, each once": {body: with(`"route":{"tags":["b","c"]},"service":{"tags":["a","b"]}`), records: 1,
			check: func(r gatewarden.Record) any { return r.Tags }, want: []string{"a", "b", "c"}},
		"upstream_status of a rescued request": {body: with(`"upstream_status":"502, 502, 200"`), records: 1,
			check: func(r gatewarden.Record) any { return r.LastTry }, want: 200},
		"upstream_status of a client that left": {body: with(`"upstream_status":"-"`), records: 1,
			check: func(r gatewarden.Record) any { return r.LastTry }, want: 0},
		"upstream_status as a number": {body: with(`"upstream_status":204`), records: 1,
			check: func(r gatewarden.Record) any { return r.LastTry }, want: 204},
		"tries": {body: with(`"tries":[{"ip":"10.0.0.7","port":80,"state":"failed","code":502},{"port":80},{"ip":"::1","port":"81"}]`), records: 1,
			check: func(r gatewarden.Record) any { return r.Tries },
			want:  []gatewarden.Try{{Target: "10.0.0.7:80", Failed: true, Code: 502}, {}, {Target: "[::1]:81"}}},
		"more tries than are kept": {body: with(`"tries":[{"ip":"1"}` + strings.Repeat(`,{}`, 1000) + `]`), records: 1,
			check: func(r gatewarden.Record) any { return len(r.Tries) }, want: maxTries},
		"the trace's id, W3C first": {body: with(`"trace_id":{"b3":"8424","w3c":"D0ff"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.TraceID }, want: "d0ff"},
		"a decimal trace id of Datadog": {body: with(`"trace_id":{"datadog":"255"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.TraceID }, want: "00000000000000ff"},
		"a trace id of AWS": {body: with(`"trace_id":{"aws":"1-5f84c7a1-0123456789abcdef01234567"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.TraceID }, want: "5f84c7a10123456789abcdef01234567"},
		"a trace id that is none": {body: with(`"trace_id":{"w3c":"none"}`), records: 1,
			check: func(r gatewarden.Record) any { return r.TraceID }, want: ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := sameAsOracle(t, NewDecoder(Limits{}), []byte(c.body))
			if len(got.Records) != c.records || got.Rejected != c.rejected {
				t.Fatalf("%d records and %d rejected (%s), want %d and %d", len(got.Records), got.Rejected, got.Reason, c.records, c.rejected)
			}
			if c.check != nil {
				if diff := cmp.Diff(c.want, c.check(got.Records[0])); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := minimal + "\n"
	cases := map[string]struct{ body, says string }{
		"nothing":                         {"", "empty"},
		"white space":                     {" \r\n\t", "empty"},
		"no JSON":                         {"hello", `byte 0 of 5: there is no value, near "hello"`},
		"an object that is cut":           {good + minimal[:24], "it ends where"},
		"a string that is cut":            {good + minimal[:5], "ends inside a string"},
		"an array that is cut":            {"[" + minimal + ",", "it ends where value should be"},
		"an array without its end":        {"[" + minimal, "it ends where comma or ] should be"},
		"a bracket of the wrong kind":     {`{"a":[1}`, "byte 7 of 8: there is no comma or ]"},
		"a comma too many":                {`{"a":1,}`, "there is no key in quotes"},
		"a comma too many in an array":    {`[{},]`, "there is no value"},
		"commas between lines":            {minimal + ",\n" + minimal, "there is no value"},
		"a closing bracket alone":         {minimal + "]", "there is no value"},
		"no colon":                        {`{"a" 1}`, "there is no colon"},
		"a wrong word where nobody looks": {`{"a":{"b":nul}}`, "there is no null"},
		"a number that is none":           {`{"a":01}`, "there is no comma or }"},
		"a number without digits":         {`{"a":-}`, "there is no value"},
		"a fraction without digits":       {`{"a":1.}`, "there is no digit"},
		"an exponent without digits":      {`{"a":1e+}`, "there is no digit"},
		"NaN":                             {`{"a":NaN}`, "there is no value"},
		"a control character in a string": {"{\"a\":\"\x01\"}", `control character in a string, near "{\"a\":\"\x01\"}"`},
		"a raw line end in a string":      {"{\"a\":\"x\ny\"}", "control character"},
		"an unknown escape":               {`{"a":"\x41"}`, "unknown escape"},
		"half a unicode escape":           {`{"a":"\u12"}`, "there is no hexadecimal digit"},
		"deep nesting":                    {strings.Repeat(`[`, 100_000), "nested more than 64 deep"},
		"deep nesting of objects":         {strings.Repeat(`{"a":`, 100_000), "nested more than 64 deep"},
		"a byte order mark":               {"\xef\xbb\xbf" + minimal, `near "\ufeff{`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(Limits{})
			batch, err := d.Decode([]byte(c.body))
			if gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if len(batch.Records) != 0 {
				t.Errorf("%d records of a broken body", len(batch.Records))
			}
			if again := sameAsOracle(t, d, []byte(good)); len(again.Records) != 1 {
				t.Errorf("afterwards the decoder found %d records", len(again.Records))
			}
		})
	}
}

// TestCutAnywhere cuts a batch at every byte: no prefix of an array may count.
func TestCutAnywhere(t *testing.T) {
	custom := bytes.TrimSpace(readFile(t, "testdata/kong/http-log-custom.jsonl"))
	line := slices.Concat([]byte("["), bytes.ReplaceAll(custom, []byte("\n"), []byte(",")), []byte("]"))
	d := NewDecoder(Limits{})
	if batch, err := d.Decode(line); err != nil || len(batch.Records) != 2 {
		t.Fatalf("the whole batch: %d records, %v", len(batch.Records), err)
	}
	for n := range line {
		if batch, err := d.Decode(line[:n]); err == nil || len(batch.Records) > 0 {
			t.Fatalf("%d of %d bytes were taken for %d records", n, len(line), len(batch.Records))
		}
		if n > 0 && d.fault.at != n {
			t.Fatalf("cut at %d, but the fault is said to be at %d", n, d.fault.at)
		}
	}
}

func TestLimits(t *testing.T) {
	d := NewDecoder(Limits{MaxRecords: 3, MaxRecordBytes: 200})
	if batch, err := d.Decode([]byte(minimal + minimal + minimal)); err != nil || len(batch.Records) != 3 {
		t.Errorf("as many records as allowed: %d, %v", len(batch.Records), err)
	}
	batch, err := d.Decode([]byte("[{},1," + minimal + "]" + minimal))
	if !errors.Is(err, ErrTooMany) || gatewarden.ErrorCode(err) != gatewarden.Invalid || len(batch.Records) > 0 {
		t.Errorf("one element more: %d records, %v", len(batch.Records), err)
	}
	long := `{"pad":"` + strings.Repeat("x", 200) + `",` + minimal[1:]
	batch, err = d.Decode([]byte("[" + minimal + "," + long + "," + minimal + "]"))
	if err != nil || len(batch.Records) != 2 || batch.Rejected != 1 || batch.Reason != "it is longer than 200" {
		t.Errorf("an element that is too long: %+v, %v", batch, err)
	}
	for _, name := range []string{`"service":{"name":"%s"}`, `"route":{"id":"%s"}`, `"consumer":{"username":"%s"}`, `"request":{"id":"%s"}`,
		`"workspace_name":"%s"`, `"service":{"tags":["%s"]}`} {
		for length, fits := range map[int]bool{maxName: true, maxName + 1: false} {
			member := strings.Replace(name, "%s", strings.Repeat("x", length), 1)
			batch, err := NewDecoder(Limits{}).Decode([]byte("{" + member + "," + minimal[1:]))
			if err != nil || (len(batch.Records) == 1) != fits {
				t.Errorf("a name of %d in %s: %d records (%s), %v", length, name, len(batch.Records), batch.Reason, err)
			}
		}
	}
}

// TestNestingLimit counts the batch's own array.
func TestNestingLimit(t *testing.T) {
	nested := func(depth int) []byte {
		return []byte(`[{"a":` + strings.Repeat("[", depth-2) + strings.Repeat("]", depth-2) + "," + minimal[1:] + "]")
	}
	d := NewDecoder(Limits{})
	if batch := sameAsOracle(t, d, nested(maxDepth)); len(batch.Records) != 1 {
		t.Errorf("nesting of %d: %d records", maxDepth, len(batch.Records))
	}
	if _, err := d.Decode(nested(maxDepth + 1)); err == nil || !strings.Contains(err.Error(), "nested more than 64 deep") {
		t.Errorf("nesting of %d: %v", maxDepth+1, err)
	}
}
