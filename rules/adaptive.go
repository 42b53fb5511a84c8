package rules

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// adaptiveSpec is an adaptive step as it is written.
type adaptiveSpec struct {
	SLO     string         `yaml:"slo"`
	Service string         `yaml:"service"`
	Route   string         `yaml:"route"`
	Floor   int            `yaml:"floor"`
	Ceiling int            `yaml:"ceiling"`
	Nodes   int            `yaml:"nodes"`
	Settle  time.Duration  `yaml:"settle"`
	Config  map[string]any `yaml:"config"`
}

// The bounds of an adaptive step.
const (
	defaultSettle  = 6 * time.Second
	shortestSettle = 2 * time.Second
	longestSettle  = time.Minute
	mostNodes      = 1000
	mostRequests   = 1_000_000 // a second
	// burst is what the last request of a second may have to wait for, however well the
	// limit is: Kong lets a second's worth through as fast as it comes.
	burst = time.Second
)

func (s *adaptiveSpec) build(d *document) *gatewarden.AdaptiveStep {
	if s.SLO == "" {
		d.errorf(d.find(&s.SLO, s), "add slo: NAME, of an slo in any rules file", "nothing steers the limit")
	}
	checkNamed(d, d.find(&s.Service, s), "service", "service", s.Service)
	if d.find(&s.Route) != nil {
		checkNamed(d, d.find(&s.Route), "route", "route", s.Route)
	}
	s.checkBounds(d)
	nodes := orDefault(d, &s.Nodes, 1)
	if nodes < 1 || nodes > mostNodes {
		d.errorf(d.find(&s.Nodes), "write how many nodes of Kong there are", "nodes must be from 1 to %d", mostNodes)
	}
	settle := orDefault(d, &s.Settle, defaultSettle)
	if settle < shortestSettle || settle > longestSettle {
		d.errorf(d.find(&s.Settle), "leave it out for "+days(defaultSettle), "settle must be from %s to %s", days(shortestSettle), days(longestSettle))
	}
	if _, set := s.Config["second"]; set {
		d.errorf(d.find(placeInMap{&s.Config, "second"}), "remove it here, and write floor and ceiling", "the limit a second is what is steered")
	}
	return &gatewarden.AdaptiveStep{
		SLO: s.SLO, Service: s.Service, Route: s.Route, Floor: s.Floor, Ceiling: s.Ceiling, Nodes: nodes,
		Settle: gatewarden.Duration(settle), Config: s.Config,
	}
}

func (s *adaptiveSpec) checkBounds(d *document) {
	for _, b := range []struct {
		name  string
		value *int
	}{{"floor", &s.Floor}, {"ceiling", &s.Ceiling}} {
		switch at := d.find(b.value); {
		case at == nil && d.hasProblemIn(d.find(s)):
		case at == nil:
			d.errorf(d.find(s), "add "+b.name+": and how many requests a second", "the limit has no %s", b.name)
		case *b.value < 1 || *b.value > mostRequests:
			d.errorf(at, "write requests a second, of the whole gateway", "%s must be from 1 to %d", b.name, mostRequests)
		}
	}
	if s.Floor > s.Ceiling && s.Ceiling > 0 {
		d.errorf(d.find(&s.Ceiling), "swap them", "the ceiling is below the floor")
	}
}

// checkSteering reports adaptive steps whose SLO does not exist or cannot steer a limit:
// SLOs are only known when all files are.
func (r *Rules) checkSteering() {
	byName := map[string]int{}
	for i := range r.SLOs {
		byName[r.SLOs[i].Name] = i
	}
	names := sortedKeys(byName)
	for _, a := range r.actions {
		for _, s := range a.Steps {
			if s.Adaptive == nil || s.Adaptive.SLO == "" {
				continue
			}
			at := a.doc.find(&s.Adaptive.SLO)
			if i, ok := byName[s.Adaptive.SLO]; ok {
				checkSteeringBy(a.doc, at, &r.SLOs[i], r.slos[i])
			} else {
				a.doc.errorf(at, didYouMean(s.Adaptive.SLO, names, "define it under slos:, in any rules file"), "there is no slo %q", s.Adaptive.SLO)
			}
		}
	}
}

func checkSteeringBy(d *document, at *yaml.Node, slo *gatewarden.SLO, spec *sloSpec) {
	if spec.SLI.Prometheus != nil || spec.SLI.Traces != nil {
		d.errorf(at, "name an slo that is counted by Kong's log: availability, latency or good", "the events of %s come too late to steer a limit", slo.Name)
	}
	if slo.SLI.Kind == gatewarden.SLILatency && slo.SLI.Threshold < burst {
		d.warnf(at, "steer by an slo with a threshold of 1s or more",
			"Kong lets a second's requests through as fast as they come, so the last of them wait for up to a second whatever the limit is, and a threshold of %s settles at a part of what %s bears", days(slo.SLI.Threshold), slo.Series.Service)
	}
}
