package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

func newSLO() *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:   "slo [NAME]",
		Short: "List SLOs with their budgets, or explain one",
		Example: `  gatewarden slo                        # all, with what is left of their budgets
  gatewarden slo orders-availability    # one, with the evidence
  gatewarden slo --output json`,
		Args: between(0, 1, "at most one NAME"),
	}
	connect := addServer(cmd)
	addOutput(cmd, &output)
	cmd.RunE = listing[api.SLOList, api.SLO]{
		path: "/api/v1/slos", items: func(l api.SLOList) []api.SLO { return l.SLOs }, list: listSLOs, show: showSLO,
	}.run(connect, &output)
	return cmd
}

func listSLOs(w io.Writer, slos []api.SLO) error {
	if len(slos) == 0 {
		fmt.Fprintln(w, "No SLO is defined. A rules file has them: see examples/shop/rules.")
		return nil
	}
	p := paintFor(w)
	rows := make([][]string, len(slos))
	for i, s := range slos {
		sli, budget := "no events", ""
		if e := s.Verdict.SLO; e != nil && e.Count.Total() > 0 {
			sli, budget = percent(e.SLI), coarsePercent(e.Budget)
		}
		rows[i] = []string{s.Name, trimNumber(fmt.Sprintf("%.4f", s.Objective)) + " %", s.Window, sli, budget, s.Verdict.Severity.String(), p.state(s.Verdict.State.String())}
	}
	return table(w, []string{"SLO", "OBJECTIVE", "WINDOW", "SLI", "BUDGET LEFT", "ALERT", "STATE"}, rows)
}

func showSLO(w io.Writer, s api.SLO) error {
	p := paintFor(w)
	fmt.Fprintf(w, "%s: %s\n%s\n\n", p.paint(bold, s.Name), p.state(s.Verdict.State.String()), s.Verdict.Reason)
	if s.Description != "" {
		fmt.Fprintf(w, "%s\n\n", s.Description)
	}
	fmt.Fprintf(w, "of          %s\nSLI         %s\nobjective   %s %% over %s\n", s.Series, s.SLI, trimNumber(fmt.Sprintf("%.4f", s.Objective)), s.Window)
	e := s.Verdict.SLO
	if e == nil {
		return nil
	}
	if e.Count.Total() == 0 {
		fmt.Fprintf(w, "measured    no events, %s of the window watched\n", coarsePercent(e.Count.Coverage))
	} else {
		fmt.Fprintf(w, "measured    %s good: %d of %d, %s of the window watched\n", percent(e.SLI), e.Count.Good, e.Count.Total(), coarsePercent(e.Count.Coverage))
		fmt.Fprintf(w, "budget      %s left\n", coarsePercent(e.Budget))
	}
	switch {
	case e.Count.Total() == 0:
	case e.Budget <= 0:
		fmt.Fprintf(w, "forecast    it is spent, by what was watched so far\n")
	case e.Exhausted != nil:
		fmt.Fprintf(w, "forecast    at the current rate it is spent by %s\n", e.Exhausted.Local().Format(time.DateTime))
	}
	fmt.Fprintln(w)
	return table(w, []string{"ALERT", "FIRES", "LIMIT", "LONG", "SHORT", "EVIDENCE"}, alertRows(e.Alerts, p))
}

func alertRows(alerts []gatewarden.AlertEvidence, p painter) [][]string {
	rows := make([][]string, len(alerts))
	for i, a := range alerts {
		fires := "no"
		if a.Firing {
			fires = p.paint(red, "yes")
		}
		if a.Severity == gatewarden.SeverityOutage {
			evidence := fmt.Sprintf("log evidence %.1f", a.LogEvidence)
			if a.Firing {
				evidence += " for its being over"
			}
			rows[i] = []string{a.Severity.String(), fires, percent(a.Ratio) + " bad", "", "", evidence}
			continue
		}
		burn := func(rate float64, over gatewarden.Duration, c gatewarden.Count) string {
			return fmt.Sprintf("%.2f× over %s (%d of %d bad)", rate, over, c.Bad, c.Total())
		}
		rows[i] = []string{a.Severity.String(), fires, trimNumber(fmt.Sprintf("%.2f", a.Factor)) + "×", burn(a.LongBurn, a.Long, a.LongCount), burn(a.ShortBurn, a.Short, a.ShortCount), burnEvidence(a)}
	}
	return rows
}

// burnEvidence says how sure it is that the budget burns, or why a burn rate above
// the limit starts nothing: what was not watched is not known to be bad.
func burnEvidence(a gatewarden.AlertEvidence) string {
	switch seen := a.LongCount.Coverage; {
	case !a.Firing && a.LongBurn >= a.Factor && seen < 1:
		return fmt.Sprintf("only %s of the %s watched", coarsePercent(seen), a.Long)
	case a.Probability > 0:
		return fmt.Sprintf("probability %.2g", a.Probability)
	default:
		return ""
	}
}

// printLines writes each item as one JSON line.
func printLines[T any](w io.Writer, items []T) error {
	for _, item := range items {
		if err := printJSON(w, item); err != nil {
			return err
		}
	}
	return nil
}
