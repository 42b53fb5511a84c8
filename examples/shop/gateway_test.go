package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// openKong returns a gateway that takes changes up at once, and the URL of its Admin
// API.
func openKong(t *testing.T) (*fakekong.Kong, string) {
	t.Helper()
	kong := fakekong.New(fakekong.Config{Strict: true})
	t.Cleanup(kong.Close)
	admin := httptest.NewServer(kong.Admin())
	t.Cleanup(admin.Close)
	return kong, admin.URL
}

// get returns what Kong lists at a path, with what changes from one run to the next left
// out.
func get(t *testing.T, url string) []map[string]any {
	t.Helper()
	var list struct {
		Data []map[string]any `json:"data"`
	}
	if _, err := call(t.Context(), http.DefaultClient, "GET", url, nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Data {
		delete(e, "updated_at")
		delete(e, "created_at") // a PUT sets it anew, in a real Kong too
	}
	return list.Data
}

func all(t *testing.T, admin string) map[string][]map[string]any {
	t.Helper()
	found := map[string][]map[string]any{}
	for _, path := range []string{"/services", "/routes", "/upstreams", "/plugins", "/upstreams/orders/targets"} {
		found[path] = get(t, admin+path)
	}
	return found
}

func TestTheShopIsDeclaredOnceAndAgain(t *testing.T) {
	_, admin := openKong(t)
	g := gateway{Admin: admin, LogTo: "http://127.0.0.1:1/ingest/kong", Delay: 0.5, client: &http.Client{}, Instances: []instance{
		{"orders", "127.0.0.1:9001", "v1", 100}, {"orders", "127.0.0.1:9002", "v2", 0}, {"payments", "127.0.0.1:9003", "v1", 100},
	}}
	if err := g.await(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := all(t, admin)
	for path, want := range map[string]int{"/services": 4, "/routes": 5, "/upstreams": 4, "/plugins": 2, "/upstreams/orders/targets": 2} {
		if got := len(first[path]); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if err := g.declare(t.Context()); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	if diff := cmp.Diff(first, all(t, admin)); diff != "" {
		t.Errorf("a second time changes something (-first +second):\n%s", diff)
	}
}

// The guard and the pipelines move weights: declaring the shop again must not give a
// drained canary its traffic back.
func TestWeightsAreLeftAlone(t *testing.T) {
	_, admin := openKong(t)
	g := gateway{Admin: admin, LogTo: "http://127.0.0.1:1", client: &http.Client{}, Instances: []instance{{"orders", "127.0.0.1:9001", "v1", 100}}}
	if err := g.declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	target := admin + "/upstreams/orders/targets/127.0.0.1:9001"
	if _, err := call(t.Context(), http.DefaultClient, "PATCH", target, map[string]int{"weight": 7}, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := get(t, admin+"/upstreams/orders/targets")[0]["weight"]; got != 7.0 {
		t.Errorf("the weight is %v, want 7", got)
	}
}

func TestOperatorsPathsAreNotRouted(t *testing.T) {
	kong, admin := openKong(t)
	_, orders := open(t, "orders", "v1", 0.5, nil)
	g := gateway{Admin: admin, LogTo: "http://127.0.0.1:1", client: &http.Client{}, Instances: []instance{{"orders", strings.TrimPrefix(orders, "http://"), "v1", 100}}}
	if err := g.declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(kong.Proxy())
	defer proxy.Close()
	if got := status(t, "GET", proxy.URL+"/orders", ""); got != 200 {
		t.Errorf("/orders: %d, want 200", got)
	}
	for _, path := range []string{"/-/faults", "/-/release"} {
		if got := status(t, "PUT", proxy.URL+path, `{"errors": 1}`); got != 404 {
			t.Errorf("%s: %d, want 404", path, got)
		}
	}
}

// keys returns the settings of a configuration by their paths.
func keys(prefix string, config map[string]any) []string {
	var all []string
	for name, v := range config {
		if sub, ok := v.(map[string]any); ok {
			all = append(all, keys(prefix+name+".", sub)...)
			continue
		}
		all = append(all, prefix+name)
	}
	return all
}

// The stand-in has no schema of some plugins: their settings are held to the names that
// a real Kong 3.9.1 listed.
func TestPluginsHaveSettingsThatARealKongHas(t *testing.T) {
	raw, err := os.ReadFile("testdata/kong-3.9.1-plugins.json")
	if err != nil {
		t.Fatal(err)
	}
	var listed map[string]map[string]any
	if err := json.Unmarshal(raw, &listed); err != nil {
		t.Fatal(err)
	}
	g := gateway{LogTo: "http://gatewarden:8081/ingest/kong", ArchiveTo: "logstash:5170", TracesTo: "http://jaeger:4318"}
	seen := 0
	for _, p := range g.plugins() {
		name := p["name"].(string)
		known := map[string]bool{}
		for _, k := range keys("", listed[name]) {
			known[k] = true
		}
		config := p["config"].(map[string]any)
		delete(config, "resource_attributes") // whose names are free
		for _, k := range keys("", config) {
			seen++
			if !known[k] {
				t.Errorf("%s has no setting %s", name, k)
			}
		}
	}
	if seen != 11 {
		t.Errorf("%d settings seen, want 11", seen)
	}
}

func TestADeploymentMayBeOrderedTwice(t *testing.T) {
	_, admin := openKong(t)
	v1, stable := open(t, "orders", "v1", 0.5, nil)
	v2, next := open(t, "orders", "v1", 0.5, nil)
	d := &deployment{
		Kong: admin, Stable: stable, Next: next, StableT: strings.TrimPrefix(stable, "http://"), NextT: strings.TrimPrefix(next, "http://"),
		Out: io.Discard, client: &http.Client{},
	}
	g := gateway{Admin: admin, LogTo: "http://127.0.0.1:1", client: &http.Client{}, Instances: []instance{{"orders", d.StableT, "v1", 100}, {"orders", d.NextT, "v2", 0}}}
	if err := g.declare(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &story{Kong: admin, Next: d.NextT, client: &http.Client{}}
	for range 2 {
		for _, order := range []struct {
			name               string
			do                 func() error
			stable, next       string
			weight, complement int
		}{
			{"canary", func() error { return d.canary(t.Context(), "v2") }, "v1", "v2", canaryShare, 100 - canaryShare},
			{"canary again", func() error { return d.canary(t.Context(), "v2") }, "v1", "v2", canaryShare, 100 - canaryShare},
			{"back", func() error { return d.back(t.Context(), "") }, "v1", "v1", 0, 100},
			{"back again", func() error { return d.back(t.Context(), "") }, "v1", "v1", 0, 100},
			{"everywhere", func() error { return d.everywhere(t.Context(), "v2") }, "v2", "v2", 0, 100},
			{"and home", func() error { return d.everywhere(t.Context(), "v1") }, "v1", "v1", 0, 100},
		} {
			if err := order.do(); err != nil {
				t.Fatalf("%s: %v", order.name, err)
			}
			weight, err := s.weight(t.Context())
			if err != nil || weight != order.weight {
				t.Errorf("%s: the next version's weight is %d, want %d (%v)", order.name, weight, order.weight, err)
			}
			if got := [2]string{v1.release.Load().Version, v2.release.Load().Version}; got != [2]string{order.stable, order.next} {
				t.Errorf("%s: %q run", order.name, got)
			}
		}
	}
	if err := d.canary(t.Context(), "v2; rm"); err == nil {
		t.Error("a version that is a script is taken")
	}
}

func TestAFlashSaleComesAndGoes(t *testing.T) {
	s := sale{Every: 15 * time.Minute, For: time.Minute, Times: 3}
	for since, want := range map[time.Duration]float64{0: 1, 13 * time.Minute: 1, 14 * time.Minute: 3, 15*time.Minute - 1: 3, 15 * time.Minute: 1, 29 * time.Minute: 3} {
		if got := s.factor(since); got != want {
			t.Errorf("after %s: %v times, want %v", since, got, want)
		}
	}
	if got := (sale{}).factor(time.Hour); got != 1 {
		t.Errorf("without a sale: %v times", got)
	}
}

// roundTrip is a transport as a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Customers come at their rate, whether those before them are served or not.
func TestCustomersComeAtTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if err := pause(r.Context(), time.Second); err != nil {
				return nil, err
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
		})}
		l := &load{Gateway: "http://kong", Rate: 100, Most: 1000, Client: client}
		ctx, cancel := contextFor(t, 11*time.Second+5*time.Millisecond)
		defer cancel()
		l.run(ctx)
		total := 0
		for _, s := range l.take() {
			total += s.OK
			if s.Failed+s.Shed+s.Away > 0 {
				t.Errorf("some were not served: %+v", s)
			}
		}
		if total < 998 || total > 1002 { // 11 s of them, less those of the last second, who are not counted
			t.Errorf("%d customers were served, want about 1000", total)
		}
	})
}

func TestWhoFindsNoPlaceIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		l := &load{Gateway: "http://kong", Rate: 100, Most: 10, Client: client}
		ctx, cancel := contextFor(t, time.Second+5*time.Millisecond)
		defer cancel()
		l.run(ctx)
		away := 0
		for _, s := range l.take() {
			away += s.Away
		}
		if away < 88 || away > 91 {
			t.Errorf("%d were turned away, want about 90", away)
		}
	})
}

func TestWhatIsShedIsToldFromWhatFails(t *testing.T) {
	for sentence, c := range map[string]struct {
		response http.Response
		want     string
	}{
		"served":                {http.Response{StatusCode: 200}, "orders 1 ok"},
		"shed by Kong":          {http.Response{StatusCode: 503, Header: http.Header{}}, "orders 0 ok, 1 shed"},
		"failed by the service": {http.Response{StatusCode: 503, Header: http.Header{"X-Kong-Upstream-Latency": {"3"}}}, "orders 0 ok, 1 failed"},
		"failed":                {http.Response{StatusCode: 500}, "orders 0 ok, 1 failed"},
	} {
		t.Run(sentence, func(t *testing.T) {
			client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				response := c.response
				response.Body, response.Request = http.NoBody, r
				return &response, nil
			})}
			l := &load{Gateway: "http://kong", Client: client}
			l.ask(t.Context(), request{"POST", "/orders", 1})
			if got := describe(l.take()); got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
		})
	}
}
