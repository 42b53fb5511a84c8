package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// kongBounds are the bounds of the buckets of Kong's histograms in milliseconds. They are
// fixed in its source.
func kongBounds(of gatewarden.LatencyPart) []int {
	if of == gatewarden.OfKong {
		return []int{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}
	}
	return []int{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
}

// queries returns what counts the SLO's events, and false when nothing in Prometheus does.
func (e *export) queries() (queries, bool) {
	s := e.slo
	switch {
	case s.SLI.Query != nil:
		return e.ownQueries()
	case s.Series.Signal != "":
		e.refuse("count the spans in a collector (spanmetrics) and write sli: {prometheus: ...}", "it is about spans, which Prometheus does not have")
	case s.Series.Tag != "":
		e.refuse("make an slo of each service that has the tag", "Kong's metrics do not say which tags a service has")
	case s.SLI.Kind == gatewarden.SLIGood:
		e.refuse("write sli: {prometheus: ...} with queries that say the same", "Kong's metrics can't tell for which requests %q holds", s.SLI.Expr)
	case s.SLI.Kind == gatewarden.SLILatency:
		return e.latency()
	default:
		if s.Series.Consumer != "" {
			e.note("curl -X PATCH $KONG_ADMIN/plugins/ID -d config.per_consumer=true", "Kong must count requests by consumer for this")
		}
		const name = "kong_http_requests_total"
		total := fmt.Sprintf(`sum(rate(%s%s[%s]))`, name, matchers(e.matchers(true)), windowMark)
		// A code that never came has no series: none of the requests failed then.
		bad := fmt.Sprintf(`sum(rate(%s%s[%s])) or 0 * %s`, name, matchers(e.matchers(true), `code!~"[1-4].."`), windowMark, total)
		return queries{bad: bad, total: total}, true
	}
	return queries{}, false
}

// matchers pick the SLO's requests.
func (e *export) matchers(consumer bool) (list []string) {
	for _, m := range []struct{ label, value string }{
		{"service", e.slo.Series.Service}, {"route", e.slo.Series.Route}, {"workspace", e.slo.Series.Workspace},
	} {
		if m.value != "" {
			list = append(list, m.label+"="+strconv.Quote(m.value))
		}
	}
	if consumer && e.slo.Series.Consumer != "" {
		list = append(list, "consumer="+strconv.Quote(e.slo.Series.Consumer))
	}
	return list
}

func matchers(list []string, more ...string) string {
	if list = slices.Concat(list, more); len(list) == 0 {
		return ""
	}
	return "{" + strings.Join(list, ",") + "}"
}

// latency counts by the bucket whose bound the threshold is.
func (e *export) latency() (queries, bool) {
	s := e.slo
	bounds := kongBounds(s.SLI.Of)
	ms := int(s.SLI.Threshold / time.Millisecond)
	switch {
	case s.Series.Consumer != "":
		e.refuse("", "Kong's histograms do not tell consumers apart")
		return queries{}, false
	case !slices.Contains(bounds, ms) || s.SLI.Threshold%time.Millisecond != 0:
		e.refuse("choose one of "+strings.Trim(strings.ReplaceAll(fmt.Sprint(bounds), " ", ", "), "[]")+" ms", "Kong's histogram has no bound at %s", gatewarden.Duration(s.SLI.Threshold))
		return queries{}, false
	}
	name := "kong_" + string(s.SLI.Of) + "_latency_ms"
	// Prometheus 3 stores the bound 250 as 250.0.
	good := fmt.Sprintf(`sum(rate(%s_bucket%s[%s]))`, name, matchers(e.matchers(false), fmt.Sprintf(`le=~"%d(\\.0)?"`, ms)), windowMark)
	total := fmt.Sprintf(`sum(rate(%s_count%s[%s]))`, name, matchers(e.matchers(false)), windowMark)
	return queries{bad: total + " - " + good, total: total}, true
}

// counters are expressions that a rate can be put into: a counter, or a sum of some.
var counters = regexp.MustCompile(`^(sum(?:\s+by\s*\(\s*\))?\s*\(\s*)?([a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{[^{}]*\})?)\s*(\))?$`)

// ratedCounter puts a rate into a counter, or into a sum of some, and reports whether text
// is one.
func ratedCounter(text string) (string, bool) {
	m := counters.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil || (m[1] == "") != (m[3] == "") {
		return "", false
	}
	return "sum(rate(" + strings.TrimSpace(m[2]) + "[" + windowMark + "]))", true
}

// ownQueries are those of an SLI in PromQL, each with a window.
func (e *export) ownQueries() (queries, bool) {
	q := e.slo.SLI.Query
	parts := map[string]string{"total_query": q.Total, "error_query": q.Error, "good_query": q.Good}
	for key, text := range parts {
		if text == "" || placeholder.MatchString(text) {
			continue
		}
		rated, ok := ratedCounter(text)
		if !ok {
			e.refuse("write it with {{.window}}: sum(rate(x_total[{{.window}}]))", "the %s is a counter that a rate can't be put into", key)
			return queries{}, false
		}
		parts[key] = rated
	}
	made := queries{bad: parts["error_query"], total: parts["total_query"]}
	if q.Good != "" {
		made.bad = "(" + parts["total_query"] + ") - (" + parts["good_query"] + ")"
	}
	return made, true
}
