package app

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// examine writes a configuration with these rules and returns what the doctor says, each
// as "peer/check state: reason".
func examine(t *testing.T, config, ruleText string) []string {
	t.Helper()
	dir := t.TempDir()
	config = "listen: {api: \"127.0.0.1:0\", ingest: \"127.0.0.1:18081\"}\nrules: [rules.yaml]\n" + config
	for name, text := range map[string]string{"gatewarden.yaml": config, "rules.yaml": ruleText} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	err := Doctor(t.Context(), DoctorOptions{
		ConfigFile: filepath.Join(dir, "gatewarden.yaml"), Env: func(string) (string, bool) { return "", false },
		Tell: func(d Diagnosis) {
			said = append(said, fmt.Sprintf("%s/%s %s: %s [%s]", d.Peer, d.Check, d.State, d.Reason, d.Fix))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return said
}

const rulesOfOrders = `slos: [{name: orders, service: orders, objective: 99, sli: {availability: {}}}]`

// startKong returns the address of the Admin API of a gateway with orders, and what asks
// it.
func startKong(t *testing.T, cfg fakekong.Config) (string, func(method, path, body string)) {
	t.Helper()
	kong := fakekong.New(cfg)
	t.Cleanup(kong.Close)
	err := kong.Load(fakekong.Setup{
		Upstreams: []fakekong.Upstream{{Name: "orders", Targets: []fakekong.Target{{Target: "127.0.0.1:9101", Weight: 90, Tags: []string{"v1"}}}}},
		Services:  []fakekong.Service{{Name: "orders", Host: "orders"}, {Name: "payments", Host: "orders"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(kong.Admin())
	t.Cleanup(server.Close)
	return server.URL, func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode >= http.StatusBadRequest {
			t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
	}
}

// wants reports what of the texts no line has.
func wants(t *testing.T, said []string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, text) }) {
			t.Errorf("nobody says %q among\n%s", text, strings.Join(said, "\n"))
		}
	}
}

func TestTheDoctorLooksWhatKongSends(t *testing.T) {
	const endpoint = `"http_endpoint":"http://guard:18081/ingest/kong"`
	for sentence, c := range map[string]struct {
		config, path, plugin string
		want                 string
	}{
		"a plugin that leads here":  {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `,"queue":{"max_batch_size":100,"max_coalescing_delay":1}}}`, "kong/http-log ok: httplog: Kong posts to"},
		"records one by one":        {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "kong/batches warn: httplog: the plugin http-log posts each record by itself"},
		"records that wait":         {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `,"queue":{"max_batch_size":100,"max_coalescing_delay":60}}}`, "kong/delay warn: httplog: the plugin http-log may hold a record back for 60 s"},
		"fields that are replaced":  {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `,"custom_fields_by_lua":{"latencies":"return nil"}}}`, "kong/fields warn: httplog: the plugin http-log replaces fields that are judged by: latencies"},
		"a plugin that is off":      {"", "/plugins", `{"name":"http-log","enabled":false,"config":{` + endpoint + `}}`, "kong/http-log fail: httplog gets nothing from this Kong: the plugin http-log is switched off [curl -X PATCH"},
		"one that leads elsewhere":  {"", "/plugins", `{"name":"http-log","config":{"http_endpoint":"http://elk:9200/x"}}`, "no plugin http-log leads to it: http://elk:9200/x"},
		"beside one that does":      {"", "/plugins", `{"name":"http-log","config":{"http_endpoint":"http://elk:9200/x"}}`, "/plugins -d name=tcp-log -d config.host=127.0.0.1 -d config.port=9514"},
		"one with a mistyped path":  {"", "/plugins", `{"name":"http-log","config":{"http_endpoint":"http://guard:18081/ingest/kon"}}`, " -d config.http_endpoint=http://guard:18081/ingest/kong]"},
		"one of another service":    {"", "/services/payments/plugins", `{"name":"http-log","config":{"http_endpoint":"http://elk:9200/x"}}`, "/plugins -d name=http-log -d config.http_endpoint=http://127.0.0.1:18081/ingest/kong"},
		"another port":              {"", "/plugins", `{"name":"http-log","config":{"http_endpoint":"http://lb:80/ingest/kong"}}`, "kong/http-log warn: httplog: the http-log plugin posts to http://lb:80/ingest/kong, and the guard listens at port 18081"},
		"one for another service":   {"", "/services/payments/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "kong/http-log fail: httplog: the plugin http-log is not in force for orders"},
		"one for this service":      {"", "/services/orders/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "kong/http-log ok"},
		"tcp-log":                   {"sources: [{tcplog: {listen: \"127.0.0.1:19514\"}}]", "/plugins", `{"name":"tcp-log","config":{"host":"guard","port":19514}}`, "kong/tcp-log ok: tcplog: Kong sends to guard:19514"},
		"tcp-log to another port":   {"sources: [{tcplog: {listen: \"127.0.0.1:19514\"}}]", "/plugins", `{"name":"tcp-log","config":{"host":"guard","port":1}}`, "kong/tcp-log fail: tcplog gets nothing from this Kong: no plugin tcp-log leads to it: 1"},
		"tcp-log to the usual port": {"sources: [{tcplog: {}}]", "/plugins", `{"name":"tcp-log","config":{"host":"guard","port":9514}}`, "kong/tcp-log ok: tcplog: Kong sends to guard:9514"},
		"udp-log to the usual port": {"sources: [{udplog: {}}]", "/plugins", `{"name":"udp-log","config":{"host":"guard","port":9515}}`, "kong/udp-log ok: udplog: Kong sends to guard:9515"},
		"zipkin at the ingest port": {"sources: [{httplog: {}}, {zipkin: {}}]", "/plugins", `{"name":"zipkin","config":{"http_endpoint":"http://guard:18081/api/v2/spans"}}`, "kong/zipkin ok: zipkin: Kong sends its spans to"},
		"zipkin at another path":    {"sources: [{httplog: {}}, {zipkin: {}}]", "/plugins", `{"name":"zipkin","config":{"http_endpoint":"http://guard:18081/spans"}}`, "-d config.http_endpoint=http://guard:18081/api/v2/spans]"},
		"no zipkin":                 {"sources: [{httplog: {}}, {zipkin: {}}]", "/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "-d name=zipkin -d config.http_endpoint=http://127.0.0.1:18081/api/v2/spans]"},
		"traces to the usual port":  {"sources: [{httplog: {}}, {otlp: {}}]", "/plugins", `{"name":"opentelemetry","config":{"traces_endpoint":"http://guard:4318/v1/traces"}}`, "kong/opentelemetry ok: otlp: Kong sends its spans to"},
		"no traces":                 {"sources: [{httplog: {}}, {otlp: {}}]", "/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "-d name=opentelemetry -d config.traces_endpoint=http://GUARD:4318/v1/traces]"},
		"file-log":                  {"sources: [{filelog: {paths: [\"/logs/*.json\"]}}]", "/plugins", `{"name":"file-log","config":{"path":"/logs/a.json"}}`, "kong/file-log ok: filelog: Kong writes /logs/a.json"},
		"metrics that count nothing": {
			"sources: [{httplog: {}}, {kongmetrics: {targets: [\"http://127.0.0.1:1/metrics\"]}}]", "/plugins", `{"name":"prometheus"}`, "kong/prometheus fail: kongmetrics: status_code_metrics is off, so Kong counts no requests [curl -X PATCH",
		},
		"metrics that nobody answers for": {
			"sources: [{httplog: {}}, {kongmetrics: {targets: [\"http://127.0.0.1:1/metrics\"]}}]", "/plugins", `{"name":"prometheus","config":{"status_code_metrics":true}}`, "kongmetrics/metrics fail: http://127.0.0.1:1/metrics does not answer: connect: connection refused",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			admin, ask := startKong(t, fakekong.Config{Seed: 1})
			ask(http.MethodPost, c.path, c.plugin)
			wants(t, examine(t, c.config+"\nkong: {admin_url: \""+admin+"\"}", rulesOfOrders), c.want)
		})
	}
}

// TestTheDoctorLooksWherePluginsAreInForce has Kong run, for each request, the plugin of the
// narrowest scope and no other of that name.
func TestTheDoctorLooksWherePluginsAreInForce(t *testing.T) {
	const (
		here      = `{"name":"http-log","config":{"http_endpoint":"http://guard:18081/ingest/kong"}}`
		elsewhere = `{"name":"http-log","config":{"http_endpoint":"http://elk:9200/x"}}`
		tracks    = `, service: orders, objective: 99, sli: {availability: {}}}]
canaries: [{name: c, baseline: {service: orders}, canary: {service: payments}, on_fail: []}] # `
		about = "slos: [{name: a%s, objective: 99, sli: {availability: {}}}]"
	)
	for sentence, c := range map[string]struct {
		rules   string
		plugins map[string]string // by the path that they are put at
		want    string
	}{
		"the whole gateway, and one service":          {`, service: "*"`, map[string]string{"/services/orders/plugins": here}, "is not in force for payments, the route adrift ["},
		"the whole gateway, everywhere":               {`, service: "*"`, map[string]string{"/plugins": here}, "kong/http-log ok"},
		"the whole gateway, another in its place":     {`, service: "*"`, map[string]string{"/plugins": here, "/services/payments/plugins": elsewhere}, "is not in force for payments [curl"},
		"the whole gateway, another at one route":     {`, service: "*"`, map[string]string{"/plugins": here, "/routes/list/plugins": elsewhere}, "is not in force for the route list [curl"},
		"one service, another for what is not judged": {", service: orders", map[string]string{"/plugins": here, "/services/payments/plugins": elsewhere}, "kong/http-log ok"},
		"a route, and its service":                    {", route: list", map[string]string{"/services/orders/plugins": here}, "kong/http-log ok"},
		"a route, and only the plugin of that":        {", route: list", map[string]string{"/routes/list/plugins": here}, "kong/http-log ok"},
		"a route, and the other service":              {", route: list", map[string]string{"/services/payments/plugins": here}, "is not in force for orders ["},
		"a service, and one of its routes":            {", service: orders", map[string]string{"/routes/list/plugins": here}, "is not in force for the route place ["},
		"a tag of a service":                          {", tag: shop", map[string]string{"/services/payments/plugins": here}, "is not in force for orders ["},
		"a route without a service, judged with all":  {`, service: "*"`, map[string]string{"/services/orders/plugins": here, "/services/payments/plugins": here}, "is not in force for the route adrift ["},
		"and with a plugin of its own it is covered":  {`, service: "*"`, map[string]string{"/services/orders/plugins": here, "/services/payments/plugins": here, "/routes/adrift/plugins": here}, "kong/http-log ok"},
		"tracks that are services":                    {tracks, map[string]string{"/services/orders/plugins": here}, "is not in force for payments ["},
		"tracks that are covered":                     {tracks, map[string]string{"/services/orders/plugins": here, "/services/payments/plugins": here}, "kong/http-log ok"},
	} {
		t.Run(sentence, func(t *testing.T) {
			admin, ask := startKong(t, fakekong.Config{Seed: 1})
			ask(http.MethodPatch, "/services/orders", `{"tags":["shop"]}`)
			ask(http.MethodPost, "/services/orders/routes", `{"name":"list","paths":["/list"]}`)
			ask(http.MethodPost, "/services/orders/routes", `{"name":"place","paths":["/place"]}`)
			ask(http.MethodPost, "/routes", `{"name":"adrift","paths":["/adrift"]}`)
			for path, plugin := range c.plugins {
				ask(http.MethodPost, path, plugin)
			}
			wants(t, examine(t, "kong: {admin_url: \""+admin+"\"}", fmt.Sprintf(about, c.rules)), c.want)
		})
	}
}

func TestTheDoctorLooksAtKongItself(t *testing.T) {
	const acting = rulesOfOrders + `
actions: [{name: a, mode: enforce, on_alert: [{a: b}], steps: [{plugin: {name: request-termination, service: orders}}]}]
canaries: [{name: orders, service: orders, upstream: orders, baseline: {target_tag: v1}, canary: {target_tag: v2}, on_fail: []}]`
	admin, _ := startKong(t, fakekong.Config{Seed: 1, Strict: true})
	wants(t, examine(t, "kong: {admin_url: \""+admin+"\", nodes: [\""+admin+"\", \"http://127.0.0.1:1\"]}", acting),
		"kong/speed ok", "kong/write ok", "kong/names ok: the baseline of the canary orders: 1 target of the upstream orders",
		"kong/names warn: no target of the upstream orders is the canary of the canary orders (target_tag: v2) [curl -X PATCH",
		"kong/steps ok: step 1 (plugin) of the action a would be done", "kong/nodes ok: the node 127.0.0.1:", "kong/nodes fail: the node 127.0.0.1:1: Kong did not answer")
	admin, _ = startKong(t, fakekong.Config{Seed: 1, DBLess: true})
	wants(t, examine(t, "kong: {admin_url: \""+admin+"\"}", acting), "kong/write fail: the Kong at", "[kong: {dbless: true} lets the guard", "kong/steps fail: step 1 (plugin) of the action a: the Kong at")
	wants(t, examine(t, "kong: {admin_url: \""+admin+"\", dbless: true}", acting),
		"kong/write ok: Kong runs without a database: its configuration can be read", "kong/steps ok: step 1 (plugin) of the action a would be done")
	wants(t, examine(t, "kong: {admin_url: \""+admin+"\", dbless: true, nodes: [\""+admin+"\", \"http://127.0.0.1:1\"]}", acting),
		"kong/write warn: each of 2 nodes without a database has a configuration of its own")
	admin, _ = startKong(t, fakekong.Config{Seed: 1})
	wants(t, examine(t, "kong: {admin_url: \""+admin+"\", dbless: true}", acting), "kong/write fail: kong.dbless is set, but the Kong at")
	wants(t, examine(t, "kong: {admin_url: \"http://127.0.0.1:1\"}", rulesOfOrders), "kong/admin-api fail: Kong did not answer")
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Kong Manager</html>") }))
	t.Cleanup(html.Close)
	wants(t, examine(t, "kong: {admin_url: \""+html.URL+"\"}", rulesOfOrders), "kong/admin-api fail: ")
	gateway := fakekong.New(fakekong.Config{Seed: 1})
	t.Cleanup(gateway.Close)
	proxy := httptest.NewServer(gateway.Proxy())
	t.Cleanup(proxy.Close)
	said := examine(t, "kong: {admin_url: \""+proxy.URL+"\"}", rulesOfOrders)
	wants(t, said, "was answered by something else than Kong's Admin API", "[is kong.admin_url the Admin API, usually on port 8001?")
	for _, line := range said {
		if strings.HasPrefix(line, "kong/admin-api ok") || strings.HasPrefix(line, "kong/speed") {
			t.Errorf("of Kong's proxy nobody may say %q", line)
		}
	}
}

func TestTheDoctorLooksAtJenkins(t *testing.T) {
	const job = rulesOfOrders + `
actions: [{name: a, mode: enforce, on_alert: [{a: b}], steps: [{jenkins: {job: rollback, parameters: {SERVICE: x}}}]}]`
	for sentence, c := range map[string]struct {
		user  fakejenkins.User
		job   fakejenkins.Job
		quiet bool
		want  string
	}{
		"all is well": {
			fakejenkins.User{Permissions: fakejenkins.Operator()}, fakejenkins.Job{Name: "rollback", Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: "GATEWARDEN_ACTION"}}}, false,
			"jenkins/permission ok: the job rollback may be built",
		},
		"a user that may only read": {
			fakejenkins.User{Permissions: []fakejenkins.Permission{fakejenkins.OverallRead, fakejenkins.JobRead}}, fakejenkins.Job{Name: "rollback", Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: "GATEWARDEN_ACTION"}}}, false,
			`jenkins/jobs fail: step 1 (jenkins) of the action a: the user "guard" may not build the Jenkins job "rollback" [give it the permission Job/Build]`,
		},
		"a parameter that is missing": {
			fakejenkins.User{Permissions: fakejenkins.Operator()}, fakejenkins.Job{Name: "rollback", Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}}}, false,
			"does not declare the parameter GATEWARDEN_ACTION, so the guard could not keep it from running twice [add stringParam(",
		},
		"no such job": {fakejenkins.User{Permissions: fakejenkins.Operator()}, fakejenkins.Job{Name: "other"}, false, `jenkins/jobs fail: step 1 (jenkins) of the action a: there is no Jenkins job "rollback"`},
		"a shutdown":  {fakejenkins.User{Permissions: fakejenkins.Operator()}, fakejenkins.Job{Name: "other"}, true, "jenkins/quiet fail: Jenkins prepares to shut down"},
	} {
		t.Run(sentence, func(t *testing.T) {
			c.user.Name, c.user.Tokens = "guard", []string{"secret-token"}
			jenkins := fakejenkins.New(fakejenkins.Config{Users: []fakejenkins.User{c.user}})
			t.Cleanup(jenkins.Close)
			jenkins.SetJob(c.job)
			jenkins.QuietDown(c.quiet)
			server := httptest.NewServer(jenkins)
			t.Cleanup(server.Close)
			token := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(token, []byte("secret-token\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			said := examine(t, "jenkins: {url: \""+server.URL+"\", user: guard, token_file: \""+token+"\"}", job)
			wants(t, said, c.want)
			for _, r := range jenkins.Requests() {
				if r.Method != http.MethodGet && r.Method != http.MethodHead {
					t.Errorf("the doctor sent %s %s", r.Method, r.Path)
				}
			}
			if strings.Contains(strings.Join(said, "\n"), "secret-token") {
				t.Error("the token is printed")
			}
		})
	}
}

func TestTheDoctorComparesClocks(t *testing.T) {
	for sentence, c := range map[string]struct {
		ahead time.Duration
		want  string
	}{
		"the same":            {0, "x/clock ok"},
		"a second":            {time.Second, "x/clock ok"},
		"five seconds behind": {-5 * time.Second, "behind this machine's"},
		"a minute ahead":      {time.Minute, "x/clock fail: its clock is"},
		"an hour behind":      {-time.Hour, "x/clock fail: its clock is"},
	} {
		t.Run(sentence, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
			}))
			t.Cleanup(server.Close)
			var said []string
			d := &doctor{peer: "x", opts: DoctorOptions{Now: time.Now, Tell: func(d Diagnosis) {
				said = append(said, fmt.Sprintf("%s/%s %s: %s", d.Peer, d.Check, d.State, d.Reason))
			}}}
			d.clock(context.Background(), server.URL, http.DefaultTransport)
			wants(t, said, c.want)
		})
	}
}

func TestAPeerThatDoesNotSayItsTimeIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		d := &doctor{opts: DoctorOptions{Now: time.Now}}
		within(t.Context(), func(ctx context.Context) {
			d.clock(ctx, "http://x.test", answersNothing{})
			if ctx.Err() != nil {
				t.Error("there is no time left for anything else")
			}
		})
		if took := time.Since(begun); took != clockWithin {
			t.Errorf("it took %s", took)
		}
	})
}

type answersNothing struct{}

func (answersNothing) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// peerOf answers as the table says, by path; a status is what the text begins with, else it
// is 200 with JSON, or a page when it begins with <.
func peerOf(t *testing.T, answers map[string]string) (address string, asked func() []*http.Request) {
	t.Helper()
	var mu sync.Mutex
	var all []*http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r)
		mu.Unlock()
		text, known := answers[r.URL.Path]
		var status int
		if n, _ := fmt.Sscanf(text, "%3d", &status); n == 1 {
			http.Error(w, text, status)
			return
		}
		switch {
		case !known:
			http.NotFound(w, r)
		case strings.HasPrefix(text, "<"):
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, text)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, text)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func TestTheDoctorAsksPrometheus(t *testing.T) {
	const one = `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`
	for sentence, c := range map[string]struct {
		answers map[string]string
		want    string
	}{
		"a Prometheus":                {map[string]string{"/api/v1/status/buildinfo": `{"data":{"version":"3.10.0"}}`}, "prometheus/answers ok: Prometheus 3.10.0 answers"},
		"one that only has the query": {map[string]string{"/api/v1/query": one}, "prometheus/answers ok: what speaks the query API of Prometheus answers"},
		"one that forbids it":         {map[string]string{"/api/v1/status/buildinfo": "405 no", "/api/v1/query": one}, "prometheus/answers ok: what speaks"},
		"who asks is nobody":          {map[string]string{"/api/v1/status/buildinfo": "401 who?"}, "[write a user and password_file, or a token_file, or headers: {Authorization: …} for one that may read this]"},
		"a page to log in":            {map[string]string{"/api/v1/status/buildinfo": "<html>", "/api/v1/query": "<html>"}, "prometheus/answers fail: "},
		"something else altogether":   {nil, "prometheus/answers fail: "},
		"a page for all it knows not": {map[string]string{"/api/v1/query": "<html>"}, "/api/v1/query answers no JSON"},
	} {
		t.Run(sentence, func(t *testing.T) {
			address, _ := peerOf(t, c.answers)
			wants(t, examine(t, "sources: [{httplog: {}}, {prometheus: {url: \""+address+"\"}}]", rulesOfOrders), c.want)
		})
	}
}

func TestTheDoctorAsksJaeger(t *testing.T) {
	for sentence, c := range map[string]struct {
		answers map[string]string
		want    []string
	}{
		"one of today":                   {map[string]string{"/api/v3/services": `{"services":["kong","orders"]}`}, []string{"jaeger/answers ok", "knows 2 services", "jaeger/services ok: Jaeger has traces of kong, which are asked for"}},
		"one of long ago":                {map[string]string{"/api/v3/services": "<html>", "/api/services": `{"data":["orders"]}`}, []string{"knows 1 service ", "jaeger/services warn: the source asks for traces of kong, and Jaeger has none of that name"}},
		"one that has nothing yet":       {map[string]string{"/api/v3/services": `{"services":[]}`}, []string{"knows 0 services"}},
		"one that does not let in":       {map[string]string{"/api/v3/services": "403 no"}, []string{"jaeger/answers fail: ", "[write headers: {Authorization: …} for one that may read this]"}},
		"something else that has a page": {map[string]string{"/api/v3/services": "<html>", "/api/services": "<html>"}, []string{"jaeger/answers fail: "}},
	} {
		t.Run(sentence, func(t *testing.T) {
			address, _ := peerOf(t, c.answers)
			wants(t, examine(t, "sources: [{httplog: {}}, {jaeger: {url: \""+address+"\"}}]", rulesOfOrders), c.want...)
		})
	}
}

func TestTheDoctorAsksElasticsearch(t *testing.T) {
	const (
		root  = `{"version":{"number":"8.15.0"}}`
		count = `{"count":7,"_shards":{"total":1,"failed":0}}`
		field = `{"long":{"type":"long","searchable":true,"aggregatable":true}}`
		date  = `{"date":{"type":"date","searchable":true,"aggregatable":true}}`
		caps  = `{"indices":["kong"],"fields":{"@timestamp":` + date + `,"at":` + field + `,"response.status":` + field + `}}`
	)
	for sentence, c := range map[string]struct {
		settings string
		answers  map[string]string
		want     []string
		query    string
	}{
		"all is well": {"", map[string]string{"/": root, "/kong/_count": count, "/kong/_field_caps": caps}, []string{
			"elasticsearch/answers ok: Elasticsearch 8.15.0", "elasticsearch/layout ok: kong: Kong's object at the top, followed by @timestamp",
			"elasticsearch/index ok: kong has 7 documents of the last 15m",
		}, "@timestamp:[now-15m TO *]"},
		"who asks may only read the index": {"", map[string]string{"/": "403 no", "/kong/_count": count, "/kong/_field_caps": caps}, []string{
			"elasticsearch/answers warn: ", "or an api_key_file for one that may read this]", "elasticsearch/index ok",
		}, ""},
		"the time is a number": {", time: at", map[string]string{"/": root, "/kong/_count": count, "/kong/_field_caps": caps}, []string{"followed by at", "elasticsearch/index ok"}, "at:[1"},
		"no documents yet":     {"", map[string]string{"/": root, "/kong/_field_caps": `{"fields":{}}`, "/kong/_count": `{"count":0,"_shards":{"total":1}}`}, []string{"elasticsearch/layout warn: ", "elasticsearch/index warn"}, ""},
		"what is not Kong's":   {"", map[string]string{"/": root, "/kong/_field_caps": `{"fields":{"@timestamp":` + date + `}}`, "/kong/_count": count}, []string{"elasticsearch/layout fail: "}, ""},
		"it is refreshed too seldom": {"", map[string]string{
			"/": root, "/kong/_count": count, "/kong/_field_caps": caps, "/kong/_settings/index.refresh_interval": `{"kong-1":{"settings":{"index.refresh_interval":"30s"}},"kong-2":{"settings":{}}}`,
		}, []string{"elasticsearch/refresh fail: kong-1 is refreshed each 30s and read 15s behind: what shows later is not counted [lag: 35s"}, ""},
		"it is never refreshed": {"", map[string]string{
			"/": root, "/kong/_count": count, "/kong/_field_caps": caps, "/kong/_settings/index.refresh_interval": `{"kong-1":{"settings":{"index.refresh_interval":"-1"}}}`,
		}, []string{"elasticsearch/refresh fail: kong-1 is never refreshed"}, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			address, asked := peerOf(t, c.answers)
			wants(t, examine(t, "sources: [{elasticsearch: {urls: [\""+address+"\"], index: kong"+c.settings+"}}]", rulesOfOrders), c.want...)
			for _, r := range asked() {
				if strings.HasSuffix(r.URL.Path, "/_count") && !strings.HasPrefix(r.URL.Query().Get("q"), c.query) {
					t.Errorf("asked for %q, want %q", r.URL.Query().Get("q"), c.query)
				}
			}
		})
	}
}

func TestTheDoctorAsksEveryNodeForItsMetrics(t *testing.T) {
	node := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "k" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		fmt.Fprintln(w, "# HELP kong_http_requests_total of each service")
		for i := range 200_000 { // beyond any bound of an answer
			fmt.Fprintf(w, "kong_latency_bucket{service=\"service-with-a-long-name-%d\",le=\"25\"} %d\n", i, i)
		}
		fmt.Fprintln(w, `kong_http_requests_total{service="orders",code="200"} 17`)
	}))
	t.Cleanup(node.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: node.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf("headers: {X-Key: k}, ca_file: %q, ", ca)
	wants(t, examine(t, "sources: [{kongmetrics: {"+settings+"targets: [\""+node.URL+"/metrics\"]}}]", rulesOfOrders), "kongmetrics/metrics ok: "+node.URL+"/metrics counts requests")
	named := strings.Replace(node.URL, "127.0.0.1", "localhost", 1)
	wants(t, examine(t, "sources: [{kongmetrics: {"+settings+"dns: [\""+named+"/metrics\"]}}]", rulesOfOrders), "kongmetrics/metrics ok: "+node.URL+"/metrics counts requests")
	wants(t, examine(t, "sources: [{kongmetrics: {dns: [\"http://no-such-name.invalid:8100/metrics\"]}}]", rulesOfOrders), "kongmetrics/metrics fail: dns: no-such-name.invalid has no address")
}

func TestTheDoctorKnowsAGuardThatAsksFirst(t *testing.T) {
	healthy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"healthy"}`) })
	login := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Unauthorized", http.StatusUnauthorized) })
	for sentence, c := range map[string]struct {
		server *httptest.Server
		guard  bool
		asks   string
	}{
		"a guard":                 {httptest.NewServer(healthy), true, ""},
		"a guard with TLS":        {httptest.NewTLSServer(healthy), true, ""},
		"one that asks who it is": {httptest.NewServer(login), false, "a login"},
		"with TLS":                {httptest.NewTLSServer(login), false, "a login"},
		"somebody else":           {httptest.NewServer(http.NotFoundHandler()), false, ""},
		"somebody else with TLS":  {httptest.NewTLSServer(http.NotFoundHandler()), false, ""},
	} {
		c.server.Config.ErrorLog = log.New(io.Discard, "", 0)
		t.Cleanup(c.server.Close)
		if guard, asks := whoListens(t.Context(), "tcp", c.server.Listener.Addr().String()); guard != c.guard || asks != c.asks {
			t.Errorf("%s: %v, asks for %q", sentence, guard, asks)
		}
	}
}
