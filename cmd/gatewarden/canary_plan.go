package main

import (
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/api"
)

func newCanaryPlan(connect func() (*client, error)) *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:   "plan CANARY",
		Short: "Say before a rollout how long its run will take",
		Long: `Says how long a run of the canary takes at the traffic of the last minutes and at the
share that it has now, or begins with: until a healthy one passes, and until one that is
worse by so much fails. Medians, on a service whose failures are independent: an order
of magnitude to choose steps and deadlines by. A larger share or margins that tolerate
less make it quicker.`,
		Example: `  gatewarden canary plan orders`,
		Args:    between(1, 1, "the name of one CANARY"),
	}
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		var canary api.Canary
		if err := c.get(cmd.Context(), "/api/v1/canaries/"+url.PathEscape(args[0]), &canary); err != nil {
			return err
		}
		if canary.Plan == nil {
			return fmt.Errorf("the guard has no plan for the canary %s", canary.Name)
		}
		if output == outputJSON {
			return printJSON(cmd.OutOrStdout(), canary.Plan)
		}
		return printPlan(cmd.OutOrStdout(), &canary)
	}
	return cmd
}

func printPlan(w io.Writer, c *api.Canary) error {
	plan := c.Plan
	if plan.Rate == 0 {
		fmt.Fprintf(w, "%s has no traffic at the moment, so nothing can be planned. Ask again when it has.\n", c.Name)
		return nil
	}
	fmt.Fprintf(w, "%s has %s, of which %s fail. With %s of them for the canary:\n\n", c.Name, rate(plan.Rate), coarsePercent(plan.Errors), coarsePercent(plan.Share))
	p := paintFor(w)
	rows := [][]string{{"as good as the baseline", "pass", plan.ToPass.String(), inTime(p, plan.ToPass <= plan.Deadline)}}
	for _, r := range plan.Rows {
		rows = append(rows, []string{r.What, "fail", r.Time.String(), inTime(p, r.InTime)})
	}
	if err := table(w, []string{"A CANARY THAT IS", "COMES TO", "AFTER ABOUT", "BY THE DEADLINE OF " + plan.Deadline.String()}, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nMedians: half of the runs take longer. An order of magnitude, no promise.\n")
	return nil
}

func inTime(p painter, yes bool) string {
	if yes {
		return "yes"
	}
	return p.paint(yellow, "no")
}
