package main

import (
	"github.com/spf13/cobra"
)

func newCanary() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "List canaries and their runs, explain a run, plan one, decide one",
		Example: `  gatewarden canary list                               # every canary, and how it stands
  gatewarden canary plan orders                        # how long will the next run take?
  gatewarden canary explain orders                     # why did the newest run end so?
  gatewarden canary pass orders-20261122-021500-x7 --reason "the errors are the load test's"`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	connect := addServer(cmd)
	cmd.AddCommand(newCanaryList(connect), newCanaryShow(connect), newCanaryRuns(connect), newCanaryExplain(connect), newCanaryPlan(connect))
	for _, o := range runOrders() {
		cmd.AddCommand(newRunOrder(connect, o))
	}
	return cmd
}
