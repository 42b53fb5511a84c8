// Command canarysim prints the table of `make canary-table`: the shipped canary judge
// (package analyzers/canary, fed request by request) over simulated rollouts, beside what
// an oracle could do and what today's tools do. The same flags print the same table.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden/analyzers/canary"
)

// settings are the command's parameters.
type settings struct {
	healthy, bad int // rollouts of each scenario
	minutes      int // length of a rollout
	seed         uint64
	workers      int
	only         string // keys of scenarios, by comma; empty for all
	ownOnly      bool   // leave the other judges out
	policy       canary.Policy
	scenarios    [2][]*scenario // healthy, bad
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "canarysim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := settings{policy: canary.DefaultPolicy()}
	flags := flag.NewFlagSet("canarysim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&c.healthy, "healthy", 1000, "rollouts of each scenario with a healthy canary")
	flags.IntVar(&c.bad, "bad", 300, "rollouts of each scenario with a bad canary")
	flags.IntVar(&c.minutes, "minutes", 30, "length of a rollout, and the deadline")
	flags.Uint64Var(&c.seed, "seed", 100, "seed")
	flags.IntVar(&c.workers, "workers", runtime.GOMAXPROCS(0), "rollouts at a time")
	flags.StringVar(&c.only, "only", "", "only these scenarios, by comma: "+strings.Join(keys(), " "))
	flags.BoolVar(&c.ownOnly, "own", false, "only the project's judge")
	picture := flags.String("svg", "", "write a picture of the evidence over time into this file instead of the table")
	hostile := flags.Bool("hostile", false, "what the table leaves out: other rates and splits, ties, late records, blips and more")
	flags.Float64Var(&c.policy.FalseAlarm, "false-alarm", c.policy.FalseAlarm, "the promised probability of a false rollback")
	flags.DurationVar(&c.policy.WarmUp, "warm-up", 0, "how long latencies do not count")
	flags.DurationVar(&c.policy.Delay, "delay", 0, "how long a second stays open; it adds to every delay")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c.scenarios = [2][]*scenario{healthyScenarios(), badScenarios()}
	if *hostile {
		c.scenarios = [2][]*scenario{hostileHealthy(), hostileBad()}
	}
	c.policy.Deadline = time.Duration(c.minutes) * time.Minute
	c.policy.MinDuration = min(c.policy.MinDuration, c.policy.Deadline)
	if err := c.policy.Validate(); err != nil {
		return err
	}
	if *picture != "" {
		return os.WriteFile(*picture, draw(c.policy, c.seed), 0o644)
	}
	return table(ctx, &c, stdout, stderr)
}

func keys() []string {
	var k []string
	for _, s := range slices.Concat(healthyScenarios(), badScenarios(), hostileHealthy(), hostileBad()) {
		k = append(k, s.key)
	}
	return k
}
