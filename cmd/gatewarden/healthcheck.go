package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheck() *cobra.Command {
	var (
		live    bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Say whether a guard is ready: for containers without a shell",
		Long: `Asks the guard once whether it is ready: it has read its state and judges. Ends with
0 when it is and with 1 when it is not, or does not answer. A guard without Kong or
Jenkins is ready: it says what it misses in its status.`,
		Example: `  gatewarden healthcheck                  # HEALTHCHECK of a container
  gatewarden healthcheck --live           # the process serves, ready or not`,
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&live, "live", false, "ask only whether the process serves")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer: a `DURATION`")
	connect := addServer(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if timeout <= 0 {
			return usageError(cmd, "--timeout %s is no time to wait", timeout)
		}
		c, err := connect()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		path, state := "/-/ready", "ready"
		if live {
			path, state = "/-/healthy", "healthy"
		}
		var answer struct {
			Status string `json:"status"`
		}
		if err := c.send(ctx, http.MethodGet, path, nil, &answer); err != nil {
			return err
		}
		if answer.Status != state {
			return fmt.Errorf("%s says %q, and not that it is %s: is that a gatewarden?", c.shown(), answer.Status, state)
		}
		fmt.Fprintln(cmd.OutOrStdout(), answer.Status)
		return nil
	}
	return cmd
}
