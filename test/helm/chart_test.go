package helm_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

const (
	root  = "../.."
	chart = root + "/deploy/helm/gatewarden"
)

// object is one rendered object: as it was read, and as the type of its kind.
type object struct {
	kind, name string
	raw        map[string]any
	typed      any
}

// typeOf returns a new object of a kind.
func typeOf(kind string) any {
	switch kind {
	case "ConfigMap":
		return &core.ConfigMap{}
	case "Service":
		return &core.Service{}
	case "ServiceAccount":
		return &core.ServiceAccount{}
	case "StatefulSet":
		return &apps.StatefulSet{}
	case "PodDisruptionBudget":
		return &policy.PodDisruptionBudget{}
	case "NetworkPolicy":
		return &networking.NetworkPolicy{}
	case "ServiceMonitor":
		return &monitoring.ServiceMonitor{}
	default:
		return nil
	}
}

// render renders the chart with values written as YAML, as helm install does.
func render(t *testing.T, values string) ([]object, error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "shop", Namespace: "guard", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(c, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var objects []object
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for doc := range strings.SplitSeq(text, "\n---\n") {
			if strings.TrimSpace(doc) == "" {
				continue
			}
			objects = append(objects, decode(t, name, doc))
		}
	}
	slices.SortFunc(objects, func(a, b object) int { return strings.Compare(a.kind+" "+a.name, b.kind+" "+b.name) })
	return objects, nil
}

// decode reads a document into the type of its kind; a key that the type has not is an
// error, and so is one that is there twice.
func decode(t *testing.T, file, doc string) object {
	t.Helper()
	var raw map[string]any
	if err := yaml.UnmarshalStrict([]byte(doc), &raw); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, doc)
	}
	o := object{kind: fmt.Sprint(raw["kind"]), raw: raw}
	if o.typed = typeOf(o.kind); o.typed == nil {
		t.Fatalf("%s: no type for the kind %q", file, o.kind)
	}
	if err := yaml.UnmarshalStrict([]byte(doc), o.typed); err != nil {
		t.Errorf("%s: %v", file, err)
	}
	if metadata, ok := raw["metadata"].(map[string]any); ok {
		o.name = fmt.Sprint(metadata["name"])
	}
	return o
}

// everything switches on all that the chart has.
const everything = `
replicas: 3
image: {tag: "1.2.3"}
imagePullSecrets: [{name: pull}]
config:
  jenkins: {url: "http://jenkins:8080", user: gatewarden, token_file: /run/secrets/gatewarden/jenkins}
rules:
  shop.yaml: {slos: [{name: orders-availability, service: orders, objective: 99.9, window: 30d, sli: {availability: {}}}]}
existingSecret: tokens
env: [{name: GOMEMLIMIT, value: 800MiB}]
persistence: {size: 20Gi, storageClassName: fast}
networkPolicy: {api: [{podSelector: {matchLabels: {app: prometheus}}}]}
serviceMonitor: {enabled: true, labels: {release: prometheus}, endpoint: {authorization: {credentials: {name: guard, key: token}}}}
serviceAccount: {annotations: {a: b}}
service: {annotations: {a: b}}
ports: [{name: tcplog, port: 9514}, {name: syslog, port: 5514, protocol: UDP}]
probes: {scheme: HTTPS, httpHeaders: [{name: Authorization, value: Basic cHJvYmU6cHJvYmU=}]}
podAnnotations: {a: b}
podLabels: {team: sre}
nodeSelector: {disk: ssd}
tolerations: [{key: guard, operator: Exists}]
priorityClassName: high
`

func TestWhatIsRenderedIsWhatKubernetesKnows(t *testing.T) {
	for sentence, c := range map[string]struct {
		values string
		kinds  []string
	}{
		"with no values": {"", []string{
			"ConfigMap", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "ServiceAccount", "StatefulSet",
		}},
		"with everything": {everything, []string{
			"ConfigMap", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "ServiceAccount", "ServiceMonitor", "StatefulSet",
		}},
		"with what can be left out": {"podDisruptionBudget: {enabled: false}\nnetworkPolicy: {enabled: false}", []string{
			"ConfigMap", "ConfigMap", "Service", "Service", "ServiceAccount", "StatefulSet",
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			objects, err := render(t, c.values)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, o := range objects {
				kinds = append(kinds, o.kind)
				for _, problem := range againstSchema(o) {
					t.Errorf("%s %s: %s", o.kind, o.name, problem)
				}
			}
			if !slices.Equal(kinds, c.kinds) {
				t.Errorf("kinds are %q, want %q", kinds, c.kinds)
			}
		})
	}
}

// find returns the object of a kind and name.
func find[T any](t *testing.T, objects []object, kind, name string) T {
	t.Helper()
	i := slices.IndexFunc(objects, func(o object) bool { return o.kind == kind && o.name == name })
	if i < 0 {
		t.Fatalf("there is no %s %s", kind, name)
	}
	return objects[i].typed.(T)
}

// ports are the ports of the container by name.
func ports(set *apps.StatefulSet) map[string]bool {
	names := map[string]bool{}
	for _, p := range set.Spec.Template.Spec.Containers[0].Ports {
		names[p.Name] = true
	}
	return names
}

func TestThePartsFindEachOther(t *testing.T) {
	objects, err := render(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	set := find[*apps.StatefulSet](t, objects, "StatefulSet", "shop-gatewarden")
	pod := labels.Set(set.Spec.Template.Labels)
	for _, s := range []map[string]string{
		set.Spec.Selector.MatchLabels,
		find[*policy.PodDisruptionBudget](t, objects, "PodDisruptionBudget", "shop-gatewarden").Spec.Selector.MatchLabels,
		find[*networking.NetworkPolicy](t, objects, "NetworkPolicy", "shop-gatewarden").Spec.PodSelector.MatchLabels,
		find[*core.Service](t, objects, "Service", "shop-gatewarden").Spec.Selector,
		find[*core.Service](t, objects, "Service", set.Spec.ServiceName).Spec.Selector,
	} {
		if len(s) == 0 || !labels.SelectorFromSet(s).Matches(pod) {
			t.Errorf("%v does not select the pod's %v", s, pod)
		}
	}
	monitor := find[*monitoring.ServiceMonitor](t, objects, "ServiceMonitor", "shop-gatewarden")
	selected := 0
	for _, o := range objects {
		if s, ok := o.typed.(*core.Service); ok && labels.SelectorFromSet(monitor.Spec.Selector.MatchLabels).Matches(labels.Set(s.Labels)) {
			selected++
		}
	}
	if selected != 1 {
		t.Errorf("the monitor selects %d services: each pod would be scraped that often", selected)
	}
	named := ports(set)
	for _, name := range []string{"shop-gatewarden", set.Spec.ServiceName} {
		for _, p := range find[*core.Service](t, objects, "Service", name).Spec.Ports {
			if !named[p.TargetPort.StrVal] {
				t.Errorf("%s leads to the port %q, which the container has not", name, p.TargetPort.StrVal)
			}
		}
	}
	c := set.Spec.Template.Spec.Containers[0]
	for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if probe == nil || !named[probe.HTTPGet.Port.StrVal] {
			t.Errorf("the probe %v asks nobody", probe)
		}
	}
	volumes := map[string]bool{set.Spec.VolumeClaimTemplates[0].Name: true}
	for _, v := range set.Spec.Template.Spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil {
			find[*core.ConfigMap](t, objects, "ConfigMap", v.ConfigMap.Name)
		}
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s is mounted, and there is no such volume", m.Name)
		}
	}
}

// Whoever asks the API asks with the scheme that it has.
func TestEverybodyAsksWithTheSchemeOfTheAPI(t *testing.T) {
	for scheme, api := range map[string]string{"HTTP": "", "HTTPS": "https://${POD_NAME}.shop-gatewarden-pods:8080"} {
		objects, err := render(t, strings.Replace(everything, "HTTPS", scheme, 1))
		if err != nil {
			t.Fatal(err)
		}
		endpoint := find[*monitoring.ServiceMonitor](t, objects, "ServiceMonitor", "shop-gatewarden").Spec.Endpoints[0]
		if endpoint.Scheme == nil || string(*endpoint.Scheme) != strings.ToLower(scheme) || endpoint.Authorization == nil {
			t.Errorf("%s: Prometheus asks by %v, with %v", scheme, endpoint.Scheme, endpoint.Authorization)
		}
		c := find[*apps.StatefulSet](t, objects, "StatefulSet", "shop-gatewarden").Spec.Template.Spec.Containers[0]
		if got := string(c.ReadinessProbe.HTTPGet.Scheme); got != scheme {
			t.Errorf("%s: the kubelet asks by %s", scheme, got)
		}
		if e := c.Env[0]; e.Name != "POD_NAME" || e.ValueFrom == nil || e.ValueFrom.FieldRef.FieldPath != "metadata.name" {
			t.Errorf("%s: nobody knows its own name: %v", scheme, c.Env)
		}
		var config struct{ State struct{ API string } }
		if err := yaml.Unmarshal([]byte(find[*core.ConfigMap](t, objects, "ConfigMap", "shop-gatewarden").Data["gatewarden.yaml"]), &config); err != nil {
			t.Fatal(err)
		}
		if config.State.API != api {
			t.Errorf("%s: the other guards ask %q, want %q", scheme, config.State.API, api)
		}
	}
}

// Only Kong reaches the ingest port, and it stays so when everything is switched on.
func TestOnlyKongReachesTheIngestPort(t *testing.T) {
	for _, values := range []string{"", everything} {
		objects, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, rule := range find[*networking.NetworkPolicy](t, objects, "NetworkPolicy", "shop-gatewarden").Spec.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				t.Errorf("%v lets everybody in", rule)
			}
			if *rule.Ports[0].Port != intstr.FromString("ingest") {
				continue
			}
			seen++
			if got := rule.From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]; len(rule.From) != 1 || got != "kong" {
				t.Errorf("the ingest port is open to %v", rule.From)
			}
		}
		if seen != 1 {
			t.Errorf("%d rules for the ingest port", seen)
		}
	}
}

func TestThePodIsRestricted(t *testing.T) {
	objects, err := render(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	spec := find[*apps.StatefulSet](t, objects, "StatefulSet", "shop-gatewarden").Spec.Template.Spec
	c := spec.Containers[0].SecurityContext
	switch {
	case !*spec.SecurityContext.RunAsNonRoot, *spec.SecurityContext.RunAsUser == 0, spec.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault,
		*c.AllowPrivilegeEscalation, !*c.ReadOnlyRootFilesystem, !slices.Equal(c.Capabilities.Drop, []core.Capability{"ALL"}), *spec.AutomountServiceAccountToken:
		t.Errorf("the pod is not restricted: %+v, %+v", spec.SecurityContext, c)
	}
	if spec.Affinity == nil || len(spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) != 1 {
		t.Error("three guards may share a node")
	}
}

func TestValuesThatMakeNoSenseAreRefused(t *testing.T) {
	for sentence, c := range map[string]struct{ values, want string }{
		"two guards":                 {"replicas: 2", "replicas"},
		"three without a secret":     {"replicas: 3", "existingSecret"},
		"a key that there is not":    {"replica: 1", "replica"},
		"an address of the chart":    {`config: {listen: {api: ":1"}}`, "listen"},
		"a file that is no rules":    {"rules: {shop.txt: {}}", "shop.txt"},
		"rules that are a string":    {"rules: {shop.yaml: 'slos: []'}", "rules"},
		"an ingest port for all":     {"networkPolicy: {kong: []}", "kong"},
		"a port twice":               {"ports: [{name: again, port: 8081}]", "ports"},
		"a port without a name":      {"ports: [{port: 9514}]", "name"},
		"a monitor that is kept out": {"serviceMonitor: {enabled: true}", "networkPolicy.api"},
		"a probe by mail":            {"probes: {scheme: SMTP}", "scheme"},
		"no time to stop in":         {"terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds"},
		"a size without a meaning":   {"persistence: {size: much}", "size"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one about %s", err, c.want)
			}
		})
	}
}

// A change of the configuration restarts the guard, one of the rules does not.
func TestRulesNeedNoRestart(t *testing.T) {
	checksum := func(values string) string {
		objects, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		return find[*apps.StatefulSet](t, objects, "StatefulSet", "shop-gatewarden").Spec.Template.Annotations["checksum/config"]
	}
	before := checksum("")
	if before == "" || checksum("rules: {shop.yaml: {slos: []}}") != before {
		t.Error("other rules restart the guard")
	}
	if checksum(`config: {kong: {admin_url: "http://other:8001"}}`) == before {
		t.Error("another configuration does not restart the guard")
	}
}

func TestHelmLintFindsNothing(t *testing.T) {
	result := lint.AllWithKubeVersion(chart, map[string]any{}, "guard", nil)
	for _, m := range result.Messages {
		if m.Severity > support.InfoSev {
			t.Errorf("%v", m)
		}
	}
}

// The guard itself reads what the chart makes of its values.
func TestTheGuardAcceptsItsFiles(t *testing.T) {
	objects, err := render(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "gatewarden")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/gatewarden")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the guard: %v\n%s", err, out)
	}
	// The paths are those of the container; here they are below the folder.
	config := find[*core.ConfigMap](t, objects, "ConfigMap", "shop-gatewarden").Data["gatewarden.yaml"]
	config = strings.NewReplacer("/etc/gatewarden/rules", "rules", "/run/secrets/gatewarden/", "").Replace(config)
	for _, pod := range []string{"shop-gatewarden-0", "shop-gatewarden-1", "shop-gatewarden-2"} {
		if want := pod + ": " + pod + ".shop-gatewarden-pods:6222"; !strings.Contains(config, want) {
			t.Errorf("the cluster has no peer %s:\n%s", want, config)
		}
	}
	files := map[string]string{"gatewarden.yaml": config, "jenkins": "a token"}
	for name, text := range find[*core.ConfigMap](t, objects, "ConfigMap", "shop-gatewarden-rules").Data {
		files["rules/"+name] = text
	}
	if len(files) != 3 {
		t.Fatalf("files are %v", files)
	}
	if err := os.Mkdir(filepath.Join(dir, "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.CommandContext(t.Context(), binary, "check", filepath.Join(dir, "gatewarden.yaml"))
	check.Env = append(os.Environ(), "POD_NAME=shop-gatewarden-0")
	out, err := check.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "good: 0 warnings") {
		t.Errorf("%v\n%s\n%s", err, out, config)
	}
}

// Every value is used, and every value that is used is there.
func TestTheValuesAreThoseOfTheTemplates(t *testing.T) {
	raw, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values, schema map[string]any
	if err := yaml.Unmarshal(raw, &values); err != nil {
		t.Fatal(err)
	}
	if raw, err = os.ReadFile(chart + "/values.schema.json"); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	properties := schema["properties"].(map[string]any)
	names, err := filepath.Glob(chart + "/templates/*")
	if err != nil || len(names) < 8 {
		t.Fatalf("templates: %q, %v", names, err)
	}
	used := map[string]bool{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\.Values\.(\w+)`).FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
			if properties[m[1]] == nil {
				t.Errorf("%s uses %s, which values.schema.json does not know", name, m[1])
			}
		}
	}
	for name := range values {
		if !used[name] {
			t.Errorf("no template uses %s", name)
		}
		if properties[name] == nil {
			t.Errorf("values.schema.json does not know %s", name)
		}
	}
}
