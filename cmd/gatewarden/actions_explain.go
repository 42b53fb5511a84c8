package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/report"
)

func newActionsExplain(connect func() (*client, error)) *cobra.Command {
	return &cobra.Command{
		Use:     "explain ID",
		Short:   "Tell one action in prose: why, what, how it went, how to undo it by hand",
		Example: `  gatewarden actions explain protect-orders-5f3a9c21-1`,
		Args:    between(1, 1, "one ID of an action"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect()
			if err != nil {
				return err
			}
			var a gatewarden.Action
			if err := c.get(cmd.Context(), "/api/v1/actions/"+url.PathEscape(args[0]), &a); err != nil {
				return err
			}
			var history api.EventList
			query := url.Values{"name": {a.ID}, "type": {string(gatewarden.EventAction)}}
			if err := c.get(cmd.Context(), "/api/v1/events?"+query.Encode(), &history); err != nil {
				return err
			}
			tellAction(cmd.OutOrStdout(), &a, history.Events)
			return nil
		},
	}
}

// tellAction writes what became of an action, as a person would tell it.
func tellAction(w io.Writer, a *gatewarden.Action, history []gatewarden.Event) {
	p := paintFor(w)
	clean := report.Printable
	fmt.Fprintf(w, "%s: %s\n\n", p.paint(bold, a.ID), p.state(string(a.Status)))
	fmt.Fprintf(w, "Why. It is step %d of the answer of %s to %s.\n     %s\n", a.Step, clean(a.Policy), clean(occasion(&a.Trigger)), clean(a.Trigger.Reason))
	fmt.Fprintf(w, "What. It was to %s%s.\n", clean(actions.Describe(&a.Spec)), afterText(&a.Spec))
	if a.Change != "" {
		fmt.Fprintf(w, "     It did: %s\n", clean(a.Change))
	}
	fmt.Fprintf(w, "Mode. %s.\n", modeText(a.Mode))
	fmt.Fprintln(w, "\nHow it went.")
	for _, e := range history {
		who := ""
		if e.By != "" {
			who = " (" + clean(e.By) + ")"
		}
		fmt.Fprintf(w, "  %s  %-11s  %s%s\n", e.At.Local().Format(time.DateTime), e.State, clean(e.Reason), who)
	}
	fmt.Fprintf(w, "\nNow. %s\n", clean(standing(a)))
	if a.Link != "" {
		fmt.Fprintf(w, "     Look at %s\n", clean(a.Link))
	}
	if a.Undo != "" {
		fmt.Fprintf(w, "\nBy hand. %s:\n", undoText(a))
		for line := range strings.Lines(a.Undo) {
			fmt.Fprintf(w, "  %s\n", clean(strings.TrimSpace(line)))
		}
	}
	if a.Undo == "" && a.AppliedAt != nil {
		fmt.Fprintf(w, "\nBy hand. %s.\n", undoneBy(&a.Spec))
	}
	if a.Details != "" {
		fmt.Fprintf(w, "\n%s\n", clean(a.Details))
	}
}

// undoneBy says what can be done by hand about a step that no command undoes.
func undoneBy(s *gatewarden.Step) string {
	switch s.Kind {
	case gatewarden.StepJenkins:
		return "No command undoes a job that ran; what it did, another job must undo"
	case gatewarden.StepWebhook, gatewarden.StepSlack:
		return "There is nothing to undo: somebody was told"
	default:
		return "There is nothing that a command could undo: what it had changed is set by others now"
	}
}

// occasion is what an action answers.
func occasion(t *gatewarden.Trigger) string {
	since := t.Since.Local().Format(time.DateTime)
	if t.Kind == gatewarden.EventGate {
		return fmt.Sprintf("a run of the canary %s, at %s", t.Name, since)
	}
	return fmt.Sprintf("a breach (%s) of %s since %s", t.Severity, t.Name, since)
}

func afterText(s *gatewarden.Step) string {
	if s.After == 0 {
		return ""
	}
	return fmt.Sprintf(", %s after the answer began and only if the breach lasted", s.After)
}

func modeText(m gatewarden.Mode) string {
	switch m {
	case gatewarden.ModeObserve:
		return "It only observes: nothing was changed"
	case gatewarden.ModeApprove:
		return "A person has to approve it first"
	default:
		return "It acts by itself"
	}
}

// standing says where an action stands, and what comes next.
func standing(a *gatewarden.Action) string {
	lease := ""
	if a.LeaseUntil != nil {
		lease = fmt.Sprintf(" If the guard cannot renew it, its lease ends it at %s.", a.LeaseUntil.Local().Format(time.DateTime))
	}
	ended := ""
	if a.EndedAt != nil {
		ended = " at " + a.EndedAt.Local().Format(time.DateTime)
	}
	switch a.Status {
	case gatewarden.ActionWaiting:
		return "It waits for a person: gatewarden actions approve " + a.ID
	case gatewarden.ActionSkipped:
		if onlyObserved(a) {
			return "Nothing was changed, and nothing will be: with mode: approve or enforce in the rules the next answer asks, or acts."
		}
		return "Nothing was changed. If something only held it, it begins when that is over and the breach lasts."
	case gatewarden.ActionExpired:
		return "Nothing was changed: nobody approved it in time."
	case gatewarden.ActionStarted:
		return "It is under way." + lease
	case gatewarden.ActionApplied:
		if a.Spec.Kind.Reversible() {
			shows := ""
			if a.VerifiedAt != nil {
				shows = " The traffic shows it."
			}
			return "It is in place, and is taken back when all has been well for long enough." + shows + lease
		}
		if a.VerifiedAt != nil {
			return "It is done and verified. It cannot be taken back."
		}
		return "It is done, and cannot be taken back."
	case gatewarden.ActionUnverified:
		return "It is in place, as its own peer says, but the traffic does not show it; the next step took over. It is taken back like any other." + lease
	case gatewarden.ActionIneffective:
		return "It was done and did not help; the next step took over" + ended + "."
	case gatewarden.ActionReverting:
		return "It is being taken back."
	case gatewarden.ActionReverted:
		return "Everything is as it was before, since it was taken back" + ended + "."
	case gatewarden.ActionLeft:
		return "Somebody else changed it meanwhile, so it was left alone" + ended + "."
	case gatewarden.ActionFailed:
		return "It failed" + ended + ". Nothing of it is left that could be taken back."
	case gatewarden.ActionUnknown:
		return "Nobody knows whether it was done. A person must look."
	default:
		return "It is over (" + cmp.Or(string(a.Status), "not begun") + ")."
	}
}

// undoText introduces the command that takes an action back by hand.
func undoText(a *gatewarden.Action) string {
	switch {
	case a.Status == gatewarden.ActionReverted:
		return "It is undone already; without the guard this would have done it"
	case a.Status.InPlace():
		return "Without the guard, this undoes it"
	default:
		return "What is left of it, this undoes"
	}
}
