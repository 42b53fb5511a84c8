package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		"a plugin that leads here": {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `,"queue":{"max_batch_size":100,"max_coalescing_delay":1}}}`, "kong/http-log ok: httplog: Kong posts to"},
		"records one by one":       {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "kong/batches warn: httplog: the plugin http-log posts each record by itself"},
		"records that wait":        {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `,"queue":{"max_batch_size":100,"max_coalescing_delay":60}}}`, "kong/delay warn: httplog: the plugin http-log may hold a record back for 60 s"},
		"fields that are replaced": {"", "/plugins", `{"name":"http-log","config":{` + endpoint + `,"custom_fields_by_lua":{"latencies":"return nil"}}}`, "kong/fields warn: httplog: the plugin http-log replaces fields that are judged by: latencies"},
		"a plugin that is off":     {"", "/plugins", `{"name":"http-log","enabled":false,"config":{` + endpoint + `}}`, "kong/http-log fail: httplog gets nothing from this Kong: the plugin http-log is switched off [curl -X PATCH"},
		"one that leads elsewhere": {"", "/plugins", `{"name":"http-log","config":{"http_endpoint":"http://elk:9200/x"}}`, "no plugin http-log leads to it: http://elk:9200/x"},
		"another port":             {"", "/plugins", `{"name":"http-log","config":{"http_endpoint":"http://lb:80/ingest/kong"}}`, "kong/http-log warn: httplog: the http-log plugin posts to http://lb:80/ingest/kong, and the guard listens at port 18081"},
		"one for another service":  {"", "/services/payments/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "kong/http-log fail: httplog: the plugin http-log is not in force for orders"},
		"one for this service":     {"", "/services/orders/plugins", `{"name":"http-log","config":{` + endpoint + `}}`, "kong/http-log ok"},
		"tcp-log":                  {"sources: [{tcplog: {listen: \"127.0.0.1:19514\"}}]", "/plugins", `{"name":"tcp-log","config":{"host":"guard","port":19514}}`, "kong/tcp-log ok: tcplog: Kong sends to guard:19514"},
		"tcp-log to another port":  {"sources: [{tcplog: {listen: \"127.0.0.1:19514\"}}]", "/plugins", `{"name":"tcp-log","config":{"host":"guard","port":1}}`, "kong/tcp-log fail: tcplog gets nothing from this Kong: no plugin tcp-log leads to it: 1"},
		"file-log":                 {"sources: [{filelog: {paths: [\"/logs/*.json\"]}}]", "/plugins", `{"name":"file-log","config":{"path":"/logs/a.json"}}`, "kong/file-log ok: filelog: Kong writes /logs/a.json"},
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
