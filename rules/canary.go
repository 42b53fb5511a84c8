package rules

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// The defaults of a canary. They are the judge's own: a test of app, which knows both
// packages, holds them together.
const (
	defaultFalseAlarm  = 0.01
	defaultFalsePass   = 0.05
	defaultWarmUp      = 30 * time.Second
	defaultMinDuration = 5 * time.Minute
	defaultDeadline    = 30 * time.Minute

	greatestRisk    = 0.5
	longestDeadline = 7 * 24 * time.Hour
)

// canarySpec is a canary as it is written.
type canarySpec struct {
	Name           string         `yaml:"name"`
	Description    string         `yaml:"description"`
	Service        string         `yaml:"service"`
	Route          string         `yaml:"route"`
	Workspace      string         `yaml:"workspace"`
	Tag            string         `yaml:"tag"`
	Upstream       string         `yaml:"upstream"`
	Baseline       selectorSpec   `yaml:"baseline"`
	Canary         selectorSpec   `yaml:"canary"`
	Checks         []checkSpec    `yaml:"checks"`
	FalseAlarm     ratio          `yaml:"false_alarm"`
	FalsePass      ratio          `yaml:"false_pass"`
	WarmUp         time.Duration  `yaml:"warm_up"`
	MinDuration    time.Duration  `yaml:"min_duration"`
	Deadline       time.Duration  `yaml:"deadline"`
	Steps          []wholePercent `yaml:"steps"`
	OnInconclusive string         `yaml:"on_inconclusive"`
	OnFail         []string       `yaml:"on_fail"`
	OnPass         []string       `yaml:"on_pass"`
	Mode           string         `yaml:"mode"`

	doc     *document
	checked bool        // Checks have been looked at
	errors  *errorsSpec // nil: failures are not judged
	latency *slowerSpec // nil: latencies are not judged
}

// wholePercent is a share in whole per cent: 5 or "5%".
type wholePercent int

// UnmarshalText reads the number.
func (p *wholePercent) UnmarshalText(b []byte) error {
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(b)), "%")))
	if err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not a whole number in per cent", b).WithHint("write 5")
	}
	*p = wholePercent(n)
	return nil
}

// build makes the canary, and reports what is wrong with it.
func (c *canarySpec) build(d *document) gatewarden.Canary {
	checkName(d, d.find(&c.Name, c), "a canary", c.Name)
	out := gatewarden.Canary{
		Name: c.Name, Description: c.Description,
		Series: c.series(d), Tracks: c.tracks(d),
		FalseAlarm:     c.risk(d, "false_alarm", &c.FalseAlarm, defaultFalseAlarm),
		FalsePass:      c.risk(d, "false_pass", &c.FalsePass, defaultFalsePass),
		OnInconclusive: gatewarden.Inconclusiveness(c.word(d, "on_inconclusive", &c.OnInconclusive, string(gatewarden.Hold), string(gatewarden.HoldsAPass), string(gatewarden.HoldsAFail))),
		OnFail:         c.OnFail, OnPass: c.OnPass,
		// Somebody asks for each run, so that enforce needs no second word.
		Mode: gatewarden.Mode(c.word(d, "mode", &c.Mode, string(gatewarden.ModeEnforce), string(gatewarden.ModeApprove), string(gatewarden.ModeObserve))),
	}
	if out.Tracks[gatewarden.TrackCanary].Targets() {
		out.Upstream = cmp.Or(c.Upstream, out.Series.Service)
	}
	c.sortChecks(d)
	if c.errors != nil {
		out.Errors = c.errors.build(d)
	}
	if c.latency != nil {
		out.Latency = c.latency.build(d)
	}
	c.times(d, &out)
	c.checkTracks(d, &out)
	c.steps(d, &out)
	c.warnNothingFollows(d, &out)
	return out
}

func (c *canarySpec) series(d *document) gatewarden.Series {
	for _, f := range []*string{&c.Service, &c.Route, &c.Workspace, &c.Tag} {
		if d.find(f) != nil {
			checkSelector(d, d.find(f), *f)
		}
	}
	return gatewarden.Series{Service: orAny(c.Service), Route: orAny(c.Route), Workspace: orAny(c.Workspace), Tag: orAny(c.Tag)}
}

// named reports whether the canary says which requests are compared, were it all of them.
func (c *canarySpec) named() bool {
	return slices.ContainsFunc([]string{c.Service, c.Route, c.Workspace, c.Tag}, func(name string) bool { return name != "" })
}

// risk is a probability of being wrong.
func (c *canarySpec) risk(d *document, name string, written *ratio, otherwise ratio) float64 {
	r := orDefault(d, written, otherwise)
	if r > greatestRisk {
		d.errorf(d.find(written), "the default is "+inPercent(float64(otherwise)), "%s must be at most %s", name, inPercent(greatestRisk))
	}
	return float64(r)
}

// word is one out of a few, the first of them unless it is written.
func (c *canarySpec) word(d *document, name string, written *string, words ...string) string {
	at := d.find(written)
	if at == nil {
		return words[0]
	}
	d.choice(at, name, *written, words...)
	return *written
}

// times sets warm-up, shortest and longest duration. What is not written gives way to a
// short deadline: a run of two minutes is not kept from passing by a default of five.
func (c *canarySpec) times(d *document, out *gatewarden.Canary) {
	out.Deadline = orDefault(d, &c.Deadline, defaultDeadline)
	out.MinDuration = orDefault(d, &c.MinDuration, min(defaultMinDuration, out.Deadline/2))
	out.WarmUp = orDefault(d, &c.WarmUp, min(defaultWarmUp, out.Deadline/10))
	at := d.find(&c.Deadline, c)
	if out.Deadline <= 0 || out.Deadline > longestDeadline {
		d.errorf(at, "write deadline: 30m", "the deadline must be above 0 and at most %s", days(longestDeadline))
		return
	}
	fits := true
	for _, x := range []struct {
		name    string
		written *time.Duration
		is      time.Duration
	}{{"min_duration", &c.MinDuration, out.MinDuration}, {"warm_up", &c.WarmUp, out.WarmUp}} {
		if x.is < 0 || x.is > out.Deadline {
			d.errorf(d.find(x.written), "make it shorter, or the deadline longer", "%s must be between 0 and the deadline, which is %s", x.name, days(out.Deadline))
			fits = false
		}
	}
	switch soonest := soonestPass(out.FalsePass); {
	case !fits:
	case out.MinDuration == out.Deadline:
		d.warnf(d.find(&c.MinDuration), "make it shorter, or the deadline longer", "nothing can pass before min_duration, and then the deadline is there")
	case out.Latency != nil && out.Deadline < out.WarmUp+soonest:
		d.warnf(at, "a healthy canary usually needs minutes; 30m is the default",
			"nothing can pass before this deadline: after the warm-up of %s it takes at least %s to show that latencies are well", days(out.WarmUp), days(soonest))
	}
}

func (c *canarySpec) steps(d *document, out *gatewarden.Canary) {
	before := 0
	for i, s := range c.Steps {
		at := d.find(&c.Steps[i])
		switch {
		case s <= 0 || s >= 100:
			d.errorf(at, "write 5 for 5 %; after a pass everything goes to the canary by itself", "a step is a share above 0 and below 100 per cent")
		case int(s) <= before:
			d.errorf(at, "sort them, and leave out repeats", "the steps must rise: %d comes after %d", s, before)
		}
		before = max(before, int(s))
		out.Steps = append(out.Steps, int(s))
	}
	if at := d.find(&c.Mode); at != nil && len(c.Steps) == 0 {
		d.warnf(at, "remove it, or add steps", "the mode is one of steps, and this canary has none")
	}
	if t := out.Tracks[gatewarden.TrackCanary]; len(c.Steps) > 0 && t.Kind != "" && !t.Targets() {
		d.errorf(d.find(&c.Steps), "select the tracks by target or target_tag, or remove steps and let the pipeline move the traffic",
			"the guard moves weights of targets, and the canary is known by its %s", strings.ReplaceAll(string(t.Kind), "_", " "))
	}
}

// warnNothingFollows warns of a canary whose fail changes nothing. Who means that, since
// the pipeline answers, writes on_fail: [].
func (c *canarySpec) warnNothingFollows(d *document, out *gatewarden.Canary) {
	if d.find(&c.OnFail) != nil || len(out.Steps) > 0 && out.Mode == gatewarden.ModeEnforce {
		return
	}
	d.warnf(d.find(&c.Name, c), "add on_fail: [NAME OF AN ACTION], or on_fail: [] if the pipeline takes the release back", "nothing takes the traffic away when the canary %s fails", cmp.Or(c.Name, "here"))
}
