// Command shedsim shows what an adaptive limit is worth: the shipped store, burn-rate
// judge, engine, law and executor against a simulated Kong, service and clients, in
// virtual time, beside a fixed limit and none. It prints the table of docs/adaptive.md.
// The same seed prints the same table.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shedsim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("shedsim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	seed := flags.Uint64("seed", 1, "seed of the first run")
	runs := flags.Int("runs", 20, "runs of each scenario with an adaptive limit; without one there is one")
	only := flags.String("only", "", "only this scenario")
	how := flags.String("limit", "", "only this kind of limit")
	trace := flags.Bool("trace", false, "print each second of one run with an adaptive limit, and what the guard did, instead")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *trace {
		return printTrace(ctx, stdout, *only, *seed)
	}
	return printTable(ctx, stdout, *only, *how, *seed, *runs)
}
