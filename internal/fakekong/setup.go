package fakekong

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

// Setup declares what a gateway holds, in the words of decK files.
type Setup struct {
	Upstreams []Upstream `json:"upstreams,omitempty"`
	Services  []Service  `json:"services,omitempty"`
	Routes    []Route    `json:"routes,omitempty"` // routes of no service
	Consumers []Consumer `json:"consumers,omitempty"`
	Plugins   []Plugin   `json:"plugins,omitempty"` // global ones
}

// Upstream is a load balancer over targets. Healthchecks is as in the Admin API.
type Upstream struct {
	Name         string         `json:"name"`
	Tags         []string       `json:"tags,omitempty"`
	Slots        int            `json:"slots,omitempty"`
	Healthchecks map[string]any `json:"healthchecks,omitempty"`
	Targets      []Target       `json:"-"`
}

// Target is one address of an upstream.
type Target struct {
	Target string   `json:"target"`
	Weight int      `json:"weight"`
	Tags   []string `json:"tags,omitempty"`
}

// Service is an upstream service. Either URL or Host is set; a host that is the
// name of an upstream is balanced over its targets. Timeouts are in milliseconds;
// nil fields take Kong's defaults.
type Service struct {
	Name           string   `json:"name,omitempty"`
	URL            string   `json:"url,omitempty"`
	Host           string   `json:"host,omitempty"`
	Port           *int     `json:"port,omitempty"`
	Path           *string  `json:"path,omitempty"`
	Retries        *int     `json:"retries,omitempty"`
	ConnectTimeout *int     `json:"connect_timeout,omitempty"`
	ReadTimeout    *int     `json:"read_timeout,omitempty"`
	WriteTimeout   *int     `json:"write_timeout,omitempty"`
	Tags           []string `json:"tags,omitempty"`
	Routes         []Route  `json:"-"`
	Plugins        []Plugin `json:"-"`
}

// Route says which requests go to the service.
type Route struct {
	Name      string              `json:"name,omitempty"`
	Paths     []string            `json:"paths,omitempty"`
	Hosts     []string            `json:"hosts,omitempty"`
	Methods   []string            `json:"methods,omitempty"`
	Headers   map[string][]string `json:"headers,omitempty"`
	StripPath *bool               `json:"strip_path,omitempty"`
	Tags      []string            `json:"tags,omitempty"`
	Plugins   []Plugin            `json:"-"`
}

// Consumer is a client that a plugin can be scoped to. Requests are the
// consumer's when they carry its Key as the apikey header or parameter and a
// key-auth plugin is in their way.
type Consumer struct {
	Username string   `json:"username,omitempty"`
	CustomID string   `json:"custom_id,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Key      string   `json:"-"`
	Plugins  []Plugin `json:"-"`
}

// Plugin configures a plugin in the scope it is declared in.
type Plugin struct {
	Name   string         `json:"name"`
	Config map[string]any `json:"config,omitempty"`
	Tags   []string       `json:"tags,omitempty"`
}

// Load adds what s declares, in force at once. What the Admin API would refuse is
// an error that holds its answer.
func (k *Kong) Load(s Setup) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.loading = true
	defer func() { k.loading = false }()
	if err := k.load(s); err != nil {
		return err
	}
	k.views = []*view{k.db.view(k.started, true)}
	return nil
}

func (k *Kong) load(s Setup) error {
	for _, u := range s.Upstreams {
		if _, err := k.declare("upstreams", u, nil); err != nil {
			return err
		}
		for _, t := range u.Targets {
			if _, err := k.declare("targets", t, entity{"upstream": entity{"name": u.Name}}); err != nil {
				return err
			}
		}
	}
	for _, c := range s.Consumers {
		if err := k.loadConsumer(c); err != nil {
			return err
		}
	}
	for _, svc := range s.Services {
		if err := k.loadService(svc); err != nil {
			return err
		}
	}
	for _, r := range s.Routes {
		if err := k.loadRoute(r, nil); err != nil {
			return err
		}
	}
	return k.loadPlugins(s.Plugins, nil)
}

func (k *Kong) loadConsumer(c Consumer) error {
	e, err := k.declare("consumers", c, nil)
	if err != nil {
		return err
	}
	ref := entity{"consumer": entity{"id": e["id"]}}
	if c.Key != "" {
		if _, err := k.declare("keyauth_credentials", map[string]string{"key": c.Key}, ref); err != nil {
			return err
		}
	}
	return k.loadPlugins(c.Plugins, ref)
}

func (k *Kong) loadService(s Service) error {
	e, err := k.declare("services", s, nil)
	if err != nil {
		return err
	}
	ref := entity{"service": entity{"id": e["id"]}}
	for _, r := range s.Routes {
		if err := k.loadRoute(r, ref); err != nil {
			return err
		}
	}
	return k.loadPlugins(s.Plugins, ref)
}

func (k *Kong) loadRoute(r Route, service entity) error {
	e, err := k.declare("routes", r, service)
	if err != nil {
		return err
	}
	return k.loadPlugins(r.Plugins, entity{"route": entity{"id": e["id"]}})
}

func (k *Kong) loadPlugins(plugins []Plugin, scope entity) error {
	for _, p := range plugins {
		if _, err := k.declare("plugins", p, scope); err != nil {
			return err
		}
	}
	return nil
}

// declare inserts v, with the fields of more, as a POST would.
func (k *Kong) declare(table string, v any, more entity) (entity, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var e entity
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	maps.Copy(e, more)
	saved, refused := k.insert(table, e)
	if refused != nil {
		return nil, fmt.Errorf("%s %s: %s: %s", table, b, http.StatusText(refused.status), refused.message)
	}
	return saved, nil
}
