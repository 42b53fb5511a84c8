package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// Override changes a setting as `--set key=value` does: slo.objective or
// canary.false_alarm of all, slo.NAME.objective or canary.NAME.false_alarm of one. The
// value is written as in a rules file. What follows from it follows anew: the alert
// windows from the window, the default outage ratio from the objective, the shortest
// duration from the deadline. On an error nothing has changed.
func (r *Rules) Override(key, value string) error {
	k, err := r.parseKey(key)
	if err != nil {
		return err
	}
	var undo []func()
	for _, c := range r.changes(k, value) {
		problems, restore := c.make()
		undo = append(undo, restore)
		if errs := problems.Errors(); len(errs) > 0 {
			for _, restore := range slices.Backward(undo) {
				restore()
			}
			r.limitCanaries()
			return gatewarden.Errorf(gatewarden.Invalid, "%s=%s for the %s %s: %s", key, value, k.kind, c.name, errs[0].Message).
				WithHint("%s", cmp.Or(errs[0].Hint, "write it as in a rules file"))
		}
	}
	r.limitCanaries()
	return nil
}

// change is an override of one SLO or canary.
type change struct {
	name string
	make func() (Problems, func())
}

func (r *Rules) changes(k overrideKey, value string) []change {
	var list []change
	for i, spec := range r.slos {
		if k.means("slo", spec.Name) {
			list = append(list, change{spec.Name, func() (Problems, func()) {
				slo, problems, restore := spec.override(k, value)
				return problems, both(replace(&r.SLOs[i], slo), restore)
			}})
		}
	}
	for i, spec := range r.canaries {
		if k.means("canary", spec.Name) {
			list = append(list, change{spec.Name, func() (Problems, func()) {
				canary, problems, restore := spec.override(k, value)
				return problems, both(replace(&r.Canaries[i], canary), restore)
			}})
		}
	}
	return list
}

func both(a, b func()) func() {
	return func() { a(); b() }
}

// replace sets *p and returns what puts the old value back.
func replace[T any](p *T, v T) (restore func()) {
	old := *p
	*p = v
	return func() { *p = old }
}

// override decodes the value into the spec with the words of a rules file, and
// builds the SLO anew.
func (s *sloSpec) override(k overrideKey, value string) (gatewarden.SLO, Problems, func()) {
	old, oldPlaces := *s, s.doc.places
	restore := func() { *s, s.doc.places = old, oldPlaces }
	d, ok := s.doc.overriding(k, value)
	if !ok {
		return gatewarden.SLO{}, d.finish(), restore
	}
	switch k.setting {
	case "objective":
		d.decode(d.root, &s.Objective, k.setting)
	case "window":
		s.Window, s.Calendar = windowSpec{}, ""
		delete(d.places, &s.Calendar)
		d.decode(d.root, &s.Window, k.setting)
	case "outage.ratio":
		s.Outage.off = false
		d.decode(d.root, &s.Outage.Ratio, k.setting)
	}
	slo := s.build(d)
	s.doc.places = d.places
	return slo, d.finish(), restore
}

// override does the same for a canary.
func (c *canarySpec) override(k overrideKey, value string) (gatewarden.Canary, Problems, func()) {
	old, oldPlaces := *c, c.doc.places
	var oldErrors errorsSpec
	var oldLatency slowerSpec
	if c.errors != nil {
		oldErrors = *c.errors
	}
	if c.latency != nil {
		oldLatency = *c.latency
	}
	restore := func() {
		*c, c.doc.places = old, oldPlaces
		if c.errors != nil {
			*c.errors = oldErrors
		}
		if c.latency != nil {
			*c.latency = oldLatency
		}
	}
	d, ok := c.doc.overriding(k, value)
	if !ok {
		return gatewarden.Canary{}, d.finish(), restore
	}
	switch into := c.setting(k.setting); into {
	case nil:
		d.errorf(d.root, "add it to the checks of the canary", "it has no check of %s", strings.SplitN(k.setting, ".", 2)[0])
	default:
		d.decode(d.root, into, k.setting)
	}
	canary := c.build(d)
	c.doc.places = d.places
	return canary, d.finish(), restore
}

// setting returns where a setting is kept, nil when the canary has no such check.
func (c *canarySpec) setting(name string) any {
	switch check, margin, nested := strings.Cut(name, "."); {
	case nested && check == "errors" && c.errors != nil:
		return map[string]any{
			"max_ratio": &c.errors.MaxRatio, "max_difference": &c.errors.MaxDifference,
			"pass_ratio": &c.errors.PassRatio, "pass_difference": &c.errors.PassDifference,
		}[margin]
	case nested && check == "latency" && c.latency != nil:
		return map[string]any{"max_ratio": &c.latency.MaxRatio, "pass_ratio": &c.latency.PassRatio}[margin]
	}
	return map[string]any{
		"false_alarm": &c.FalseAlarm, "false_pass": &c.FalsePass, "on_inconclusive": &c.OnInconclusive,
		"warm_up": &c.WarmUp, "min_duration": &c.MinDuration, "deadline": &c.Deadline,
	}[name]
}

// overriding returns a document that holds the value, and knows the places of d; false
// when there is no value in it.
func (d *document) overriding(k overrideKey, value string) (*document, bool) {
	v := parseDocument(k.text, []byte(value), nil)
	v.places = maps.Clone(d.places)
	if v.root == nil && len(v.problems) == 0 {
		v.errorf(nil, "write --set "+k.text+"=VALUE", "there is no value")
	}
	return v, v.root != nil
}

// overrideKey is a key of --set.
type overrideKey struct {
	text, kind string
	name       string // "" for all of the kind
	setting    string
}

func (k overrideKey) means(kind, name string) bool {
	return k.kind == kind && (k.name == "" || k.name == name)
}

// settable returns what can be set of a kind.
func settable(kind string) []string {
	switch kind {
	case "slo":
		return []string{"objective", "window", "outage.ratio"}
	case "canary":
		return []string{
			"false_alarm", "false_pass", "warm_up", "min_duration", "deadline", "on_inconclusive",
			"errors.max_ratio", "errors.max_difference", "errors.pass_ratio", "errors.pass_difference",
			"latency.max_ratio", "latency.pass_ratio",
		}
	default:
		return nil
	}
}

// overridable is the hint that names every key, or the one that was meant.
func overridable(key string) string {
	var keys []string
	for _, kind := range []string{"slo", "canary"} {
		for _, setting := range settable(kind) {
			keys = append(keys, kind+"."+setting)
		}
	}
	if guess := nearest(key, keys); guess != "" && guess != key {
		return fmt.Sprintf("did you mean %q?", guess)
	}
	return "it is one of: " + strings.Join(keys, ", ") + "; of one alone: slo.NAME.objective and so on"
}

func (r *Rules) parseKey(key string) (overrideKey, error) {
	k := overrideKey{text: key}
	k.kind, k.setting, _ = strings.Cut(key, ".")
	known := settable(k.kind)
	if !slices.Contains(known, k.setting) {
		k.name, k.setting, _ = strings.Cut(k.setting, ".")
	}
	if !slices.Contains(known, k.setting) {
		return k, gatewarden.Errorf(gatewarden.Invalid, "%q can't be set", key).WithHint("%s", overridable(key))
	}
	var names []string
	for _, s := range r.slos {
		if k.kind == "slo" {
			names = append(names, s.Name)
		}
	}
	for _, c := range r.canaries {
		if k.kind == "canary" {
			names = append(names, c.Name)
		}
	}
	switch {
	case len(names) == 0:
		return k, gatewarden.Errorf(gatewarden.NotFound, "%s changes nothing: the rules define no %s", key, k.kind)
	case k.name != "" && !slices.Contains(names, k.name):
		return k, gatewarden.Errorf(gatewarden.NotFound, "there is no %s %q", k.kind, k.name).
			WithHint("%s", didYouMean(k.name, names, "the rules define no such "+k.kind))
	}
	return k, nil
}
