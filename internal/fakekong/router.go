package fakekong

import (
	"hash/fnv"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// phaseShare is which part of a tick lies between two workers' ticks: workers of
// the captured Kong switched within 100 to 150 ms of each other.
const phaseShare = 40

// inForceAt returns when a change that was committed then reaches the worker: at
// its next tick.
func (k *Kong) inForceAt(v *view, worker int) time.Time {
	if v.initial || k.cfg.Strict {
		return v.committed
	}
	phase := time.Duration(worker) * k.cfg.Tick / phaseShare
	since := v.committed.Sub(k.started) - phase
	next := since.Truncate(k.cfg.Tick) + k.cfg.Tick
	if since < 0 {
		next = 0
	}
	return k.started.Add(phase + next)
}

// viewOf returns what the worker routes by at that instant, and forgets the views
// that no worker will need again. The lock is held.
func (k *Kong) viewOf(worker int, at time.Time) *view {
	newest := 0
	oldest := len(k.views)
	for w := range k.cfg.Workers {
		inForce := 0
		for i, v := range k.views {
			if !k.inForceAt(v, w).After(at) {
				inForce = i
			}
		}
		if w == worker {
			newest = inForce
		}
		oldest = min(oldest, inForce)
	}
	v := k.views[newest]
	k.views = k.views[oldest:]
	return v
}

// workerOf returns which worker has the connection: as in nginx, it stays with one.
func (k *Kong) workerOf(r *http.Request) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.RemoteAddr)) // never fails
	return int(h.Sum32() % uint32(k.cfg.Workers))
}

// match is a route with the part of the path that it matched.
type match struct {
	route  entity
	prefix string
}

// route finds the route for a request: the one that matches by most kinds of
// rules, then with the longest path, then the oldest.
func (v *view) route(r *http.Request) *match {
	var best *match
	var bestRank [3]int
	routes := make([]entity, 0, len(v.tables["routes"]))
	for _, e := range v.tables["routes"] {
		// Routes of a disabled service are not put into the router (runloop/handler.lua):
		// it is as if they did not exist, and another route may take the request.
		if service := v.tables["services"][refID(e, "service")]; service == nil || service["enabled"] != false {
			routes = append(routes, e)
		}
	}
	slices.SortFunc(routes, func(a, b entity) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	for _, e := range routes {
		prefix, rules, fits := fitsRoute(e, r)
		if !fits {
			continue
		}
		priority, _ := e["regex_priority"].(float64)
		rank := [3]int{rules, int(priority), len(prefix)}
		if best == nil || slices.Compare(rank[:], bestRank[:]) > 0 {
			best, bestRank = &match{route: e, prefix: prefix}, rank
		}
	}
	return best
}

// fitsRoute says whether the route takes the request, by how many kinds of rules
// and which part of the path it matched.
func fitsRoute(e entity, r *http.Request) (prefix string, rules int, fits bool) {
	if methods := stringsOf(e["methods"]); len(methods) > 0 {
		if !slices.Contains(methods, r.Method) {
			return "", 0, false
		}
		rules++
	}
	if hosts := stringsOf(e["hosts"]); len(hosts) > 0 {
		if !slices.ContainsFunc(hosts, func(h string) bool { return hostMatches(h, r.Host) }) {
			return "", 0, false
		}
		rules++
	}
	headers, _ := e["headers"].(entity)
	for name, values := range headers {
		if !slices.ContainsFunc(stringsOf(values), func(v string) bool { return slices.Contains(r.Header.Values(name), v) }) {
			return "", 0, false
		}
		rules++
	}
	if paths := stringsOf(e["paths"]); len(paths) > 0 {
		found := false
		for _, p := range paths {
			if part, ok := pathMatches(p, r.URL.Path); ok && len(part) >= len(prefix) {
				prefix, found = part, true
			}
		}
		if !found {
			return "", 0, false
		}
		rules++
	}
	return prefix, rules, rules > 0
}

func hostMatches(pattern, host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil && !strings.Contains(pattern, ":") {
		host = h
	}
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, rest)
	}
	if rest, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(host, rest)
	}
	return strings.EqualFold(pattern, host)
}

// pathMatches returns the matched part: a prefix, or what a ~ pattern matches at
// the start.
func pathMatches(pattern, path string) (string, bool) {
	expr, isRegexp := strings.CutPrefix(pattern, "~")
	if !isRegexp {
		return pattern, strings.HasPrefix(path, pattern)
	}
	re, err := regexp.Compile("^(?:" + expr + ")")
	if err != nil {
		return "", false
	}
	found := re.FindStringIndex(path)
	if found == nil {
		return "", false
	}
	return path[:found[1]], true
}

func stringsOf(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// plugin returns the configuration of the plugin that runs for a request: the one
// in the most specific scope, nil when there is none.
func (v *view) plugin(name string, route, service, consumer entity) entity {
	var best entity
	bestScore := -1
	for _, p := range v.tables["plugins"] {
		if p["name"] != name || p["enabled"] != true {
			continue
		}
		score, fits := 0, true
		// The order of precedence of Kong's documentation: consumer, then route, then service.
		for _, scope := range []struct {
			field  string
			on     entity
			weight int
		}{{"consumer", consumer, 4}, {"route", route, 2}, {"service", service, 1}} {
			id := refID(p, scope.field)
			if id == "" {
				continue
			}
			if scope.on == nil || scope.on["id"] != id {
				fits = false
				break
			}
			score += scope.weight
		}
		if fits && score > bestScore {
			best, bestScore = p, score
		}
	}
	return best
}
