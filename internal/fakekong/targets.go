package fakekong

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// targetHealth is what health checks know of a target. The counters are those of
// passive checks.
type targetHealth struct {
	unhealthy    bool
	tcpFailures  int
	timeouts     int
	httpFailures int
	successes    int
}

// upstreamEndpoint answers below /upstreams/{upstream}.
func (k *Kong) upstreamEndpoint(up entity, a ask) reply {
	id := up["id"].(string)
	rest := a.path[3:]
	if a.path[2] == "health" {
		if len(rest) > 0 {
			return refuse(notFound())
		}
		return k.methods(a, map[string]func() reply{"GET": func() reply { return k.upstreamHealth(up, a) }})
	}
	switch {
	case len(rest) == 0:
		return k.methods(a, map[string]func() reply{
			"GET": func() reply { return k.targetPage(id, a) },
			"POST": writing(&a, "targets", func() reply {
				a.body["upstream"] = entity{"id": id}
				e, refused := k.insert("targets", a.body)
				return answer(http.StatusCreated, e, refused)
			}),
		})
	case len(rest) == 1 && rest[0] == "all":
		return k.methods(a, map[string]func() reply{"GET": func() reply { return k.targetPage(id, a) }})
	case len(rest) == 1:
		return k.oneTarget(k.db.findTarget(id, rest[0]), a)
	}
	if last := rest[len(rest)-1]; len(rest) <= 3 && (last == "healthy" || last == "unhealthy") {
		t := k.db.findTarget(id, rest[0])
		if t == nil {
			return refuse(notFound())
		}
		return k.methods(a, map[string]func() reply{"PUT": func() reply { return k.mark(up, t, last == "unhealthy") }})
	}
	return refuse(notFound())
}

// targetPage pages by position, and its next link drops the size: as captured.
func (k *Kong) targetPage(upstreamID string, a ask) reply {
	size, refused := pageSize(a.query)
	if refused != nil {
		return refuse(refused)
	}
	list := k.db.list("targets", func(t entity) bool { return refID(t, "upstream") == upstreamID })
	start := 0
	if s := a.query.Get("offset"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return refuse(badRequest(7, "invalid offset", "'"+s+"' is not a valid offset: bad base64 encoding", nil))
		}
		start = min(n, len(list))
	}
	list = list[start:]
	body := entity{"next": nil}
	if len(list) > size {
		list = list[:size]
		offset := strconv.Itoa(start + size)
		body["offset"], body["next"] = offset, "/"+strings.Join(a.path, "/")+"?offset="+offset
	}
	body["data"] = showAll("targets", list)
	return ok(body)
}

func (k *Kong) oneTarget(t entity, a ask) reply {
	exists := func(then func() reply) func() reply {
		return func() reply {
			if t == nil {
				return refuse(notFound())
			}
			return then()
		}
	}
	update := writing(&a, "targets", exists(func() reply { return k.patch("targets", t, a) }))
	return k.methods(a, map[string]func() reply{
		"GET":    exists(func() reply { return ok(t) }),
		"PATCH":  update,
		"PUT":    update, // keeps created_at, and is 404 for a new target: as captured
		"DELETE": exists(func() reply { return k.delete("targets", t) }),
	})
}

// mark sets a target's health by hand.
func (k *Kong) mark(up, t entity, unhealthy bool) reply {
	if !checksHealth(up) {
		return refuse(badRequest(0, "", "no healthchecker found for "+up["name"].(string), nil))
	}
	k.healthOf(t).unhealthy = unhealthy
	return reply{status: http.StatusNoContent}
}

func (k *Kong) healthOf(t entity) *targetHealth {
	id := t["id"].(string)
	if k.health[id] == nil {
		k.health[id] = &targetHealth{}
	}
	return k.health[id]
}

// checksHealth reports whether any health check of the upstream is switched on.
func checksHealth(up entity) bool {
	for _, path := range []string{
		"healthchecks.active.healthy.interval", "healthchecks.active.unhealthy.interval",
		"healthchecks.passive.unhealthy.tcp_failures", "healthchecks.passive.unhealthy.timeouts", "healthchecks.passive.unhealthy.http_failures",
		"healthchecks.passive.healthy.successes",
	} {
		if n, _ := lookup(up, path); n != nil && n.(float64) > 0 {
			return true
		}
	}
	return false
}

// dnsError is what the stand-in's resolver says to every name that it does not
// know. It knows addresses, localhost, and nothing else.
const dnsError = "dns server error: 3 name error"

func resolvable(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// upstreamHealth answers the health of an upstream's targets, or with
// ?balancer_health=1 that of the balancer. For a tick after its creation, no
// balancer exists and the targets have no health.
func (k *Kong) upstreamHealth(up entity, a ask) reply {
	id := up["id"].(string)
	targets := k.db.list("targets", func(t entity) bool { return refID(t, "upstream") == id })
	if a.query.Get("balancer_health") == "1" {
		return ok(entity{"data": k.balancerHealth(up, targets), "node_id": k.nodeID, "next": nil})
	}
	fresh := !k.cfg.Strict && k.cfg.Now().Sub(k.db.created[id]) < k.cfg.Tick && k.db.created[id].After(k.started)
	data := []entity{}
	for _, t := range targets {
		row := pick(t, "id", "target", "weight", "tags", "upstream", "created_at", "updated_at")
		if !fresh {
			detail := k.targetDetail(up, t, false)
			row["data"], row["health"] = detail, k.healthWord(up, t)
		}
		data = append(data, row)
	}
	return ok(entity{"data": data, "node_id": k.nodeID, "next": nil})
}

// healthWord returns HEALTHY, UNHEALTHY, DNS_ERROR or HEALTHCHECKS_OFF.
func (k *Kong) healthWord(up, t entity) string {
	host, _, _ := net.SplitHostPort(t["target"].(string))
	switch {
	case !resolvable(host):
		return "DNS_ERROR"
	case !checksHealth(up):
		return "HEALTHCHECKS_OFF"
	case k.healthOf(t).unhealthy:
		return "UNHEALTHY"
	default:
		return "HEALTHY"
	}
}

// targetDetail describes a target as the balancer sees it; the balancer's own view
// says healthy where the target's says a word.
func (k *Kong) targetDetail(up, t entity, inBalancer bool) entity {
	host, portText, _ := net.SplitHostPort(t["target"].(string))
	port, _ := strconv.Atoi(portText)
	weight := t["weight"].(float64)
	detail := entity{"host": host, "port": port, "nodeWeight": weight}
	if !resolvable(host) {
		detail["dns"], detail["addresses"] = dnsError, entity{}
		detail["weight"] = weights(0, 0)
		return detail
	}
	healthy := !k.healthOf(t).unhealthy
	address := entity{"ip": ipOf(host), "port": port, "weight": weight}
	if inBalancer {
		address["healthy"] = healthy
	} else {
		address["health"] = k.healthWord(up, t)
	}
	available := weight
	if !healthy {
		available = 0
	}
	detail["dns"], detail["addresses"], detail["weight"] = "A", []entity{address}, weights(weight, available)
	return detail
}

func ipOf(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}

func weights(total, available float64) entity {
	return entity{"total": total, "available": available, "unavailable": total - available}
}

func (k *Kong) balancerHealth(up entity, targets []entity) entity {
	var hosts []entity
	var total, available float64
	for _, t := range slices.Backward(targets) {
		d := k.targetDetail(up, t, true)
		hosts = append(hosts, d)
		total += d["weight"].(entity)["total"].(float64)
		available += d["weight"].(entity)["available"].(float64)
	}
	word, health := "UNHEALTHY", "HEALTHCHECKS_OFF"
	if available > 0 {
		word = "HEALTHY"
	}
	if checksHealth(up) {
		health = word
	}
	details := entity{"hosts": hosts, "weight": weights(total, available), "healthy": available > 0}
	if hosts == nil {
		details["hosts"] = entity{}
	}
	return entity{"id": up["id"], "health": health, "balancer_health": word, "details": details}
}

// observe takes the outcome of a try for the passive health checks. code is the
// answer's status; 0 stands for no connection, -1 for a timeout.
func (k *Kong) observe(up, t entity, code int) {
	if up == nil || !checksHealth(up) {
		return
	}
	h := k.healthOf(t)
	limit := func(name string) int {
		n, _ := lookup(up, "healthchecks.passive."+name)
		f, _ := n.(float64)
		return int(f)
	}
	in := func(name string) bool {
		list, _ := lookup(up, "healthchecks.passive."+name)
		codes, _ := list.([]any)
		return slices.Contains(codes, any(float64(code)))
	}
	count := func(n *int, name string) {
		*n++
		if l := limit(name); l > 0 && *n >= l {
			h.unhealthy = true
		}
		h.successes = 0
	}
	switch {
	case code == 0:
		count(&h.tcpFailures, "unhealthy.tcp_failures")
	case code < 0:
		count(&h.timeouts, "unhealthy.timeouts")
	case in("unhealthy.http_statuses"):
		count(&h.httpFailures, "unhealthy.http_failures")
	case in("healthy.http_statuses"):
		h.successes++
		h.tcpFailures, h.timeouts, h.httpFailures = 0, 0, 0
		if l := limit("healthy.successes"); l > 0 && h.successes >= l {
			h.unhealthy = false
		}
	}
}

// probeTimeout is how long Probe waits for a connection.
const probeTimeout = time.Second

// Probe runs the active health checks of all upstreams once: a connection to each
// target of an upstream that has them on. The stand-in does not run them by itself.
func (k *Kong) Probe(ctx context.Context) {
	dialer := net.Dialer{Timeout: probeTimeout}
	k.mu.Lock()
	var due []entity
	for _, t := range k.db.list("targets", nil) {
		up := k.db.tables["upstreams"][refID(t, "upstream")]
		if n, _ := lookup(up, "healthchecks.active.unhealthy.interval"); n != nil && n.(float64) > 0 {
			due = append(due, t)
		}
	}
	k.mu.Unlock()
	for _, t := range due {
		conn, err := dialer.DialContext(ctx, "tcp", t["target"].(string))
		if err == nil {
			_ = conn.Close() // only its opening counted
		}
		k.mu.Lock()
		k.healthOf(t).unhealthy = err != nil
		k.mu.Unlock()
	}
}
