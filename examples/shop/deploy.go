package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

// canaryShare is the per cent of orders that a canary gets.
const canaryShare = 20

// deployment is what the pipelines do to orders, which has two places to run in: one
// for the version that is in use and one for the next. Each order may be given twice.
type deployment struct {
	Kong           string // URL of the Admin API
	Stable, Next   string // URLs of the two instances
	StableT, NextT string // what Kong calls them: host:port
	Out            io.Writer
	client         *http.Client
}

// newDeploy is the verb for pipelines: deploy.sh and rollback.sh call it.
func newDeploy(env environment) *cobra.Command {
	d := deployment{client: &http.Client{}}
	cmd := &cobra.Command{Use: "deploy", Short: "Release orders: a canary beside the version in use, everywhere, or back"}
	flags := cmd.PersistentFlags()
	flags.StringVar(&d.Kong, "kong", env.or("KONG_ADMIN_URL", "http://127.0.0.1:8001"), "`URL` of Kong's Admin API")
	flags.StringVar(&d.StableT, "stable", env.or("SHOP_STABLE", "orders-v1:8080"), "`HOST:PORT` of the version in use")
	flags.StringVar(&d.NextT, "next", env.or("SHOP_NEXT", "orders-v2:8080"), "`HOST:PORT` of the next version")
	order := func(do func(*deployment, context.Context, string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			d.Stable, d.Next, d.Out = "http://"+d.StableT, "http://"+d.NextT, cmd.OutOrStdout()
			return do(&d, cmd.Context(), append(args, "")[0])
		}
	}
	cmd.AddCommand(
		&cobra.Command{Use: "canary VERSION", Short: "Start VERSION beside the one in use, for some of the customers", Args: cobra.ExactArgs(1), RunE: order((*deployment).canary)},
		&cobra.Command{Use: "everywhere VERSION", Short: "Make VERSION the one in use, for all customers", Args: cobra.ExactArgs(1), RunE: order((*deployment).everywhere)},
		&cobra.Command{Use: "back", Short: "All customers to the version in use, and no other one runs", Args: cobra.NoArgs, RunE: order((*deployment).back)},
	)
	return cmd
}

// canary starts a version beside the one in use and gives it its share.
func (d *deployment) canary(ctx context.Context, version string) error {
	if err := d.run(ctx, d.Next, version); err != nil {
		return err
	}
	return d.split(ctx, canaryShare)
}

// everywhere makes a version the one in use: it takes all traffic while the other place
// gets it too, and then gives it back.
func (d *deployment) everywhere(ctx context.Context, version string) error {
	if err := d.run(ctx, d.Next, version); err != nil {
		return err
	}
	if err := d.split(ctx, 100); err != nil {
		return err
	}
	if err := d.run(ctx, d.Stable, version); err != nil {
		return err
	}
	return d.split(ctx, 0)
}

// back takes the traffic from the next version and puts the one in use in its place.
func (d *deployment) back(ctx context.Context, _ string) error {
	if err := d.split(ctx, 0); err != nil {
		return err
	}
	var used release
	if _, err := call(ctx, d.client, http.MethodGet, d.Stable+"/-/release", nil, &used); err != nil {
		return err
	}
	return d.run(ctx, d.Next, used.Version)
}

// run puts a version in a place.
func (d *deployment) run(ctx context.Context, where, version string) error {
	if _, err := releaseOf(version); err != nil {
		return err
	}
	if _, err := call(ctx, d.client, http.MethodPut, where+"/-/release", map[string]string{"version": version}, nil); err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "%s runs orders %s\n", where, version)
	return nil
}

// split gives the next version a share of the customers, in per cent. The weight that
// grows is set first, so that there is a target at any time.
func (d *deployment) split(ctx context.Context, next int) error {
	weights := []struct {
		target string
		weight int
	}{{d.NextT, next}, {d.StableT, 100 - next}}
	if next == 0 {
		weights[0], weights[1] = weights[1], weights[0]
	}
	for _, w := range weights {
		to := d.Kong + "/upstreams/orders/targets/" + w.target
		if _, err := call(ctx, d.client, http.MethodPatch, to, map[string]int{"weight": w.weight}, nil); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.Out, "%s gets %d %% of the orders\n", d.NextT, next)
	return nil
}
