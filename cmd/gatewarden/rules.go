package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/internal/version"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/rules/convert"
)

func newRules() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Turn rules into Prometheus rules, or SLOs of Sloth and OpenSLO into rules",
		Args:  noVerb,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(newRulesExport(), newRulesImport())
	return cmd
}

func newRulesExport() *cobra.Command {
	return &cobra.Command{
		Use:   "export PATH...",
		Short: "Print Prometheus rules for the SLOs, with the names of Sloth's",
		Long: `Prints recording and alerting rules for Prometheus that measure the SLOs by what Kong's
prometheus plugin counts, under the names that Sloth gives them: dashboards made for
Sloth show them, and alerts go on when the guard does not run. What can't be said in
Prometheus is told on stderr. Ends with 1 when an SLO is left out for it.`,
		Example: `  gatewarden rules export rules/ > prometheus/slos.yaml
  gatewarden rules export rules/ | promtool check rules`,
		Args: between(1, 0, "a PATH of rules: a file, or a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, problems := rules.LoadRules(args)
			if err := problems.Err(); err != nil {
				return err
			}
			lost, err := convert.Export(cmd.OutOrStdout(), set, version.Get().Version)
			if err != nil {
				return err
			}
			return tellLost(cmd.ErrOrStderr(), lost)
		},
	}
}

func newRulesImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE...",
		Short: "Print rules for SLOs that are written for Sloth or in OpenSLO",
		Long: `Reads SLOs of Sloth (prometheus/v1, also as Kubernetes has them) and of OpenSLO v1, and
prints rules that count the same events by PromQL. What OpenSLO's documents refer to may
be in any of the files. Nothing is lost without a word: what has no counterpart is told
on stderr, with its line. Ends with 1 when an SLO is left out.`,
		Example: `  gatewarden rules import sloth/*.yaml > rules/imported.yaml
  kubectl get prometheusservicelevels -o yaml orders | gatewarden rules import -`,
		Args: between(1, 0, "a FILE, or - for stdin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var files []convert.Source
			for _, name := range args {
				text, err := readSource(cmd, name)
				if err != nil {
					return fmt.Errorf("can't read it: %w", err)
				}
				files = append(files, convert.Source{Name: name, Text: text})
			}
			text, lost := convert.Import(files)
			if text == nil && len(lost) == 0 {
				return fmt.Errorf("there is no SLO of Sloth or OpenSLO in %s", strings.Join(args, ", "))
			}
			if _, err := cmd.OutOrStdout().Write(text); err != nil {
				return err
			}
			return tellLost(cmd.ErrOrStderr(), lost)
		},
	}
}

// readSource reads a file, or stdin for "-".
func readSource(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

// tellLost says what could not be turned into the other, and by the exit code whether
// whole SLOs could not.
func tellLost(w io.Writer, lost rules.Problems) error {
	if err := lost.Write(w); err != nil {
		return err
	}
	n := len(lost.Errors())
	if n == 0 {
		return nil
	}
	left := 0
	for _, p := range lost {
		if strings.Contains(p.Message, "is left out: ") && p.Severity == rules.SeverityError {
			left++
		}
	}
	if left > 0 {
		fmt.Fprintf(w, "%s left out\n", count(left, "SLO"))
	}
	return exitError{code: 1}
}
