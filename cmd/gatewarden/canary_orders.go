package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/report"
)

// runOrder is something that a person may tell the guard to do with a run.
type runOrder struct {
	use, short, example string
	path                string              // behind that of the run
	state               gatewarden.RunState // of an override; "" for none
}

func runOrders() []runOrder {
	return []runOrder{
		{use: "cancel RUN", path: "/cancel", short: "End a run without an answer; weights that the guard moved go back",
			example: `  gatewarden canary cancel orders-20261122-021500-x7 --reason "wrong build"`},
		{use: "pass RUN", path: "/override", state: gatewarden.RunPass, short: "Decide in place of the evidence that the canary may go on",
			example: `  gatewarden canary pass orders-20261122-021500-x7 --by alice --reason "the errors are the load test's"`},
		{use: "fail RUN", path: "/override", state: gatewarden.RunFail, short: "Decide in place of the evidence that the canary is bad; it is rolled back",
			example: `  gatewarden canary fail orders-20261122-021500-x7 --by alice --reason "customers complain"`},
	}
}

// newRunOrder returns a command that gives an order in the name of a person.
func newRunOrder(connect func() (*client, error), o runOrder) *cobra.Command {
	var by, reason string
	output := outputText
	cmd := &cobra.Command{Use: o.use, Short: o.short, Example: o.example, Args: between(1, 1, "the id of one RUN; gatewarden canary runs lists them")}
	cmd.Flags().StringVar(&by, "by", whoami(), "`NAME` of who decides this, for the timeline ($GATEWARDEN_USER, else the user)")
	cmd.Flags().Lookup("by").DefValue = "" // the help is the same for everybody
	cmd.Flags().StringVar(&reason, "reason", "", "why, a `TEXT` for the timeline")
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if by == "" {
			return usageError(cmd, "say who decides this with --by NAME")
		}
		if o.state != "" && reason == "" {
			return usageError(cmd, "say why with --reason TEXT: it stands in the reports in place of the evidence")
		}
		c, err := connect()
		if err != nil {
			return err
		}
		run, err := giveOrder(cmd.Context(), c, args[0], o, by, reason)
		if err != nil {
			return err
		}
		if output == outputJSON {
			return printJSON(cmd.OutOrStdout(), run)
		}
		fmt.Fprintln(cmd.OutOrStdout(), report.Line(&run))
		return nil
	}
	return cmd
}

func giveOrder(ctx context.Context, c *client, id string, o runOrder, by, reason string) (gatewarden.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body := map[string]string{"by": by, "reason": reason}
	if o.state != "" {
		body["state"] = string(o.state)
	}
	var run gatewarden.Run
	at := "/api/v1/runs/" + url.PathEscape(id)
	if err := c.send(ctx, http.MethodPost, at+o.path, body, &struct{}{}); err != nil {
		return run, err
	}
	return run, c.send(ctx, http.MethodGet, at, nil, &run)
}
