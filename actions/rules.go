package actions

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// severities in the order in which breaches are answered.
func severities() []gatewarden.Severity {
	return []gatewarden.Severity{gatewarden.SeverityOutage, gatewarden.SeverityPage, gatewarden.SeverityTicket}
}

// naming is one place in the rules where an SLO names a policy.
type naming struct {
	policy   string
	slo      string
	severity gatewarden.Severity
}

// ruleBook is the rules in force, in the form that the engine looks them up in.
type ruleBook struct {
	policies map[string]gatewarden.ActionPolicy
	slos     map[string]bool
	services map[string]string // of SLOs, "" for those of no single one
	namings  []naming          // in the order of the rules
}

func newRuleBook(policies []gatewarden.ActionPolicy, slos []gatewarden.SLO) ruleBook {
	book := ruleBook{policies: make(map[string]gatewarden.ActionPolicy), slos: make(map[string]bool), services: make(map[string]string)}
	for _, p := range policies {
		p.Steps = slices.Clone(p.Steps)
		book.policies[p.Name] = p
		if len(p.OnAlert) > 0 {
			book.slos[alarmName(p.Name)] = true
			book.namings = append(book.namings, naming{p.Name, alarmName(p.Name), gatewarden.SeverityPage})
		}
	}
	for i := range slos {
		book.slos[slos[i].Name] = true
		book.services[slos[i].Name] = slos[i].Series.Service
		for _, sev := range severities() {
			for _, policy := range slos[i].Policies(sev) {
				if _, ok := book.policies[policy]; ok {
					book.namings = append(book.namings, naming{policy, slos[i].Name, sev})
				}
			}
		}
	}
	return book
}

// namingsOf returns the places that name what a ladder climbs for: all of its
// policy, or those of its own SLO when SLOs do not share it. The place that started
// it is always among them, also after a reload that removed it.
func (b *ruleBook) namingsOf(l *ladder) []naming {
	own := naming{l.policy.Name, l.trigger.Name, l.trigger.Severity}
	namings := []naming{own}
	for _, n := range b.namings {
		if n.policy == own.policy && n != own && (l.shared() || n.slo == own.slo) {
			namings = append(namings, n)
		}
	}
	return namings
}

// answered reports whether any of what a ladder answers is still in the rules.
func (b *ruleBook) answered(l *ladder) bool {
	for slo := range l.answers {
		if b.slos[slo] {
			return true
		}
	}
	return false
}

// shared reports whether one ladder of the policy answers all SLOs that name it.
// What changes something cannot be in place twice, and a release that breaks two
// promises is rolled back once. Policies that only tell somebody, and
// people want to hear of each SLO.
func shared(p *gatewarden.ActionPolicy) bool {
	return slices.ContainsFunc(p.Steps, func(s gatewarden.Step) bool { return !s.Kind.Tells() })
}

// ladderKey names what there can be only one active ladder of.
func ladderKey(p *gatewarden.ActionPolicy, slo string) string {
	if shared(p) {
		return p.Name
	}
	return p.Name + "/" + slo
}

// ladderID returns the id of the ladder that answers one breach or run: the same after a
// restart, so that what was begun is found again instead of being begun twice.
func ladderID(policy string, t *gatewarden.Trigger) string {
	sum := sha256.Sum256([]byte(policy + "\x00" + t.Name + "\x00" + t.Severity.String() + "\x00" + t.Since.UTC().Format(time.RFC3339Nano)))
	return policy + "-" + hex.EncodeToString(sum[:5])
}

// triggerOf returns what a firing alert of a verdict says to start with.
func triggerOf(v *gatewarden.Verdict, sev gatewarden.Severity) gatewarden.Trigger {
	t := gatewarden.Trigger{Kind: v.Kind, Name: v.Name, Severity: sev, Since: v.At, Reason: v.Reason}
	if v.SLO == nil {
		return t
	}
	for _, a := range v.SLO.Alerts {
		if a.Severity != sev || !a.Firing {
			continue
		}
		if a.Since != nil && a.Since.Before(t.Since) {
			t.Since = *a.Since
		}
		if a.Reason != "" {
			t.Reason = a.Reason
		}
	}
	return t
}

// fires reports whether a verdict is a breach of the given severity. An alert of an
// inconclusive verdict may still be set from before; nothing is begun on it.
func fires(v *gatewarden.Verdict, sev gatewarden.Severity) bool {
	return v != nil && v.State == gatewarden.Breach && v.Fires(sev)
}
