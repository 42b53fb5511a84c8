package app

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// What a log knows of a request and Kong's counters do not, in the words of `good`
// expressions. They know latencies, but not of which request.
var (
	quoted = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	unseen = regexp.MustCompile(`\b(latency|method|path|last_try_status|tries|tags)\b`)
)

// kongBounds are the upper bounds of the histograms of Kong 3.9, in milliseconds.
var kongBounds = map[gatewarden.LatencyPart][]int{
	gatewarden.OfRequest:  {25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000},
	gatewarden.OfUpstream: {25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000},
	gatewarden.OfKong:     {1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000},
}

// checkCounters reports what rules need of each single request when no source brings
// any: Kong's counters then are all there is.
func checkCounters(config *rules.Config, set *rules.Rules) rules.Problems {
	at := slices.IndexFunc(config.Sources, func(s rules.Source) bool { return s.Kind == "kongmetrics" })
	if at < 0 || logged(config.Sources) {
		return nil
	}
	var problems rules.Problems
	add := func(what, name, why, hint string) {
		problems = append(problems, rules.Problem{
			File: config.Sources[at].File, Line: config.Sources[at].Line, Severity: rules.SeverityError,
			Message: fmt.Sprintf("kongmetrics alone cannot answer the %s %s: %s", what, name, why), Hint: hint,
		})
	}
	const addLog = "add a source that brings Kong's log, such as - httplog: {}"
	for i := range set.SLOs {
		if why, hint := beyondCounters(&set.SLOs[i]); why != "" {
			add("slo", set.SLOs[i].Name, why, strings.TrimPrefix(hint+"; or "+addLog, "; or "))
		}
	}
	for _, c := range set.Canaries {
		for _, s := range c.Tracks {
			if s.Kind != gatewarden.ByService && s.Kind != gatewarden.ByRoute {
				add("canary", c.Name, "Kong's counters do not tell its tracks apart by "+string(s.Kind), addLog+"; or give each track a service or a route of its own")
				break
			}
		}
	}
	return problems
}

// beyondCounters returns what of an SLO Kong's counters cannot tell, and what to do
// besides adding a log; "" when they can tell it all.
func beyondCounters(s *gatewarden.SLO) (why, hint string) {
	if s.Series.Tag != "" {
		return "Kong's counters have no tags", "name its service"
	}
	switch s.SLI.Kind {
	case gatewarden.SLIGood:
		if word := unseen.FindString(quoted.ReplaceAllString(s.SLI.Expr, "")); word != "" {
			return "Kong's counters do not know the " + word + " of a request", ""
		}
	case gatewarden.SLILatency:
		bounds := kongBounds[s.SLI.Of]
		if !slices.Contains(bounds, int(s.SLI.Threshold/time.Millisecond)) {
			return fmt.Sprintf("Kong's histogram has no bound at %s", gatewarden.Duration(s.SLI.Threshold)), fmt.Sprintf("choose one of %v ms", bounds)
		}
	case gatewarden.SLIAvailability:
	}
	return "", ""
}
