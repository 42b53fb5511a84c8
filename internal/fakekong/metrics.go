package fakekong

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Bounds in milliseconds of the captured histograms; kong_kong_latency_ms has
// finer ones.
var (
	latencyBounds     = []float64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
	kongLatencyBounds = []float64{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000}
)

// trafficMetrics are the counters of the prometheus plugin, by label text.
type trafficMetrics struct {
	requests   map[string]float64
	bandwidth  map[string]float64
	histograms map[string]map[string]*histogram // by metric, then labels
}

type histogram struct {
	bounds []float64
	counts []float64
	sum    float64
	n      float64
}

func newTrafficMetrics() *trafficMetrics {
	return &trafficMetrics{requests: map[string]float64{}, bandwidth: map[string]float64{}, histograms: map[string]map[string]*histogram{}}
}

// labelName returns what the plugin calls an entity: its name, else its host or id.
func labelName(e entity, otherwise string) string {
	if e == nil {
		return ""
	}
	if name, ok := e["name"].(string); ok {
		return name
	}
	s, _ := e[otherwise].(string)
	return s
}

// count adds a request as its plugin is configured. The lock is held.
func (m *trafficMetrics) count(x *exchange, latencies entity) {
	plugin := x.view.plugin("prometheus", x.route, x.service, x.consumer)
	on := func(name string) bool { v, _ := lookup(plugin, "config."+name); return v == true }
	scope := fmt.Sprintf(`service=%q,route=%q`, labelName(x.service, "host"), labelName(x.route, "id"))
	consumer := ""
	if on("per_consumer") && x.consumer != nil {
		consumer, _ = x.consumer["username"].(string)
	}
	if on("status_code_metrics") {
		source := map[string]string{"upstream": "service", "kong": "kong"}[x.source]
		m.requests[fmt.Sprintf(`%s,code="%d",source=%q,workspace="default",consumer="%s"`, scope, x.status, source, consumer)]++
	}
	if on("bandwidth_metrics") {
		m.bandwidth[fmt.Sprintf(`%s,direction="egress",workspace="default",consumer="%s"`, scope, consumer)] += float64(x.respSize)
		m.bandwidth[fmt.Sprintf(`%s,direction="ingress",workspace="default",consumer="%s"`, scope, consumer)] += x.requestPart()["size"].(float64)
	}
	if on("latency_metrics") {
		labels := scope + `,workspace="default"`
		m.observe("kong_request_latency_ms", labels, latencyBounds, latencies["request"])
		m.observe("kong_kong_latency_ms", labels, kongLatencyBounds, latencies["kong"])
		if ms, proxied := latencies["proxy"].(float64); proxied {
			m.observe("kong_upstream_latency_ms", labels, latencyBounds, ms)
		}
	}
}

func (m *trafficMetrics) observe(metric, labels string, bounds []float64, v any) {
	ms := v.(float64)
	if m.histograms[metric] == nil {
		m.histograms[metric] = map[string]*histogram{}
	}
	h := m.histograms[metric][labels]
	if h == nil {
		h = &histogram{bounds: bounds, counts: make([]float64, len(bounds))}
		m.histograms[metric][labels] = h
	}
	for i, bound := range bounds {
		if ms <= bound {
			h.counts[i]++
		}
	}
	h.sum += ms
	h.n++
}

// serveMetrics writes the exposition of the captured Kong's /metrics, without the
// figures of nginx's insides.
func (k *Kong) serveMetrics(w http.ResponseWriter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	health := k.showsHealth()
	if health && k.faults.DatabaseDown {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"An unexpected error occurred"}`)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("Server", "kong/3.9.1")
	var b strings.Builder
	k.metrics.write(&b)
	reachable := 1.0
	if k.faults.DatabaseDown {
		reachable = 0
	}
	family(&b, "kong_datastore_reachable", "gauge", "Datastore reachable from Kong, 0 is unreachable", map[string]float64{"": reachable})
	family(&b, "kong_nginx_metric_errors_total", "counter", "Number of nginx-lua-prometheus errors", map[string]float64{"": 0})
	family(&b, "kong_nginx_requests_total", "gauge", "Number of requests total", map[string]float64{fmt.Sprintf(`node_id=%q,subsystem="http"`, k.nodeID): float64(k.requests.Load())})
	family(&b, "kong_node_info", "gauge", "Kong Node metadata information", map[string]float64{fmt.Sprintf(`node_id=%q,version="3.9.1"`, k.nodeID): 1})
	if health {
		k.writeHealth(&b)
	}
	_, _ = io.WriteString(w, b.String()) // the scraper's loss
}

func (k *Kong) showsHealth() bool {
	for _, p := range k.db.tables["plugins"] {
		if v, _ := lookup(p, "config.upstream_health_metrics"); p["name"] == "prometheus" && p["enabled"] == true && v == true {
			return true
		}
	}
	return false
}

func (k *Kong) writeHealth(b *strings.Builder) {
	rows := map[string]float64{}
	for _, t := range k.db.list("targets", nil) {
		up := k.db.tables["upstreams"][refID(t, "upstream")]
		word := strings.ToLower(k.healthWord(up, t))
		for _, state := range []string{"dns_error", "healthchecks_off", "healthy", "unhealthy"} {
			v := 0.0
			if state == word {
				v = 1
			}
			address := t["target"]
			if state == "dns_error" && word == "dns_error" {
				address = ""
			}
			rows[fmt.Sprintf(`upstream=%q,target=%q,address=%q,state=%q,subsystem="http"`, up["name"], t["target"], address, state)] = v
		}
	}
	family(b, "kong_upstream_target_health", "gauge", "Health status of targets of upstream. States = healthchecks_off|healthy|unhealthy|dns_error, value is 1 when state is populated.", rows)
}

func (m *trafficMetrics) write(b *strings.Builder) {
	family(b, "kong_bandwidth_bytes", "counter", "Total bandwidth (ingress/egress) throughput in bytes", m.bandwidth)
	family(b, "kong_http_requests_total", "counter", "HTTP status codes per consumer/service/route in Kong", m.requests)
	for _, h := range []struct{ name, help string }{
		{"kong_kong_latency_ms", "Latency added by Kong and enabled plugins for each service/route in Kong"},
		{"kong_request_latency_ms", "Total latency incurred during requests for each service/route in Kong"},
		{"kong_upstream_latency_ms", "Latency added by upstream response for each service/route in Kong"},
	} {
		writeHistograms(b, h.name, h.help, m.histograms[h.name])
	}
}

func family(b *strings.Builder, name, kind, help string, rows map[string]float64) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	for _, labels := range sortedKeys(rows) {
		sample(b, name, labels, rows[labels])
	}
}

func sample(b *strings.Builder, name, labels string, v float64) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	fmt.Fprintf(b, "%s%s %s\n", name, labels, appendNumber(nil, v))
}

func writeHistograms(b *strings.Builder, name, help string, rows map[string]*histogram) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name)
	for _, labels := range sortedKeys(rows) {
		h := rows[labels]
		for i, bound := range h.bounds {
			sample(b, name+"_bucket", fmt.Sprintf(`%s,le="%s"`, labels, appendNumber(nil, bound)), h.counts[i])
		}
		sample(b, name+"_bucket", labels+`,le="+Inf"`, h.n)
		sample(b, name+"_count", labels, h.n)
		sample(b, name+"_sum", labels, h.sum)
	}
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
