package rules

import (
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// defaultGrace is above the 9 s in which every node of a database has followed a change
// with Kong's own settings, and the time that a restarted node needs, several times over.
const defaultGrace = time.Minute

// driftSpec is what is said about drift: once for all files.
type driftSpec struct {
	Grace    time.Duration `yaml:"grace"`
	Ignore   []string      `yaml:"ignore"`
	Severity string        `yaml:"severity"`
	OnDrift  []string      `yaml:"on_drift"`

	doc *document
}

// defaultDrift is what holds where the rules are silent: drift is shown, and starts
// nothing.
func defaultDrift() gatewarden.DriftPolicy {
	return gatewarden.DriftPolicy{Grace: defaultGrace, Severity: gatewarden.SeverityTicket}
}

// build makes the policy and reports what is wrong with it.
func (s *driftSpec) build(d *document) gatewarden.DriftPolicy {
	p := defaultDrift()
	p.OnDrift = s.OnDrift
	if at := d.find(&s.Grace); at != nil {
		p.Grace = s.Grace
		if s.Grace < time.Second || s.Grace > 24*time.Hour {
			d.errorf(at, "write grace: 1m, longer than a change takes to reach every node", "grace must be between 1s and 24h")
		}
	}
	if at := d.find(&s.Severity); at != nil && d.choice(at, "severity", s.Severity, "ticket", "page") && s.Severity == "page" {
		p.Severity = gatewarden.SeverityPage
	}
	var kinds []string
	for _, k := range gatewarden.DriftKinds() {
		kinds = append(kinds, string(k))
	}
	for i, word := range s.Ignore {
		if d.choice(d.find(&s.Ignore[i]), "ignore", word, kinds...) && !slices.Contains(p.Ignore, gatewarden.DriftKind(word)) {
			p.Ignore = append(p.Ignore, gatewarden.DriftKind(word))
		}
	}
	if len(p.Ignore) == len(kinds) {
		d.warnf(d.find(&s.Ignore), "leave some of them", "every kind of drift is ignored, so nothing ever drifts")
	}
	return p
}

// checkDrift reports drift that is written twice.
func (r *Rules) checkDrift() {
	for k, s := range r.drifts {
		if k > 0 {
			first := r.drifts[0]
			s.doc.errorf(s.doc.find(s), "keep all of it in one place", "drift is there already, in %s:%d", first.doc.name, first.doc.find(first).Line)
		}
	}
}

// checkDrift reports actions that answer drift when nothing tells of it.
func (c *Config) checkDrift(d *document, s *driftSpec) {
	scrapes := slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Kind == "kongmetrics" })
	if len(s.OnDrift) > 0 && c.Kong.AdminURL == "" && !scrapes {
		d.errorf(d.find(&s.OnDrift), c.addAdmin()+", or a kongmetrics source", "nothing ever starts these: nothing tells how Kong's nodes are")
	}
}
