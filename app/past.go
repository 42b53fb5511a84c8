package app

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/store"
)

var _ api.Past = (*view)(nil)

// History counts an SLO's events by steps. Steps begin at whole multiples of their length,
// so that the same points come back as the window moves on.
func (v *view) History(name string, window time.Duration, points int) (api.History, error) {
	slo, err := v.slo(name)
	if err != nil {
		return api.History{}, err
	}
	from, to := spanOf(slo, window, v.now())
	step := stepOf(to.Sub(from), points)
	from = from.Truncate(step)
	h := api.History{Name: name, From: from, To: to, Step: gatewarden.Duration(step)}
	counter := v.store.Counter(slo.Series, &slo.SLI)
	for at := from; at.Before(to); at = at.Add(step) {
		end := at.Add(step)
		if end.After(to) {
			end = to
		}
		h.Points = append(h.Points, counter.Count(at, end))
	}
	return h, nil
}

// slo returns an SLO of the rules in force.
func (v *view) slo(name string) (*gatewarden.SLO, error) {
	slos := v.reloader.current().rules.SLOs
	i := slices.IndexFunc(slos, func(s gatewarden.SLO) bool { return s.Name == name })
	if i < 0 {
		return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no SLO named %q", name).WithHint("GET /api/v1/slos lists them")
	}
	return &slos[i], nil
}

// spanOf returns the part of the past that ends now, in whole seconds: of the window, or
// of the SLO's own when it is 0.
func spanOf(slo *gatewarden.SLO, window time.Duration, now time.Time) (from, to time.Time) {
	to = now.Truncate(time.Second)
	if window > 0 {
		return to.Add(-window).Truncate(time.Second), to
	}
	return slo.Window.Start(to).Truncate(time.Second), to
}

// steps are the lengths of step that people count in, and that the store's slots divide.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// stepOf returns the shortest step that makes of a window no more than so many points, and
// that the store can tell from the next one at the window's far end.
func stepOf(window time.Duration, points int) time.Duration {
	least := store.Resolution(window)
	for _, step := range steps {
		// The window begins and ends within a step: it may touch two more than it is long.
		if step >= least && int((window-1)/step)+2 <= points {
			return step
		}
	}
	days := int64(window.Hours()/24)/int64(max(points-1, 1)) + 1
	return time.Duration(days) * 24 * time.Hour
}

// Breakdown says which requests an SLO's events were.
func (v *view) Breakdown(name string, window time.Duration) (api.Breakdown, error) {
	slo, err := v.slo(name)
	if err != nil {
		return api.Breakdown{}, err
	}
	from, to := spanOf(slo, window, v.now())
	whole := v.store.Window(slo.Series, from, to)
	b := api.Breakdown{
		Name: name, From: from, To: to, Shed: whole.Shed, Classes: map[string]uint64{},
		Total: v.store.Count(slo.Series, &slo.SLI, from, to),
	}
	for class, n := range whole.ByClass {
		if n > 0 {
			b.Classes[className(class)] = n
		}
	}
	for _, info := range v.store.List() {
		s := info.Series
		switch {
		case !narrower(slo.Series, s):
		case s.Consumer != "":
			b.Consumers = append(b.Consumers, v.part(slo, s, from, to))
		case s.Route != "":
			b.Routes = append(b.Routes, v.part(slo, s, from, to))
		}
	}
	b.Routes, b.Consumers = worstFirst(b.Routes), worstFirst(b.Consumers)
	return b, nil
}

func className(class int) string {
	if class == 0 {
		return "other"
	}
	return strconv.Itoa(class) + "xx"
}

// narrower reports whether a series holds nothing but what is in the other one too, as far
// as the names say.
func narrower(whole, part gatewarden.Series) bool {
	within := func(whole, part string) bool { return whole == "" || whole == part }
	return part.Service != gatewarden.Overflow &&
		within(whole.Service, part.Service) && within(whole.Route, part.Route) && within(whole.Consumer, part.Consumer) &&
		whole.Tag == part.Tag && whole.Workspace == part.Workspace
}

// part counts a narrower series. Availability is known of every series, a latency of the
// whole request from the distribution; another SLI only where the rules count it.
func (v *view) part(slo *gatewarden.SLO, s gatewarden.Series, from, to time.Time) api.Part {
	w := v.store.Window(s, from, to)
	p := api.Part{Series: s, Requests: w.Requests()}
	switch {
	case slo.SLI.Kind == gatewarden.SLIAvailability:
		p.Count = &gatewarden.Count{Good: w.Requests() - w.Errors(), Bad: w.Errors(), Coverage: w.Coverage}
	case slo.SLI.Kind == gatewarden.SLILatency && slo.SLI.Of == gatewarden.OfRequest:
		good := w.Latency.AtMost(slo.SLI.Threshold)
		p.Count = &gatewarden.Count{Good: good, Bad: w.Latency.Count() - good, Coverage: w.Coverage}
	default:
		if n := v.store.Count(s, &slo.SLI, from, to); n.Total() > 0 {
			p.Count = &n
		}
	}
	return p
}

// mostParts bounds a breakdown: what comes after has next to no part in it.
const mostParts = 50

// worstFirst sorts by bad events, then by requests, and keeps the first ones.
func worstFirst(parts []api.Part) []api.Part {
	bad := func(p api.Part) uint64 {
		if p.Count == nil {
			return 0
		}
		return p.Count.Bad
	}
	parts = slices.DeleteFunc(parts, func(p api.Part) bool { return p.Requests == 0 })
	slices.SortStableFunc(parts, func(a, b api.Part) int {
		return cmp.Or(cmp.Compare(bad(b), bad(a)), cmp.Compare(b.Requests, a.Requests))
	})
	return parts[:min(len(parts), mostParts)]
}
