package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// environment looks a variable up, as os.LookupEnv does.
type environment func(name string) (string, bool)

// or returns the variable of a name, or what stands in when it is not set.
func (env environment) or(name, standIn string) string {
	if v, set := env(name); set && v != "" {
		return v
	}
	return standIn
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, env environment, stdout, stderr io.Writer) int {
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	root := &cobra.Command{
		Use:           "shop",
		Short:         "A small shop behind Kong, to try gatewarden on",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newServe(env, logger), newLoad(env, logger), newGateway(env, logger), newDeploy(env), newFaults(), newChat(), newHealthcheck(),
		newStory(env), newLocal(logger),
	)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "shop:", err)
		return 1
	}
	return 0
}
