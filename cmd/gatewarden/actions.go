package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/api"
)

func newActions() *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:   "actions [ID]",
		Short: "List what the guard did, explain one action, and steer it",
		Example: `  gatewarden actions                                  # the newest first
  gatewarden actions protect-orders-5f3a9c21-1        # what, why, and how to undo it by hand
  gatewarden actions explain protect-orders-5f3a9c21-1
  gatewarden actions approve protect-orders-5f3a9c21-1
  gatewarden actions revert protect-orders-5f3a9c21   # the whole ladder
  gatewarden actions pause --reason "load test until 16:00"
  gatewarden actions resume`,
		Args: between(0, 1, "at most one ID"),
	}
	connect := addServer(cmd)
	addOutput(cmd, &output)
	cmd.RunE = listing[api.ActionList, gatewarden.Action]{
		path: "/api/v1/actions", items: func(l api.ActionList) []gatewarden.Action { return l.Actions }, list: listActions, show: showAction,
	}.run(connect, &output)
	cmd.AddCommand(
		newActionsExplain(connect),
		newOrder(connect, order{use: "approve ID", path: "/api/v1/actions/%s/approve",
			short: "Let an action that waits for approval go ahead"}),
		newOrder(connect, order{use: "reject ID", path: "/api/v1/actions/%s/reject", takesReason: true,
			short: "Turn an action that waits for approval down"}),
		newOrder(connect, order{use: "revert ID", path: "/api/v1/actions/%s/revert",
			short: "Put back what an action, or a whole ladder of them, changed"}),
		newOrder(connect, order{use: "pause", path: "/api/v1/pause", takesReason: true,
			short: "Begin nothing new; what is in place stays while its breach lasts, and its lease ends it then"}),
		newOrder(connect, order{use: "resume", path: "/api/v1/resume",
			short: "End a pause"}),
	)
	return cmd
}

// order is something that a person may tell the guard to do. A use with an ID takes
// one argument, which goes into the path.
type order struct {
	use, short, path string
	takesReason      bool
}

// newOrder returns a command that posts an order in the name of a person.
func newOrder(connect func() (*client, error), o order) *cobra.Command {
	var by, reason string
	takesID := strings.Contains(o.use, " ")
	cmd := &cobra.Command{Use: o.use, Short: o.short, Args: noArgs}
	if takesID {
		cmd.Args = between(1, 1, "one ID of an action, or of a ladder of them")
	}
	cmd.Flags().StringVar(&by, "by", whoami(), "`NAME` of who decides this, for the timeline ($GATEWARDEN_USER, else the user)")
	cmd.Flags().Lookup("by").DefValue = "" // the help is the same for everybody
	if o.takesReason {
		cmd.Flags().StringVar(&reason, "reason", "", "why, a `TEXT` for the timeline")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		if by == "" {
			return usageError(cmd, "say who decides this with --by NAME")
		}
		target := o.path
		if takesID {
			target = fmt.Sprintf(o.path, url.PathEscape(args[0]))
		}
		if err := c.post(cmd.Context(), target, by, reason); err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "Done. `gatewarden events` shows what comes of it.")
		return nil
	}
	return cmd
}

func listActions(w io.Writer, list []gatewarden.Action) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "Nothing was done yet.")
		return nil
	}
	p := paintFor(w)
	rows := make([][]string, len(list))
	for i, a := range list {
		todo := "to "
		if onlyObserved(&a) {
			todo = "observe mode: would "
		}
		rows[i] = []string{a.PlannedAt.Local().Format(time.DateTime), a.ID, string(a.Spec.Kind), p.state(string(a.Status)), cmp.Or(a.Change, todo+actions.Describe(&a.Spec))}
	}
	return table(w, []string{"PLANNED", "ACTION", "KIND", "STATUS", "CHANGE"}, rows)
}

func showAction(w io.Writer, a gatewarden.Action) error {
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
	line("to do", actions.Describe(&a.Spec))
	line("done", a.Change)
	if onlyObserved(&a) {
		line("mode", "observe: nothing was changed")
	}
	line("because", becauseText(&a.Trigger))
	line("planned", a.PlannedAt.Local().Format(time.DateTime))
	line("applied", at(a.AppliedAt))
	if l := a.Limit; l != nil {
		line("limit", fmt.Sprintf("%d requests a second, since %s", l.Value, at(&l.Since)))
	}
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

// onlyObserved reports whether the action was never to be done, whatever else held it.
func onlyObserved(a *gatewarden.Action) bool {
	return a.Status == gatewarden.ActionSkipped && a.Mode == gatewarden.ModeObserve
}

// becauseText says what an action answers, in one line.
func becauseText(t *gatewarden.Trigger) string {
	if t.Kind == gatewarden.EventGate {
		return t.Reason
	}
	return fmt.Sprintf("%s %s is in breach (%s) since %s: %s", t.Kind, t.Name, t.Severity, t.Since.Local().Format(time.DateTime), t.Reason)
}

// whoami is who uses the command line, as far as the machine knows; "" when it does
// not.
func whoami() string {
	if name := cmp.Or(os.Getenv("GATEWARDEN_USER"), os.Getenv("USER")); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
