package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/internal/report"
)

// The exit codes of gate, besides 0 for a pass and 1 for an error.
const (
	exitFail = 2
	exitOpen = 3 // inconclusive, or cancelled
)

// gateFlags are what the command line of gate says.
type gateFlags struct {
	output      outputFormat
	runID, key  string
	parameters  []string
	by          string
	replace     bool
	timeout     time.Duration
	unreachable time.Duration
	reports     []reportFile

	told func() // called when a signal has come, before the run is cancelled
}

func newGate() *cobra.Command {
	f := gateFlags{output: outputText, reports: reportFiles()}
	cmd := &cobra.Command{
		Use:   "gate CANARY",
		Short: "Ask whether a canary may go on, and wait for the answer: for pipelines",
		Long: `Starts a run of the canary at the guard, or takes one up again, and follows it to its
end. Ends with

  0  pass: the canary is shown to be within its margins, or a person said so
  2  fail: the canary is worse than the baseline, or a person said so
  3  inconclusive: no answer by the deadline or --timeout; or somebody cancelled the run
  1  error: a wrong command line, an unknown canary, a guard that does not answer for
     longer than --unreachable, or this command was told to stop. Never a pass.

SIGTERM and SIGINT cancel the run at the guard, within five seconds; a second signal
ends at once. While the guard restarts, gate waits and takes the run up again.

On a terminal a line shows the evidence as it grows; in a pipe there is one line when
something changes, and one each minute. With --output json each is an event of type gate.
Reports are written in every ending but the second signal's; files of these names that
an earlier build left are removed at the start.`,
		Example: `  gatewarden gate orders
  gatewarden gate orders --key "$BUILD_TAG" --param version=v2 --param build="$BUILD_URL" --junit gate.xml --html gate.html
  gatewarden gate orders --run orders-20261122-021500-x7     # take up a run that goes on at the guard
  gatewarden gate orders --timeout 10m --output json | jq -r .state`,
		Args: between(1, 1, "the name of one CANARY"),
	}
	connect := addServer(cmd)
	addOutput(cmd, &f.output)
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		// From the first signal on the run is cancelled; with the default back in place the
		// second one ends the process.
		reset := sync.OnceFunc(func() { signal.Reset(os.Interrupt, syscall.SIGTERM) })
		defer context.AfterFunc(cmd.Context(), reset)()
		f.told = reset
		return gate(cmd, args[0], &f, connect)
	}
	return cmd
}

func (f *gateFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.runID, "run", "", "take up the run with this `ID` instead of starting one; latest is the canary's newest")
	flags.StringVar(&f.key, "key", "", "a `KEY` of your own: the same one finds the same run again, so that a repeated stage resumes")
	flags.StringArrayVar(&f.parameters, "param", nil, "remember `NAME=VALUE` with the run: a version, a build's URL (repeatable)")
	flags.BoolVar(&f.replace, "replace", false, "cancel a run of this canary that goes on under another key")
	flags.StringVar(&f.by, "by", whoami(), "`NAME` of who asks, for the timeline ($GATEWARDEN_USER, else the user)")
	flags.Lookup("by").DefValue = "" // the help is the same for everybody
	flags.DurationVar(&f.timeout, "timeout", 0, "cancel the run and end with 3 after this `DURATION`; 0 is a minute after the run's deadline")
	flags.DurationVar(&f.unreachable, "unreachable", 2*time.Minute, "end with 1 when the guard has not answered for this `DURATION`")
	for i := range f.reports {
		flags.StringVar(&f.reports[i].path, f.reports[i].flag, "", f.reports[i].usage)
	}
}

// request checks the flags and returns what to ask the guard for.
func (f *gateFlags) request(cmd *cobra.Command) (api.RunRequest, error) {
	f.by = cmp.Or(f.by, "gate") // a container may have no user
	req := api.RunRequest{Key: f.key, By: f.by, Replace: f.replace}
	switch {
	case f.runID != "" && (f.key != "" || len(f.parameters) > 0 || f.replace):
		return req, usageError(cmd, "--run takes up a run that exists: --key, --param and --replace are for a new one")
	case f.timeout < 0:
		return req, usageError(cmd, "--timeout %s is negative", f.timeout)
	case f.unreachable <= 0:
		return req, usageError(cmd, "--unreachable %s: say how long to wait for the guard, such as 2m", f.unreachable)
	case cmd.Flags().Changed("key") && f.key == "":
		return req, usageError(cmd, "--key is empty: is a variable not set?")
	case cmd.Flags().Changed("run") && f.runID == "":
		return req, usageError(cmd, "--run is empty: is a variable not set?")
	}
	for _, p := range f.parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return req, usageError(cmd, "--param %q: write NAME=VALUE, such as version=v2", p)
		}
		if req.Parameters == nil {
			req.Parameters = map[string]string{}
		}
		req.Parameters[name] = value
	}
	// A start whose answer is lost must find its own run when it is tried again.
	req.Key = cmp.Or(req.Key, "gate-"+strings.ToLower(rand.Text()))
	return req, nil
}

// gate asks, waits, and writes the reports, whatever came of it.
func gate(cmd *cobra.Command, canary string, f *gateFlags, connect func() (*client, error)) error {
	if err := prepareReports(f.reports); err != nil {
		return err
	}
	end := askForAnswer(cmd, canary, f, connect)
	end.report.At = time.Now()
	err := writeReports(f.reports, &end.report)
	if err != nil && end.code == 0 {
		end.code = 1 // a pass without its evidence is not what was asked for
	}
	if err = errors.Join(end.err, err); end.code == 0 {
		return nil
	}
	return exitError{end.code, err}
}

// ending is what a gate comes to.
type ending struct {
	report report.Report
	code   int
	err    error // to be told on stderr, nil when all is said
}

func failed(run gatewarden.Run, err error) ending {
	return ending{report.Report{Run: run, Error: err.Error()}, 1, err}
}

func askForAnswer(cmd *cobra.Command, canary string, f *gateFlags, connect func() (*client, error)) ending {
	nothing := gatewarden.Run{Canary: canary}
	req, err := f.request(cmd)
	if err != nil {
		return failed(nothing, err)
	}
	c, err := connect()
	if err != nil {
		return failed(nothing, err)
	}
	screen := newGateScreen(cmd.OutOrStdout(), cmd.ErrOrStderr(), f.output)
	g := &follower{
		client: c, canary: canary, by: f.by, timeout: f.timeout, unreachable: f.unreachable,
		wait: screen.pace(), told: f.told, say: screen.say, show: screen.show,
	}
	end := g.judge(cmd.Context(), f.runID, req)
	screen.end(&end)
	if f.key != "" && end.code == exitOpen && end.report.Run.State == gatewarden.RunCancelled && g.found {
		fmt.Fprintf(cmd.ErrOrStderr(), "That run was cancelled before; another --key starts a new one.\n")
	}
	return end
}
