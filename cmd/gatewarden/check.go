package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/rules"
)

func newCheck() *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Find everything that is wrong with configuration and rules",
		Long: `Reads configuration files, rules files and folders of rules with the loader that
the guard uses, and lists every problem at once with its place, the line, and what
to do. A folder with a gatewarden.yaml in it is that configuration. It asks nobody
outside. Ends with 0 when the files can be used, warnings or not, else with 1.`,
		Example: `  gatewarden check gatewarden.yaml         # with the rules that it names
  gatewarden check rules/ more/slo.yaml
  gatewarden check --output json rules/    # one problem a line`,
		Args: between(1, 0, "a PATH: a file, or a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			problems, files := app.Check(args, os.LookupEnv)
			return reportCheck(cmd, problems, files, output)
		},
	}
	addOutput(cmd, &output)
	return cmd
}

func reportCheck(cmd *cobra.Command, problems rules.Problems, files int, output outputFormat) error {
	w := cmd.OutOrStdout()
	errorCount := len(problems.Errors())
	if output == outputJSON {
		if err := printLines(w, problems); err != nil {
			return err
		}
	} else {
		if err := problems.Write(w); err != nil {
			return err
		}
		fmt.Fprintln(w, checkSummary(errorCount, len(problems)-errorCount, files, paintFor(w)))
	}
	if errorCount > 0 {
		return exitError{code: 1}
	}
	return nil
}

func checkSummary(errors, warnings, files int, p painter) string {
	tail := fmt.Sprintf("%s in %s", count(warnings, "warning"), count(files, "file"))
	if errors > 0 {
		return p.paint(red, count(errors, "error")) + ", " + tail
	}
	return p.paint(green, "good") + ": " + tail
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
