package rules

import (
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// aimAtCanaries fills in the targets of steps that name a canary: those are only known
// when all files are.
func (r *Rules) aimAtCanaries() {
	byName := map[string]*gatewarden.Canary{}
	for i := range r.Canaries {
		byName[r.Canaries[i].Name] = &r.Canaries[i]
	}
	names := sortedKeys(byName)
	for i, a := range r.actions {
		p := &r.Policies[i]
		var steps []gatewarden.Step
		for j, s := range a.Steps {
			name := s.canary()
			if name == nil || *name == "" {
				steps = append(steps, p.Steps[j])
				continue
			}
			at := a.doc.find(name, s)
			if c := byName[*name]; c != nil {
				steps = append(steps, aim(a.doc, at, p.Steps[j], c)...)
			} else {
				a.doc.errorf(at, didYouMean(*name, names, "define it under canaries:, in any rules file"), "there is no canary %q", *name)
			}
		}
		p.Steps = steps
		a.limit(a.doc, p)
	}
}

// aim lets a step act on the targets of a canary. A step sets the weight of one target or
// of one tag, so of a canary that is known by several it makes several.
func aim(d *document, at *yaml.Node, step gatewarden.Step, c *gatewarden.Canary) []gatewarden.Step {
	track := c.Tracks[gatewarden.TrackCanary]
	if !track.Targets() {
		if track.Kind != "" { // that has been said
			d.errorf(at, "use a plugin or a jenkins step, or select the canary by target or target_tag", "the canary %s is no set of targets (%s), so it has no weight", c.Name, track)
		}
		return []gatewarden.Step{step}
	}
	steps := make([]gatewarden.Step, len(track.Values))
	for i, v := range track.Values {
		w := gatewarden.WeightStep{Upstream: c.Upstream, Weight: step.Weight.Weight}
		if track.Kind == gatewarden.ByTarget {
			w.Target = v
		} else {
			w.TargetTag = v
		}
		steps[i] = step
		steps[i].Weight = &w
	}
	return steps
}
