package fakekong

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// access runs the plugins that may answer in the place of the upstream, in the
// order of their priorities, and reports whether one did.
func (x *exchange) access() bool {
	for _, p := range []struct {
		name string
		run  func(*exchange, entity, string) bool
	}{
		{"key-auth", (*exchange).keyAuth},
		{"ip-restriction", (*exchange).ipRestriction},
		{"request-size-limiting", (*exchange).sizeLimit},
		{"rate-limiting", (*exchange).rateLimit},
		{"request-termination", (*exchange).terminate},
	} {
		plugin := x.view.plugin(p.name, x.route, x.service, x.consumer)
		if plugin == nil {
			continue
		}
		if p.run(x, plugin["config"].(entity), plugin["id"].(string)) {
			return true
		}
	}
	return false
}

// keyAuth finds the consumer by the key that the request carries.
func (x *exchange) keyAuth(config entity, _ string) bool {
	names := stringsOf(config["key_names"])
	if len(names) == 0 {
		names = []string{"apikey"}
	}
	key := ""
	for _, name := range names {
		if v := x.r.Header.Get(name); v != "" {
			key = v
		} else if v := x.r.URL.Query().Get(name); v != "" {
			key = v
		}
	}
	text := "No API key found in request"
	if key != "" {
		text = "Unauthorized"
		for _, c := range x.view.tables["keyauth_credentials"] {
			if c["key"] == key {
				x.credential, x.consumer = c, x.view.tables["consumers"][refID(c, "consumer")]
				return false
			}
		}
	}
	x.headers.Set("Www-Authenticate", "Key")
	x.exit(http.StatusUnauthorized, x.message(text), "")
	return true
}

func (x *exchange) ipRestriction(config entity, _ string) bool {
	ip, err := netip.ParseAddr(x.clientIP())
	if err != nil {
		return false
	}
	in := func(key string) bool {
		return slices.ContainsFunc(stringsOf(config[key]), func(s string) bool {
			if prefix, err := netip.ParsePrefix(s); err == nil {
				return prefix.Contains(ip)
			}
			return s == ip.String()
		})
	}
	if !in("deny") && (config["allow"] == nil || in("allow")) {
		return false
	}
	status, text := http.StatusForbidden, "IP address not allowed: "+ip.String()
	if n, ok := config["status"].(float64); ok {
		status = int(n)
	}
	if s, ok := config["message"].(string); ok {
		text = s
	}
	x.exit(status, x.message(text), "")
	return true
}

func (x *exchange) sizeLimit(config entity, _ string) bool {
	allowed, _ := config["allowed_payload_size"].(float64)
	unit := map[string]float64{"bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20}[config["size_unit"].(string)]
	if float64(len(x.body)) <= allowed*unit {
		return false
	}
	x.exit(http.StatusRequestEntityTooLarge, x.message("Request size limit exceeded"), "")
	return true
}

// limitCounter counts the requests of one identifier in one window.
type limitCounter struct {
	window int64 // its start, seconds since the epoch
	count  float64
}

// periodSeconds are the lengths of rate-limiting's windows, which begin at whole
// multiples since the epoch.
var periodSeconds = map[string]int64{"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 2592000, "year": 31536000}

// rateLimit counts in fixed windows, as the local policy does.
func (x *exchange) rateLimit(config entity, id string) bool {
	x.k.mu.Lock()
	verdict := x.k.countRates(config, id+"|"+x.identifier(config), x.started)
	x.k.mu.Unlock()
	hide := config["hide_client_headers"] == true
	if !hide {
		for name, v := range verdict.headers {
			x.headers.Set(name, fmt.Sprint(v))
		}
	}
	if !verdict.over {
		return false
	}
	if !hide {
		x.headers.Set("Retry-After", fmt.Sprint(verdict.headers["RateLimit-Reset"]))
	}
	status, text := http.StatusTooManyRequests, "API rate limit exceeded"
	if n, ok := config["error_code"].(float64); ok {
		status = int(n)
	}
	if s, ok := config["error_message"].(string); ok {
		text = s
	}
	x.exit(status, x.message(text), "")
	return true
}

// rateVerdict is what the counters say to one request.
type rateVerdict struct {
	over    bool
	headers map[string]int64
}

func (k *Kong) countRates(config entity, key string, at time.Time) rateVerdict {
	v := rateVerdict{headers: map[string]int64{}}
	var counters []*limitCounter
	tightest := math.Inf(1)
	for _, period := range periods {
		limit, set := config[period].(float64)
		if !set {
			continue
		}
		length := periodSeconds[period]
		window := at.Unix() / length * length
		c := k.limits[key+"|"+period]
		if c == nil || c.window != window {
			c = &limitCounter{window: window}
			k.limits[key+"|"+period] = c
		}
		counters = append(counters, c)
		if c.count+1 > limit {
			v.over = true
		}
		remaining := max(limit-c.count-1, 0)
		title := strings.ToUpper(period[:1]) + period[1:]
		v.headers["X-RateLimit-Limit-"+title], v.headers["X-RateLimit-Remaining-"+title] = int64(limit), int64(remaining)
		if remaining < tightest {
			tightest = remaining
			v.headers["RateLimit-Limit"], v.headers["RateLimit-Remaining"] = int64(limit), int64(remaining)
			v.headers["RateLimit-Reset"] = max(window+length-at.Unix(), 1)
		}
	}
	if !v.over {
		for _, c := range counters {
			c.count++
		}
	}
	return v
}

// identifier is whose requests are counted together; without what limit_by names,
// the client's address.
func (x *exchange) identifier(config entity) string {
	switch config["limit_by"] {
	case "service":
		if x.service != nil {
			return x.service["id"].(string)
		}
	case "consumer", "credential":
		if x.consumer != nil {
			return x.consumer["id"].(string)
		}
	case "header":
		name, _ := config["header_name"].(string)
		if v := x.r.Header.Get(name); v != "" {
			return v
		}
	case "path":
		if x.r.URL.Path == config["path"] {
			return x.r.URL.Path
		}
	}
	return x.clientIP()
}

// defaultReasons are request-termination's messages where none is configured.
var defaultReasons = map[int]string{401: "Unauthorized", 404: "Not found", 405: "Method not allowed", 500: "An unexpected error occurred", 502: "Bad Gateway", 503: "Service unavailable"}

func (x *exchange) terminate(config entity, _ string) bool {
	if trigger, ok := config["trigger"].(string); ok && x.r.Header.Get(trigger) == "" && !x.r.URL.Query().Has(trigger) {
		return false
	}
	status := int(config["status_code"].(float64))
	if body, ok := config["body"].(string); ok {
		contentType, _ := config["content_type"].(string)
		x.exit(status, body, contentType)
		return true
	}
	text, ok := config["message"].(string)
	if !ok {
		text = defaultReasons[status]
	}
	x.exit(status, string(appendJSON(nil, entity{"message": text})), jsonType)
	return true
}
