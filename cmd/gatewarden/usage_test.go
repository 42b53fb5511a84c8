package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestTheExamplesInTheHelpAreCommandLines holds the examples to the flags and
// arguments that their verbs take. What they print is in testdata/script.
func TestTheExamplesInTheHelpAreCommandLines(t *testing.T) {
	seen := 0
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			for _, words := range commandLines(line) {
				seen++
				if err := parses(words); err != nil {
					t.Errorf("%s: %q: %v", cmd.CommandPath(), line, err)
				}
			}
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRoot())
	if seen < 20 {
		t.Errorf("only %d examples found", seen)
	}
	if parses([]string{"check", "--frobnicate", "x"}) == nil || parses([]string{"check"}) == nil {
		t.Error("what is no command line passes")
	}
}

// commandLines returns the arguments of each gatewarden in a line of shell.
func commandLines(line string) [][]string {
	line, _, _ = strings.Cut(line, " #")
	var all [][]string
	for _, command := range strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == '&' }) {
		quoted := false
		words := strings.FieldsFunc(command, func(r rune) bool {
			if r == '"' {
				quoted = !quoted
			}
			return r == ' ' && !quoted
		})
		if len(words) > 0 && words[0] == "gatewarden" {
			all = append(all, words[1:])
		}
	}
	return all
}

func parses(words []string) error {
	cmd, rest, err := newRoot().Find(words)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestATableLinesUpWhetherItIsPaintedOrNot(t *testing.T) {
	rows := func(p painter) [][]string {
		return [][]string{{"a", p.state("healthy"), "x"}, {"größer", p.state("started"), ""}, {"", p.state("breach"), "y"}}
	}
	var plain, painted strings.Builder
	if err := table(&plain, []string{"NAME", "STATE", "NOTE"}, rows(painter{})); err != nil {
		t.Fatal(err)
	}
	if err := table(&painted, []string{"NAME", "STATE", "NOTE"}, rows(painter{on: true})); err != nil {
		t.Fatal(err)
	}
	const want = "NAME    STATE    NOTE\na       healthy  x\ngrößer  started\n        breach   y\n"
	if plain.String() != want {
		t.Errorf("plain:\n%s", plain.String())
	}
	if painted.String() == want || unpainted(painted.String()) != want {
		t.Errorf("painted:\n%q", painted.String())
	}
}
