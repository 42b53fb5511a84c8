package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/rules"
)

func newReplay() *cobra.Command {
	var (
		output    = outputText
		rulePaths []string
		overrides []string
	)
	cmd := &cobra.Command{
		Use:   "replay --rules PATH FILE...|-",
		Short: "Judge recorded Kong logs: what would have happened, and what an objective would have cost",
		Long: `Judges recorded Kong logs (file-log, http-log or tcp-log JSON, plain or .gz) second by
second in their own time, with the code that runs live. Actions only say what they
would have done. Several files, one a Kong node for example, are merged by time.

stdout gets the events and a summary; with --output json one object a line, the last
one the summary. What cannot be read is told on stderr, counted and left out. Ends
with 1 when the rules cannot be used, or when there is not a single record.`,
		Example: `  gatewarden replay --rules rules/ kong.log.gz
  gatewarden replay --rules rules/ --set slo.objective=99.95 node1.log node2.log
  zcat kong-*.gz | gatewarden replay --rules rules/ --output json - | jq -r .reason`,
		Args: between(1, 0, "a FILE of Kong's log, or - for stdin"),
	}
	addOutput(cmd, &output)
	cmd.Flags().StringArrayVar(&rulePaths, "rules", nil, "a `PATH` of rules, file or folder (repeatable)")
	cmd.Flags().StringArrayVar(&overrides, "set", nil, "change the rules for this replay by `KEY=VALUE`: slo.objective=99.95, slo.NAME.window=7d, slo.outage.ratio=20% (repeatable)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := replayRules(cmd, rulePaths, overrides)
		if err != nil {
			return err
		}
		inputs, closeAll, err := openLogs(args, cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer closeAll()
		return replay(cmd, set, inputs, output)
	}
	return cmd
}

// replayRules loads the rules and applies what --set says.
func replayRules(cmd *cobra.Command, paths, overrides []string) (*rules.Rules, error) {
	if len(paths) == 0 {
		return nil, usageError(cmd, "say what to judge by with --rules PATH; examples/shop/rules is a place to start")
	}
	set, problems := rules.LoadRules(paths)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if len(set.SLOs) == 0 {
		return nil, fmt.Errorf("there is no slo in %s, so nothing to judge by", strings.Join(paths, ", "))
	}
	for _, o := range overrides {
		key, value, ok := strings.Cut(o, "=")
		if !ok {
			return nil, fmt.Errorf("--set %q: write KEY=VALUE, such as slo.objective=99.95", o)
		}
		if err := set.Override(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("--set %s: %w", o, err)
		}
	}
	return set, nil
}

// openLogs opens the files; "-" is stdin.
func openLogs(names []string, stdin io.Reader) ([]app.ReplayInput, func(), error) {
	var (
		inputs []app.ReplayInput
		open   []*os.File
	)
	closeAll := func() {
		for _, f := range open {
			f.Close()
		}
	}
	for _, name := range names {
		if name == "-" {
			inputs = append(inputs, app.ReplayInput{Name: "stdin", R: stdin})
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("can't read the log: %w", err)
		}
		open = append(open, f)
		inputs = append(inputs, app.ReplayInput{Name: name, R: f})
	}
	return inputs, closeAll, nil
}

func replay(cmd *cobra.Command, set *rules.Rules, inputs []app.ReplayInput, output outputFormat) error {
	out, complain := cmd.OutOrStdout(), cmd.ErrOrStderr()
	printer := newEventPrinter(out, output)
	for _, s := range set.SLOs {
		printer.widen(s.Name)
	}
	for _, p := range set.Policies {
		printer.widen(p.Name + "-0123456789-1") // what its actions are called
	}
	progress := isTerminal(complain) && !isTerminal(out)
	opts := app.ReplayOptions{
		Rules: set, Inputs: inputs, Event: printer.print,
		Logger: slog.New(slog.NewTextHandler(complain, &slog.HandlerOptions{Level: slog.LevelError})),
		Broken: func(err error) { fmt.Fprintf(complain, "gatewarden: %v\n", err) },
	}
	if progress {
		opts.Progress = func(at time.Time, records int) {
			fmt.Fprintf(complain, "\r%s  %d records", at.Format(time.DateTime), records)
		}
	}
	summary, err := app.Replay(cmd.Context(), opts)
	if progress {
		fmt.Fprintln(complain)
	}
	if summary.Records == 0 && err != nil {
		return err
	}
	if summary.Records == 0 {
		return fmt.Errorf("there is no record of Kong's in the input (%d places could not be read, %d were other JSON)", summary.Broken, summary.Rejected)
	}
	if output == outputJSON {
		return errors.Join(err, printJSON(out, summaryLine(set, summary)))
	}
	return errors.Join(err, printSummary(out, set, summary))
}

// replaySummary is the last line of a replay's JSON: it has what every event has.
type replaySummary struct {
	At       time.Time            `json:"at"`
	Type     string               `json:"type"`
	Name     string               `json:"name"`
	State    string               `json:"state"`
	Reason   string               `json:"reason"`
	From     time.Time            `json:"from"`
	To       time.Time            `json:"to"`
	Records  int                  `json:"records"`
	Broken   int                  `json:"broken"`
	Rejected int                  `json:"rejected"`
	Dropped  int                  `json:"dropped"`
	Verdicts []gatewarden.Verdict `json:"verdicts"`
}

func summaryLine(set *rules.Rules, s app.ReplaySummary) replaySummary {
	return replaySummary{
		At: s.To, Type: "replay", Name: "summary", State: "done",
		Reason: fmt.Sprintf("%d records over %s judged by %s", s.Records, span(s), count(len(set.SLOs), "SLO")),
		From:   s.From, To: s.To, Records: s.Records, Broken: s.Broken, Rejected: s.Rejected, Dropped: s.Dropped, Verdicts: s.Verdicts,
	}
}

func span(s app.ReplaySummary) gatewarden.Duration {
	return gatewarden.Duration(s.To.Sub(s.From).Round(time.Second))
}

func printSummary(w io.Writer, set *rules.Rules, s app.ReplaySummary) error {
	fmt.Fprintf(w, "\n%d records from %s to %s (%s)", s.Records, s.From.Local().Format(time.DateTime), s.To.Local().Format(time.DateTime), span(s))
	for _, left := range []struct {
		n    int
		what string
	}{{s.Broken, "broken"}, {s.Rejected, "not Kong's"}, {s.Dropped, "repeated or out of time"}} {
		if left.n > 0 {
			fmt.Fprintf(w, ", %d %s", left.n, left.what)
		}
	}
	fmt.Fprint(w, "\n\n")
	objective := map[string]float64{}
	for _, slo := range set.SLOs {
		objective[slo.Name] = slo.Objective
	}
	p := paintFor(w)
	rows := make([][]string, len(s.Verdicts))
	for i, v := range s.Verdicts {
		rows[i] = []string{v.Name, percent(objective[v.Name]), "no events", "", "", p.state(v.State.String())}
		if e := v.SLO; e != nil && e.Count.Total() > 0 {
			rows[i] = []string{v.Name, percent(objective[v.Name]), percent(e.SLI), fmt.Sprintf("%d of %d", e.Count.Bad, e.Count.Total()), coarsePercent(e.Budget), p.state(v.State.String())}
		}
	}
	return table(w, []string{"SLO", "OBJECTIVE", "SLI", "BAD", "BUDGET LEFT", "STATE AT THE END"}, rows)
}
