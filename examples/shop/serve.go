package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// services returns the services of the shop. orders needs inventory and payments.
func services() []string { return []string{"orders", "payments", "inventory", "recommendations"} }

// newServe is the verb that runs one instance.
func newServe(env environment, logger *slog.Logger) *cobra.Command {
	var listen, version, endpoint string
	var peers []string
	cmd := &cobra.Command{
		Use:     "serve SERVICE",
		Short:   "Run one instance of a service: orders, payments, inventory, recommendations",
		Example: "  shop serve orders --version v2 --peer inventory=http://inventory:8080 --peer payments=http://payments:8080",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(services(), args[0]) {
				return fmt.Errorf("there is no service %q; the shop has %s", args[0], strings.Join(services(), ", "))
			}
			urls, err := readPeers(peers)
			if err != nil {
				return err
			}
			return serveOne(cmd.Context(), args[0], version, listen, endpoint, urls, logger)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", ":8080", "the `ADDRESS` to listen on")
	cmd.Flags().StringVar(&version, "version", env.or("SHOP_VERSION", "v1"), "the `VERSION` it runs; one that ends in -broken or -slow is")
	cmd.Flags().StringArrayVar(&peers, "peer", nil, "`NAME=URL` of a service that it calls (repeatable)")
	cmd.Flags().StringVar(&endpoint, "traces", env.or("OTEL_EXPORTER_OTLP_ENDPOINT", ""), "`URL` that takes traces by OTLP over HTTP")
	return cmd
}

func readPeers(flags []string) (map[string]string, error) {
	urls := map[string]string{}
	for _, f := range flags {
		name, url, ok := strings.Cut(f, "=")
		if !ok || !slices.Contains(services(), name) || url == "" {
			return nil, fmt.Errorf("--peer %q: write it as inventory=http://inventory:8080", f)
		}
		urls[name] = url
	}
	return urls, nil
}

// serveOne runs an instance until ctx ends.
func serveOne(ctx context.Context, name, version, listen, endpoint string, peers map[string]string, logger *slog.Logger) (err error) {
	traces, err := newTracing(ctx, endpoint, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traces.close(ctx)) }()
	logger = logger.With("service", name)
	s, err := newService(name, version, peers, traces.client(), logger)
	if err != nil {
		return err
	}
	return listenAndServe(ctx, listen, s.handler(traces.wrap), logger)
}

// newHealthcheck is the verb for containers, which have no shell here.
func newHealthcheck() *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Ask an instance whether it serves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := call(cmd.Context(), http.DefaultClient, http.MethodGet, url+"/-/healthy", nil, nil)
			return err
		},
	}
	cmd.Flags().StringVar(&url, "url", "http://127.0.0.1:8080", "`URL` of the instance")
	return cmd
}

// newFaults is the verb that breaks an instance, and mends it.
func newFaults() *cobra.Command {
	var url, errorShare, slowShare string
	var f faults
	cmd := &cobra.Command{
		Use: "faults", Short: "Make an instance fail or slow; without a share, mend it", Args: cobra.NoArgs,
		Example: "  docker compose exec orders-v1 /shop faults --errors 50%\n  docker compose exec orders-v1 /shop faults",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.Errors, err = share("errors", errorShare); err != nil {
				return err
			}
			if f.Slow, err = share("slow", slowShare); err != nil {
				return err
			}
			_, err = call(cmd.Context(), http.DefaultClient, http.MethodPut, url+"/-/faults", f, nil)
			return err
		},
	}
	cmd.Flags().StringVar(&url, "url", "http://127.0.0.1:8080", "`URL` of the instance")
	cmd.Flags().StringVar(&errorShare, "errors", "0%", "`SHARE` of requests that fail")
	cmd.Flags().StringVar(&slowShare, "slow", "0%", "`SHARE` of requests that are slow")
	cmd.Flags().IntVar(&f.DelayMillis, "delay-millis", 400, "how many `MILLISECONDS` slow ones take longer")
	return cmd
}

// share reads "30%" as 0.3.
func share(flag, text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(v >= 0 && v <= 100) {
		return 0, fmt.Errorf("--%s %q: write a share such as 30%%", flag, text)
	}
	return v / 100, nil
}
