package main

import (
	"github.com/spf13/cobra"
)

func newCanary() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "List canaries and their runs, explain a run, plan one, decide one",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	connectOnly, authorize := addServer(cmd), addToken(cmd)
	connect := func() (*client, error) {
		c, err := connectOnly()
		if err != nil {
			return nil, err
		}
		return c, authorize(c)
	}
	cmd.AddCommand(newCanaryRuns(connect), newCanaryExplain(connect))
	for _, o := range runOrders() {
		cmd.AddCommand(newRunOrder(connect, o))
	}
	return cmd
}
