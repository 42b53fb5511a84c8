package app

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// kongPlugins looks whether Kong sends what the sources wait for.
func (d *doctor) kongPlugins(g *gatewayAnswer) {
	for i, s := range d.set.config.Sources {
		w := wayIn{doctor: d, gateway: g, source: rules.SourceNames(d.set.config.Sources)[i], settings: settingsOf(s)}
		switch s.Kind {
		case "httplog":
			w.httpLog()
		case "tcplog":
			w.addressed("tcp-log", "listen", "host", "port")
		case "udplog":
			w.addressed("udp-log", "listen", "host", "port")
		case "filelog":
			w.fileLog()
		case "kongmetrics":
			w.prometheus()
		case "otlp":
			w.traced("opentelemetry", portsOf(w.settings.text("http"), w.settings.text("grpc")), "/v1/traces", "traces_endpoint", "endpoint")
		case "zipkin":
			w.traced("zipkin", portsOf(w.set.config.Listen.Ingest), w.settings.text("path"), "http_endpoint")
		}
	}
}

// wayIn is a source, and what of Kong should lead to it.
type wayIn struct {
	*doctor

	gateway  *gatewayAnswer
	source   string
	settings sourceSettings
}

// named returns the plugins of a name that are on, and how many are off.
func (w *wayIn) named(name string) (on []kongPlugin, off int) {
	for _, p := range w.gateway.plugins {
		switch {
		case p.Name != name:
		case p.Enabled:
			on = append(on, p)
		default:
			off++
		}
	}
	return on, off
}

// missing tells of a plugin that leads nowhere near.
func (w *wayIn) missing(name string, others []kongPlugin, off int, setting, fix string) {
	why := "there is no plugin " + name
	switch {
	case len(others) > 0:
		var to []string
		for _, p := range others {
			to = append(to, text(p.Config[setting]))
		}
		slices.Sort(to)
		why = fmt.Sprintf("no plugin %s leads to it: %s", name, strings.Join(slices.Compact(to), ", "))
	case off > 0:
		why = "the plugin " + name + " is switched off"
		for _, p := range w.gateway.plugins {
			if p.Name == name {
				fix = fmt.Sprintf("curl -X PATCH %s/plugins/%s -d enabled=true", w.gateway.url, p.ID)
			}
		}
	}
	w.trouble(name, fix, "%s gets nothing from this Kong: %s", w.source, why)
}

// httpLog looks for a plugin that posts to the ingest listener.
func (w *wayIn) httpLog() {
	want := w.settings.text("path")
	_, port, err := net.SplitHostPort(w.set.config.Listen.Ingest)
	if err != nil {
		return // the loader has said so
	}
	on, off := w.named("http-log")
	var here, elsewhere []kongPlugin
	for _, p := range on {
		u, err := url.Parse(text(p.Config["http_endpoint"]))
		switch {
		case err != nil || u.Path != want:
		case u.Port() == port:
			here = append(here, p)
		default:
			elsewhere = append(elsewhere, p)
		}
	}
	if len(here) == 0 && len(elsewhere) > 0 {
		here = elsewhere
		w.doubt("http-log", "", "%s: the http-log plugin posts to %s, and the guard listens at port %s: right if something between the two changes the port",
			w.source, text(here[0].Config["http_endpoint"]), port)
	}
	if len(here) == 0 {
		w.missing("http-log", on, off, "http_endpoint", w.postHere(on, port, want))
		return
	}
	if w.covers("http-log", here) {
		w.fine("http-log", "%s: Kong posts to %s", w.source, text(here[0].Config["http_endpoint"]))
	}
	for _, p := range here {
		w.queue(&p)
	}
}

// postHere says how Kong is made to post to the guard. It takes one plugin of a name in a
// scope: one that is meant for the guard and has another path is corrected, and where a
// global one posts elsewhere another kind of log plugin stands beside it.
func (w *wayIn) postHere(on []kongPlugin, port, path string) string {
	for _, p := range on {
		if u, err := url.Parse(text(p.Config["http_endpoint"])); err == nil && u.Port() == port {
			return fmt.Sprintf("curl -X PATCH %s/plugins/%s -d config.http_endpoint=%s://%s%s", w.gateway.url, p.ID, u.Scheme, u.Host, path)
		}
	}
	if slices.ContainsFunc(on, func(p kongPlugin) bool { return p.global() }) {
		return fmt.Sprintf("curl -X POST %s/plugins -d name=tcp-log -d config.host=%s -d config.port=9514\n"+
			"  # Kong takes one http-log for all requests, and has one; tcp-log stands beside it. In gatewarden.yaml: sources: [{tcplog: {listen: \":9514\"}}]",
			w.gateway.url, w.guard[:lastColon(w.guard)])
	}
	return fmt.Sprintf("curl -X POST %s/plugins -d name=http-log -d config.http_endpoint=http://%s%s \\\n  -d config.queue.max_batch_size=100 -d config.queue.max_coalescing_delay=1", w.gateway.url, w.guard, path)
}

// queue looks at how a plugin batches, and whether it leaves something out.
func (w *wayIn) queue(p *kongPlugin) {
	q, _ := p.Config["queue"].(map[string]any)
	if size, ok := q["max_batch_size"].(float64); ok && size <= 1 {
		w.doubt("batches", fmt.Sprintf("curl -X PATCH %s/plugins/%s -d config.queue.max_batch_size=100 -d config.queue.max_coalescing_delay=1", w.gateway.url, p.ID),
			"%s: the plugin %s posts each record by itself, which costs Kong and the guard many times what a batch costs", w.source, p.Name)
	}
	if delay, ok := q["max_coalescing_delay"].(float64); ok && delay > 2 {
		w.doubt("delay", fmt.Sprintf("curl -X PATCH %s/plugins/%s -d config.queue.max_coalescing_delay=1", w.gateway.url, p.ID),
			"%s: the plugin %s may hold a record back for %g s, and the guard sees nothing earlier", w.source, p.Name, delay)
	}
	if lua, ok := p.Config["custom_fields_by_lua"].(map[string]any); ok {
		var cut []string
		for field := range lua {
			if head, _, _ := strings.Cut(field, "."); isOneOf(head, "started_at", "latencies", "response", "service", "route", "tries", "upstream_status", "request", "source") {
				cut = append(cut, field)
			}
		}
		if slices.Sort(cut); len(cut) > 0 {
			w.doubt("fields", fmt.Sprintf("curl %s/plugins/%s", w.gateway.url, p.ID), "%s: the plugin %s replaces fields that are judged by: %s", w.source, p.Name, strings.Join(cut, ", "))
		}
	}
}

func isOneOf(word string, list ...string) bool { return slices.Contains(list, word) }

// covers reports whether plugins are in force wherever requests go that the rules judge; it
// tells of what is left out.
func (w *wayIn) covers(check string, plugins []kongPlugin) bool {
	all, _ := w.named(plugins[0].Name)
	var left []string
	for _, s := range w.gateway.ways() {
		var judged, out []string
		for _, way := range s.ways {
			if !w.judges(&way) {
				continue
			}
			judged = append(judged, way.name)
			if p := way.inForce(all); p == nil || !slices.ContainsFunc(plugins, func(o kongPlugin) bool { return o.ID == p.ID }) {
				out = append(out, way.name)
			}
		}
		switch {
		case len(out) == 0:
		case len(out) == len(judged) && s.service != "":
			left = append(left, s.service)
		default:
			for _, name := range out {
				left = append(left, "the route "+name)
			}
		}
	}
	if len(left) == 0 {
		return true
	}
	slices.Sort(left)
	if most := 10; len(left) > most {
		left = append(left[:most], fmt.Sprintf("%d others", len(left)-most))
	}
	fix := fmt.Sprintf("curl -X PATCH %s/plugins/%s -H 'Content-Type: application/json' -d '{\"service\":null,\"route\":null,\"consumer\":null}'   # for every request", w.gateway.url, plugins[0].ID)
	if slices.ContainsFunc(plugins, func(p kongPlugin) bool { return p.global() }) {
		fix = fmt.Sprintf("curl %s/plugins   # which %s of a service or a route takes the place of the global one?", w.gateway.url, plugins[0].Name)
	}
	w.trouble(check, fix, "%s: the plugin %s is not in force for %s", w.source, plugins[0].Name, strings.Join(left, ", "))
	return false
}

// kongWay is where a request may go: a route, and the service behind it.
type kongWay struct {
	name           string // of the route, or the service's where that has no routes
	service, route kongEntity
}

// waysOf are the ways to one service; its name is "" for those of routes without one.
type waysOf struct {
	service string
	ways    []kongWay
}

// ways returns where requests may go, by service.
func (g *gatewayAnswer) ways() []waysOf {
	all := make([]waysOf, 0, len(g.services)+1)
	for _, s := range append(slices.Clone(g.services), kongEntity{}) {
		to := waysOf{service: cmp.Or(s.Name, s.ID)}
		for _, r := range g.routes {
			if r.Service == nil && s.ID == "" || r.Service != nil && r.Service.ID == s.ID {
				to.ways = append(to.ways, kongWay{cmp.Or(r.Name, r.ID), s, r})
			}
		}
		if len(to.ways) == 0 && s.ID != "" {
			to.ways = append(to.ways, kongWay{name: to.service, service: s})
		}
		all = append(all, to)
	}
	return all
}

// inForce returns which of the plugins of one name Kong runs on a way, nil for none: that
// of the narrowest scope, and only that.
func (k *kongWay) inForce(plugins []kongPlugin) *kongPlugin {
	var best *kongPlugin
	rank := -1
	for i := range plugins {
		p, n := &plugins[i], 0
		if p.Consumer != nil || p.Service != nil && p.Service.ID != k.service.ID || p.Route != nil && p.Route.ID != k.route.ID {
			continue
		}
		if p.Service != nil {
			n++
		}
		if p.Route != nil {
			n += 2
		}
		if n > rank {
			best, rank = p, n
		}
	}
	return best
}

// judges reports whether requests that go some way are judged by what Kong logs of them.
func (d *doctor) judges(k *kongWay) bool {
	is := func(name string, o kongEntity) bool { return name == "" || name == o.Name || name == o.ID }
	of := func(s gatewarden.Series) bool {
		return is(s.Service, k.service) && is(s.Route, k.route) &&
			(s.Tag == "" || slices.Contains(k.service.Tags, s.Tag) || slices.Contains(k.route.Tags, s.Tag))
	}
	for i := range d.set.rules.SLOs {
		if s := &d.set.rules.SLOs[i]; s.Series.Signal == "" && s.SLI.Query == nil && of(s.Series) {
			return true
		}
	}
	for i := range d.set.rules.Canaries {
		c := &d.set.rules.Canaries[i]
		scoped := false // by what its tracks are
		for _, track := range c.Tracks {
			to, by := k.service, track.Kind == gatewarden.ByService
			if track.Kind == gatewarden.ByRoute {
				to, by = k.route, true
			}
			scoped = scoped || by
			if by && slices.ContainsFunc(track.Values, func(name string) bool { return is(name, to) }) {
				return true
			}
		}
		if !scoped && of(c.Series) {
			return true
		}
	}
	return false
}

// addressed looks for a plugin that sends to the port where a source listens.
func (w *wayIn) addressed(plugin, key, host, portKey string) {
	_, port, err := net.SplitHostPort(w.settings.text(key))
	if err != nil {
		return
	}
	on, off := w.named(plugin)
	var here []kongPlugin
	for _, p := range on {
		if text(p.Config[portKey]) == port {
			here = append(here, p)
		}
	}
	if len(here) == 0 {
		w.missing(plugin, on, off, portKey, fmt.Sprintf("curl -X POST %s/plugins -d name=%s -d config.host=%s -d config.port=%s", w.gateway.url, plugin, address(w.settings.text(key))[:lastColon(address(w.settings.text(key)))], port))
		return
	}
	if w.covers(plugin, here) {
		w.fine(plugin, "%s: Kong sends to %s:%s", w.source, text(here[0].Config[host]), port)
	}
}

// fileLog looks for a plugin that writes a file that is followed.
func (w *wayIn) fileLog() {
	patterns := w.settings.texts("paths")
	on, off := w.named("file-log")
	var here []kongPlugin
	for _, p := range on {
		for _, pattern := range patterns {
			if ok, err := path.Match(path.Base(pattern), path.Base(text(p.Config["path"]))); ok && err == nil {
				here = append(here, p)
				break
			}
		}
	}
	if len(here) == 0 {
		file := "/var/log/kong/access.json"
		if len(patterns) > 0 {
			file = strings.ReplaceAll(patterns[0], "*", "access")
		}
		w.missing("file-log", on, off, "path", fmt.Sprintf("curl -X POST %s/plugins -d name=file-log -d config.path=%s", w.gateway.url, file))
		return
	}
	if w.covers("file-log", here) {
		w.fine("file-log", "%s: Kong writes %s", w.source, text(here[0].Config["path"]))
	}
}

// prometheus looks whether Kong's metrics have what is read of them.
func (w *wayIn) prometheus() {
	on, off := w.named("prometheus")
	if len(on) == 0 {
		w.missing("prometheus", nil, off, "", fmt.Sprintf("curl -X POST %s/plugins -d name=prometheus -d config.status_code_metrics=true -d config.upstream_health_metrics=true", w.gateway.url))
		return
	}
	p := &on[0]
	if i := slices.IndexFunc(on, func(p kongPlugin) bool { return p.global() }); i >= 0 {
		p = &on[i]
	} else if !w.covers("prometheus", on) {
		return
	}
	fix := func(setting string) string {
		return fmt.Sprintf("curl -X PATCH %s/plugins/%s -d config.%s=true", w.gateway.url, p.ID, setting)
	}
	isOn := func(setting string) bool { v, _ := p.Config[setting].(bool); return v }
	good := true
	if !isOn("status_code_metrics") {
		good = false
		w.trouble("prometheus", fix("status_code_metrics"), "%s: status_code_metrics is off, so Kong counts no requests", w.source)
	}
	alone := !logged(w.set.config.Sources)
	if slow := func(s gatewarden.SLO) bool { return s.SLI.Kind == gatewarden.SLILatency && s.Series.Signal == "" }; alone && !isOn("latency_metrics") && slices.ContainsFunc(w.set.rules.SLOs, slow) {
		good = false
		w.trouble("prometheus", fix("latency_metrics"), "%s: latency_metrics is off, and no log says how long requests took", w.source)
	}
	if who := func(s gatewarden.SLO) bool { return s.Series.Consumer != "" }; alone && !isOn("per_consumer") && slices.ContainsFunc(w.set.rules.SLOs, who) {
		good = false
		w.trouble("prometheus", fix("per_consumer"), "%s: per_consumer is off, and no log says whose requests they were", w.source)
	}
	if !isOn("upstream_health_metrics") && !slices.Contains(w.set.rules.Drift.Ignore, gatewarden.DriftTargets) {
		w.doubt("targets", fix("upstream_health_metrics"), "%s: upstream_health_metrics is off, so unhealthy targets are no drift that is seen", w.source)
	}
	if good {
		w.fine("prometheus", "%s: Kong counts what is read", w.source)
	}
}

// portsOf are the ports of addresses that are set.
func portsOf(addresses ...string) (ports []string) {
	for _, address := range addresses {
		if _, port, err := net.SplitHostPort(address); err == nil {
			ports = append(ports, port)
		}
	}
	return ports
}

// traced looks for a plugin that sends spans to one of the ports where a source listens, and
// to its path there.
func (w *wayIn) traced(plugin string, ports []string, want string, settings ...string) {
	on, off := w.named(plugin)
	for _, p := range on {
		for _, s := range settings {
			u, err := url.Parse(text(p.Config[s]))
			switch {
			case err != nil || !slices.Contains(ports, u.Port()):
			case u.Path != want:
				w.trouble(plugin, fmt.Sprintf("curl -X PATCH %s/plugins/%s -d config.%s=%s://%s%s", w.gateway.url, p.ID, s, u.Scheme, u.Host, want),
					"%s: Kong sends its spans to %s, and they are taken at %s there", w.source, text(p.Config[s]), want)
				return
			default:
				w.fine(plugin, "%s: Kong sends its spans to %s", w.source, text(p.Config[s]))
				return
			}
		}
	}
	guard := w.guard // of zipkin, which is taken at listen.ingest
	if plugin == "opentelemetry" {
		guard = address(cmp.Or(w.settings.text("http"), ":4318"))
	}
	if len(on)+off == 0 {
		w.doubt(plugin, fmt.Sprintf("curl -X POST %s/plugins -d name=%s -d config.%s=http://%s%s", w.gateway.url, plugin, settings[0], guard, want),
			"%s gets no spans of Kong's own: there is no plugin %s; others may send", w.source, plugin)
		return
	}
	w.doubt(plugin, "", "%s: no plugin %s that is on leads to it; a collector may stand between", w.source, plugin)
}

// text writes a value of a plugin's configuration.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}
