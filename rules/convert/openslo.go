package convert

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// openSLOs reads OpenSLO documents, which refer to each other by kind and name.
func openSLOs(docs []*tree) []*slo {
	slis := map[string]value{}
	for _, t := range docs {
		if v := t.top(); v.get("kind").is("SLI") {
			slis[v.get("metadata").get("name").text()] = v
		}
	}
	var list []*slo
	for _, t := range docs {
		v := t.top()
		switch kind := v.get("kind").text(); kind {
		case "SLO":
			list = append(list, openSLO(v, slis)...)
		case "SLI": // read with the SLOs that name it
		case "Service", "DataSource":
			t.root = nil // an SLO names it; what is said about it beside is not about the SLO
			v.given("", "%s %s is left out: rules have services by name, and sources in gatewarden.yaml", kind, v.get("metadata").get("name").text())
		default:
			t.root = nil
			v.given("alerting: pairs and on_page say what alerts when, and what is started", "%s %s is left out: rules have their own alerts", kind, v.get("metadata").get("name").text())
		}
	}
	for _, t := range docs {
		if t.root != nil {
			t.rest(map[string]string{
				"alertPolicies": "alerting: pairs and on_page say what alerts when, and what is started", "op": "", "value": "",
				"metricSource": "a source answers PromQL for all SLOs; sli: {prometheus: {source: NAME}} names one of several",
			})
		}
	}
	return list
}

// openSLO makes an SLO of each objective.
func openSLO(v value, slis map[string]value) []*slo {
	name, spec := v.get("metadata").get("name").text(), v.get("spec")
	base := slo{Service: spec.get("service").text(), Description: spec.get("description").text()}
	if shown := v.get("metadata").get("displayName").text(); shown != "" && base.Description == "" {
		base.Description = shown
	}
	if base.Service == "" {
		spec.lost("add spec.service", "the slo %s is left out: it does not say of which service it is", name)
		return nil
	}
	keys, values := v.get("metadata").get("labels").pairs()
	for i, key := range keys {
		text := values[i].text()
		for _, item := range values[i].each() { // a list in OpenSLO
			text = strings.TrimPrefix(text+","+item.text(), ",")
		}
		base.label(key, text, values[i])
	}
	if !base.timeWindow(spec.get("timeWindow"), name) {
		return nil
	}
	var list []*slo
	objectives := spec.get("objectives").each()
	for i, o := range objectives {
		s := base
		s.Name = nameOf(name)
		switch shown := o.get("displayName").text(); {
		case len(objectives) > 1 && shown == "":
			s.Name = nameOf(fmt.Sprintf("%s-%d", name, i+1))
		case len(objectives) > 1:
			s.Name = nameOf(name + "-" + shown)
		case shown != "":
			s.Description = strings.TrimSpace(s.Description + " (" + shown + ")")
		}
		if s.objective(spec, o) && s.indicator(spec, o, slis) {
			list = append(list, &s)
		}
	}
	if len(objectives) == 0 {
		spec.lost("", "the slo %s is left out: it has no objectives", name)
	}
	return list
}

// timeWindow reads a rolling or a calendar window.
func (s *slo) timeWindow(v value, name string) bool {
	list := v.each()
	if len(list) != 1 {
		v.lost("", "the slo %s is left out: it needs one timeWindow, and has %d", name, len(list))
		return false
	}
	w := list[0]
	length := w.get("duration").text()
	calendar := w.get("calendar")
	if rolls := w.get("isRolling").text(); calendar.there() || strings.EqualFold(rolls, "false") {
		calendar.taken()
		if calendar.there() {
			calendar.given("", "a calendar window begins at midnight of the guard's own clock: startTime and timeZone are left out")
		}
		unit, known := map[string]string{"1d": "day", "1w": "week", "1M": "month", "1Q": "quarter"}[length]
		if !known {
			w.lost("rules have calendar: day, week, month and quarter", "the slo %s is left out: there is no calendar window of %s", name, length)
			return false
		}
		s.Calendar = unit
		return true
	}
	if months, ok := map[string]int{"1M": 30, "1Q": 90}[length]; ok {
		w.given("", "the rolling window %s is taken as %d days", length, months)
		s.Window = fmt.Sprintf("%dd", months)
		return true
	}
	d, err := gatewarden.ParseDuration(length)
	if err != nil || d <= 0 || time.Duration(d) > 90*24*time.Hour {
		w.lost("counts are kept for 90 days", "the slo %s is left out: its window %s is none, or too long", name, length)
		return false
	}
	s.Window = d.String()
	return true
}

// objective reads the target and how it is counted.
func (s *slo) objective(spec, o value) bool {
	var ok bool
	switch target, perCent := o.get("target"), o.get("targetPercent"); {
	case perCent.there():
		s.Objective, ok = number(perCent.text(), false)
		target.text()
	default:
		s.Objective, ok = number(target.text(), true)
	}
	if !ok {
		o.lost("", "the slo %s is left out: its target is no number between 0 and 1", s.Name)
		return false
	}
	method := spec.get("budgetingMethod")
	switch method.text() {
	case "", "Occurrences":
		return true
	case "Timeslices":
		b := &budgeting{}
		b.Timeslices.Slice = o.get("timeSliceWindow").text()
		if b.Timeslices.Objective, ok = number(o.get("timeSliceTarget").text(), true); !ok {
			o.lost("", "the slo %s is left out: its timeSliceTarget is no number between 0 and 1", s.Name)
			return false
		}
		s.Budgeting = b
		return true
	default:
		method.lost("rules count Occurrences and Timeslices", "the slo %s is left out: the guard does not budget by %s", s.Name, method.text())
		return false
	}
}

// indicator reads the SLI: of the objective, of the SLO, or one that is named.
func (s *slo) indicator(spec, o value, slis map[string]value) bool {
	var found value
	for _, holder := range []value{o, spec} {
		if inline := holder.get("indicator"); inline.there() {
			inline.get("metadata").taken()
			found = inline
			break
		}
		if ref := holder.get("indicatorRef"); ref.there() {
			sli, ok := slis[ref.text()]
			if !ok {
				ref.lost("give rules import the file with it, too", "the slo %s is left out: there is no SLI %s in the files", s.Name, ref.text())
				return false
			}
			found = sli
			break
		}
	}
	if !found.there() {
		spec.lost("", "the slo %s is left out: it has no indicator", s.Name)
		return false
	}
	sli := found.get("spec")
	if t := sli.get("thresholdMetric"); t.there() {
		t.taken()
		o.get("op").text()
		o.get("value").text()
		t.lost("write a ratioMetric: the requests below the threshold, and all of them", "the slo %s is left out: a threshold on a metric does not say how many events are good", s.Name)
		return false
	}
	return s.ratio(sli.get("ratioMetric"))
}

// ratio reads good or bad events and all of them.
func (s *slo) ratio(v value) bool {
	if raw := v.get("raw"); raw.there() || !v.there() {
		raw.taken()
		v.get("rawType").text()
		v.lost("write good or bad, and total", "the slo %s is left out: a ratio does not say of how many events it is", s.Name)
		return false
	}
	v.get("counter").text() // a counter needs no {{.window}}, anything else has it
	p := &s.SLI.Prometheus
	for _, part := range []struct {
		key  string
		into *string
	}{{"total", &p.Total}, {"bad", &p.Error}, {"good", &p.Good}} {
		source := v.get(part.key).get("metricSource")
		if !source.there() {
			continue
		}
		if kind := source.get("type").text(); kind != "" && !strings.EqualFold(kind, "prometheus") {
			source.lost("only PromQL can be asked for", "the slo %s is left out: its %s is counted by %s", s.Name, part.key, kind)
			return false
		}
		*part.into = query(source.get("spec").get("query", "promql", "expr"))
	}
	if p.Error != "" && p.Good != "" {
		v.get("good").given("", "of good and bad, bad is taken")
		p.Good = ""
	}
	if p.Total == "" || p.Error == "" && p.Good == "" {
		v.lost("", "the slo %s is left out: it needs total, and good or bad, each with a query", s.Name)
		return false
	}
	return true
}
