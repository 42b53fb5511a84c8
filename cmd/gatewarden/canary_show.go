package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/report"
)

func newCanaryList(connect func() (*client, error)) *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List canaries with their traffic and their newest runs",
		Example: `  gatewarden canary list --output json | jq -r .name`,
		Args:    noArgs,
	}
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		var list api.CanaryList
		if err := c.get(cmd.Context(), "/api/v1/canaries", &list); err != nil {
			return err
		}
		if output == outputJSON {
			return printLines(cmd.OutOrStdout(), list.Canaries)
		}
		return listCanaries(cmd.OutOrStdout(), list.Canaries)
	}
	return cmd
}

func listCanaries(w io.Writer, list []api.Canary) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "No canary is defined. A rules file has them, under canaries.")
		return nil
	}
	p := paintFor(w)
	rows := make([][]string, len(list))
	for i := range list {
		c := &list[i]
		state, run := "no run yet", ""
		if c.Run != nil {
			state, run = p.state(report.Printable(string(c.Run.State))), report.Printable(c.Run.ID)
		}
		rows[i] = []string{c.Name, state, cmp.Or(share(c), "not known"), rate(c.Baseline.Rate), rate(c.Canary.Rate), run}
	}
	return table(w, []string{"CANARY", "NEWEST RUN", "SHARE", "BASELINE", "CANARY", "RUN"}, rows)
}

// share is what the canary is configured to take, "" when that is not known.
func share(c *api.Canary) string {
	if c.Share == nil {
		return ""
	}
	return percent(*c.Share)
}

func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "no requests"
	case perSecond < 10:
		return trimNumber(fmt.Sprintf("%.2f", perSecond)) + "/s"
	default:
		return fmt.Sprintf("%.0f/s", perSecond)
	}
}

func newCanaryShow(connect func() (*client, error)) *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:     "show CANARY",
		Short:   "Show what a canary's tracks are, what is tolerated, and how it stands",
		Example: `  gatewarden canary show orders`,
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
		if output == outputJSON {
			return printJSON(cmd.OutOrStdout(), canary)
		}
		return showCanary(cmd.OutOrStdout(), &canary)
	}
	return cmd
}

func showCanary(w io.Writer, c *api.Canary) error {
	p := paintFor(w)
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-16s %s\n", label, text)
		}
	}
	fmt.Fprintf(w, "%s\n", p.paint(bold, c.Name))
	if c.Description != "" {
		fmt.Fprintf(w, "%s\n", c.Description)
	}
	fmt.Fprintln(w)
	line("requests of", c.Series.String())
	line("upstream", c.Upstream)
	line("share", cmp.Or(share(c), "not known"))
	line("errors", errorMargins(c.Errors))
	line("latency", latencyMargins(c.Latency))
	line("false alarm", "at most "+percent(c.FalseAlarm)+" of healthy canaries fail, however often one looks")
	line("pass", fmt.Sprintf("after %s at least, at the latest at the deadline of %s (then: %s)", c.MinDuration, c.Deadline, c.OnInconclusive))
	line("warm-up", fmt.Sprintf("%s, for latencies", c.WarmUp))
	line("steps", stepList(c.Steps))
	line("mode", string(c.Mode))
	line("on fail", strings.Join(c.OnFail, ", "))
	line("on pass", strings.Join(c.OnPass, ", "))
	line("history", fmt.Sprintf("%s of the baseline is at hand for the next run", c.History))
	if c.Run != nil {
		line("newest run", p.state(report.Printable(string(c.Run.State)))+"  "+report.Line(c.Run))
	}
	fmt.Fprintln(w)
	return table(w, []string{"TRACK", "SELECTED BY", "REQUESTS", "FAILED", "NOW", "NEWEST", "TARGETS"}, [][]string{
		trackRow("baseline", &c.Baseline), trackRow("canary", &c.Canary),
	})
}

func trackRow(name string, t *api.Track) []string {
	newest := ""
	if t.Newest != nil {
		newest = t.Newest.Local().Format(time.TimeOnly)
	}
	return []string{
		name, t.Selector, strconv.FormatUint(t.Requests, 10), strconv.FormatUint(t.Failures, 10), rate(t.Rate), newest,
		report.Printable(strings.Join(t.Targets, " ")),
	}
}

func errorMargins(m *gatewarden.ErrorMargins) string {
	if m == nil {
		return "not judged"
	}
	return fmt.Sprintf("up to %s times the odds and %s more is tolerated; a pass shows it to be within %s times and %s more",
		times(m.MaxRatio), percent(m.MaxDifference), times(m.PassRatio), percent(m.PassDifference))
}

func latencyMargins(m *gatewarden.LatencyMargins) string {
	if m == nil {
		return "not judged"
	}
	return fmt.Sprintf("up to %s times is tolerated; a pass shows it to be within %s times", times(m.MaxRatio), times(m.PassRatio))
}

func times(ratio float64) string { return trimNumber(fmt.Sprintf("%.2f", ratio)) }

func stepList(steps []int) string {
	if len(steps) == 0 {
		return "none: somebody else moves the weights"
	}
	texts := make([]string, len(steps))
	for i, s := range steps {
		texts[i] = strconv.Itoa(s) + " %"
	}
	return strings.Join(texts, ", ")
}
