package fakekong

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// edge is a gateway in front of two versions of orders, with a sink for its logs.
type edge struct {
	t     *testing.T
	kong  *Kong
	proxy *httptest.Server
	sink  *sink
	hosts map[string]string // "v1" and "v2" by address
}

func newEdge(t *testing.T, c Config, queue map[string]any, more func(s *Setup)) *edge {
	t.Helper()
	if queue == nil {
		queue = map[string]any{}
	}
	e := &edge{t: t, kong: New(c), sink: newSink(t), hosts: map[string]string{}}
	for _, v := range []string{"v1", "v2"} {
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Backend-Version", v)
			if r.URL.Path == "/api/fail" {
				w.WriteHeader(http.StatusInternalServerError)
			}
			_, _ = fmt.Fprintf(w, "%s %s", v, r.URL.RequestURI())
		}))
		t.Cleanup(backend.Close)
		e.hosts[v] = backend.Listener.Addr().String()
	}
	t.Cleanup(e.kong.Close)
	s := Setup{
		Upstreams: []Upstream{{Name: "orders-up", Targets: []Target{{Target: e.hosts["v1"], Weight: 90, Tags: []string{"version:v1"}}, {Target: e.hosts["v2"], Weight: 10}}}},
		Services:  []Service{{Name: "orders", Host: "orders-up", Path: new("/api"), Tags: []string{"team:shop"}, Routes: []Route{{Name: "orders-route", Paths: []string{"/orders"}}}}},
		Plugins: []Plugin{
			{Name: "http-log", Config: map[string]any{"http_endpoint": e.sink.url + "/log?dropped=1", "queue": queue, "headers": map[string]string{"X-Source": "edge"}}},
			{Name: "prometheus", Config: map[string]any{"status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true, "per_consumer": true, "upstream_health_metrics": true}},
		},
	}
	if more != nil {
		more(&s)
	}
	mustLoad(t, e.kong, s)
	e.proxy = httptest.NewServer(e.kong.Proxy())
	t.Cleanup(e.proxy.Close)
	return e
}

func (e *edge) ask(method, path string, header ...string) (*http.Response, string) {
	e.t.Helper()
	req, err := http.NewRequest(method, e.proxy.URL+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp, string(body)
}

// admin changes the gateway and returns the answer's status and body.
func (e *edge) admin(method, path, body string) (int, string) {
	return asked(e.kong, method, path, body)
}

func asked(k *Kong, method, path, body string) (int, string) {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	k.Admin().ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// lines flushes the log and returns its lines.
func (e *edge) lines() []map[string]any {
	e.t.Helper()
	if err := e.kong.Flush(context.Background()); err != nil {
		e.t.Fatal(err)
	}
	return e.sink.lines(e.t)
}

// sink takes http-log posts.
type sink struct {
	url    string
	mu     sync.Mutex
	bodies []string
	heads  []http.Header
	uris   []string
	refuse int // so many posts are answered with 500
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies, s.heads, s.uris = append(s.bodies, string(body)), append(s.heads, r.Header.Clone()), append(s.uris, r.RequestURI)
	if s.refuse > 0 {
		s.refuse--
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (s *sink) lines(t *testing.T) []map[string]any {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []map[string]any
	for _, body := range s.bodies {
		var batch []map[string]any
		if !strings.HasPrefix(body, "[") {
			body = "[" + body + "]"
		}
		if err := json.Unmarshal([]byte(body), &batch); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		all = append(all, batch...)
	}
	return all
}

func TestTheBalancerKeepsTheWeightsExactly(t *testing.T) {
	e := newEdge(t, Config{Workers: 1}, nil, nil)
	count := func() map[string]int {
		seen := map[string]int{}
		for range 100 {
			_, body := e.ask("GET", "/orders/x?y=1")
			seen[body]++
		}
		return seen
	}
	if diff := cmp.Diff(map[string]int{"v1 /api/x?y=1": 90, "v2 /api/x?y=1": 10}, count()); diff != "" {
		t.Error(diff)
	}
	if code, body := e.admin("PATCH", "/upstreams/orders-up/targets/"+e.hosts["v2"], `{"weight":0}`); code != 200 {
		t.Fatal(body)
	}
	if diff := cmp.Diff(map[string]int{"v1 /api/x?y=1": 100}, count()); diff != "" {
		t.Errorf("a weight is in force at once: %s", diff)
	}
	if code, body := e.admin("PATCH", "/upstreams/orders-up/targets/"+e.hosts["v1"], `{"weight":0}`); code != 200 {
		t.Fatal(body)
	}
	resp, body := e.ask("GET", "/orders/x")
	want := fmt.Sprintf("{\n  \"message\":\"failure to get a peer from the ring-balancer\",\n  \"request_id\":\"%s\"\n}", resp.Header.Get("X-Kong-Request-Id"))
	if resp.StatusCode != http.StatusServiceUnavailable || body != want {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// closedPort returns an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func TestFailedTriesGoToTheNextTargetAndShowInTheLog(t *testing.T) {
	e := newEdge(t, Config{Workers: 1}, nil, nil)
	dead := closedPort(t)
	e.admin("DELETE", "/upstreams/orders-up/targets/"+e.hosts["v2"], "")
	if code, body := e.admin("POST", "/upstreams/orders-up/targets", `{"target":"`+dead+`","weight":90}`); code != 201 {
		t.Fatal(body)
	}
	for range 10 {
		if resp, body := e.ask("GET", "/orders/x"); resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	rescued := false
	for _, line := range e.lines() {
		tries := line["tries"].([]any)
		codes := strings.Split(line["upstream_status"].(string), ", ")
		if len(codes) != len(tries) {
			t.Errorf("%d tries, upstream_status %q", len(tries), line["upstream_status"])
		}
		for i, item := range tries {
			try := item.(map[string]any)
			failed := codes[i] == "502"
			if (try["state"] == "failed") != failed || (try["code"] == 502.0) != failed {
				t.Errorf("try %d of %v: %v", i, codes, try)
			}
		}
		rescued = rescued || len(tries) > 1 && codes[len(codes)-1] == "200" && line["source"] == "upstream"
	}
	if !rescued {
		t.Error("no request was rescued by the other target")
	}
}

func TestAnswersOfKongItself(t *testing.T) {
	dead := closedPort(t)
	host, port, _ := net.SplitHostPort(dead)
	var n int
	if err := json.Unmarshal([]byte(port), &n); err != nil {
		t.Fatal(err)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.CloseClientConnections)
	e := newEdge(t, Config{}, nil, func(s *Setup) {
		s.Services = append(s.Services,
			Service{Name: "refused", Host: host, Port: &n, Retries: new(2), Routes: []Route{{Paths: []string{"/refused"}}}},
			Service{Name: "slow", URL: silent.URL, Retries: new(1), ReadTimeout: new(40), Routes: []Route{{Paths: []string{"/slow"}}}},
			Service{Name: "nxdomain", Host: "no-such-host.invalid", Routes: []Route{{Paths: []string{"/nxdomain"}}}},
			Service{Name: "closed", Host: "127.0.0.1", Routes: []Route{{Paths: []string{"/closed"}}}, Plugins: []Plugin{{Name: "request-termination", Config: map[string]any{"message": "So long and thanks for all the fish"}}}},
			Service{Name: "upload", Host: "127.0.0.1", Routes: []Route{{Paths: []string{"/upload"}}}, Plugins: []Plugin{{Name: "ip-restriction", Config: map[string]any{"deny": []string{"10.66.0.0/16"}}}}},
			Service{Name: "payments", Host: "127.0.0.1", Routes: []Route{{Paths: []string{"/payments"}}}, Plugins: []Plugin{{Name: "key-auth"}}},
		)
		s.Routes = []Route{{Name: "serviceless", Paths: []string{"/serviceless"}, Plugins: []Plugin{{Name: "request-termination", Config: map[string]any{"status_code": 418, "body": "short and stout", "content_type": "text/plain"}}}}}
	})
	message := func(text string) string { return "{\n  \"message\":\"" + text + "\",\n  \"request_id\":\"ID\"\n}" }
	type answer struct {
		Status                  int
		Body, Type              string
		Codes, Source, Upstream string
		Tries                   string
	}
	for name, c := range map[string]struct {
		path   string
		header []string
		want   answer
	}{
		"no route":         {"/", nil, answer{404, message("no Route matched with those values"), jsonType, "", "kong", "", "null"}},
		"refused":          {"/refused/0", nil, answer{502, "An invalid response was received from the upstream server\nrequest_id: ID\n", plainType, "502, 502, 502", "kong", "/0", "3"}},
		"silent":           {"/slow/x", nil, answer{504, "The upstream server is timing out\nrequest_id: ID\n", plainType, "504, 504", "kong", "/x", "2"}},
		"an unknown name":  {"/nxdomain/x", nil, answer{503, message("name resolution failed"), jsonType, "", "kong", "/x", "0"}},
		"terminated":       {"/closed/x0", nil, answer{503, `{"message":"So long and thanks for all the fish"}`, jsonType, "", "kong", "/x0", "0"}},
		"no service":       {"/serviceless", nil, answer{418, "short and stout", "text/plain", "", "kong", "/", "0"}},
		"a denied address": {"/upload/f", []string{"X-Real-IP", "10.66.1.2"}, answer{403, message("IP address not allowed: 10.66.1.2"), jsonType, "", "kong", "/f", "0"}},
		"no key":           {"/payments/charge", nil, answer{401, message("No API key found in request"), jsonType, "", "kong", "/charge", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := e.ask("GET", c.path, c.header...)
			id := resp.Header.Get("X-Kong-Request-Id")
			for _, line := range e.lines() {
				if line["request"].(map[string]any)["id"] != id {
					continue
				}
				tries := "null"
				if list, ok := line["tries"].([]any); ok {
					tries = fmt.Sprint(len(list))
				}
				got := answer{resp.StatusCode, strings.ReplaceAll(body, id, "ID"), resp.Header.Get("Content-Type"), line["upstream_status"].(string), line["source"].(string), line["upstream_uri"].(string), tries}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				proxied := line["latencies"].(map[string]any)["proxy"].(float64) >= 0
				if proxied != (got.Codes != "") || resp.Header.Get("Server") != "kong/3.9.1" {
					t.Errorf("latencies %v, headers %v", line["latencies"], resp.Header)
				}
				return
			}
			t.Error("it is not in the log")
		})
	}
}

// TestLogLinesAreLikeTheCapturedOnes compares the keys and the kinds of their
// values with lines that a real Kong logged for the same kind of request.
func TestLogLinesAreLikeTheCapturedOnes(t *testing.T) {
	b, err := os.ReadFile("testdata/http-log.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	captured := map[string]map[string]any{} // by what became of the request
	for line := range strings.Lines(string(b)) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		captured[fateOf(v)] = v
	}
	var n int
	host, port, _ := net.SplitHostPort(closedPort(t))
	if err := json.Unmarshal([]byte(port), &n); err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, Config{}, nil, func(s *Setup) {
		s.Services = append(s.Services,
			Service{Name: "refused", Host: host, Port: &n, Routes: []Route{{Name: "refused-route", Paths: []string{"/refused"}}}},
			Service{Name: "limited", Host: "orders-up", Routes: []Route{{Name: "limited-route", Paths: []string{"/limited"}}}, Plugins: []Plugin{{Name: "rate-limiting", Config: map[string]any{"minute": 1}}}})
		s.Services[0].Routes[0].Tags = []string{"team:shop", "tier:gold"}
	})
	e.ask("GET", "/orders/x")
	e.ask("GET", "/nowhere")
	e.ask("GET", "/refused/0")
	e.ask("GET", "/limited/0")
	e.ask("GET", "/limited/1")
	seen := 0
	for _, line := range e.lines() {
		if line["response"].(map[string]any)["status"] == 200.0 && line["upstream_uri"] == "/0" {
			continue // the one that the limit let pass
		}
		like := captured[fateOf(line)]
		if like == nil {
			t.Errorf("no captured line is like %s", fateOf(line))
			continue
		}
		seen++
		if diff := cmp.Diff(lineShape(like), lineShape(line)); diff != "" {
			t.Errorf("%s: (-captured +here)\n%s", fateOf(line), diff)
		}
	}
	if seen != 4 {
		t.Errorf("%d lines", seen)
	}
	e.sink.mu.Lock()
	defer e.sink.mu.Unlock()
	body, head := e.sink.bodies[0], e.sink.heads[0]
	if !regexp.MustCompile(`"balancer_start_ns":1\.[0-9]{1,13}e\+18`).MatchString(body) || strings.Contains(body, `\/`) {
		t.Errorf("numbers or slashes are not as Kong writes them: %s", body)
	}
	if e.sink.uris[0] != "/log" || head.Get("X-Source") != "edge" || head.Get("Content-Type") != "application/json" || head.Get("User-Agent") != "lua-resty-http/0.17.2 (Lua) ngx_lua/10026" {
		t.Errorf("posted to %s with %v", e.sink.uris[0], head)
	}
}

func fateOf(line map[string]any) string {
	tries, _ := line["tries"].([]any)
	return fmt.Sprintf("%v %v %d", line["source"], line["response"].(map[string]any)["status"], len(tries))
}

// lineShape keeps keys and kinds; of headers, which are the client's and the
// upstream's own, only those that Kong makes.
func lineShape(line map[string]any) any {
	s := shape(line).(map[string]any)
	tries, _ := line["tries"].([]any)
	var shapes []any
	for _, try := range tries {
		shapes = append(shapes, shape(try))
	}
	s["tries"] = shapes
	s["request"].(map[string]any)["headers"] = "object"
	s["request"].(map[string]any)["querystring"] = "object"
	headers := s["response"].(map[string]any)["headers"].(map[string]any)
	for name := range headers {
		if !strings.HasPrefix(name, "x-kong") && !strings.Contains(name, "ratelimit") && name != "via" && name != "retry-after" && name != "content-type" {
			delete(headers, name)
		}
	}
	return s
}

func TestRateLimitsAndTheirHeaders(t *testing.T) {
	now := time.Unix(1795293560, 0) // 40 s before a full minute
	e := newEdge(t, Config{Now: func() time.Time { return now }}, nil, func(s *Setup) {
		s.Services[0].Plugins = []Plugin{{Name: "rate-limiting", Config: map[string]any{"minute": 5, "limit_by": "ip"}}}
	})
	for i := range 7 {
		resp, body := e.ask("GET", "/orders/x", "X-Real-IP", "198.51.100.7")
		want := map[string]string{"RateLimit-Limit": "5", "RateLimit-Reset": "40", "RateLimit-Remaining": fmt.Sprint(max(4-i, 0)), "X-RateLimit-Limit-Minute": "5", "X-RateLimit-Remaining-Minute": fmt.Sprint(max(4-i, 0)), "Retry-After": ""}
		status := 200
		if i >= 5 {
			status, want["Retry-After"] = 429, "40"
			if !strings.Contains(body, `"message":"API rate limit exceeded"`) {
				t.Error(body)
			}
		}
		got := map[string]string{}
		for name := range want {
			got[name] = resp.Header.Get(name)
		}
		if diff := cmp.Diff(want, got); diff != "" || resp.StatusCode != status {
			t.Errorf("request %d: %d %s", i, resp.StatusCode, diff)
		}
	}
	if resp, _ := e.ask("GET", "/orders/x", "X-Real-IP", "198.51.100.8"); resp.StatusCode != http.StatusOK {
		t.Errorf("another address: %d", resp.StatusCode)
	}
	now = now.Add(40 * time.Second)
	if resp, _ := e.ask("GET", "/orders/x", "X-Real-IP", "198.51.100.7"); resp.StatusCode != http.StatusOK {
		t.Errorf("the next minute: %d", resp.StatusCode)
	}
}

// TestAPluginReachesWorkersOneByOne asks workers directly: which one serves a
// connection is chance.
func TestAPluginReachesWorkersOneByOne(t *testing.T) {
	now := time.Unix(1795293560, 0)
	k := New(Config{Now: func() time.Time { return now }})
	defer k.Close()
	mustLoad(t, k, Setup{Services: []Service{{Name: "orders", Host: "127.0.0.1", Routes: []Route{{Name: "r", Paths: []string{"/"}}}}}})
	sees := func() [2]bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		var out [2]bool
		for w := range out {
			v := k.viewOf(w, now)
			out[w] = v.plugin("request-termination", k.db.find("routes", "r"), nil, nil) != nil
		}
		return out
	}
	now = now.Add(time.Second)
	if code, body := asked(k, "POST", "/routes/r/plugins", `{"name":"request-termination"}`); code != 201 {
		t.Fatal(body)
	}
	for _, c := range []struct {
		after time.Duration
		want  [2]bool
	}{
		{0, [2]bool{}}, {3999 * time.Millisecond, [2]bool{}}, {4 * time.Second, [2]bool{true, false}},
		{4124 * time.Millisecond, [2]bool{true, false}}, {4125 * time.Millisecond, [2]bool{true, true}},
	} {
		now = time.Unix(1795293561, 0).Add(c.after)
		if got := sees(); got != c.want {
			t.Errorf("%v after the change: %v, want %v", c.after, got, c.want)
		}
	}
	if len(k.views) != 1 {
		t.Errorf("%d views are kept", len(k.views))
	}
}

func TestLogBatches(t *testing.T) {
	e := newEdge(t, Config{}, map[string]any{"max_batch_size": 3, "max_coalescing_delay": 3600}, nil)
	for range 7 {
		e.ask("GET", "/orders/x")
	}
	if n := len(e.lines()); n != 7 {
		t.Errorf("%d lines", n)
	}
	var sizes []int
	for _, body := range e.sink.bodies {
		var batch []any
		if err := json.Unmarshal([]byte(body), &batch); err != nil {
			t.Fatalf("no array: %s", body)
		}
		sizes = append(sizes, len(batch))
	}
	if diff := cmp.Diff([]int{3, 3, 1}, sizes); diff != "" {
		t.Error(diff)
	}
}

func TestABatchThatIsNotTakenComesAgain(t *testing.T) {
	e := newEdge(t, Config{}, map[string]any{"max_batch_size": 2, "initial_retry_delay": 0.001}, nil)
	e.sink.refuse = 3
	e.ask("GET", "/orders/x")
	e.lines()
	slices.Sort(e.sink.bodies)
	if len(e.sink.bodies) != 4 || e.sink.bodies[0] != e.sink.bodies[3] {
		t.Errorf("%d posts: %q", len(e.sink.bodies), e.sink.bodies)
	}
}

// TestABatchIsGivenUpAfterAMinute runs in virtual time, with a sink that refuses.
func TestABatchIsGivenUpAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var posts []time.Time
		begun := time.Now()
		k := New(Config{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			posts = append(posts, time.Now())
			return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}, nil
		})})
		defer k.Close()
		mustLoad(t, k, Setup{Plugins: []Plugin{{Name: "http-log", Config: map[string]any{"http_endpoint": "http://sink/"}}}})
		k.Proxy().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/nowhere", nil))
		if err := k.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if last := posts[len(posts)-1].Sub(begun); last > time.Minute || last < 30*time.Second || len(posts) != 13 {
			t.Errorf("%d posts, the last after %v", len(posts), last)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMetricsAreAnExpositionWithKongsFamilies(t *testing.T) {
	e := newEdge(t, Config{}, nil, func(s *Setup) {
		s.Consumers = []Consumer{{Username: "zoë", Key: "zoe-key"}}
		s.Services[0].Plugins = []Plugin{{Name: "key-auth"}}
	})
	e.ask("GET", "/orders/x", "apikey", "zoe-key")
	e.ask("GET", "/orders/x")
	e.ask("GET", "/nowhere")
	_, text := e.admin("GET", "/metrics", "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, want := range []string{
		`kong_http_requests_total{service="orders",route="orders-route",code="200",source="service",workspace="default",consumer="zoë"} 1`,
		`kong_http_requests_total{service="orders",route="orders-route",code="401",source="kong",workspace="default",consumer=""} 1`,
		`kong_request_latency_ms_bucket{service="orders",route="orders-route",workspace="default",le="+Inf"} 2`,
		`kong_upstream_latency_ms_count{service="orders",route="orders-route",workspace="default"} 1`,
		"kong_datastore_reachable 1",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, `service=""`) {
		t.Error("a request without a route is counted")
	}
	captured, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range families {
		if !strings.Contains(string(captured), "# TYPE "+name+" "+strings.ToLower(f.GetType().String())+"\n") {
			t.Errorf("the captured Kong has no %s %s", f.GetType(), name)
		}
	}
}

func TestFourIdenticalPostsAtOnce(t *testing.T) {
	k := New(Config{})
	defer k.Close()
	var posting sync.WaitGroup
	codes := make(chan int, 4)
	for range 4 {
		posting.Go(func() { code, _ := asked(k, "POST", "/plugins", `{"name":"cors"}`); codes <- code })
	}
	posting.Wait()
	close(codes)
	seen := map[int]int{}
	for code := range codes {
		seen[code]++
	}
	if diff := cmp.Diff(map[int]int{201: 1, 409: 3}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestPassiveChecksTakeATargetOut(t *testing.T) {
	e := newEdge(t, Config{Workers: 1}, nil, func(s *Setup) {
		s.Upstreams[0].Healthchecks = map[string]any{"passive": map[string]any{"unhealthy": map[string]any{"http_failures": 2}}}
		s.Upstreams[0].Targets[1].Weight = 0
	})
	for range 2 {
		if resp, _ := e.ask("GET", "/orders/fail"); resp.StatusCode != http.StatusInternalServerError {
			t.Fatalf("%d", resp.StatusCode)
		}
	}
	if resp, body := e.ask("GET", "/orders/x"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if code, _ := e.admin("PUT", "/upstreams/orders-up/targets/"+e.hosts["v1"]+"/healthy", ""); code != 204 {
		t.Error(code)
	}
	if resp, body := e.ask("GET", "/orders/x"); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestRoutesMatchByMoreThanPaths(t *testing.T) {
	e := newEdge(t, Config{}, nil, func(s *Setup) {
		add := func(name string, r Route) {
			r.Plugins = []Plugin{{Name: "request-termination", Config: map[string]any{"status_code": 200, "body": name, "content_type": "text/plain"}}}
			r.Name = name
			s.Routes = append(s.Routes, r)
		}
		add("host", Route{Hosts: []string{"*.example"}})
		add("longer", Route{Paths: []string{"/orders/special"}})
		add("method", Route{Paths: []string{"/orders/"}, Methods: []string{"DELETE"}})
		add("header", Route{Paths: []string{"/orders"}, Headers: map[string][]string{"X-Canary": {"yes"}}})
		add("pattern", Route{Paths: []string{`~/items/[0-9]+$`}})
	})
	for name, c := range map[string]struct {
		method, path string
		header       []string
	}{
		"longer":  {"GET", "/orders/special/x", nil},
		"method":  {"DELETE", "/orders/x", nil},
		"header":  {"GET", "/orders/x", []string{"X-Canary", "yes"}},
		"pattern": {"GET", "/items/17", nil},
	} {
		if _, body := e.ask(c.method, c.path, c.header...); body != name {
			t.Errorf("%s %s %v: %q, want %q", c.method, c.path, c.header, body, name)
		}
	}
	req := httptest.NewRequest(http.MethodGet, "http://shop.example/any", nil)
	rec := httptest.NewRecorder()
	e.kong.Proxy().ServeHTTP(rec, req)
	if rec.Body.String() != "host" {
		t.Errorf("host: %q", rec.Body)
	}
}

func TestServeAndItsControlAPI(t *testing.T) {
	k := New(Config{})
	defer k.Close()
	ctx, stop := context.WithCancel(t.Context())
	listening := make(chan [2]net.Addr, 1)
	done := make(chan error, 1)
	go func() {
		done <- k.Serve(ctx, "127.0.0.1:0", "127.0.0.1:0", func(admin, proxy net.Addr) { listening <- [2]net.Addr{admin, proxy} })
	}()
	at := <-listening
	put := func(body string) int {
		req, err := http.NewRequest(http.MethodPut, "http://"+at[0].String()+"/-/fakekong/faults", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return statusOf(t, req)
	}
	get := func(url string) int {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return statusOf(t, req)
	}
	if code := put(`{"database_down":true}`); code != 200 {
		t.Error(code)
	}
	if code := get("http://" + at[0].String() + "/services"); code != 500 {
		t.Error(code)
	}
	if code := put(`{"no_such":true}`); code != 400 {
		t.Error(code)
	}
	if code := put(`{}`); code != 200 || get("http://"+at[0].String()+"/services") != 200 || get("http://"+at[1].String()+"/x") != 404 {
		t.Error("not well again")
	}
	if calls := k.Calls(); len(calls) != 2 || calls[0].Status != 500 || calls[1].Path != "/services" {
		t.Errorf("%+v", calls)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func statusOf(t *testing.T, req *http.Request) int {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// FuzzAdmin sends anything to the Admin API; it must answer.
func FuzzAdmin(f *testing.F) {
	f.Add("POST", "/services", `{"name":"a","host":"b","port":1e99}`)
	f.Add("PUT", "/plugins/x", `{"name":"rate-limiting","config":{"minute":{"a":[1]}},"tags":[null,{}]}`)
	f.Add("PATCH", "/upstreams/u/targets/127.0.0.1:1", `{"weight":[0],"target":{},"upstream":"x"}`)
	f.Add("GET", "/plugins?size=2&offset=W10&tags=a,b", "")
	f.Add("POST", "/schemas/plugins/validate", `{"name":"http-log","config":{"queue":[],"headers":{"host":1}}}`)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if !strings.HasPrefix(path, "/") || regexp.MustCompile(`[^A-Z]`).MatchString(method) || method == "" || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 127 }) {
			return
		}
		if _, err := http.NewRequest(method, path, nil); err != nil {
			return
		}
		for _, dbless := range []bool{false, true} {
			k := New(Config{DBLess: dbless})
			mustLoad(t, k, Setup{Upstreams: []Upstream{{Name: "u", Targets: []Target{{Target: "127.0.0.1:1", Weight: 1}}}}})
			if code, _ := asked(k, method, path, body); code < 200 || code > 599 {
				t.Errorf("%d", code)
			}
			k.Close()
		}
	})
}

func TestADisabledServiceIsAsIfItsRoutesDidNotExist(t *testing.T) {
	e := newEdge(t, Config{Strict: true}, nil, func(s *Setup) {
		s.Services = append(s.Services, Service{Name: "rest", Host: "orders-up", Routes: []Route{{Name: "rest", Paths: []string{"/orders/old"}}}})
	})
	for _, step := range []struct {
		name, body string
		want       map[string]int // status by path
	}{
		{"orders", `{"enabled":false}`, map[string]int{"/orders/x": 404, "/orders/old": 200}},
		{"orders", `{"enabled":true}`, map[string]int{"/orders/x": 200, "/orders/old": 200}},
		{"rest", `{"enabled":false}`, map[string]int{"/orders/old": 200}}, // the wider route takes it
	} {
		if code, body := e.admin("PATCH", "/services/"+step.name, step.body); code != http.StatusOK {
			t.Fatal(code, body)
		}
		for path, want := range step.want {
			if resp, body := e.ask("GET", path); resp.StatusCode != want {
				t.Errorf("%s %s: %s is %d %s, want %d", step.name, step.body, path, resp.StatusCode, body, want)
			}
		}
	}
}
