package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Gateway is a Kong and the shop that a run has there, seen by its Admin API alone.
type Gateway struct {
	admin  string
	prefix string // of all names, so that a run meets nobody else's
	client *http.Client

	made []string          // paths of what was made, the oldest first
	ids  map[string]string // by kind and name: "service orders"
	own  string            // path of a plugin that is the user's own

	dbless bool
}

// Entity is one thing of Kong's, as the Admin API shows it.
type Entity map[string]any

// Snapshot is what a gateway holds, by the paths in the Admin API.
type Snapshot map[string]Entity

// DBLess reports whether the gateway has no database, so that it is changed by way of its whole
// configuration.
func (g *Gateway) DBLess() bool { return g.dbless }

// Open makes the shop in a gateway: an upstream orders with two versions, the services
// orders, queue, recommendations and search with a route each, and a plugin of the
// user's on the route of orders.
func Open(ctx context.Context, admin, prefix string) (*Gateway, error) {
	g := &Gateway{admin: strings.TrimSuffix(admin, "/"), prefix: prefix, client: &http.Client{Timeout: 30 * time.Second}, ids: map[string]string{}}
	root, err := g.Ask(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return g, err
	}
	configuration, _ := root["configuration"].(map[string]any)
	g.dbless = configuration["database"] == "off"
	if err := g.make(ctx, "/upstreams", "upstream orders", Entity{"name": prefix + "orders"}); err != nil {
		return g, err
	}
	for _, version := range []string{"v1", "v2"} {
		target := Entity{"target": Targets()[version], "weight": Weight, "tags": []string{"version:" + version}}
		if err := g.make(ctx, g.targetsPath(), "target "+version, target); err != nil {
			return g, err
		}
	}
	for _, service := range services() {
		if err := g.make(ctx, "/services", "service "+service, Entity{"name": prefix + service, "host": prefix + service, "port": 8080}); err != nil {
			return g, err
		}
		route := Entity{"name": prefix + service + "-route", "paths": []string{"/" + prefix + service}}
		if err := g.make(ctx, "/services/"+g.ids["service "+service]+"/routes", "route "+service, route); err != nil {
			return g, err
		}
	}
	err = g.make(ctx, "/routes/"+g.ids["route orders"]+"/plugins", "own", Entity{
		"name": "rate-limiting", "tags": []string{"team:checkout"},
		"config": Entity{"minute": 6000, "policy": "local", "limit_by": "ip", "error_message": "über <b>100/min</b> & \"mehr\""},
	})
	g.own = "/plugins/" + g.ids["own"]
	return g, err
}

// Weight is what each target of orders has when nobody has changed it.
const Weight = 100

// Targets returns the addresses of orders' targets by their versions.
func Targets() map[string]string {
	return map[string]string{"v1": "10.0.0.1:8080", "v2": "10.0.0.2:8080"}
}

func services() []string { return []string{"orders", "queue", "recommendations", "search"} }

// Name returns what something of the shop is called in this gateway.
func (g *Gateway) Name(s string) string { return g.prefix + s }

// make posts an entity and remembers how to find it.
func (g *Gateway) make(ctx context.Context, path, name string, e Entity) error {
	made, err := g.Ask(ctx, http.MethodPost, path, e)
	if err != nil {
		return err
	}
	id, _ := made["id"].(string)
	g.ids[name] = id
	if table := path[strings.LastIndex(path, "/"):]; table != "/targets" { // which go with their upstream
		g.made = append(g.made, table+"/"+id)
	}
	return nil
}

// Remove takes away what Open has made and what is left of the guard's, so that a
// gateway that outlives the test is as it was before.
func (g *Gateway) Remove(ctx context.Context) error {
	s, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	for path, e := range s {
		if strings.HasPrefix(path, "/plugins/") && (actionOf(e) != "" || slices.Contains(tagsOf(e), foreignTag)) {
			if _, err := g.Ask(ctx, http.MethodDelete, path, nil); err != nil {
				return err
			}
		}
	}
	// Somebody may have led a route to another service, which cannot go before it.
	for _, routes := range []bool{true, false} {
		for _, path := range slices.Backward(g.made) {
			if strings.HasPrefix(path, "/routes/") != routes {
				continue
			}
			if _, err := g.Ask(ctx, http.MethodDelete, path, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Ask asks the Admin API, which must do what it is asked.
func (g *Gateway) Ask(ctx context.Context, method, path string, body any) (Entity, error) {
	if g.dbless && method != http.MethodGet {
		return g.declare(ctx, method, path, body)
	}
	return g.send(ctx, method, path, body)
}

func (g *Gateway) send(ctx context.Context, method, path string, body any) (Entity, error) {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.admin+path, sent)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if len(text) == 0 {
		return nil, nil
	}
	var e Entity
	return e, json.Unmarshal(text, &e)
}

// Snapshot reads everything that a guard could change: plugins, services, routes,
// upstreams, and the targets of the shop's upstream.
func (g *Gateway) Snapshot(ctx context.Context) (Snapshot, error) {
	s := Snapshot{}
	for _, table := range []string{"/plugins", "/services", "/routes", "/upstreams"} {
		if err := g.list(ctx, table, table, s); err != nil {
			return nil, err
		}
	}
	targets := g.targetsPath()
	return s, g.list(ctx, targets, targets, s)
}

// WeightOf returns the weight of a version of orders.
func (g *Gateway) WeightOf(ctx context.Context, version string) (float64, error) {
	s := Snapshot{}
	if err := g.list(ctx, g.targetsPath(), g.targetsPath(), s); err != nil {
		return 0, err
	}
	w, ok := s[g.targetsPath()+"/"+g.ids["target "+version]]["weight"].(float64)
	if !ok {
		return 0, fmt.Errorf("the gateway lists no weight of %s", version)
	}
	return w, nil
}

func (g *Gateway) targetsPath() string { return "/upstreams/" + g.ids["upstream orders"] + "/targets" }

// list adds all entities of a list, whatever its pages.
func (g *Gateway) list(ctx context.Context, path, under string, s Snapshot) error {
	offset := ""
	for {
		query := "?size=1000"
		if offset != "" {
			query += "&offset=" + url.QueryEscape(offset)
		}
		page, err := g.Ask(ctx, http.MethodGet, path+query, nil)
		if err != nil {
			return err
		}
		data, _ := page["data"].([]any) // an empty list may come as {}
		for _, d := range data {
			if e, ok := d.(map[string]any); ok {
				s[under+"/"+fmt.Sprint(e["id"])] = e
			}
		}
		next, _ := page["offset"].(string)
		if next == "" || next == offset {
			return nil
		}
		offset = next
	}
}

func tagsOf(e Entity) (tags []string) {
	list, _ := e["tags"].([]any)
	for _, t := range list {
		if s, ok := t.(string); ok {
			tags = append(tags, s)
		}
	}
	return tags
}

// actionTag is how the guard marks the plugins that it changes; docs/kong.md says so.
const actionTag = "gatewarden-action:"

// actionOf returns the id of the action that an entity's tags name, "" if none.
func actionOf(e Entity) string {
	for _, t := range tagsOf(e) {
		if id, ok := strings.CutPrefix(t, actionTag); ok {
			return id
		}
	}
	return ""
}
