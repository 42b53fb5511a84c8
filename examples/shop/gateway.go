package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// instance is where one instance of a service is, as Kong sees it, and the tag by
// which the rules know it.
type instance struct {
	service, address, version string
	weight                    int // when it is new to Kong
}

// gateway declares the shop at Kong through its Admin API. Everything is put by its
// name, so that it may run again at any time: what is right stays as it is, and so do
// the weights of targets, which are the guard's and the pipelines' to move.
type gateway struct {
	Admin     string
	Instances []instance
	LogTo     string // URL of the guard's http-log source
	ArchiveTo string // host:port that takes the log as lines over TCP; "" for none
	TracesTo  string // URL that takes traces by OTLP over HTTP; "" for none
	Delay     float64
	client    *http.Client
}

// newGateway is the verb that declares the shop at Kong.
func newGateway(env environment, logger *slog.Logger) *cobra.Command {
	g := gateway{client: &http.Client{}}
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "gateway", Short: "Declare the shop at Kong: services, routes, targets, plugins; may run again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			if err := g.await(ctx); err != nil {
				return err
			}
			g.Instances = []instance{
				{"orders", "orders-v1:8080", "v1", 100}, {"orders", "orders-v2:8080", "v2", 0},
				{"payments", "payments:8080", "v1", 100}, {"inventory", "inventory:8080", "v1", 100}, {"recommendations", "recommendations:8080", "v1", 100},
			}
			if err := g.declare(ctx); err != nil {
				return err
			}
			logger.Info("the shop is declared", "kong", g.Admin)
			return nil
		},
	}
	cmd.Flags().StringVar(&g.Admin, "kong", env.or("KONG_ADMIN_URL", "http://127.0.0.1:8001"), "`URL` of Kong's Admin API")
	cmd.Flags().StringVar(&g.LogTo, "log-to", env.or("SHOP_LOG_TO", "http://127.0.0.1:8081/ingest/kong"), "`URL` of the guard's http-log source")
	cmd.Flags().StringVar(&g.ArchiveTo, "archive-to", env.or("SHOP_ARCHIVE_TO", ""), "`HOST:PORT` of Logstash's TCP input")
	cmd.Flags().StringVar(&g.TracesTo, "traces-to", env.or("OTEL_EXPORTER_OTLP_ENDPOINT", ""), "`URL` that takes traces by OTLP over HTTP")
	cmd.Flags().Float64Var(&g.Delay, "delay", 0.5, "`SECONDS` that Kong waits to fill a batch of its log")
	cmd.Flags().DurationVar(&wait, "wait", 2*time.Minute, "how much `TIME` Kong has to come up")
	return cmd
}

// await returns when the Admin API answers and reaches its database.
func (g *gateway) await(ctx context.Context) error {
	var last error
	for {
		var status struct {
			Database struct {
				Reachable bool `json:"reachable"`
			} `json:"database"`
		}
		_, err := call(ctx, g.client, http.MethodGet, g.Admin+"/status", nil, &status)
		switch {
		case err == nil && status.Database.Reachable:
			return nil
		case err == nil:
			last = errors.New("its database cannot be reached")
		case ctx.Err() == nil || last == nil:
			last = err
		}
		if pause(ctx, time.Second) != nil {
			return fmt.Errorf("waited for Kong at %s: %w", g.Admin, last)
		}
	}
}

// declare puts everything in its place.
func (g *gateway) declare(ctx context.Context) error {
	for _, name := range services() {
		if err := g.put(ctx, "/upstreams/"+name, map[string]any{"name": name, "tags": []string{"shop"}}); err != nil {
			return err
		}
		if err := g.targets(ctx, name); err != nil {
			return err
		}
		// Failed requests are not tried again: what customers see is what the service did.
		service := map[string]any{"name": name, "host": name, "retries": 0, "tags": []string{"shop"}}
		if err := g.put(ctx, "/services/"+name, service); err != nil {
			return err
		}
	}
	for _, r := range routes() {
		if err := g.put(ctx, "/routes/"+r["name"].(string), r); err != nil {
			return err
		}
	}
	for id, p := range g.plugins() {
		if err := g.put(ctx, "/plugins/"+id, p); err != nil {
			return err
		}
	}
	return nil
}

// routes are the shop's. Only the path of the service itself leads to it, so that what
// operators do below /-/ stays inside.
func routes() []map[string]any {
	route := func(name, service string, methods ...string) map[string]any {
		r := map[string]any{
			"name": name, "service": map[string]any{"name": service}, "paths": []string{"/" + service}, "strip_path": false, "tags": []string{"shop"},
		}
		if len(methods) > 0 {
			r["methods"] = methods
		}
		return r
	}
	return []map[string]any{
		route("orders-list", "orders", http.MethodGet, http.MethodHead), route("orders-place", "orders", http.MethodPost),
		route("payments", "payments"), route("inventory", "inventory"), route("recommendations", "recommendations"),
	}
}

// targets adds the instances of a service that Kong does not know yet.
func (g *gateway) targets(ctx context.Context, upstream string) error {
	known, err := g.known(ctx, upstream)
	if err != nil {
		return err
	}
	for _, i := range g.Instances {
		if i.service != upstream || known[i.address] {
			continue
		}
		target := map[string]any{"target": i.address, "weight": i.weight, "tags": []string{"version:" + i.version}}
		_, err := call(ctx, g.client, http.MethodPost, g.Admin+"/upstreams/"+upstream+"/targets", target, nil)
		if e, ok := errors.AsType[statusError](err); err != nil && (!ok || e.status != http.StatusConflict) { // a conflict: somebody else was faster
			return err
		}
	}
	return nil
}

func (g *gateway) known(ctx context.Context, upstream string) (map[string]bool, error) {
	var list struct {
		Data []struct {
			Target string `json:"target"`
		} `json:"data"`
	}
	if _, err := call(ctx, g.client, http.MethodGet, g.Admin+"/upstreams/"+upstream+"/targets?size=1000", nil, &list); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, t := range list.Data {
		known[t.Target] = true
	}
	return known, nil
}

// plugins are the global ones, by ids of their own, so that a second run finds those of
// the first.
func (g *gateway) plugins() map[string]map[string]any {
	plugin := func(name string, config map[string]any) map[string]any {
		return map[string]any{"name": name, "config": config, "tags": []string{"shop"}}
	}
	all := map[string]map[string]any{
		"5a0b0000-0000-4000-8000-000000000001": plugin("http-log", map[string]any{
			"http_endpoint": g.LogTo,
			"queue":         map[string]any{"max_batch_size": 100, "max_coalescing_delay": g.Delay, "max_entries": 100_000},
		}),
		"5a0b0000-0000-4000-8000-000000000002": plugin("prometheus", map[string]any{
			"status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true, "upstream_health_metrics": true,
		}),
	}
	if g.TracesTo != "" {
		all["5a0b0000-0000-4000-8000-000000000003"] = plugin("opentelemetry", map[string]any{
			"traces_endpoint": g.TracesTo + "/v1/traces", "resource_attributes": map[string]string{"service.name": "kong"},
		})
	}
	if host, port, ok := hostPort(g.ArchiveTo); ok {
		all["5a0b0000-0000-4000-8000-000000000004"] = plugin("tcp-log", map[string]any{"host": host, "port": port})
	}
	return all
}

// hostPort splits "logstash:5170".
func hostPort(address string) (host string, port int, ok bool) {
	u, err := url.Parse("tcp://" + address)
	if err != nil || u.Hostname() == "" {
		return "", 0, false
	}
	port, err = strconv.Atoi(u.Port())
	return u.Hostname(), port, err == nil
}

func (g *gateway) put(ctx context.Context, path string, body map[string]any) error {
	_, err := call(ctx, g.client, http.MethodPut, g.Admin+path, body, nil)
	return err
}
