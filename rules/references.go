package rules

import (
	"cmp"

	"go.yaml.in/yaml/v3"
)

// checkNames reports names that are borne twice, in one file or in two.
func (r *Rules) checkNames() {
	type owner struct {
		doc *document
		at  *yaml.Node
	}
	slos, canaries, actions := map[string]owner{}, map[string]owner{}, map[string]owner{}
	claim := func(taken map[string]owner, what, name string, o owner) {
		first, twice := taken[name]
		switch {
		case name == "":
		case twice:
			o.doc.errorf(o.at, "choose another name for one of them", "the %s %q exists already, in %s:%d", what, name, first.doc.name, first.at.Line)
		default:
			taken[name] = o
		}
	}
	for _, s := range r.slos {
		claim(slos, "slo", s.Name, owner{s.doc, s.doc.find(&s.Name, s)})
	}
	for _, c := range r.canaries {
		claim(canaries, "canary", c.Name, owner{c.doc, c.doc.find(&c.Name, c)})
	}
	for _, a := range r.actions {
		claim(actions, "action", a.Name, owner{a.doc, a.doc.find(&a.Name, a)})
	}
}

// reference is a list of names of actions: what starts them.
type reference struct {
	doc   *document
	names *[]string
	hasty string // the slo whose outage line it is of
}

func (r *Rules) references() []reference {
	var all []reference
	for _, s := range r.slos {
		hasty := s.Name
		if s.Outage.off {
			hasty = ""
		}
		all = append(all, reference{s.doc, &s.OnOutage, hasty}, reference{s.doc, &s.OnPage, ""}, reference{s.doc, &s.OnTicket, ""})
	}
	for _, c := range r.canaries {
		all = append(all, reference{c.doc, &c.OnFail, ""}, reference{c.doc, &c.OnPass, ""})
	}
	for _, s := range r.drifts {
		all = append(all, reference{s.doc, &s.OnDrift, ""})
	}
	return all
}

// checkReferences reports names of actions which do not exist, actions that nothing
// names, and steps that the fast line had better not take at once.
func (r *Rules) checkReferences() {
	byName := map[string]*actionSpec{}
	for _, a := range r.actions {
		byName[a.Name] = a
	}
	names := sortedKeys(byName)
	used, hasty := map[string]bool{}, map[string]string{}
	for _, ref := range r.references() {
		seen := map[string]bool{}
		for i, name := range *ref.names {
			at := ref.doc.find(&(*ref.names)[i])
			if byName[name] == nil {
				ref.doc.errorf(at, didYouMean(name, names, "define it under actions:, in any rules file"), "there is no action %q", name)
			}
			if seen[name] {
				ref.doc.warnf(at, "remove one of them", "the action %q is named twice", name)
			}
			seen[name], used[name] = true, true
			hasty[name] = cmp.Or(hasty[name], ref.hasty)
		}
	}
	for _, a := range r.actions {
		if a.Name != "" && !used[a.Name] && len(a.OnAlert) == 0 {
			a.doc.warnf(a.doc.find(&a.Name), "name it in on_outage, on_page or on_ticket of an slo, in on_fail or on_pass of a canary, or in on_drift; or write on_alert", "nothing starts the action %q", a.Name)
		}
		if slo := hasty[a.Name]; slo != "" {
			a.warnIrreversible(slo)
		}
	}
}

// warnIrreversible warns of steps that can't be taken back and yet run seconds after
// something broke (DESIGN §6).
func (a *actionSpec) warnIrreversible(slo string) {
	for _, s := range a.Steps {
		if (s.Jenkins != nil || s.Webhook != nil) && s.due == 0 {
			a.doc.warnf(a.doc.find(s), "add after: 2m, or put it into an action that on_page names",
				"the outage line of %s starts this within seconds, and it can't be undone", slo)
		}
	}
}

// checkWeights warns of canaries whose steps move the weights of the same targets.
func (r *Rules) checkWeights() {
	movers := map[string]string{}
	for i, c := range r.canaries {
		up := r.Canaries[i].Upstream
		if up == "" || len(c.Steps) == 0 {
			continue
		}
		if other, taken := movers[up]; taken {
			c.doc.warnf(c.doc.find(&c.Steps), "leave the steps to one of them, and do not run both at once", "the canary %s moves the weights of the upstream %s as well", other, up)
			continue
		}
		movers[up] = c.Name
	}
}
