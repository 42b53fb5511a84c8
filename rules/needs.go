package rules

import (
	"net/netip"
	"slices"
	"strings"
)

// CheckRules reports what the rules need and the configuration does not give: a
// step at a gateway whose Admin API is not named, a job without a Jenkins, a canary whose
// targets only Kong can tell.
func (c *Config) CheckRules(r *Rules) Problems {
	var all []Problems
	for _, s := range r.slos {
		d := s.doc.fork()
		d.places = s.doc.places
		c.checkSignal(d, s)
		all = append(all, d.finish())
	}
	for _, s := range r.drifts {
		d := s.doc.fork()
		d.places = s.doc.places
		c.checkDrift(d, s)
		all = append(all, d.finish())
	}
	for _, canary := range r.canaries {
		d := canary.doc.fork()
		d.places = canary.doc.places
		c.checkCanary(d, canary)
		all = append(all, d.finish())
	}
	for _, a := range r.actions {
		d := a.doc.fork()
		d.places = a.doc.places
		for _, s := range a.Steps {
			if s.Jenkins != nil && c.Jenkins.URL == "" {
				d.errorf(d.find(s), "add jenkins: {url: ...} to "+c.File, "this step needs Jenkins, and the configuration names none")
			}
			if (s.Plugin != nil || s.Adaptive != nil || s.Weight != nil || s.Drain != nil || s.Divert != nil || s.Service != nil) && c.Kong.AdminURL == "" {
				d.errorf(d.find(s), c.addAdmin(), "this step changes the gateway, and the configuration names no Admin API")
			}
		}
		all = append(all, d.finish())
	}
	return Join(all...)
}

// checkSignal reports an SLO whose events no source brings.
func (c *Config) checkSignal(d *document, s *sloSpec) {
	kinds := map[string]int{}
	for _, source := range c.Sources {
		kinds[source.Kind]++
	}
	if t := s.SLI.Traces; t != nil && kinds["otlp"]+kinds["zipkin"]+kinds["jaeger"] == 0 {
		d.errorf(d.find(t), "add - otlp: {http: \":4318\"}, a zipkin or a jaeger source to the sources of "+c.File, "this slo needs spans, and no source brings any")
	}
	p := s.SLI.Prometheus
	if p == nil {
		return
	}
	switch n := kinds["prometheus"]; {
	case n == 0:
		d.errorf(d.find(p), "add - prometheus: {url: ...} to the sources of "+c.File, "this slo needs a Prometheus, and the configuration names none")
	case p.Source == "" && n > 1:
		d.errorf(d.find(p), "add source: prometheus, or prometheus-2 and so on, in the order of the sources", "there are %d Prometheus sources, and the sli does not say which to ask", n)
	case p.Source != "" && !slices.Contains(sourceNames(c.Sources, "prometheus"), p.Source):
		d.errorf(d.find(&p.Source), "these exist: "+strings.Join(sourceNames(c.Sources, "prometheus"), ", "), "there is no Prometheus source %q", p.Source)
	}
}

// sourceNames returns what the sources of a kind are called.
func sourceNames(sources []Source, kind string) []string {
	var names []string
	for i, name := range SourceNames(sources) {
		if sources[i].Kind == kind {
			names = append(names, name)
		}
	}
	return names
}

func (c *Config) addAdmin() string { return "add kong: {admin_url: ...} to " + c.File }

// checkCanary reports what of a canary needs Kong to be asked.
func (c *Config) checkCanary(d *document, canary *canarySpec) {
	if c.Kong.AdminURL != "" {
		return
	}
	if len(canary.Steps) > 0 {
		d.errorf(d.find(&canary.Steps), c.addAdmin(), "steps move the weights of targets, and the configuration names no Admin API")
	}
	for _, s := range []*selectorSpec{&canary.Baseline, &canary.Canary} {
		if at := d.find(&s.TargetTag); at != nil {
			d.errorf(at, c.addAdmin(), "only Kong knows which targets have a tag, and the configuration names no Admin API")
		}
		for i, target := range s.Target.list {
			if _, err := netip.ParseAddrPort(target); err != nil {
				d.errorf(d.find(&s.Target.list[i]), c.addAdmin()+`, or write it as Kong logs it: "10.0.0.7:8080"`, "only Kong knows the address of the target %s, and the configuration names no Admin API", target)
			}
		}
	}
}
