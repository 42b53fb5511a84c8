package compose_test

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	alertmanager "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"
)

const configs = "deploy/compose"

// Prometheus' own loader, which is what `promtool check config` calls.
func TestPrometheusAcceptsItsConfiguration(t *testing.T) {
	cfg, err := config.LoadFile(filepath.Join(root, configs, "prometheus/prometheus.yml"), false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var jobs []string
	for _, job := range cfg.ScrapeConfigs {
		jobs = append(jobs, job.JobName)
	}
	for _, want := range []string{"gatewarden", "kong"} {
		if !slices.Contains(jobs, want) {
			t.Errorf("nobody scrapes %s: %q", want, jobs)
		}
	}
}

// ruleFiles returns the rule files, parsed by what `promtool check rules` calls.
func ruleFiles(t *testing.T) map[string]*rulefmt.RuleGroups {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, configs, "prometheus/rules/*.yml"))
	if err != nil || len(names) < 2 {
		t.Fatalf("rules: %q, %v", names, err)
	}
	all := map[string]*rulefmt.RuleGroups{}
	for _, name := range names {
		groups, errs := rulefmt.ParseFile(name, false, model.UTF8Validation)
		for _, err := range errs {
			t.Errorf("%s: %v", name, err)
		}
		all[filepath.Base(name)] = groups
	}
	return all
}

func TestPrometheusAcceptsItsRules(t *testing.T) {
	metrics := text(t, "docs/metrics.md")
	seen := 0
	for name, groups := range ruleFiles(t) {
		if groups == nil {
			continue
		}
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				for _, metric := range regexp.MustCompile(`\bgatewarden_\w+`).FindAllString(r.Expr, -1) {
					seen++
					if !strings.Contains(metrics, "`"+metric+"`") {
						t.Errorf("%s: %s: there is no metric %s in docs/metrics.md", name, r.Alert, metric)
					}
				}
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d metrics seen", seen)
	}
}

func TestTheAlertsOnTheGuardAreThoseOfTheDocument(t *testing.T) {
	for _, name := range []string{"gatewarden.yml", "slos.yml"} {
		_, file, _ := strings.Cut(text(t, configs+"/prometheus/rules/"+name), "\n")
		if !strings.Contains(text(t, "docs/metrics.md"), "```yaml\n"+file+"```") {
			t.Errorf("deploy/compose/prometheus/rules/%s is not what docs/metrics.md says", name)
		}
	}
}

// Alertmanager's own loader, which is what `amtool check-config` calls.
func TestAlertmanagerAcceptsItsConfiguration(t *testing.T) {
	cfg, err := alertmanager.LoadFile(filepath.Join(root, configs, "alertmanager/alertmanager.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Receivers) != 1 || cfg.Route.Receiver != "chat" {
		t.Errorf("receivers %v, route to %s", cfg.Receivers, cfg.Route.Receiver)
	}
}

// ports are where services listen, as far as their own images say.
func ports() map[string][]string {
	return map[string][]string{
		"alertmanager": {"9093"}, "chat": {"8080"}, "elasticsearch": {"9200"}, "gatewarden": {"8080", "8081"}, "grafana": {"3000"}, "inventory": {"8080"},
		"jaeger": {"16686", "4317", "4318", "8888"}, "jenkins": {"8080"}, "kong": {"8000", "8001", "8100"}, "logstash": {"5170"}, "orders-v1": {"8080"},
		"orders-v2": {"8080"}, "payments": {"8080"}, "prometheus": {"9090"}, "recommendations": {"8080"},
	}
}

var address = regexp.MustCompile(`(?:https?://|["'=\s])([a-z][a-z0-9-]*):(\d{4,5})\b`)

// strangers returns the addresses in a text that are no service's.
func strangers(text string) (unknown []string, seen int) {
	for _, m := range address.FindAllStringSubmatch(text, -1) {
		if m[1] == "localhost" || m[1] == "interval" {
			continue
		}
		seen++
		if !slices.Contains(ports()[m[1]], m[2]) {
			unknown = append(unknown, m[1]+":"+m[2])
		}
	}
	return unknown, seen
}

func TestAddressesAreThoseOfServices(t *testing.T) {
	all := 0
	files := []string{"docker-compose.yml"}
	err := filepath.WalkDir(filepath.Join(root, configs), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, name)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		unknown, seen := strangers(text(t, file))
		all += seen
		if len(unknown) > 0 {
			t.Errorf("%s names %q, where nobody listens", file, unknown)
		}
	}
	if all < 25 {
		t.Errorf("only %d addresses seen", all)
	}
	if unknown, _ := strangers(`url: "http://prometheus:9091"`); len(unknown) != 1 {
		t.Error("a wrong port is not found")
	}
	services := load(t).Services
	for name := range ports() {
		if _, ok := services[name]; !ok {
			t.Errorf("%s is no service", name)
		}
	}
}

func decode(t *testing.T, name string, v any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text(t, name)), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestGrafanaFindsDashboardsAndTheirData(t *testing.T) {
	var sources struct {
		Datasources []struct {
			UID, Type, URL string
			IsDefault      bool `yaml:"isDefault"`
			JSONData       struct {
				Exemplars []struct {
					UID string `yaml:"datasourceUid"`
				} `yaml:"exemplarTraceIdDestinations"`
			} `yaml:"jsonData"`
		}
	}
	decode(t, configs+"/grafana/provisioning/datasources/datasources.yaml", &sources)
	uids, defaults := map[string]bool{}, 0
	for _, d := range sources.Datasources {
		if uids[d.UID] || d.UID == "" {
			t.Errorf("the uid %q is empty or there twice", d.UID)
		}
		uids[d.UID] = true
		if d.IsDefault {
			defaults++
		}
	}
	if defaults != 1 || len(uids) != 4 {
		t.Errorf("%d data sources, %d of them the default", len(uids), defaults)
	}
	for _, d := range sources.Datasources {
		for _, e := range d.JSONData.Exemplars {
			if !uids[e.UID] {
				t.Errorf("exemplars of %s lead to %q, which there is not", d.UID, e.UID)
			}
		}
	}
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	decode(t, configs+"/grafana/provisioning/dashboards/gatewarden.yaml", &providers)
	mounted := false
	for _, v := range load(t).Services["grafana"].Volumes {
		mounted = mounted || v.Target == providers.Providers[0].Options.Path
	}
	if !mounted {
		t.Errorf("nothing is mounted at %s", providers.Providers[0].Options.Path)
	}
}

func TestLogstashLoadsATemplateThatIsThere(t *testing.T) {
	pipeline := text(t, configs+"/logstash/pipeline/kong.conf")
	if strings.Count(pipeline, "{") != strings.Count(pipeline, "}") {
		t.Error("braces do not match")
	}
	path := regexp.MustCompile(`template => "([^"]+)"`).FindStringSubmatch(pipeline)
	if path == nil {
		t.Fatal("no template")
	}
	found := false
	for _, v := range load(t).Services["logstash"].Volumes {
		if rest, ok := strings.CutPrefix(path[1], v.Target+"/"); ok {
			_, err := os.Stat(filepath.Join(v.Source, rest))
			found = err == nil
		}
	}
	if !found {
		t.Errorf("%s is not mounted", path[1])
	}
	var template map[string]any
	if err := json.Unmarshal([]byte(text(t, configs+"/logstash/templates/kong.json")), &template); err != nil {
		t.Fatal(err)
	}
	for name := range template {
		if !slices.Contains([]string{"index_patterns", "order", "settings", "mappings"}, name) {
			t.Errorf("the template has %q, which is not of the form in which Logstash 7.17 puts it", name)
		}
	}
}

// options are the settings that the plugins in Logstash 7.17.28 know, among those that one
// may use here: tcp 6.2.7, date 3.1.15, ruby 3.1.8, mutate 3.5.8, elasticsearch 11.4.2. One
// that a plugin does not know keeps the whole pipeline from starting.
func options() map[string][]string {
	return map[string][]string{
		"tcp":    {"host", "port", "codec", "ecs_compatibility", "dns_reverse_lookup_enabled", "tcp_keep_alive"},
		"date":   {"match", "target", "timezone", "locale", "tag_on_failure"},
		"ruby":   {"code", "init", "path", "script_params", "tag_on_exception"},
		"mutate": {"remove_field", "add_field", "rename", "replace", "update", "copy", "convert"},
		"elasticsearch": {
			"hosts", "index", "document_id", "action", "ilm_enabled", "ecs_compatibility", "manage_template", "template", "template_name", "template_overwrite",
		},
	}
}

var (
	pluginBlock = regexp.MustCompile(`(?s)(\w+) \{([^{}]*=>[^{}]*)\}`)
	option      = regexp.MustCompile(`(?m)(?:^|\s)(\w+) =>`)
	quoted      = regexp.MustCompile(`"[^"]*"`)
)

func unknownOptions(pipeline string) (unknown []string, seen int) {
	pipeline = regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(pipeline, "")
	for _, block := range pluginBlock.FindAllStringSubmatch(quoted.ReplaceAllString(pipeline, `""`), -1) {
		for _, o := range option.FindAllStringSubmatch(block[2], -1) {
			seen++
			if !slices.Contains(options()[block[1]], o[1]) {
				unknown = append(unknown, block[1]+" "+o[1])
			}
		}
	}
	return unknown, seen
}

func TestLogstashKnowsItsOptions(t *testing.T) {
	pipeline := text(t, configs+"/logstash/pipeline/kong.conf")
	if unknown, seen := unknownOptions(pipeline); len(unknown) > 0 || seen < 15 {
		t.Errorf("of %d options, Logstash does not know %q", seen, unknown)
	}
	if unknown, _ := unknownOptions(strings.Replace(pipeline, "template_name", "template_api", 1)); !slices.Equal(unknown, []string{"elasticsearch template_api"}) {
		t.Errorf("an option of a later version is not found: %q", unknown)
	}
}

// Nothing but Jenkins reads these, so they are held to each other: names, secrets, files.
func TestJenkinsFindsWhatItsConfigurationNames(t *testing.T) {
	var casc struct {
		Jobs []struct{ File string }
	}
	file := configs + "/jenkins/casc/jenkins.yaml"
	decode(t, file, &casc)
	service := load(t).Services["jenkins"]
	for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(strings.SplitN(text(t, file), "\njenkins:", 2)[1], -1) {
		_, variable := service.Environment[m[1]]
		secret := slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool { return s.Source == m[1] })
		if !variable && !secret {
			t.Errorf("${%s} is no variable and no secret of the container", m[1])
		}
	}
	if len(casc.Jobs) == 0 {
		t.Fatal("no jobs")
	}
	dockerfile := text(t, "Dockerfile")
	for _, j := range casc.Jobs {
		script := text(t, configs+"/jenkins"+j.File)
		for _, m := range regexp.MustCompile(`scriptPath\('(.+)'\)`).FindAllStringSubmatch(script, -1) {
			if !strings.Contains(dockerfile, "examples/ci/jenkins/"+m[1]+" ") {
				t.Errorf("%s: %s is not in the image", j.File, m[1])
			}
		}
		jobs := regexp.MustCompile(`pipelineJob\('(.+)'\)`).FindAllStringSubmatch(script, -1)
		rules := text(t, configs+"/gatewarden/rules/shop.yaml")
		for _, m := range regexp.MustCompile(`jenkins: \{job: (\S+),`).FindAllStringSubmatch(rules, -1) {
			if !slices.ContainsFunc(jobs, func(j []string) bool { return j[1] == m[1] }) {
				t.Errorf("the rules name the job %s, which there is not", m[1])
			}
		}
		if !strings.Contains(script, "stringParam('GATEWARDEN_ACTION'") {
			t.Errorf("%s: no job declares GATEWARDEN_ACTION", j.File)
		}
	}
	for _, script := range []string{"deploy.sh", "rollback.sh"} {
		if info, err := os.Stat(filepath.Join(root, configs, "jenkins", script)); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run (%v)", script, err)
		}
	}
}
