package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/report"
)

func newCanaryRuns(connect func() (*client, error)) *cobra.Command {
	var (
		output = outputText
		state  string
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "runs [CANARY]",
		Short: "List runs, the newest first",
		Example: `  gatewarden canary runs                               # of all canaries
  gatewarden canary runs orders --state fail --limit 5`,
		Args: between(0, 1, "at most one CANARY"),
	}
	addOutput(cmd, &output)
	cmd.Flags().StringVar(&state, "state", "", "only runs of this `STATE`: running, pass, fail, inconclusive, cancelled")
	cmd.Flags().IntVar(&limit, "limit", 20, "the newest `N`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		if state != "" {
			query.Set("state", state)
		}
		path := "/api/v1/runs"
		if len(args) == 1 {
			path = "/api/v1/canaries/" + url.PathEscape(args[0]) + "/runs"
		}
		var list api.RunList
		if err := c.get(cmd.Context(), path+"?"+query.Encode(), &list); err != nil {
			return err
		}
		if output == outputJSON {
			return printLines(cmd.OutOrStdout(), list.Runs)
		}
		return listRuns(cmd.OutOrStdout(), list.Runs)
	}
	return cmd
}

func listRuns(w io.Writer, runs []gatewarden.Run) error {
	if len(runs) == 0 {
		fmt.Fprintln(w, "There is no such run. `gatewarden gate CANARY` starts one.")
		return nil
	}
	p := paintFor(w)
	rows := make([][]string, len(runs))
	for i := range runs {
		r := &runs[i]
		rows[i] = []string{
			report.Printable(r.ID), report.Printable(r.Canary), p.state(report.Printable(string(r.State))), r.StartedAt.Local().Format(time.DateTime),
			took(r), report.StepOf(r), brief(report.Printable(r.Reason)),
		}
	}
	return table(w, []string{"RUN", "CANARY", "STATE", "STARTED", "TOOK", "STEP", "REASON"}, rows)
}

func took(r *gatewarden.Run) string {
	return gatewarden.Duration(max(seenAt(r).Sub(r.StartedAt), 0).Round(time.Second)).String()
}

// brief cuts a sentence for a table.
func brief(s string) string {
	const width = 80
	if runes := []rune(s); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return s
}

func newCanaryExplain(connect func() (*client, error)) *cobra.Command {
	output, files := outputText, reportFiles()
	cmd := &cobra.Command{
		Use:   "explain RUN|CANARY",
		Short: "Say why a run came to its answer: the figures, the evidence over time, the requests to look at",
		Long: `Prints a run with all that its verdict rests on: the counts of both tracks, how far
apart they are, the evidence for a fail and for a pass over time with what is needed of
each, each check, and the canary's requests to look at first, with their trace ids. With
the name of a canary it is the newest run of it.`,
		Example: `  gatewarden canary explain orders-20261122-021500-x7
  gatewarden canary explain orders --html orders.html     # as gate writes it`,
		Args: between(1, 1, "the id of a RUN, or the name of a CANARY for its newest"),
	}
	addOutput(cmd, &output)
	for i := range files {
		cmd.Flags().StringVar(&files[i].path, files[i].flag, "", files[i].usage)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		run, err := findRun(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		r := &report.Report{Run: run, At: time.Now()}
		if err := prepareReports(files); err != nil {
			return err
		}
		if err := writeReports(files, r); err != nil {
			return err
		}
		if output == outputJSON {
			return r.JSON(cmd.OutOrStdout())
		}
		return r.Text(cmd.OutOrStdout())
	}
	return cmd
}

// findRun returns the run with this id, or else the newest one of the canary of that
// name.
func findRun(ctx context.Context, c *client, name string) (run gatewarden.Run, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = c.send(ctx, http.MethodGet, "/api/v1/runs/"+url.PathEscape(name), nil, &run)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		if c.send(ctx, http.MethodGet, "/api/v1/canaries/"+url.PathEscape(name)+"/runs/latest", nil, &run) == nil {
			return run, nil
		}
		var canary api.Canary
		if c.get(ctx, "/api/v1/canaries/"+url.PathEscape(name), &canary) == nil {
			return run, fmt.Errorf("there was no run of the canary %s yet: `gatewarden gate %s` starts one", name, name)
		}
	}
	return run, err
}
