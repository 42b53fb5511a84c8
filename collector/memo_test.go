package collector

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gatewarden/gatewarden"
)

// TestMutations changes captured bodies at random and decodes all of them by one
// decoder, whose memo is full of entities that are nearly the same.
func TestMutations(t *testing.T) {
	var bodies [][]byte
	for _, file := range []string{"http-log.jsonl", "http-log-batch.jsonl", "stream-file-log.jsonl"} {
		for line := range bytes.Lines(readFile(t, "testdata/kong/"+file)) {
			bodies = append(bodies, line)
		}
	}
	rnd, d := rand.New(rand.NewPCG(1, 2)), NewDecoder(Limits{})
	good := 0
	for range 2000 {
		body := mutated(rnd, bodies[rnd.IntN(len(bodies))])
		if batch := sameAsOracle(t, d, body); len(batch.Records) > 0 {
			good++
		}
	}
	if good < 200 || good > 1800 {
		t.Errorf("%d of 2000 mutations are still records: the test sees too little", good)
	}
}

func mutated(rnd *rand.Rand, body []byte) []byte {
	body = bytes.Clone(body)
	for range 1 + rnd.IntN(2) {
		at := rnd.IntN(len(body))
		switch rnd.IntN(4) {
		case 0: // another byte, most of them harmless
			body[at] = `aZ7 "\{}[],:.-`[rnd.IntN(14)]
		case 1: // a piece twice
			end := min(at+rnd.IntN(80), len(body))
			body = slices.Insert(body, end, bytes.Clone(body[at:end])...)
		case 2: // a digit or letter changed: still good JSON
			if c := body[at]; c|0x20 >= 'a' && c|0x20 < 'z' || c >= '0' && c < '9' {
				body[at]++
			}
		case 3: // a member twice
			names := []string{`"service":`, `"route":`, `"latencies":`, `"tries":`, `"request":`, `"status":`}
			if k := bytes.Index(body, []byte(names[rnd.IntN(len(names))])); k > 0 {
				body = slices.Insert(body, k, []byte(`"service":{"name":"x"},`)...)
			}
		}
	}
	return body
}

// TestMemoIsBounded shows a decoder more entities than it may remember.
func TestMemoIsBounded(t *testing.T) {
	d := NewDecoder(Limits{})
	for n := range 5_000 {
		body := fmt.Appendf(nil, `{"latencies":{},"started_at":1,"response":{"status":200},"workspace_name":"w%d",
			"service":{"name":"s%d","pad":%q},"route":{"name":"r%d"},"tries":[{"ip":"10.0.0.1","port":%d}]}`,
			n, n, bytes.Repeat([]byte("x"), 500), n, 1+n)
		batch, err := d.Decode(body)
		if err != nil || len(batch.Records) != 1 {
			t.Fatal(err)
		}
		r := batch.Records[0]
		if r.Service != fmt.Sprint("s", n) || r.Route != fmt.Sprint("r", n) || r.Workspace != fmt.Sprint("w", n) || r.Tries[0].Target != fmt.Sprint("10.0.0.1:", n+1) {
			t.Fatalf("record %d: %+v", n, r)
		}
	}
	for kind := range d.memo.entities {
		held := 0
		for raw := range d.memo.entities[kind].known {
			held += len(raw)
		}
		if held > memoBytes || held != d.memo.entities[kind].bytes {
			t.Errorf("kind %d holds %d bytes and believes %d", kind, held, d.memo.entities[kind].bytes)
		}
	}
	if n := len(d.memo.names); n > memoNames {
		t.Errorf("%d names", n)
	}
}

// TestStringsOutliveTheBody overwrites a body after it was decoded. What records have for
// themselves stays until the decoder is used again, what they have in common for good.
func TestStringsOutliveTheBody(t *testing.T) {
	d := NewDecoder(Limits{})
	body := bytes.Clone(readFile(t, "testdata/kong/http-log.jsonl"))
	want := sameAsOracle(t, d, body).Records
	clear(body)
	kept := make([]gatewarden.Record, len(want))
	for i := range want {
		kept[i] = want[i].Clone()
		kept[i].Service, kept[i].Route, kept[i].Consumer, kept[i].Workspace = want[i].Service, want[i].Route, want[i].Consumer, want[i].Workspace
	}
	if _, err := d.Decode([]byte(minimal)); err != nil {
		t.Fatal(err)
	}
	records, _, err := oracle(readFile(t, "testdata/kong/http-log.jsonl"), nil)
	if err != nil || len(records) != len(kept) {
		t.Fatal(len(records), len(kept), err)
	}
	for i := range kept {
		a, b := kept[i], records[i]
		if a.ID != b.ID || a.Path != b.Path || a.Service != b.Service || a.Route != b.Route || a.Consumer != b.Consumer ||
			a.ClientIP != b.ClientIP || a.TraceID != b.TraceID || a.Workspace != b.Workspace || !slices.Equal(a.Tags, b.Tags) {
			t.Fatalf("record %d is now %+v, was %+v", i, a, b)
		}
	}
}

// TestAllocations holds the decoder to none for what it has met before.
func TestAllocations(t *testing.T) {
	d, body := NewDecoder(Limits{}), readFile(t, "testdata/kong/http-log-batch.jsonl")
	allocs := testing.AllocsPerRun(20, func() {
		if batch, err := d.Decode(body); err != nil || len(batch.Records) != 25 {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations for 25 records", allocs)
	}
}

func TestPoolKeepsNoGiants(t *testing.T) {
	p := NewPool(Limits{}, nil)
	d := p.Get()
	if _, err := d.Decode(bytes.Repeat([]byte(minimal), 10_000)); err != nil {
		t.Fatal(err)
	}
	p.Put(d)
	if again := p.Get(); again == d {
		t.Error("a decoder with room for 10,000 records was kept")
	}
}
