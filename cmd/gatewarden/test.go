package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/rules/unit"
)

func newTest() *cobra.Command {
	var (
		output = outputText
		only   string
	)
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run unit tests of rules: which requests there are, and what is to come of them",
		Long: `Runs unit tests of rules, as promtool does for Prometheus. A test says how many requests
a second of each kind there are over time, and at which instants which SLOs are healthy
or fire, which steps of which actions would have been taken, and how runs of canaries
stand. Each is judged in its own time by the loop that runs live, so an hour takes a
second. Of a folder the files are run that end in _test.yaml.

Ends with 0 when every expectation holds, else with 1, and says what was expected, what
came, and when it would have been so. docs/rules.md has every key.`,
		Example: `  gatewarden test rules_test.yaml
  gatewarden test --run budget tests/        # those whose name contains budget
  gatewarden test --output json rules_test.yaml`,
		Args: between(1, 0, "a FILE of tests, or a folder"),
	}
	cmd.Flags().StringVar(&only, "run", "", "only tests whose name contains this `TEXT`")
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, err := testFiles(args)
		if err != nil {
			return err
		}
		r := &testReport{w: cmd.OutOrStdout(), format: output, paint: paintFor(cmd.OutOrStdout())}
		for _, file := range files {
			if err := r.file(cmd, file, only); err != nil {
				return err
			}
		}
		return r.end(only)
	}
	return cmd
}

// testFiles are the files that are named, and of folders those that end in _test.yaml.
func testFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			files = append(files, arg) // the loader says what is wrong
			continue
		}
		n := len(files)
		for _, pattern := range []string{"*_test.yaml", "*_test.yml"} {
			more, err := filepath.Glob(filepath.Join(arg, pattern))
			if err != nil {
				return nil, err
			}
			files = append(files, more...)
		}
		if n == len(files) {
			return nil, fmt.Errorf("there is no file in %s that ends in _test.yaml", arg)
		}
	}
	return files, nil
}

// testReport prints results as they come.
type testReport struct {
	w              io.Writer
	format         outputFormat
	paint          painter
	passed, failed int
	broken         int // files that can't be used
	err            error
}

// file runs the tests of a file.
func (r *testReport) file(cmd *cobra.Command, path, only string) error {
	suite, set, problems := unit.Load(path)
	if err := problems.Err(); err != nil {
		r.broken++
		if r.format == outputJSON {
			return printLines(r.w, problems)
		}
		return problems.Write(r.w)
	}
	chosen := *suite
	chosen.Tests = nil
	for _, t := range suite.Tests {
		if strings.Contains(t.Name, only) {
			chosen.Tests = append(chosen.Tests, t)
		}
	}
	logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
	err := app.TestRules(cmd.Context(), &chosen, set, logger, func(result app.RuleTestResult) { r.tell(path, result) })
	if err == nil {
		err = r.err
	}
	return err
}

// testLine is a result as JSON: it has what every event has.
type testLine struct {
	At       time.Time     `json:"at"`
	Type     string        `json:"type"`
	Name     string        `json:"name"`
	State    string        `json:"state"`
	Reason   string        `json:"reason"`
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Failures []testFailure `json:"failures,omitempty"`
}

type testFailure struct {
	app.RuleTestFailure
	After gatewarden.Duration `json:"after"` // the start
}

// tell prints one result.
func (r *testReport) tell(path string, result app.RuleTestResult) {
	t, state := result.Test, "pass"
	if result.Err != nil || len(result.Failures) > 0 {
		state = "fail"
		r.failed++
	} else {
		r.passed++
	}
	if r.err != nil {
		return
	}
	if r.format == outputJSON {
		line := testLine{At: t.Start, Type: "test", Name: t.Name, State: state, File: path, Line: t.Line}
		line.Reason = fmt.Sprintf("%s of %s hold over %s", "all", count(len(t.Expect), "expectation"), gatewarden.Duration(t.Length))
		if state == "fail" {
			line.Reason = count(len(result.Failures), "expectation") + " failed"
		}
		if result.Err != nil {
			line.Reason = result.Err.Error()
		}
		for _, f := range result.Failures {
			line.Failures = append(line.Failures, testFailure{f, gatewarden.Duration(f.At)})
		}
		r.err = printJSON(r.w, line)
		return
	}
	_, r.err = io.WriteString(r.w, r.text(path, state, &result))
}

func (r *testReport) text(path, state string, result *app.RuleTestResult) string {
	var b strings.Builder
	t := result.Test
	fmt.Fprintf(&b, "%s  %s  %s\n", r.paint.state(state), r.paint.paint(bold, t.Name), r.paint.paint(faint, gatewarden.Duration(t.Length).String()))
	if result.Err != nil {
		fmt.Fprintf(&b, "      %s:%d: %v\n", path, t.Line, result.Err)
	}
	for _, f := range result.Failures {
		fmt.Fprintf(&b, "      %s:%d: at %s, %s\n", path, f.Line, gatewarden.Duration(f.At), f.What)
		fmt.Fprintf(&b, "        %s %s\n", r.paint.paint(red, "- want"), f.Want)
		fmt.Fprintf(&b, "        %s  %s\n", r.paint.paint(green, "+ got"), f.Got)
		if f.Why != "" {
			fmt.Fprintf(&b, "          because %s\n", f.Why)
		}
		fmt.Fprintf(&b, "          it was %s\n", f.When)
	}
	return b.String()
}

// end prints the sum, and says by the exit code whether all is well.
func (r *testReport) end(only string) error {
	if r.err != nil {
		return r.err
	}
	if r.passed+r.failed+r.broken == 0 {
		return fmt.Errorf("no test has a name that contains %q", only)
	}
	if r.format == outputText && r.passed+r.failed > 0 {
		fmt.Fprintf(r.w, "%d passed, %d failed\n", r.passed, r.failed)
	}
	if r.failed+r.broken > 0 {
		return exitError{code: 1}
	}
	return nil
}
