package actions

import (
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden"
)

// The gates that an action can be held at. It passes later when the gate opens
// while the breach lasts.
const (
	gatePaused      = "paused"
	gateMaintenance = "maintenance"
	gateQuiet       = "quiet_hours"
	gateCooldown    = "cooldown"
	gatePerHour     = "per_hour"
	gateActive      = "max_active"
	gateServices    = "max_services"
	gateTraffic     = "max_traffic"
	gatePeer        = "peer"    // what it needs to know first cannot be had: the peer does not answer
	gateKnown       = "known"   // another ladder of the same policy has it in place
	gateRefused     = "refused" // the peer does not let it be done
)

// gate returns the first gate that keeps a ladder from beginning its next step, and
// why; "" when all are open. Pauses do not matter to a policy that only observes.
func (e *Engine) gate(l *ladder, i int, at time.Time) (gate, reason string) {
	if p := e.pause(); p != nil && l.policy.Mode != gatewarden.ModeObserve {
		return gatePaused, p.says()
	}
	if gate, reason := e.timeGate(l, i, at); gate != "" {
		return gate, reason
	}
	if gate, reason := e.countGate(l, at); gate != "" {
		return gate, reason
	}
	return e.reachGate(l, i, at)
}

// countGate holds a ladder that its policy's own limits stop.
func (e *Engine) countGate(l *ladder, at time.Time) (gate, reason string) {
	limits := &l.policy.Limits
	if end, ok := e.endBefore(l); ok && l.begun.IsZero() && at.Before(end.Add(limits.Cooldown)) {
		return gateCooldown, fmt.Sprintf("%s is in its cool-down until %s", l.policy.Name, end.Add(limits.Cooldown).UTC().Format(time.RFC3339))
	}
	if begun, due := e.begunSince(&l.policy, at.Add(-time.Hour)); limits.PerHour > 0 && begun+due >= limits.PerHour {
		of := ""
		if due > 0 {
			of = fmt.Sprintf(" (%d of them on the way, or waiting for approval)", due)
		}
		return gatePerHour, fmt.Sprintf("%s has begun %s in the last hour%s, its limit of %d in an hour", l.policy.Name, many(begun+due, "action"), of, limits.PerHour)
	}
	if n := e.active(l.policy.Name); limits.MaxActive > 0 && n >= limits.MaxActive {
		return gateActive, fmt.Sprintf("%s has %s in place or under way, its limit of %d at once", l.policy.Name, many(n, "action"), limits.MaxActive)
	}
	return "", ""
}

// many writes a number of things.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// endBefore returns when the last ladder of a ladder's key ended, and false when there
// was none. What only observed holds back nothing that does. One that answers a run can
// stay for days after it has done its work: the beginning of its last step stands for its end.
func (e *Engine) endBefore(l *ladder) (time.Time, bool) {
	observes := l.policy.Mode == gatewarden.ModeObserve
	end, ok := e.lastDone[l.key]
	if observes {
		end, ok = e.lastEnd[l.key]
	}
	for _, o := range e.ladders {
		if o == l || !o.ofRun() || o.key != l.key || !observes && o.policy.Mode == gatewarden.ModeObserve {
			continue
		}
		if begun := o.lastBegun(); begun.After(end) {
			end, ok = begun, true
		}
	}
	return end, ok
}

// begunSince counts the actions of a policy that were begun after a time, and those that may
// begin at any moment. What was withdrawn, rejected or let lapse before it began counts no
// more, and what was only observed not for a policy that does more.
func (e *Engine) begunSince(p *gatewarden.ActionPolicy, since time.Time) (begun, due int) {
	for _, a := range e.actions {
		switch {
		case a.Policy != p.Name, a.observed && p.Mode != gatewarden.ModeObserve:
		case a.mayBegin():
			due++
		case a.begunAt().After(since):
			begun++
		}
	}
	return begun, due
}

// active counts the actions of a policy that are in place or under way; those that
// are only observed count while their ladder lasts.
func (e *Engine) active(policy string) (n int) {
	for _, l := range e.ladders {
		if l.policy.Name != policy {
			continue
		}
		for i := range l.rungs {
			a := l.rungs[i].current
			if a == nil {
				continue
			}
			if a.pending() || (a.observed && a.Spec.Kind.Reversible()) {
				n++
			}
		}
	}
	return n
}

// Describe says what a step does, as a person would.
func Describe(s *gatewarden.Step) string {
	switch s.Kind {
	case gatewarden.StepPlugin:
		return fmt.Sprintf("put plugin %s on %s", s.Plugin.Name,
			gatewarden.Series{Service: s.Plugin.Service, Route: s.Plugin.Route, Consumer: s.Plugin.Consumer})
	case gatewarden.StepAdaptive:
		p := s.Puts()
		return fmt.Sprintf("limit the requests of %s to what %s bears, between %d and %d a second",
			gatewarden.Series{Service: p.Service, Route: p.Route}, s.Adaptive.SLO, s.Adaptive.Floor, s.Adaptive.Ceiling)
	case gatewarden.StepWeight, gatewarden.StepDrain:
		target := s.Weight.Target
		if target == "" {
			target = "the targets tagged " + s.Weight.TargetTag
		}
		return fmt.Sprintf("set the weight of %s in upstream %s to %d", target, s.Weight.Upstream, s.Weight.Weight)
	case gatewarden.StepShare:
		return fmt.Sprintf("give the canary %s of the requests of upstream %s", percent(s.Share.Percent), s.Share.Upstream)
	case gatewarden.StepJenkins:
		return "run the Jenkins job " + s.Jenkins.Job
	case gatewarden.StepWebhook:
		return "call the webhook"
	case gatewarden.StepDivert:
		return fmt.Sprintf("divert route %s to service %s", s.Divert.Route, s.Divert.To)
	case gatewarden.StepService:
		if s.Service.Enabled {
			return "enable service " + s.Service.Name
		}
		return "disable service " + s.Service.Name
	case gatewarden.StepSlack:
		return "tell the channel"
	case gatewarden.StepAlertmanager:
		return "alert by " + s.Alertmanager.URL
	default:
		return "do " + string(s.Kind)
	}
}
