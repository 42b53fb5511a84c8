package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// usageError is about the command line itself: it points to the verb's help.
func usageError(cmd *cobra.Command, format string, args ...any) error {
	return gatewarden.Errorf(gatewarden.Invalid, format, args...).WithHint("see `%s --help`", cmd.CommandPath())
}

// flagError is what people read about a flag that does not exist or can't have that
// value.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	if n, ok := errors.AsType[*strconv.NumError](err); ok {
		text = strings.TrimSuffix(text, n.Error()) + "it is a whole number"
	}
	return usageError(cmd, "%s", text)
}

// verb is what follows the program's name: "actions approve".
func verb(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// noArgs accepts no argument.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.Flags().Lookup("config") != nil { // check takes it as it is
		return gatewarden.Errorf(gatewarden.Invalid, "%s takes no argument, and %q is one", verb(cmd), args[0]).WithHint("write `%s -c %s`", cmd.CommandPath(), args[0])
	}
	return usageError(cmd, "%s takes no argument, and %q is one", verb(cmd), args[0])
}

// noVerb is for the root, whose arguments are verbs that do not exist.
func noVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	near := cmd.SuggestionsFor(args[0])
	if len(near) == 0 {
		return usageError(cmd, "there is no verb %q", args[0])
	}
	return usageError(cmd, "there is no verb %q, did you mean %s?", args[0], strings.Join(near, " or "))
}

// between accepts from least to most arguments; most is 0 for any number. What they
// are stands in what, as in the line of usage.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError(cmd, "%s needs %s", verb(cmd), what)
		case slices.Contains(args, ""):
			return usageError(cmd, "an argument of %s is empty", verb(cmd))
		case most > 0 && len(args) > most:
			return usageError(cmd, "%s takes %s, and %q is too much", verb(cmd), what, args[most])
		default:
			return nil
		}
	}
}

// complain writes err for people: what is wrong with files as check shows it, all
// else on a line.
func complain(w io.Writer, err error) {
	if files, ok := errors.AsType[*rules.LoadError](err); ok {
		// Whoever can't read stderr can't be told so either.
		_ = files.Problems.Write(w)
		fmt.Fprintf(w, "gatewarden: the files can't be used: %s\n", count(len(files.Problems), "error"))
		return
	}
	fmt.Fprintf(w, "gatewarden: %v\n", err)
}
