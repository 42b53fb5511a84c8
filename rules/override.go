package rules

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// Override changes a setting as `--set key=value` does: slo.objective, slo.window or
// slo.outage.ratio of every SLO, slo.NAME.objective and so on of one. The value is
// written as in a rules file. What follows from it follows anew: the alert windows
// from the window, the default outage ratio from the objective. On an error nothing
// has changed.
func (r *Rules) Override(key, value string) error {
	name, setting, err := r.parseKey(key)
	if err != nil {
		return err
	}
	var undo []func()
	for i, spec := range r.slos {
		if name != "" && spec.Name != name {
			continue
		}
		slo, problems, restore := spec.override(key, setting, value)
		undo = append(undo, restore)
		if errs := problems.Errors(); len(errs) > 0 {
			for _, restore := range undo {
				restore()
			}
			return gatewarden.Errorf(gatewarden.Invalid, "%s=%s for the slo %s: %s", key, value, spec.Name, errs[0].Message).
				WithHint("%s", cmp.Or(errs[0].Hint, "it is one of: "+overridable))
		}
		undo = append(undo, replace(&r.SLOs[i], slo))
	}
	return nil
}

// replace sets *p and returns what puts the old value back.
func replace[T any](p *T, v T) (restore func()) {
	old := *p
	*p = v
	return func() { *p = old }
}

// override decodes the value into the spec with the words of a rules file, and
// builds the SLO anew.
func (s *sloSpec) override(key, setting, value string) (gatewarden.SLO, Problems, func()) {
	old, oldPlaces := *s, s.doc.places
	restore := func() { *s, s.doc.places = old, oldPlaces }
	d := parseDocument(key, []byte(value), nil)
	d.places = maps.Clone(oldPlaces)
	if d.root == nil {
		if len(d.problems) == 0 {
			d.errorf(nil, "write --set "+key+"=VALUE", "there is no value")
		}
		return gatewarden.SLO{}, d.finish(), restore
	}
	switch setting {
	case "objective":
		d.decode(d.root, &s.Objective, setting)
	case "window":
		s.Window, s.Calendar = windowSpec{}, ""
		delete(d.places, &s.Calendar)
		d.decode(d.root, &s.Window, setting)
	case "outage.ratio":
		s.Outage.off = false
		d.decode(d.root, &s.Outage.Ratio, setting)
	}
	slo := s.build(d)
	s.doc.places = d.places
	return slo, d.finish(), restore
}

const overridable = "slo.objective, slo.window, slo.outage.ratio, or slo.NAME.objective and so on"

func (r *Rules) parseKey(key string) (name, setting string, err error) {
	rest, ok := strings.CutPrefix(key, "slo.")
	settings := []string{"objective", "window", "outage.ratio"}
	if ok && !slices.Contains(settings, rest) {
		name, rest, ok = strings.Cut(rest, ".")
	}
	if !ok || !slices.Contains(settings, rest) {
		return "", "", gatewarden.Errorf(gatewarden.Invalid, "%q can't be set", key).WithHint("it is one of: %s", overridable)
	}
	var names []string
	for _, s := range r.slos {
		names = append(names, s.Name)
	}
	if name != "" && !slices.Contains(names, name) {
		return "", "", gatewarden.Errorf(gatewarden.NotFound, "there is no slo %q", name).
			WithHint("%s", didYouMean(name, names, "the rules define no such slo"))
	}
	return name, rest, nil
}
