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
		wanted    []string
		targets   string
	)
	cmd := &cobra.Command{
		Use:   "replay --rules PATH FILE...|-",
		Short: "Judge recorded Kong logs: what would have happened, and what an objective would have cost",
		Long: `Judges recorded Kong logs (file-log, http-log or tcp-log JSON, plain or .gz) second by
second in their own time, with the code that runs live. Actions only say what they
would have done. Several files, one a Kong node for example, are merged by time.

With --gate a rollout is judged that the log recorded, as a live run would have judged
it: from TIME on, or from the canary's first request; what comes before is the
baseline's history. The last event of type gate says pass, fail or inconclusive.

stdout gets the events and a summary; with --output json one object a line, the last
one the summary. What cannot be read is told on stderr, counted and left out. Ends
with 1 when the rules cannot be used, or when there is not a single record.`,
		Example: `  gatewarden replay --rules rules/ kong.log.gz
  gatewarden replay --rules rules/ --set slo.objective=99.95 node1.log node2.log
  gatewarden replay --rules rules/ --gate orders kong.log
  gatewarden replay --rules rules/ --gate orders@2026-11-02T14:05:00Z --targets targets.json kong.log
  zcat kong-*.gz | gatewarden replay --rules rules/ --output json - | jq -r .reason`,
		Args: between(1, 0, "a FILE of Kong's log, or - for stdin"),
	}
	addOutput(cmd, &output)
	cmd.Flags().StringArrayVar(&rulePaths, "rules", nil, "a `PATH` of rules, file or folder (repeatable)")
	cmd.Flags().StringArrayVar(&overrides, "set", nil, "change the rules for this replay by `KEY=VALUE`: slo.objective=99.95, slo.NAME.window=7d, slo.outage.ratio=20% (repeatable)")
	cmd.Flags().StringArrayVar(&wanted, "gate", nil, "judge the recorded rollout of a canary: `CANARY[@TIME]`, TIME like 2026-11-02T14:05:00Z (repeatable)")
	cmd.Flags().StringVar(&targets, "targets", "", "a `FILE` with what Kong's GET /upstreams/NAME/targets answered then; for tracks by target_tag")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts, err := replayOptions(cmd, rulePaths, overrides, wanted, targets)
		if err != nil {
			return err
		}
		inputs, closeAll, err := openLogs(args, cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer closeAll()
		opts.Inputs = inputs
		return replay(cmd, opts, output)
	}
	return cmd
}

// replayOptions reads what the flags say.
func replayOptions(cmd *cobra.Command, paths, overrides, wanted []string, targets string) (app.ReplayOptions, error) {
	var opts app.ReplayOptions
	for _, w := range wanted {
		g, err := parseGate(w)
		if err != nil {
			return opts, err
		}
		opts.Gates = append(opts.Gates, g)
	}
	var err error
	if opts.Rules, err = replayRules(cmd, paths, overrides, len(opts.Gates) > 0); err != nil {
		return opts, err
	}
	if targets != "" {
		if opts.Targets, err = os.ReadFile(targets); err != nil {
			return opts, fmt.Errorf("can't read the targets: %w", err)
		}
	}
	return opts, nil
}

// parseGate reads CANARY[@TIME].
func parseGate(s string) (app.ReplayGate, error) {
	name, at, timed := strings.Cut(s, "@")
	g := app.ReplayGate{Canary: name}
	if !timed {
		return g, nil
	}
	var err error
	if g.Start, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return g, fmt.Errorf("--gate %s: %q is no time like 2026-11-02T14:05:00Z", s, at)
	}
	return g, nil
}

// replayRules loads the rules and applies what --set says. A rollout can be judged without
// any SLO.
func replayRules(cmd *cobra.Command, paths, overrides []string, gated bool) (*rules.Rules, error) {
	if len(paths) == 0 {
		return nil, usageError(cmd, "say what to judge by with --rules PATH; examples/shop/rules is a place to start")
	}
	set, problems := rules.LoadRules(paths)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if len(set.SLOs) == 0 && !gated {
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
		if info, err := f.Stat(); err == nil && info.IsDir() {
			closeAll()
			return nil, nil, fmt.Errorf("can't read the log: %s is a directory; name the files in it", name)
		}
		inputs = append(inputs, app.ReplayInput{Name: name, R: f})
	}
	return inputs, closeAll, nil
}

func replay(cmd *cobra.Command, opts app.ReplayOptions, output outputFormat) error {
	set := opts.Rules
	out, complain := cmd.OutOrStdout(), cmd.ErrOrStderr()
	printer := newEventPrinter(out, output)
	for _, s := range set.SLOs {
		printer.widen(s.Name)
	}
	for _, g := range opts.Gates {
		printer.widen(g.Canary)
	}
	for _, p := range set.Policies {
		printer.widen(p.Name + "-0123456789-1") // what its actions are called
	}
	progress := isTerminal(complain) && !isTerminal(out)
	opts.Event = printer.print
	opts.Logger = slog.New(slog.NewTextHandler(complain, &slog.HandlerOptions{Level: slog.LevelError}))
	broken := &brokenPlaces{w: complain}
	opts.Broken = broken.tell
	if progress {
		opts.Progress = func(at time.Time, records int) {
			fmt.Fprintf(complain, "\r%s  %d records", at.Format(time.DateTime), records)
		}
	}
	summary, err := app.Replay(cmd.Context(), opts)
	if progress {
		fmt.Fprintln(complain)
	}
	broken.rest()
	if summary.Records == 0 && err != nil {
		return err
	}
	if summary.Records == 0 {
		return fmt.Errorf("there is no record of Kong's in the input (%d places could not be read, %d were other JSON); "+
			"give it what Kong's file-log, http-log or tcp-log wrote, a record a line", summary.Broken, summary.Rejected)
	}
	if output == outputJSON {
		return errors.Join(err, printJSON(out, summaryLine(set, summary)))
	}
	return errors.Join(err, printSummary(out, set, summary))
}

// maxBrokenTold bounds what is told of a file that is no log at all, line by line.
const maxBrokenTold = 20

// brokenPlaces tells the first places that can't be read, and how many more there are.
type brokenPlaces struct {
	w io.Writer
	n int
}

func (b *brokenPlaces) tell(err error) {
	if b.n++; b.n <= maxBrokenTold {
		fmt.Fprintf(b.w, "gatewarden: %v\n", err)
	}
}

func (b *brokenPlaces) rest() {
	if more := b.n - maxBrokenTold; more > 0 {
		fmt.Fprintf(b.w, "gatewarden: and %s more that can't be read\n", count(more, "place"))
	}
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
	Runs     []gatewarden.Run     `json:"runs,omitempty"`
}

func summaryLine(set *rules.Rules, s app.ReplaySummary) replaySummary {
	return replaySummary{
		At: s.To, Type: "replay", Name: "summary", State: "done",
		Reason: fmt.Sprintf("%d records over %s judged by %s", s.Records, span(s), count(len(set.SLOs), "SLO")),
		From:   s.From, To: s.To, Records: s.Records, Broken: s.Broken, Rejected: s.Rejected, Dropped: s.Dropped, Verdicts: s.Verdicts, Runs: s.Runs,
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
	for _, run := range s.Runs {
		fmt.Fprintf(w, "%s: %s. %s\n\n", run.Canary, paintFor(w).state(string(run.State)), run.Reason)
	}
	if len(set.SLOs) == 0 {
		return nil
	}
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
