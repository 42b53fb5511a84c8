package rules

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// The defaults of an action. Its limits follow from its ladder: it may run whole
// twice an hour, and every step may be in place at once.
const (
	defaultLease       = 15 * time.Minute
	defaultRevertAfter = 5 * time.Minute
	defaultCooldown    = 10 * time.Minute
	defaultWait        = 30 * time.Minute
	defaultTimeout     = 10 * time.Second
	laddersPerHour     = 2
	defaultApproval    = time.Hour
	longestApproval    = 7 * 24 * time.Hour

	shortestLease = 5 * time.Second
	longLease     = 24 * time.Hour
)

// actionSpec is an action as it is written.
type actionSpec struct {
	Name   string        `yaml:"name"`
	Steps  []*stepSpec   `yaml:"steps"`
	Lease  time.Duration `yaml:"lease"`
	Revert revertSpec    `yaml:"revert"`
	Limits limitsSpec    `yaml:"limits"`
	Mode   string        `yaml:"mode"`

	Approval approvalSpec        `yaml:"approval"`
	OnAlert  []map[string]string `yaml:"on_alert"`

	doc *document
}

type revertSpec struct {
	After    time.Duration `yaml:"after"`
	Stepwise *bool         `yaml:"stepwise"`
}

type approvalSpec struct {
	Expires time.Duration `yaml:"expires"`
}

type limitsSpec struct {
	Cooldown  time.Duration `yaml:"cooldown"`
	PerHour   int           `yaml:"per_hour"`
	MaxActive int           `yaml:"max_active"`
}

// stepSpec is a step as it is written: one kind, and when.
type stepSpec struct {
	After   time.Duration `yaml:"after"`
	Plugin  *pluginSpec   `yaml:"plugin"`
	Weight  *weightSpec   `yaml:"weight"`
	Drain   *drainSpec    `yaml:"drain"`
	Jenkins *jenkinsSpec  `yaml:"jenkins"`
	Webhook *webhookSpec  `yaml:"webhook"`
	Divert  *divertSpec   `yaml:"divert"`
	Service *serviceSpec  `yaml:"service"`
	Slack   *slackSpec    `yaml:"slack"`

	Alertmanager *alertmanagerSpec `yaml:"alertmanager"`
	Adaptive     *adaptiveSpec     `yaml:"adaptive"`

	due time.Duration // After, or that of a step above which is later
}

type pluginSpec struct {
	Name     string         `yaml:"name"`
	Service  string         `yaml:"service"`
	Route    string         `yaml:"route"`
	Consumer string         `yaml:"consumer"`
	Config   map[string]any `yaml:"config"`
}

type weightSpec struct {
	Canary    string `yaml:"canary"`
	Upstream  string `yaml:"upstream"`
	Target    string `yaml:"target"`
	TargetTag string `yaml:"target_tag"`
	Weight    int    `yaml:"weight"`
}

type drainSpec struct {
	Canary    string `yaml:"canary"`
	Upstream  string `yaml:"upstream"`
	Target    string `yaml:"target"`
	TargetTag string `yaml:"target_tag"`
}

type jenkinsSpec struct {
	Job        string            `yaml:"job"`
	Parameters map[string]string `yaml:"parameters"`
	Wait       time.Duration     `yaml:"wait"`
	Verify     time.Duration     `yaml:"verify"`
	Results    map[string]string `yaml:"results"`
	Cancel     string            `yaml:"cancel"`
}

type webhookSpec struct {
	URL             string            `yaml:"url"`
	URLFile         string            `yaml:"url_file"`
	Method          string            `yaml:"method"`
	Headers         map[string]string `yaml:"headers"`
	BearerTokenFile string            `yaml:"bearer_token_file"`
	Timeout         time.Duration     `yaml:"timeout"`
}

// build makes the policy but for the limits that follow from its steps, and reports what
// is wrong with it.
func (a *actionSpec) build(d *document) gatewarden.ActionPolicy {
	checkName(d, d.find(&a.Name, a), "an action", a.Name)
	p := gatewarden.ActionPolicy{
		Name:   a.Name,
		Lease:  orDefault(d, &a.Lease, defaultLease),
		Revert: gatewarden.RevertPolicy{After: orDefault(d, &a.Revert.After, defaultRevertAfter), Stepwise: true},
		Limits: gatewarden.Limits{Cooldown: orDefault(d, &a.Limits.Cooldown, defaultCooldown)},
		Mode:   a.mode(d),
	}
	a.expire(d, &p)
	for i, labels := range a.OnAlert {
		at := d.find(&a.OnAlert[i])
		if len(labels) == 0 && !d.hasProblemIn(at) {
			d.errorf(at, "write {alertname: NAME}", "this would match every alert")
		}
		p.OnAlert = append(p.OnAlert, labels)
	}
	if a.Revert.Stepwise != nil {
		p.Revert.Stepwise = *a.Revert.Stepwise
	}
	if len(a.Steps) == 0 {
		d.errorf(d.find(&a.Steps, a), "add steps, each a dash with its kind", "the action does nothing")
	}
	var due time.Duration
	for _, s := range a.Steps {
		p.Steps = append(p.Steps, s.build(d))
		if at := d.find(&s.After); at != nil && s.After < due {
			d.warnf(at, "steps run in the order of the list; sort them", "this step is due before the one above it, and will wait for that")
		}
		due = max(due, s.After)
		s.due = due
	}
	checkTimes(d, a, &p)
	return p
}

// mode is observe unless another is written: nobody's gateway is changed by a rule
// that was copied before it was understood. The timeline shows what would have been
// done, and enforce is one word.
func (a *actionSpec) mode(d *document) gatewarden.Mode {
	if d.find(&a.Mode) == nil {
		return gatewarden.ModeObserve
	}
	d.choice(d.find(&a.Mode), "mode", a.Mode, string(gatewarden.ModeObserve), string(gatewarden.ModeApprove), string(gatewarden.ModeEnforce))
	return gatewarden.Mode(a.Mode)
}

// expire says how long a step waits for approval.
func (a *actionSpec) expire(d *document, p *gatewarden.ActionPolicy) {
	expires, at := orDefault(d, &a.Approval.Expires, defaultApproval), d.find(&a.Approval.Expires)
	switch {
	case p.Mode == gatewarden.ModeApprove:
		p.ApprovalExpires = expires
	case at != nil:
		d.warnf(at, "write mode: approve, or remove the key", "nobody is asked for approval in mode %s", p.Mode)
	}
	if expires <= 0 || expires > longestApproval {
		d.errorf(at, "write expires: 1h", "approval.expires must be above 0 and at most %s", days(longestApproval))
	}
}

// orDefault returns what the file says, else the default.
func orDefault[T any](d *document, written *T, otherwise T) T {
	if d.find(written) == nil {
		return otherwise
	}
	return *written
}

func checkTimes(d *document, a *actionSpec, p *gatewarden.ActionPolicy) {
	switch at := d.find(&a.Lease); {
	case p.Lease < shortestLease:
		d.errorf(at, "write lease: 15m", "the lease must be at least %s: the guard has to renew it in time", days(shortestLease))
	case p.Lease > longLease:
		d.warnf(at, "a lease is renewed while it is needed; 15m is enough", "a lease of %s outlives a dead guard by as much", days(p.Lease))
	}
	if p.Revert.After <= 0 {
		d.errorf(d.find(&a.Revert.After), "write after: 5m", "revert.after must be above 0: one healthy second is no recovery")
	}
	if p.Limits.Cooldown <= 0 {
		d.errorf(d.find(&a.Limits.Cooldown), "leave it out for "+days(defaultCooldown), "cooldown must be above 0")
	}
}

// limit sets the limits that follow from the steps, when those are known.
func (a *actionSpec) limit(d *document, p *gatewarden.ActionPolicy) {
	p.Limits.PerHour = orDefault(d, &a.Limits.PerHour, laddersPerHour*len(p.Steps))
	p.Limits.MaxActive = orDefault(d, &a.Limits.MaxActive, len(p.Steps))
	reversible := 0
	for _, s := range p.Steps {
		if s.Kind.Reversible() {
			reversible++
		}
	}
	for _, l := range []struct {
		name         string
		at           *yaml.Node
		limit, needs int
	}{
		{"per_hour", d.find(&a.Limits.PerHour), p.Limits.PerHour, len(p.Steps)},
		{"max_active", d.find(&a.Limits.MaxActive), p.Limits.MaxActive, reversible},
	} {
		switch {
		case l.at == nil:
		case l.limit <= 0:
			d.errorf(l.at, "leave it out for a limit that fits the steps", "%s must be above 0", l.name)
		case l.limit < l.needs:
			d.warnf(l.at, fmt.Sprintf("write at least %d", l.needs), "%s: %d lets the ladder never reach its last step", l.name, l.limit)
		}
	}
}

// build makes the step.
func (s *stepSpec) build(d *document) gatewarden.Step {
	step := gatewarden.Step{After: gatewarden.Duration(s.After)}
	kinds := 0
	if s.Plugin != nil {
		kinds++
		step.Kind, step.Plugin = gatewarden.StepPlugin, s.Plugin.build(d)
	}
	if s.Divert != nil {
		kinds++
		step.Kind, step.Divert = gatewarden.StepDivert, s.Divert.build(d)
	}
	if s.Service != nil {
		kinds++
		step.Kind, step.Service = gatewarden.StepService, s.Service.build(d)
	}
	if s.Weight != nil {
		kinds++
		step.Kind, step.Weight = gatewarden.StepWeight, s.Weight.build(d)
	}
	if s.Drain != nil {
		kinds++
		step.Kind, step.Weight = gatewarden.StepDrain, s.Drain.build(d)
	}
	if s.Jenkins != nil {
		kinds++
		step.Kind, step.Jenkins = gatewarden.StepJenkins, s.Jenkins.build(d)
	}
	if s.Webhook != nil {
		kinds++
		step.Kind, step.Webhook = gatewarden.StepWebhook, s.Webhook.build(d)
	}
	if s.Slack != nil {
		kinds++
		step.Kind, step.Slack = gatewarden.StepSlack, s.Slack.build(d)
	}
	if s.Alertmanager != nil {
		kinds++
		step.Kind, step.Alertmanager = gatewarden.StepAlertmanager, s.Alertmanager.build(d)
	}
	if s.Adaptive != nil {
		kinds++
		step.Kind, step.Adaptive = gatewarden.StepAdaptive, s.Adaptive.build(d)
	}
	if at := d.find(s); kinds > 1 {
		d.errorf(at, "put a dash before each", "a step has one kind, here are %d", kinds)
	} else if kinds == 0 && !d.hasProblemIn(at) {
		d.errorf(at, "it is one of: plugin, adaptive, weight, drain, divert, service, jenkins, webhook, slack, alertmanager", "the step does nothing")
	}
	return step
}

// canary returns the name of the canary that the step acts on, nil when it takes none.
func (s *stepSpec) canary() *string {
	switch {
	case s.Drain != nil:
		return &s.Drain.Canary
	case s.Weight != nil:
		return &s.Weight.Canary
	default:
		return nil
	}
}

// noConsumer are the plugins that Kong's schema refuses for a consumer (it says
// "eq": null there; seen in Kong 3.9). Others may exist: preflight asks Kong.
func noConsumer() []string { return []string{"acl", "cors"} }

var pluginShape = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func (p *pluginSpec) build(d *document) *gatewarden.PluginStep {
	if at := d.find(&p.Name, p); p.Name == "" {
		d.errorf(at, "add name: rate-limiting", "the plugin has no name")
	} else if !pluginShape.MatchString(p.Name) {
		d.errorf(at, "write it as Kong does: rate-limiting", "%q can't be the name of a plugin", p.Name)
	}
	scoped := false
	for _, f := range []*string{&p.Service, &p.Route, &p.Consumer} {
		if d.find(f) != nil {
			scoped = true
			checkSelector(d, d.find(f), *f)
		}
		if *f == "*" {
			*f = ""
		}
	}
	if !scoped {
		d.warnf(d.find(p), `add service:, route: or consumer:; or service: "*" if that is meant`, "this plugin would act on everything that the gateway serves")
	}
	if p.Consumer != "" && slices.Contains(noConsumer(), p.Name) {
		d.errorf(d.find(&p.Consumer), "give it a service or a route", "Kong does not take the plugin %s for a consumer", p.Name)
	}
	return &gatewarden.PluginStep{Name: p.Name, Service: p.Service, Route: p.Route, Consumer: p.Consumer, Config: p.Config}
}

func (w *weightSpec) build(d *document) *gatewarden.WeightStep {
	checkTargets(d, d.find(w), &w.Canary, &w.Upstream, &w.Target, &w.TargetTag)
	if at := d.find(&w.Weight, w); d.find(&w.Weight) == nil {
		d.errorf(at, "add weight: 100; to take all traffic away use drain", "the step has no weight")
	} else if w.Weight < 0 || w.Weight > 65535 {
		d.errorf(at, "", "Kong takes weights from 0 to 65535")
	}
	return &gatewarden.WeightStep{Upstream: w.Upstream, Target: w.Target, TargetTag: w.TargetTag, Weight: w.Weight}
}

func (w *drainSpec) build(d *document) *gatewarden.WeightStep {
	if !d.hasProblemIn(d.find(w)) {
		checkTargets(d, d.find(w), &w.Canary, &w.Upstream, &w.Target, &w.TargetTag)
	}
	return &gatewarden.WeightStep{Upstream: w.Upstream, Target: w.Target, TargetTag: w.TargetTag}
}

// checkTargets reports steps that do not say whose weight they set: a canary's, or that
// of targets of an upstream.
func checkTargets(d *document, at *yaml.Node, canary, upstream, target, tag *string) {
	if named := d.find(canary); named != nil {
		if *canary == "" {
			d.errorf(named, "name it, or remove the key", "the name is empty")
		}
		if d.find(upstream, target, tag) != nil {
			d.errorf(named, "keep the canary, or the upstream with its target", "the step has both a canary and targets of its own")
		}
		return
	}
	if *upstream == "" {
		d.errorf(firstNode(d.find(upstream), at), "add upstream: NAME, as Kong calls it; or canary: NAME instead of all", "the step names no upstream")
	}
	switch {
	case *target == "" && *tag == "":
		d.errorf(firstNode(d.find(target, tag), at), `add target: "10.0.0.7:8080", or target_tag: "version:v2"`, "the step names no target")
	case *target != "" && *tag != "":
		d.errorf(d.find(tag), "keep one of them", "the step has both target and target_tag")
	}
}

func firstNode(nodes ...*yaml.Node) *yaml.Node {
	for _, n := range nodes {
		if n != nil {
			return n
		}
	}
	return nil
}

// actionParameter is the build parameter that the guard finds its own builds by.
const actionParameter = "GATEWARDEN_ACTION"

func (j *jenkinsSpec) build(d *document) *gatewarden.JenkinsStep {
	at := d.find(&j.Job, j)
	switch folders := strings.Split(j.Job, "/"); {
	case j.Job == "":
		d.errorf(at, "add job: folder/name", "the step names no job")
	case strings.Contains(j.Job, "://") || slices.Contains(folders, ""):
		d.errorf(at, "write it as folder/name", "%q is not the name of a job", j.Job)
	case len(folders) > 1 && folders[0] == "job":
		d.warnf(at, "leave out the job/ of Jenkins' URLs: folder/name", "this looks for a folder with the name job")
	}
	for _, name := range sortedKeys(j.Parameters) {
		if name == actionParameter {
			d.errorf(d.find(placeInMap{&j.Parameters, name}), "remove it here, and declare it in the job: the guard fills it in", "the parameter %s is reserved", name)
		}
	}
	wait := orDefault(d, &j.Wait, defaultWait)
	if wait <= 0 || wait > longLease {
		d.errorf(d.find(&j.Wait), "write wait: 10m", "wait must be above 0 and at most %s", days(longLease))
	}
	if at := d.find(&j.Verify); at != nil && (j.Verify <= 0 || j.Verify > longLease) {
		d.errorf(at, "write verify: 5m, or leave it out", "verify must be above 0 and at most %s", days(longLease))
	}
	step := &gatewarden.JenkinsStep{Job: j.Job, Parameters: j.Parameters, Wait: gatewarden.Duration(wait), Verify: gatewarden.Duration(j.Verify)}
	j.end(d, step)
	return step
}

// end says what the end of a build means, and what becomes of a job that is given up.
func (j *jenkinsSpec) end(d *document, step *gatewarden.JenkinsStep) {
	for _, result := range sortedKeys(j.Results) {
		at := d.find(placeInMap{&j.Results, result})
		if !d.choice(at, "results", result, "unstable", "failure", "not_built", "aborted") ||
			!d.choice(at, result, j.Results[result], string(gatewarden.JobOK), string(gatewarden.JobFailed), string(gatewarden.JobUnknown)) {
			continue
		}
		if step.Results == nil {
			step.Results = map[string]gatewarden.JobResult{}
		}
		step.Results[result] = gatewarden.JobResult(j.Results[result])
	}
	if at := d.find(&j.Cancel); at != nil && d.choice(at, "cancel", j.Cancel, string(gatewarden.CancelNever), string(gatewarden.CancelQueued), string(gatewarden.CancelRunning)) {
		step.Cancel = gatewarden.JobCancel(j.Cancel)
	}
}

func (w *webhookSpec) build(d *document) *gatewarden.WebhookStep {
	switch {
	case d.find(&w.URL) != nil && d.find(&w.URLFile) != nil:
		d.errorf(d.find(&w.URLFile), "keep one of them", "the webhook has both url and url_file")
	case d.find(&w.URLFile) != nil && w.URLFile != "":
	default:
		checkWebhookURL(d, d.find(&w.URL, w), w.URL)
	}
	if d.find(&w.Method) == nil {
		w.Method = "POST"
	}
	d.choice(d.find(&w.Method), "method", w.Method, "POST", "PUT", "PATCH", "GET", "DELETE")
	d.warnUnexpanded(d.find(&w.URL), w.URL)
	for _, name := range sortedKeys(w.Headers) {
		d.warnUnexpanded(d.find(placeInMap{&w.Headers, name}), w.Headers[name])
		if strings.EqualFold(name, "Authorization") {
			d.warnf(d.find(placeInMap{&w.Headers, name}), "use bearer_token_file, or url_file", "headers are kept in the journal, and this one is a secret")
		}
	}
	timeout := orDefault(d, &w.Timeout, defaultTimeout)
	checkTimeout(d, d.find(&w.Timeout, w), timeout)
	return &gatewarden.WebhookStep{
		URL: w.URL, URLFile: siblingPath(d.name, w.URLFile), Method: w.Method, Headers: w.Headers,
		BearerTokenFile: siblingPath(d.name, w.BearerTokenFile), Timeout: gatewarden.Duration(timeout),
	}
}

// warnUnexpanded warns of ${NAME} in a rules file, where it means nothing: what rules
// say goes into the journal, and must not depend on who reads them.
func (d *document) warnUnexpanded(at *yaml.Node, text string) {
	if strings.Contains(text, "${") {
		d.warnf(at, "use url_file or bearer_token_file", "the environment is not looked up in rules files, so this is sent as it is")
	}
}

func checkWebhookURL(d *document, at *yaml.Node, text string) {
	checkURL(d, at, "url", text, "http", "https")
	if u, err := url.Parse(text); err == nil && secretKey.MatchString(u.RawQuery) {
		d.warnf(at, "put the whole URL into a file and name it with url_file", "the url seems to carry a secret, and it is kept in the journal")
	}
}
