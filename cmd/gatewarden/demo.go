package main

import (
	"errors"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/internal/demo"
)

func newDemo() *cobra.Command {
	var once, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story on this machine: a bad release is caught, rolled back, cleaned up",
		Long: `Starts a small shop with real HTTP traffic behind a stand-in for Kong, and the guard
beside it. A bad release gets half of the traffic; watch what happens. Nothing else
needs to be installed, nothing is left behind, and only loopback is used.`,
		Example: `  gatewarden demo           # stays up afterwards, to look around
  gatewarden demo --once    # ends with 0 if the whole story happened, in under a minute`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelError
			if verbose {
				level = slog.LevelInfo
			}
			p := paintFor(cmd.OutOrStdout())
			colours := map[string]string{"good": green, "bad": red, "note": cyan, "faint": faint}
			err := demo.Run(cmd.Context(), demo.Options{
				Out: cmd.OutOrStdout(), Once: once, API: demoAddress(cmd, once),
				Logger: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})),
				Paint:  func(kind, s string) string { return p.paint(colours[kind], s) },
			})
			switch interrupted := cmd.Context().Err() != nil; {
			case err == nil || !interrupted:
				return err
			case once:
				return errors.New("stopped before the story was over")
			default:
				return nil // whoever wanted to see no more has what they wanted
			}
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end when the story is over")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the guard's own log as well")
	return cmd
}

// demoAddress is where the demo's API listens: where people expect it, unless that
// is taken or nobody will look.
func demoAddress(cmd *cobra.Command, once bool) string {
	const anyPort = "127.0.0.1:0"
	if once {
		return anyPort
	}
	var lc net.ListenConfig
	usual := strings.TrimPrefix(defaultServer, "http://")
	l, err := lc.Listen(cmd.Context(), "tcp", usual)
	if err != nil {
		return anyPort
	}
	l.Close()
	return usual
}
