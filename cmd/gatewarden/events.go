package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/api"
)

func newEvents() *cobra.Command {
	var (
		output     = outputText
		follow     bool
		kind, name string
		since      uint64
		limit      int
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print the timeline: what was seen, decided and done",
		Example: `  gatewarden events                                  # the newest hundred
  gatewarden events --follow                         # as they happen
  gatewarden events --type action --output json | jq .reason
  gatewarden events --name orders-availability`,
		Args: noArgs,
	}
	connect := addServer(cmd)
	addOutput(cmd, &output)
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with events as they happen, also when another guard leads")
	flags.StringVar(&kind, "type", "", "only events of this `TYPE`: slo, canary, gate, action, source, alert, drift, suspect, guard")
	flags.StringVar(&name, "name", "", "only events of this `NAME`, of an slo or an action")
	flags.Uint64Var(&since, "since", 0, "only events after the one with this `SEQ`, its position in the journal")
	flags.IntVar(&limit, "limit", 100, "the newest `N`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		for key, value := range map[string]string{"type": kind, "name": name} {
			if value != "" {
				query.Set(key, value)
			}
		}
		if since > 0 {
			query.Set("since", strconv.FormatUint(since, 10))
		}
		printer := newEventPrinter(cmd.OutOrStdout(), output)
		if follow {
			return c.follow(cmd.Context(), query, printer.print, func(format string, args ...any) {
				fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
			})
		}
		var list api.EventList
		if err := c.get(cmd.Context(), "/api/v1/events?"+query.Encode(), &list); err != nil {
			return err
		}
		for _, e := range list.Events {
			printer.widen(e.Name)
		}
		for _, e := range list.Events {
			if err := printer.print(e); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
