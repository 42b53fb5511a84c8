package actions

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// SetGuardrails swaps the guardrails.
func (e *Engine) SetGuardrails(g gatewarden.Guardrails) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cfg.Guardrails = g
}

// timeGate holds a ladder in times in which nothing is to be begun.
func (e *Engine) timeGate(l *ladder, i int, at time.Time) (gate, reason string) {
	services := stepServices(&l.policy.Steps[i])
	for slo := range l.answers {
		services = append(services, e.rules.services[slo])
	}
	for k := range e.cfg.Guardrails.Maintenance {
		if m := &e.cfg.Guardrails.Maintenance[k]; m.Holds(at, services...) {
			return gateMaintenance, "there is maintenance until " + clock(m.To) + because(m.Reason)
		}
	}
	for k := range e.cfg.Guardrails.QuietHours {
		q := &e.cfg.Guardrails.QuietHours[k]
		if until, held := q.Holds(l.policy.Name, at); held {
			return gateQuiet, fmt.Sprintf("these are quiet hours (%s), until %s%s", q, clock(until), because(q.Reason))
		}
	}
	return "", ""
}

// clock writes an instant for a reason.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// reachGate holds a step that would let the changes in place touch more of the gateway
// at once than they may: the blast radius.
func (e *Engine) reachGate(l *ladder, i int, at time.Time) (gate, reason string) {
	g := &e.cfg.Guardrails
	if (g.MaxServices == 0 && g.MaxTraffic == 0) || !reaches(&l.policy.Steps[i]) {
		return "", ""
	}
	var flows []gatewarden.Flow
	if e.cfg.Traffic != nil {
		flows = e.cfg.Traffic(at)
	}
	before := newReach(flows)
	for _, a := range e.actions {
		if !a.ladder.ended && a.pending() {
			before.add(&a.Spec)
		}
	}
	after := before.with(&l.policy.Steps[i])
	if share := after.serviceShare(); g.MaxServices > 0 && share > g.MaxServices && len(after.services) > len(before.services) {
		return gateServices, fmt.Sprintf("changes would touch %d of %d services at once (%s), %s, and the limit is %s",
			len(after.services), len(after.known), strings.Join(slices.Sorted(maps.Keys(after.services)), ", "), share100(share), share100(g.MaxServices))
	}
	if g.MaxTraffic == 0 || upstreamOf(&l.policy.Steps[i]) != "" { // weights take no request away
		return "", ""
	}
	share, known := after.trafficShare()
	if !known {
		return gateTraffic, "there were no requests of late, so it cannot be told how many of them changes would touch, and the limit is " + share100(g.MaxTraffic)
	}
	if was, _ := before.trafficShare(); share > g.MaxTraffic && share > was {
		return gateTraffic, fmt.Sprintf("changes would touch %s of the requests at once, and the limit is %s", share100(share), share100(g.MaxTraffic))
	}
	return "", ""
}

// share100 writes a ratio in per cent, with a digit after the point where there is one.
func share100(ratio float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(ratio*100, 'f', 1, 64), ".0") + " %"
}

// reaches reports whether a step changes what becomes of requests.
func reaches(s *gatewarden.Step) bool {
	return s.Puts() != nil || s.Divert != nil || s.Service != nil || upstreamOf(s) != ""
}

// stepServices returns the services that a step names. Those of an upstream's targets
// are taken to be called like it.
func stepServices(s *gatewarden.Step) []string {
	switch {
	case s.Puts() != nil && s.Puts().Service != "":
		return []string{s.Puts().Service}
	case s.Service != nil:
		return []string{s.Service.Name}
	case upstreamOf(s) != "":
		return []string{upstreamOf(s)}
	default:
		return nil
	}
}

// reach is how much of the gateway some changes touch.
type reach struct {
	flows    []gatewarden.Flow
	known    map[string]bool // every service that has traffic or is touched
	services map[string]bool // touched
	touched  map[int]bool    // flows
}

func newReach(flows []gatewarden.Flow) *reach {
	r := &reach{flows: flows, known: map[string]bool{}, services: map[string]bool{}, touched: map[int]bool{}}
	for _, f := range flows {
		r.known[f.Service] = true
	}
	return r
}

// with returns the reach with one more step.
func (r *reach) with(s *gatewarden.Step) *reach {
	more := &reach{flows: r.flows, known: maps.Clone(r.known), services: maps.Clone(r.services), touched: maps.Clone(r.touched)}
	more.add(s)
	return more
}

// add takes a step in. Weights move requests between the targets of a service and take
// none away: they touch the service, but none of its traffic. A plugin for a consumer
// counts as if it were for everybody, because the requests are not counted by consumer.
func (r *reach) add(s *gatewarden.Step) {
	for _, name := range stepServices(s) {
		r.known[name], r.services[name] = true, true
	}
	var service, route string
	switch {
	case s.Puts() != nil:
		service, route = s.Puts().Service, s.Puts().Route
	case s.Divert != nil:
		route = s.Divert.Route
	case s.Service != nil:
		service = s.Service.Name
	default:
		return
	}
	for i, f := range r.flows {
		if (service == "" || service == f.Service) && (route == "" || route == f.Route) {
			r.touched[i], r.services[f.Service] = true, true
		}
	}
}

func (r *reach) serviceShare() float64 {
	return float64(len(r.services)) / float64(max(len(r.known), 1))
}

// trafficShare returns the share of the requests, and false when there were none.
func (r *reach) trafficShare() (share float64, known bool) {
	var all, touched uint64
	for i, f := range r.flows {
		all += f.Requests
		if r.touched[i] {
			touched += f.Requests
		}
	}
	return float64(touched) / float64(max(all, 1)), all > 0
}
