package collector

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// asking returns a decoder whose records carry these headers.
func asking(request, response []string) *Decoder {
	d := NewDecoder(Limits{})
	d.Headers = &Headers{}
	d.Headers.Set(request, response)
	return d
}

func TestHeaders(t *testing.T) {
	request := func(headers string) string {
		return strings.TrimSuffix(minimal, "}") + `,"request":{"headers":` + headers + `}}`
	}
	response := func(headers string) string {
		return `{"latencies":{"request":5},"started_at":1795293551908,"response":{"headers":` + headers + `,"status":200}}`
	}
	cases := map[string]struct {
		body string
		want []string // of request and response, in the order asked for: "x-release=v2", ">x-release=v2"
	}{
		"a text":                                        {request(`{"host":"shop","x-release":"v2"}`), []string{"x-release=v2"}},
		"of the response":                               {response(`{"x-release":"v2"}`), []string{">x-release=v2"}},
		"case does not matter":                          {request(`{"X-Release":"v2"}`), []string{"x-release=v2"}},
		"a list: the first":                             {request(`{"x-release":["v2","v1"]}`), []string{"x-release=v2"}},
		"a number, as it is written":                    {response(`{"x-release":1.50}`), []string{">x-release=1.50"}},
		"a list of numbers":                             {response(`{"x-release":[-1e3,2]}`), []string{">x-release=-1e3"}},
		"an empty text is there":                        {request(`{"x-release":""}`), []string{"x-release="}},
		"an empty list is none":                         {request(`{"x-release":[]}`), nil},
		"an empty Lua table is none":                    {request(`[]`), nil},
		"an object, a word and null is none":            {request(`{"x-release":{"a":1},"cookie":true}`), nil},
		"a list of lists is none":                       {request(`{"x-release":[["v2"]]}`), nil},
		"escapes are resolved":                          {request(`{"x-\u0072elease":"v\u0032"}`), []string{"x-release=v2"}},
		"the last of equal keys":                        {request(`{"x-release":"v1","x-release":"v2"}`), []string{"x-release=v2"}},
		"the last of equal keys, though it is none":     {request(`{"x-release":"v1","x-release":null}`), nil},
		"the lower-case spelling, when it comes first":  {request(`{"x-release":"v2","X-Release":"v1"}`), []string{"x-release=v2"}},
		"the lower-case spelling, when it comes later":  {request(`{"X-Release":"v1","x-release":"v2"}`), []string{"x-release=v2"}},
		"the lower-case spelling, though it is escaped": {request(`{"x-releas\u0065":"v2","X-Release":"v1"}`), []string{"x-release=v2"}},
		"of the last of equal objects":                  {strings.TrimSuffix(request(`{"x-release":"v1"}`), "}") + `,"request":{}}`, nil},
		"two of them":                                   {request(`{"cookie":"a=b","x-release":"v2"}`), []string{"x-release=v2", "cookie=a=b"}},
		"what was not asked for on this side":           {response(`{"cookie":"a=b"}`), nil},
		"a header that is nearly it":                    {request(`{"x-releas":"v1","x-release2":"v2","x\u212a":"v3"}`), nil},
		"none for the element that follows":             {request(`{"x-release":"v2"}`) + minimal, []string{"x-release=v2"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := asking([]string{"X-Release", "cookie", "xk", ""}, []string{"x-release"})
			var got []string
			for _, r := range sameAsOracle(t, d, []byte(c.body)).Records {
				for _, h := range r.Headers {
					side := ""
					if h.Response {
						side = ">"
					}
					got = append(got, side+h.Name+"="+h.Value)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestHeadersOfCaptures asks for headers that the captured records have.
func TestHeadersOfCaptures(t *testing.T) {
	d := asking([]string{"host", "user-agent"}, []string{"Server", "X-Kong-Upstream-Latency"})
	found := map[string]int{}
	for _, file := range captures(t) {
		for _, r := range sameAsOracle(t, d, readFile(t, file)).Records {
			for _, h := range r.Headers {
				found[h.Name]++
			}
		}
	}
	if len(found) != 4 {
		t.Errorf("found %v", found)
	}
}

func TestHeadersChangeWithTheNextBody(t *testing.T) {
	d := asking(nil, []string{"server"})
	line, _, _ := bytes.Cut(readFile(t, "testdata/kong/http-log.jsonl"), []byte("\n"))
	if r := sameAsOracle(t, d, line).Records[0]; len(r.Headers) != 1 {
		t.Fatalf("headers %v", r.Headers)
	}
	d.Headers.Set([]string{"host"}, nil)
	r := sameAsOracle(t, d, line).Records[0]
	if _, ok := r.Header(false, "host"); !ok || len(r.Headers) != 1 {
		t.Fatalf("headers %v", r.Headers)
	}
	d.Headers.Set(nil, nil)
	if r := sameAsOracle(t, d, line).Records[0]; r.Headers != nil {
		t.Fatalf("headers %v", r.Headers)
	}
}

func TestReaderAndPoolHandHeadersOn(t *testing.T) {
	headers := &Headers{}
	headers.Set(nil, []string{"server"})
	file := readFile(t, "testdata/kong/http-log.jsonl")
	reader := NewReader(bytes.NewReader(file), "kong.log")
	reader.Headers = headers
	fromReader, _, err := readAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := NewPool(Limits{}, headers).Get().Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	has := func(records []gatewarden.Record) (n int) {
		for i := range records {
			if _, ok := records[i].Header(true, "server"); ok {
				n++
			}
		}
		return n
	}
	if a, b := has(fromReader), has(batch.Records); a != b || a == 0 {
		t.Errorf("%d records of the reader have it, %d of the decoder", a, b)
	}
}
