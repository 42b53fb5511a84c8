package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewarden/gatewarden"
)

// writeFiles writes files into a folder of their own and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func oneSLO(name string) string {
	return fmt.Sprintf("slos: [{name: %s, service: orders, objective: 99.9, sli: {availability: {}}}]\n", name)
}

func printed(ps Problems) string {
	var b strings.Builder
	_ = ps.Write(&b)
	return b.String()
}

var ignoreHolds = cmpopts.IgnoreFields(gatewarden.SLI{}, "Holds")

func TestTheExamplesLoadWithoutWarnings(t *testing.T) {
	config, ps := LoadConfig("../examples/shop/gatewarden.yaml", testEnv)
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	rules, ps := LoadRules(config.Rules)
	if ps = Join(ps, config.CheckRules(rules), config.CheckKinds([]string{"httplog"})); len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	if len(rules.SLOs) < 9 || len(rules.Canaries) < 1 || len(rules.Policies) < 3 {
		t.Errorf("%d SLOs, %d canaries and %d policies", len(rules.SLOs), len(rules.Canaries), len(rules.Policies))
	}
}

func TestAnSLOIsReadWhole(t *testing.T) {
	const text = `
slos:
  - name: orders
    description: Orders can be placed.
    service: orders
    route: list
    consumer: alice
    workspace: default
    tag: core
    objective: 99.95
    window: 7d
    budgeting: {timeslices: {objective: 95}}
    sli: {latency: {threshold: 300ms, of: upstream}}
    alerting: {pairs: [{severity: page, factor: 10, long: 1h, short: 5m}, {severity: ticket, factor: 2, long: 1d, short: 2h}], min_evidence: 0.01}
    outage: {ratio: 25%}
    on_outage: [a]
    on_page: [a]
    on_ticket: [a]
    labels: {team: checkout, tier: 1}
actions:
  - name: a
    steps: [{drain: {upstream: o, target: "a:1"}}]
`
	rules, ps := loadRules([]*document{parseDocument("r.yaml", []byte(text), nil)})
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	want := gatewarden.SLO{
		Name: "orders", Description: "Orders can be placed.",
		Series:    gatewarden.Series{Workspace: "default", Service: "orders", Route: "list", Consumer: "alice", Tag: "core"},
		Objective: 0.9995, // exactly the nearest float64, not 99.95 / 100
		Window:    gatewarden.BudgetWindow{Rolling: 7 * 24 * time.Hour},
		Timeslice: time.Minute, TimesliceObjective: 0.95,
		SLI: gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: 300 * time.Millisecond, Of: gatewarden.OfUpstream},
		Pairs: []gatewarden.AlertPair{
			{Severity: gatewarden.SeverityPage, Factor: 10, Long: time.Hour, Short: 5 * time.Minute},
			{Severity: gatewarden.SeverityTicket, Factor: 2, Long: 24 * time.Hour, Short: 2 * time.Hour},
		},
		MinEvidence: 0.01,
		Outage:      &gatewarden.OutageLine{Ratio: 0.25},
		OnOutage:    []string{"a"}, OnPage: []string{"a"}, OnTicket: []string{"a"},
		Labels: map[string]string{"team": "checkout", "tier": "1"},
	}
	if diff := cmp.Diff(want, rules.SLOs[0], ignoreHolds); diff != "" {
		t.Errorf("SLO (-want +got):\n%s", diff)
	}
}

func TestAnSLOHasDefaults(t *testing.T) {
	for objective, ratio := range map[string]float64{"99.99": 0.1, "99.9": 0.1, "99.5": 0.25, "99": 0.5, "97": 0.515, "50": 0.75} {
		text := "slos: [{name: a, service: \"*\", objective: " + objective + ", sli: {availability: }, alerting: {policy: workbook}}]"
		rules, ps := loadRules([]*document{parseDocument("r.yaml", []byte(text), nil)})
		if err := ps.Err(); err != nil {
			t.Fatal(err)
		}
		slo := rules.SLOs[0]
		if got := slo.Outage.Ratio; got != ratio {
			t.Errorf("%s: outage ratio %g, want %g", objective, got, ratio)
		}
		if slo.Window.Rolling != 30*24*time.Hour || slo.MinEvidence != 1e-4 || slo.Series != (gatewarden.Series{}) {
			t.Errorf("%s: %+v", objective, slo)
		}
		if diff := cmp.Diff(gatewarden.WorkbookPairs(30*24*time.Hour), slo.Pairs); diff != "" {
			t.Errorf("pairs: %s", diff)
		}
	}
}

func TestAPolicyIsReadWhole(t *testing.T) {
	const text = `
slos: [{name: o, service: orders, objective: 99, sli: {availability: {}}}]
actions:
  - name: full
    steps:
      - plugin: {name: rate-limiting, service: orders, config: {second: 200, share: 0.5, on: true, list: [a, {b: null}], at: 2024-01-01}}
      - weight: {upstream: orders, target_tag: "version:v2", weight: 5}
        after: 10s
      - drain: {upstream: orders, target: "10.0.0.7:8080"}
        after: 20s
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders, COUNT: 3, VERSION: 1.10}, wait: 10m, verify: 5m}
        after: 30s
      - webhook: {url_file: hook.url, method: PUT, headers: {X-A: b}, bearer_token_file: /abs/token, timeout: 3s}
        after: 40s
      - divert: {route: orders-list, to: orders-later}
        after: 50s
      - service: {name: recommendations, enabled: false}
        after: 50s
      - slack: {url_file: slack.url}
        after: 50s
      - alertmanager: {url: "http://am:9093", labels: {team: shop}, bearer_token_file: am.token, timeout: 3s}
        after: 50s
      - adaptive: {slo: o, service: orders, route: list, floor: 5, ceiling: 500, nodes: 2, settle: 11s, config: {error_code: 503}}
        after: 50s
    lease: 20m
    revert: {after: 2m, stepwise: false}
    limits: {cooldown: 1m, per_hour: 10, max_active: 8}
    mode: enforce
  - name: short
    steps: [{drain: {upstream: o, target: "a:1"}}, {jenkins: {job: a}}, {webhook: {url: "http://x"}}]
`
	rules, ps := loadRules([]*document{parseDocument("dir/r.yaml", []byte(text), nil)})
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	seconds := func(n int) gatewarden.Duration { return gatewarden.Duration(time.Duration(n) * time.Second) }
	want := []gatewarden.ActionPolicy{{
		Name: "full",
		Steps: []gatewarden.Step{
			{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "rate-limiting", Service: "orders", Config: map[string]any{
				"second": 200, "share": 0.5, "on": true, "list": []any{"a", map[string]any{"b": nil}}, "at": "2024-01-01",
			}}},
			{Kind: gatewarden.StepWeight, After: seconds(10), Weight: &gatewarden.WeightStep{Upstream: "orders", TargetTag: "version:v2", Weight: 5}},
			{Kind: gatewarden.StepDrain, After: seconds(20), Weight: &gatewarden.WeightStep{Upstream: "orders", Target: "10.0.0.7:8080"}},
			{Kind: gatewarden.StepJenkins, After: seconds(30), Jenkins: &gatewarden.JenkinsStep{
				Job: "shop/orders-rollback", Parameters: map[string]string{"SERVICE": "orders", "COUNT": "3", "VERSION": "1.10"}, Wait: seconds(600), Verify: seconds(300),
			}},
			{Kind: gatewarden.StepWebhook, After: seconds(40), Webhook: &gatewarden.WebhookStep{
				URLFile: "dir/hook.url", Method: "PUT", Headers: map[string]string{"X-A": "b"}, BearerTokenFile: "/abs/token", Timeout: seconds(3),
			}},
			{Kind: gatewarden.StepDivert, After: seconds(50), Divert: &gatewarden.DivertStep{Route: "orders-list", To: "orders-later"}},
			{Kind: gatewarden.StepService, After: seconds(50), Service: &gatewarden.ServiceStep{Name: "recommendations"}},
			{Kind: gatewarden.StepSlack, After: seconds(50), Slack: &gatewarden.SlackStep{URLFile: "dir/slack.url", Timeout: seconds(10)}},
			{Kind: gatewarden.StepAlertmanager, After: seconds(50), Alertmanager: &gatewarden.AlertmanagerStep{
				URL: "http://am:9093", Labels: map[string]string{"team": "shop"}, BearerTokenFile: "dir/am.token", Timeout: seconds(3),
			}},
			{Kind: gatewarden.StepAdaptive, After: seconds(50), Adaptive: &gatewarden.AdaptiveStep{
				SLO: "o", Service: "orders", Route: "list", Floor: 5, Ceiling: 500, Nodes: 2, Settle: seconds(11), Config: map[string]any{"error_code": 503},
			}},
		},
		Lease:  20 * time.Minute,
		Revert: gatewarden.RevertPolicy{After: 2 * time.Minute},
		Limits: gatewarden.Limits{Cooldown: time.Minute, PerHour: 10, MaxActive: 8},
		Mode:   gatewarden.ModeEnforce,
	}, {
		Name: "short",
		Steps: []gatewarden.Step{
			{Kind: gatewarden.StepDrain, Weight: &gatewarden.WeightStep{Upstream: "o", Target: "a:1"}},
			{Kind: gatewarden.StepJenkins, Jenkins: &gatewarden.JenkinsStep{Job: "a", Wait: seconds(1800)}},
			{Kind: gatewarden.StepWebhook, Webhook: &gatewarden.WebhookStep{URL: "http://x", Method: "POST", Timeout: seconds(10)}},
		},
		Lease:  15 * time.Minute,
		Revert: gatewarden.RevertPolicy{After: 5 * time.Minute, Stepwise: true},
		Limits: gatewarden.Limits{Cooldown: 10 * time.Minute, PerHour: 6, MaxActive: 3},
		Mode:   gatewarden.ModeObserve,
	}}
	if diff := cmp.Diff(want, rules.Policies); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
}

func TestFilesAndFolders(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"b.yaml": oneSLO("b"), "a.yml": oneSLO("a"), ".hidden.yaml": "nonsense", "readme.md": "# no",
		"sub/c.yaml": oneSLO("c"), "empty/readme.md": "",
	})
	rules, ps := LoadRules([]string{dir, filepath.Join(dir, "b.yaml"), filepath.Join(dir, "sub", "c.yaml")})
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	var names []string
	for _, s := range rules.SLOs {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Errorf("SLOs (-want +got):\n%s", diff)
	}
	if len(rules.Files) != 3 {
		t.Errorf("files: %v", rules.Files)
	}

	_, ps = LoadRules([]string{filepath.Join(dir, "empty"), filepath.Join(dir, "none.yaml")})
	got := strings.ReplaceAll(printed(ps), dir, "DIR")
	want := `DIR/empty: warning: there are no rules in this folder
    hint: put rules there, in files that end in .yaml
DIR/none.yaml: error: can't open it: no such file or directory
    hint: check the path; paths in a file are relative to that file's folder
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestNamesHoldAcrossFiles(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"a.yaml": strings.Replace(oneSLO("a"), "}}]", "}, on_page: [tell]}]", 1),
		"b.yaml": oneSLO("a") + "actions: [{name: tell, steps: [{webhook: {url: \"http://x\"}}]}]\n",
	})
	_, ps := LoadRules([]string{dir})
	got := strings.ReplaceAll(printed(ps), dir, "DIR")
	if len(ps) != 1 || !strings.Contains(got, `DIR/b.yaml:1:15: error: the slo "a" exists already, in DIR/a.yaml:1`) {
		t.Error(got)
	}
}

func TestFilesThatAreNoText(t *testing.T) {
	bomb := "slos: [{name: a, service: s, objective: 99, sli: {availability: {}}, on_page: [x]}]\nactions:\n- name: x\n  steps:\n  - plugin:\n      name: p\n      service: s\n      config:\n        a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("        %c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	deep := "actions: [{name: a, steps: [{plugin: {name: p, service: s, config: {a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}}}]}]"
	for sentence, c := range map[string]struct{ text, want string }{
		"bytes that are not UTF-8 have a line":     {"slos:\n  - name: \xff\n", "x.yaml:2:1: error: the file is not valid UTF-8"},
		"UTF-16 is not UTF-8":                      {"\xff\xfes\x00l\x00o\x00s\x00", "the file is not valid UTF-8"},
		"a file of zeros is no YAML":               {strings.Repeat("\x00", 100), "this is not YAML: control characters are not allowed"},
		"a byte order mark is skipped":             {"\xef\xbb\xbfslo: []", "x.yaml:1:1: error: unknown key"},
		"lines may end as on Windows":              {"slos: []\r\nslo: []\r\n", "x.yaml:2:1: error: unknown key"},
		"a huge file is refused":                   {strings.Repeat("# comment\n", 1<<17), "the file is larger than 1024 KiB"},
		"an alias bomb ends":                       {bomb, "the file holds more than 50000 values"},
		"too many of everything ends":              {"slos:\n" + strings.Repeat("- {a: b}\n", 60000), " more"},
		"too many steps end":                       {"actions: [{name: a, steps: [" + strings.Repeat("{},", 60000) + "]}]", "the file holds more than 50000 values"},
		"too many values of a track end":           {"canaries: [{name: a, service: s, on_fail: [], baseline: {target: [" + strings.Repeat("x,", 400) + "]}}]", "a track has at most 256 values, here are 400"},
		"a bottomless expression ends":             {"slos: [{name: a, service: s, objective: 99, sli: {good: '" + strings.Repeat("(", 500000) + "'}}]", "the expression is longer than 4096 characters"},
		"deep nesting ends":                        {deep, "this is nested more than 64 levels deep"},
		"nesting beyond the parser's own limit":    {strings.Repeat("[", 50000), "this is not YAML: exceeded max depth"},
		"thousands of mistakes are not all listed": {"slos:\n" + strings.Repeat("- 1\n", 5000), "and 4800 more"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, ps := loadRules([]*document{parseDocument("x.yaml", []byte(c.text), nil)})
			if got := printed(ps); !strings.Contains(got, c.want) {
				t.Errorf("want %q in:\n%.2000s", c.want, got)
			}
			if ps.Err() == nil {
				t.Error("no error")
			}
		})
	}
}

func TestConfigDefaultsAndPaths(t *testing.T) {
	dir := writeFiles(t, map[string]string{"empty.yaml": "", "full.yaml": `
state: {nats: {url: "nats://nats:4222", credentials_file: n.creds, replicas: 3}, name: guard-1, api: "https://guard-1:8080", acknowledge: counted}
rules: [rules/, /etc/rules]
sources: []
kong: {admin_url: "https://kong:8444", headers: {A: "Bearer ${TOKEN}"}, token: "${TOKEN}", ca_file: ca.pem, cert_file: me.pem, key_file: me.key, workspace: shop, dbless: true}
jenkins: {url: "http://j", user: "a$${b}", password_file: /run/pw}
web: {config_file: web.yaml}
tracing: {endpoint: "https://otel:4318", headers: {A: "Bearer ${TOKEN}"}, ca_file: otel.pem, batches: 0}
listen: {api: ":${PORT}"}
`})
	in := func(name string) string { return filepath.Join(dir, name) }
	empty, ps := LoadConfig(in("empty.yaml"), testEnv)
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	want := Defaults()
	want.File, want.State.Dir, want.Rules = in("empty.yaml"), in("data"), []string{in("rules")}
	unexported := cmpopts.IgnoreUnexported(Source{})
	if diff := cmp.Diff(want, empty, unexported); diff != "" {
		t.Errorf("an empty file (-want +got):\n%s", diff)
	}

	full, ps := LoadConfig(in("full.yaml"), testEnv)
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	want = &Config{
		File:    in("full.yaml"),
		Listen:  Listen{API: ":8080", Ingest: ":8081", MaxConnections: 4096},
		State:   State{NATS: &NATS{URL: "nats://nats:4222", CredentialsFile: in("n.creds"), Replicas: 3}, Name: "guard-1", API: "https://guard-1:8080", Acknowledge: AckCounted},
		Rules:   []string{in("rules"), "/etc/rules"},
		Sources: []Source{},
		Kong: Kong{
			AdminURL: "https://kong:8444", CAFile: in("ca.pem"), CertFile: in("me.pem"), KeyFile: in("me.key"), Workspace: "shop", DBLess: true, Timeout: 5 * time.Second,
			Headers: map[string]gatewarden.Secret{"A": gatewarden.NewSecret("Bearer hunter22")}, Token: gatewarden.NewSecret("hunter22"),
		},
		Jenkins: Jenkins{URL: "http://j", User: "a${b}", PasswordFile: "/run/pw", Timeout: 10 * time.Second},
		Log:     Log{Level: "info", Format: "text"},
		Web:     Web{ConfigFile: in("web.yaml")},
		Tracing: Tracing{Endpoint: "https://otel:4318", CAFile: in("otel.pem"), Headers: map[string]gatewarden.Secret{"A": gatewarden.NewSecret("Bearer hunter22")}},

		BlindAfter: time.Minute,
	}
	if diff := cmp.Diff(want, full, unexported); diff != "" {
		t.Errorf("a full file (-want +got):\n%s", diff)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, full); strings.Contains(s, "hunter2") {
			t.Errorf("%s shows a secret: %s", verb, s)
		}
	}
}

func TestAConfigThatIsNotThere(t *testing.T) {
	config, ps := LoadConfig(filepath.Join(t.TempDir(), "none.yaml"), nil)
	if config == nil || gatewarden.ErrorCode(ps.Err()) != gatewarden.Invalid {
		t.Errorf("%v, %v", config, ps)
	}
	if _, ps = LoadConfig(t.TempDir(), nil); !strings.Contains(printed(ps), "is a directory") {
		t.Error(printed(ps))
	}
}

type settings struct {
	Path     string            `yaml:"path"`
	Every    time.Duration     `yaml:"every"`
	Password gatewarden.Secret `yaml:"password"`
	Limit    uint16            `yaml:"limit"`
	Share    float64           `yaml:"share"`
	On       bool              `yaml:"on"`
	Hosts    []string          `yaml:"hosts"`
	Nested   struct {
		Wait gatewarden.Duration `yaml:"wait"`
	} `yaml:"nested"`
	Untagged int
	Ignored  string `yaml:"-"`
	private  string
}

func TestSourcesDecodeTheirSettings(t *testing.T) {
	load := func(source string) Source {
		config, ps := loadConfig(parseDocument("c.yaml", []byte("sources:\n  - thing: "+source+"\n"), testEnv))
		if err := ps.Err(); err != nil {
			t.Fatal(err)
		}
		return config.Sources[0]
	}

	got := settings{Path: "/default", Every: time.Second, Ignored: "x", private: "y"}
	s := load(`{every: 2s, password: "${TOKEN}", limit: 7, share: 0.5, on: true, hosts: [a, b], nested: {wait: 1m}, untagged: -3}`)
	if err := s.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := settings{
		Path: "/default", Every: 2 * time.Second, Password: gatewarden.NewSecret("hunter22"), Limit: 7, Share: 0.5, On: true,
		Hosts: []string{"a", "b"}, Untagged: -3, Ignored: "x", private: "y",
	}
	want.Nested.Wait = gatewarden.Duration(time.Minute)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if s.Kind != "thing" || s.File != "c.yaml" || s.Line != 2 {
		t.Errorf("source: %s in %s:%d", s.Kind, s.File, s.Line)
	}

	err := load("\n      evry: 2s\n      limit: 70000\n      share: .nan\n      on: 3\n      hosts: a\n      nested: {wait: 3}\n      ignored: a").Decode(&got)
	if gatewarden.ErrorCode(err) != gatewarden.Invalid {
		t.Fatalf("error %v", err)
	}
	le, ok := errors.AsType[*LoadError](err)
	if !ok {
		t.Fatalf("%T", err)
	}
	var lines []string
	for _, p := range le.Problems {
		lines = append(lines, p.String())
	}
	if diff := cmp.Diff([]string{
		`c.yaml:3:7: error: unknown key "evry" in thing`,
		`c.yaml:4:14: error: limit: "70000" is not a whole number that fits`,
		`c.yaml:5:14: error: share: ".nan" is not a number`,
		`c.yaml:6:11: error: on: "3" is not true or false`,
		`c.yaml:7:14: error: hosts must be a list, this is text`,
		`c.yaml:8:22: error: wait: "3" is not a duration`,
		`c.yaml:9:7: error: unknown key "ignored" in thing`,
	}, lines); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}

	if err := load("").Decode(&got); err != nil {
		t.Errorf("no settings: %v", err)
	}
	if err := Defaults().Sources[0].Decode(&got); err != nil {
		t.Errorf("the default source: %v", err)
	}
	if err := load("{path: a}").Decode(got); gatewarden.ErrorCode(err) != gatewarden.Internal {
		t.Errorf("decoding into what is no pointer: %v", err)
	}
}

func TestAConfigBeyondTheLimits(t *testing.T) {
	text := "sources:\n  - thing: {a: b}\nrules: [" + strings.Repeat("a,", 60000) + "]\n"
	config, ps := loadConfig(parseDocument("c.yaml", []byte(text), testEnv))
	if !strings.Contains(printed(ps), "the file holds more than 50000 values") {
		t.Error(printed(ps))
	}
	var into map[string]string
	if err := config.Sources[0].Decode(&into); err != nil || into["a"] != "b" {
		t.Errorf("%v, %v", into, err)
	}
}

func TestKindsAreChecked(t *testing.T) {
	config, _ := loadConfig(parseDocument("c.yaml", []byte("sources:\n  - httplgo: {}\n  - httplog: {}\n"), testEnv))
	got := printed(config.CheckKinds([]string{"httplog", "tcplog"}))
	want := `c.yaml:2:5: error: there is no source of the kind "httplgo"
    - httplgo: {}
      ^
    hint: did you mean "httplog"?
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestRulesNeedTheirPeers(t *testing.T) {
	rules, ps := LoadRules([]string{"../examples/shop/rules"})
	if len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	got := Defaults().CheckRules(rules)
	if len(got) != 10 || got.Err() == nil || got[0].Line == 0 {
		t.Error(printed(got))
	}
}

func TestOverride(t *testing.T) {
	load := func() *Rules {
		rules, ps := loadRules([]*document{parseDocument("r.yaml", []byte(`
slos:
  - {name: a, service: orders, objective: 99.9, sli: {availability: {}}}
  - {name: b, service: orders, objective: 99, window: 7d, sli: {availability: {}}, outage: {ratio: 40%}}
  - {name: c, service: orders, objective: 99, calendar: month, sli: {good: 'status < 500'}, outage: off}
`), nil)})
		if len(ps) > 0 {
			t.Fatal(printed(ps))
		}
		return rules
	}
	const day = 24 * time.Hour
	for sentence, c := range map[string]struct {
		key, value string
		change     func(want []gatewarden.SLO)
	}{
		"an objective of all, and the ratio that follows from it": {"slo.objective", "99.5", func(want []gatewarden.SLO) {
			for i := range want {
				want[i].Objective = 0.995
			}
			want[0].Outage.Ratio = 0.25
		}},
		"an objective of one": {"slo.b.objective", "99.95%", func(want []gatewarden.SLO) { want[1].Objective = 0.9995 }},
		"a window, with its pairs": {"slo.a.window", "90d", func(want []gatewarden.SLO) {
			want[0].Window.Rolling, want[0].Pairs = 90*day, gatewarden.WorkbookPairs(90*day)
		}},
		"a calendar window": {"slo.b.window", "{calendar: week}", func(want []gatewarden.SLO) {
			want[1].Window = gatewarden.BudgetWindow{Calendar: "week"}
		}},
		"a window in place of a calendar one": {"slo.c.window", "30d", func(want []gatewarden.SLO) {
			want[2].Window = gatewarden.BudgetWindow{Rolling: 30 * day}
		}},
		"a ratio, also where the line was off": {"slo.outage.ratio", "60%", func(want []gatewarden.SLO) {
			for i := range want {
				want[i].Outage = &gatewarden.OutageLine{Ratio: 0.6}
			}
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules, want := load(), load().SLOs
			c.change(want)
			if err := rules.Override(c.key, c.value); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, rules.SLOs, ignoreHolds); diff != "" {
				t.Errorf("SLOs (-want +got):\n%s", diff)
			}
			if rules.SLOs[2].SLI.Holds == nil {
				t.Error("the expression is lost")
			}
		})
	}

	for sentence, c := range map[string]struct {
		key, value string
		code       gatewarden.Code
		want       string
	}{
		"a key that can't be set":             {"slo.name", "x", gatewarden.Invalid, `"slo.name" can't be set`},
		"a key of something else":             {"action.a.mode", "enforce", gatewarden.Invalid, "can't be set"},
		"an slo that does not exist":          {"slo.d.objective", "99", gatewarden.NotFound, `there is no slo "d"`},
		"no value":                            {"slo.objective", "", gatewarden.Invalid, "there is no value"},
		"a value that is no number":           {"slo.objective", "high", gatewarden.Invalid, `"high" is not a number in per cent`},
		"a value that is no YAML":             {"slo.objective", "[", gatewarden.Invalid, "this is not YAML"},
		"an objective that is a ratio":        {"slo.a.objective", "0.999", gatewarden.Invalid, "in per cent"},
		"a ratio below the budget of one slo": {"slo.outage.ratio", "0.5%", gatewarden.Invalid, "for the slo b: the outage ratio 0.5 % is not above the 1 % that may be bad"},
		"a window that is too long":           {"slo.window", "400d", gatewarden.Invalid, "between 1m and 90d"},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules, want := load(), load().SLOs
			err := rules.Override(c.key, c.value)
			if gatewarden.ErrorCode(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v", gatewarden.ErrorCode(err), err)
			}
			if diff := cmp.Diff(want, rules.SLOs, ignoreHolds); diff != "" {
				t.Errorf("a refused override changed something:\n%s", diff)
			}
			if err := rules.Override("slo.objective", "99.9"); err != nil {
				t.Errorf("and the next one fails: %v", err)
			}
		})
	}
}

func TestProblemsAsErrorsAndJSON(t *testing.T) {
	warning := Problem{File: "a", Line: 1, Column: 2, Severity: SeverityWarning, Message: "odd"}
	failure := Problem{File: "b", Severity: SeverityError, Message: "wrong", Hint: "mend it"}
	if err := (Problems{warning}).Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
	err := Problems{warning, failure}.Err()
	if err == nil || err.Error() != "b: error: wrong (mend it)" {
		t.Errorf("error %v", err)
	}
	b, jerr := json.Marshal(Join(Problems{failure}, Problems{warning, failure}))
	want := `[{"file":"a","line":1,"column":2,"severity":"warning","message":"odd"},{"file":"b","severity":"error","message":"wrong","hint":"mend it"}]`
	if jerr != nil || string(b) != want {
		t.Errorf("%s, %v", b, jerr)
	}
}
