package rules

import (
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

func mustCompile(tb testing.TB, text string) func(*gatewarden.Record) (bool, error) {
	tb.Helper()
	d := parseDocument("test", nil, nil)
	holds := compileGood(d, &yaml.Node{Line: 1, Column: 1}, text)
	if ps := d.finish(); len(ps) > 0 {
		tb.Fatalf("%s: %v", text, ps)
	}
	return holds
}

// proxied is a request that an upstream answered, unproxied one that Kong did.
func proxied() *gatewarden.Record {
	return &gatewarden.Record{
		Status: 200, LastTry: 200, Origin: gatewarden.OriginUpstream, Method: "POST", Path: "/orders",
		Service: "orders", Route: "orders-create", Consumer: "alice", Workspace: "default", Tags: []string{"core", "team:checkout"},
		Latency: gatewarden.Latency{Request: 300 * time.Millisecond, Upstream: 290 * time.Millisecond, Kong: 10 * time.Millisecond},
		Tries:   []gatewarden.Try{{Failed: true, Code: 502}, {}},
	}
}

func unproxied(status int) *gatewarden.Record {
	return &gatewarden.Record{
		Status: status, Origin: gatewarden.OriginKong, Method: "GET",
		Latency: gatewarden.Latency{Request: 2 * time.Millisecond, Upstream: gatewarden.NoLatency, Kong: 2 * time.Millisecond},
	}
}

func TestGood(t *testing.T) {
	for sentence, c := range map[string]struct {
		expr   string
		record *gatewarden.Record
		want   string
	}{
		"a status is a number":                        {"status < 500", proxied(), "good"},
		"a threshold includes its own value":          {"latency.request <= 300", proxied(), "good"},
		"a latency is in milliseconds":                {"latency.request < 300", proxied(), "bad"},
		"latencies are told apart":                    {"latency.upstream == 290 && latency.kong == 10", proxied(), "good"},
		"a latency that is missing makes no event":    {"latency.upstream <= 300", unproxied(429), "none"},
		"also when it is turned around":               {"!(latency.upstream > 300)", unproxied(429), "none"},
		"also when it is calculated with":             {"latency.upstream * 2 < 300", unproxied(429), "none"},
		"what decides before it counts":               {"status < 500 && latency.upstream <= 300", unproxied(503), "bad"},
		"a latency that is missing can be asked for":  {"latency.upstream == nil || latency.upstream < 300", unproxied(429), "good"},
		"words are compared":                          {`method == "POST" && path startsWith "/orders" && consumer == "alice"`, proxied(), "good"},
		"a service and a route have names":            {`service == "orders" && route == "orders-create" && workspace == "default"`, proxied(), "good"},
		"the source is Kong's word":                   {`source == "kong"`, unproxied(503), "good"},
		"the source of an upstream is its word":       {`source == "upstream"`, proxied(), "good"},
		"tries are counted":                           {"tries == 2 && last_try_status == 200", proxied(), "good"},
		"tags can be looked up":                       {`"core" in tags and not ("x" in tags)`, proxied(), "good"},
		"no tags are no error":                        {`"core" in tags`, unproxied(200), "bad"},
		"a name can be bound":                         {"let slow = latency.request > 100; !slow", proxied(), "bad"},
		"a condition may choose":                      {`method == "POST" ? latency.request < 800 : latency.request < 100`, proxied(), "good"},
		"a regular expression works":                  {`path matches "^/ord"`, proxied(), "good"},
		"a failing conversion is no event, no crash":  {`int(path) > 3`, proxied(), "none"},
		"a division by zero is a judgement, no crash": {`status / tries > 3`, unproxied(200), "good"},
	} {
		t.Run(sentence, func(t *testing.T) {
			sli := gatewarden.SLI{Kind: gatewarden.SLIGood, Expr: c.expr, Holds: mustCompile(t, c.expr)}
			good, valid := sli.Judge(c.record)
			got := map[[2]bool]string{{true, true}: "good", {false, true}: "bad"}[[2]bool{good, valid}]
			if !valid {
				got = "none"
			}
			if got != c.want {
				t.Errorf("%s is %s, want %s", c.expr, got, c.want)
			}
		})
	}
}

func TestGoodJudgesConcurrently(t *testing.T) {
	holds := mustCompile(t, `status < 500 && latency.request <= 300 && service == "orders"`)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				r := proxied()
				if (i+g)%2 == 0 {
					r.Status = 503
				}
				if good, err := holds(r); err != nil || good != (r.Status == 200) {
					t.Errorf("status %d: %v, %v", r.Status, good, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkGood(b *testing.B) {
	for name, c := range map[string]struct {
		expr   string
		record *gatewarden.Record
	}{
		"status":             {"status < 500", proxied()},
		"status and latency": {"status < 500 && latency.request <= 300", proxied()},
		"shop":               {`method == "GET" || status < 500 && tries <= 1 && latency.request <= 800`, proxied()},
		"missing latency":    {"latency.upstream <= 300", unproxied(429)},
	} {
		b.Run(name, func(b *testing.B) {
			holds := mustCompile(b, c.expr)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = holds(c.record)
			}
		})
	}
}
