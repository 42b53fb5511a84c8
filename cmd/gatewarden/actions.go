package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

func newActions() *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:   "actions [ID]",
		Short: "List what the guard did, explain one action, and steer it",
		Example: `  gatewarden actions                                  # the newest first
  gatewarden actions protect-orders-5f3a9c21-1        # what, why, and how to undo it by hand
  gatewarden actions approve protect-orders-5f3a9c21-1
  gatewarden actions revert protect-orders-5f3a9c21   # the whole ladder
  gatewarden actions pause --reason "load test until 16:00"
  gatewarden actions resume`,
		Args: cobra.MaximumNArgs(1),
	}
	connect := addServer(cmd)
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			return showAction(cmd, c, args[0], output)
		}
		var list api.ActionList
		if err := c.get(cmd.Context(), "/api/v1/actions", &list); err != nil {
			return err
		}
		if output == outputJSON {
			return printLines(cmd.OutOrStdout(), list.Actions)
		}
		return listActions(cmd.OutOrStdout(), list.Actions)
	}
	cmd.AddCommand(
		newOrder(connect, "approve ID", "Let an action that waits for approval go ahead", "/api/v1/actions/%s/approve"),
		newOrder(connect, "reject ID", "Turn an action that waits for approval down", "/api/v1/actions/%s/reject"),
		newOrder(connect, "revert ID", "Put back what an action, or a whole ladder of them, changed", "/api/v1/actions/%s/revert"),
		newOrder(connect, "pause", "Start nothing new; what is in place stays until its lease runs out", "/api/v1/pause"),
		newOrder(connect, "resume", "End a pause", "/api/v1/resume"),
	)
	return cmd
}

// newOrder returns a command that posts to path in the name of a person. A use with
// an ID takes one argument, which goes into the path.
func newOrder(connect func() (*client, error), use, short, path string) *cobra.Command {
	var by, reason string
	takesID := strings.Contains(use, " ")
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	if takesID {
		cmd.Args = cobra.ExactArgs(1)
	}
	cmd.Flags().StringVar(&by, "by", cmp.Or(os.Getenv("GATEWARDEN_USER"), os.Getenv("USER")), "who decides this; it stands in the timeline")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stands in the timeline")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		if by == "" {
			return fmt.Errorf("say who decides this with --by NAME")
		}
		target := path
		if takesID {
			target = fmt.Sprintf(path, url.PathEscape(args[0]))
		}
		if err := c.post(cmd.Context(), target, by, reason); err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "Done. `gatewarden events` shows what comes of it.")
		return nil
	}
	return cmd
}

func listActions(w io.Writer, actions []gatewarden.Action) error {
	if len(actions) == 0 {
		fmt.Fprintln(w, "Nothing was done yet.")
		return nil
	}
	p := paintFor(w)
	rows := make([][]string, len(actions))
	for i, a := range actions {
		rows[i] = []string{a.PlannedAt.Local().Format(time.DateTime), a.ID, string(a.Spec.Kind), p.state(string(a.Status)), cmp.Or(a.Change, a.Trigger.Name+" "+a.Trigger.Severity.String())}
	}
	return table(w, []string{"PLANNED", "ACTION", "KIND", "STATUS", "CHANGE"}, rows)
}

func showAction(cmd *cobra.Command, c *client, id string, output outputFormat) error {
	var a gatewarden.Action
	if err := c.get(cmd.Context(), "/api/v1/actions/"+url.PathEscape(id), &a); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if output == outputJSON {
		return printJSON(w, a)
	}
	p := paintFor(w)
	fmt.Fprintf(w, "%s: %s\n\n", p.paint(bold, a.ID), p.state(string(a.Status)))
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-9s %s\n", label, text)
		}
	}
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.Local().Format(time.DateTime)
	}
	line("change", a.Change)
	line("because", fmt.Sprintf("%s %s is in breach (%s) since %s: %s", a.Trigger.Kind, a.Trigger.Name, a.Trigger.Severity, a.Trigger.Since.Local().Format(time.DateTime), a.Trigger.Reason))
	line("planned", a.PlannedAt.Local().Format(time.DateTime))
	line("applied", at(a.AppliedAt))
	line("lease", at(a.LeaseUntil))
	line("ended", at(a.EndedAt))
	line("by", a.By)
	line("look at", a.Link)
	line("undo", a.Undo)
	if a.Details != "" {
		fmt.Fprintf(w, "\n%s\n", a.Details)
	}
	return nil
}
