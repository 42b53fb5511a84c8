package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// nothing is an environment without variables.
func nothing(string) (string, bool) { return "", false }

func TestWrongCommandLinesAreExplained(t *testing.T) {
	for sentence, c := range map[string]struct{ line, want string }{
		"a service that there is not":   {"serve shoes", `there is no service "shoes"; the shop has orders, payments, inventory, recommendations`},
		"a version that is none":        {"serve orders --version v2;x --listen 127.0.0.1:0", `version "v2;x"`},
		"a peer without an address":     {"serve orders --peer inventory", `--peer "inventory": write it as inventory=http://inventory:8080`},
		"no customers at all":           {"load --rate 0", "--rate is from 1 to 10000"},
		"a share that is none":          {"faults --errors 2", `--errors "2": write a share such as 30%`},
		"a gateway that is not there":   {"gateway --kong http://127.0.0.1:1 --wait 1ms", "waited for Kong at http://127.0.0.1:1"},
		"a story without a token":       {"story --token-file none", "the token of Jenkins"},
		"a version to deploy":           {"deploy canary", "accepts 1 arg(s)"},
		"an instance that is not there": {"healthcheck --url http://127.0.0.1:1", "connection refused"},
		"a program that is not there":   {"local --gatewarden none --api 127.0.0.1:0", "make build makes it"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var stdout, stderr strings.Builder
			if code := run(t.Context(), strings.Fields(c.line), nothing, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("code %d, said %q, want %q", code, stderr.String(), c.want)
			}
		})
	}
}

func TestAnInstanceIsBrokenByCommand(t *testing.T) {
	s, url := open(t, "orders", "v1", 0.5, nil)
	for _, c := range []struct {
		line string
		want faults
	}{
		{"faults --errors 60%", faults{Errors: 0.6, DelayMillis: 400}},
		{"faults --slow 50% --delay-millis 900", faults{Slow: 0.5, DelayMillis: 900}},
		{"faults", faults{DelayMillis: 400}},
		{"healthcheck", faults{DelayMillis: 400}},
	} {
		var stderr strings.Builder
		if code := run(t.Context(), append(strings.Fields(c.line), "--url", url), nothing, io.Discard, &stderr); code != 0 {
			t.Errorf("%s: code %d, %s", c.line, code, stderr.String())
		}
		if got := *s.faults.Load(); got != c.want {
			t.Errorf("%s: faults are %+v, want %+v", c.line, got, c.want)
		}
	}
}

// The pipelines call deploy.sh and rollback.sh, and these the verbs below deploy.
func TestThePipelinesOrderWhatCanBeOrdered(t *testing.T) {
	raw, err := os.ReadFile("../ci/jenkins/Jenkinsfile.declarative")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range newDeploy(nothing).Commands() {
		known[c.Name()] = true
	}
	orders := regexp.MustCompile(`deploy\.sh (\w+)`).FindAllSubmatch(raw, -1)
	if len(orders) < 3 {
		t.Fatalf("only %d orders seen", len(orders))
	}
	for _, m := range orders {
		if !known[string(m[1])] {
			t.Errorf("shop deploy %s does not exist", m[1])
		}
	}
}

// A trace that Kong has begun goes through orders to inventory, and both tell of it.
func TestATraceGoesThroughTheShop(t *testing.T) {
	var mu sync.Mutex
	var exported [][]byte
	jaeger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/v1/traces" {
			exported = append(exported, body)
		}
	}))
	defer jaeger.Close()

	ctx := t.Context()
	var all []*tracing
	instance := func(name string, peers map[string]string) string {
		tr, err := newTracing(ctx, jaeger.URL, name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tr)
		s, err := newService(name, "v1", peers, tr.client(), quiet())
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(s.handler(tr.wrap))
		t.Cleanup(server.Close)
		return server.URL
	}
	orders := instance("orders", map[string]string{"inventory": instance("inventory", nil)})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, orders+"/orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	if _, err := do(http.DefaultClient, req, nil); err != nil {
		t.Fatal(err)
	}
	for _, tr := range all {
		if err := tr.close(ctx); err != nil {
			t.Error(err)
		}
	}
	trace := []byte("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef")
	for _, name := range []string{"orders", "inventory"} {
		told := false
		for _, body := range exported {
			told = told || bytes.Contains(body, trace) && bytes.Contains(body, []byte("service.name")) && bytes.Contains(body, []byte(name))
		}
		if !told {
			t.Errorf("%s tells nothing of the trace, in %d exports", name, len(exported))
		}
	}
}
