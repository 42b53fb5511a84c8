// Command gatewarden guards a Kong gateway: it judges SLOs on what Kong logs, acts
// at the gateway and in Jenkins on a breach, and puts everything back.
//
// One file a verb: flags, exit codes and printing. What a verb does lives in the
// packages beside.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Main runs the command line and returns the exit code. stdout gets data, stderr
// gets logs and complaints.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	if e, ok := errors.AsType[exitError](err); ok {
		if code = e.code; e.error == nil {
			return code // the verb has printed all there is to say
		}
		err = e.error
	}
	complain(stderr, err)
	return code
}

// exitError asks for an exit code of its own. A nil error inside means that
// everything has been said.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatewarden",
		Short: "Guards a Kong gateway: judges SLOs every second, acts on a breach, puts everything back",
		Long: `gatewarden reads what Kong logs, knows within seconds when a promise to users is
being broken, degrades at the gateway and rolls back through Jenkins, and puts
everything back when the danger is over.

Start with the demo, which needs nothing else installed:

    gatewarden demo

Data goes to stdout, logs and complaints to stderr. A verb ends with 0 when all is
well, and with 1 when it is not.`,
		Version:           version.Get().String(),
		Args:              noVerb,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SuggestionsMinimumDistance = 2
	root.Flags().Bool("version", false, "say which build this is")
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	addVerbs(root, "Verbs:", newDemo(), newRun(), newCheck(), newDoctor(), newTest(), newReplay(), newRules())
	addVerbs(root, "Verbs that ask a running guard:", newGate(), newCanary(), newSLO(), newActions(), newEvents(), newHealthcheck())
	root.AddCommand(newVersion())
	return root
}

// addVerbs adds verbs that the help shows together.
func addVerbs(root *cobra.Command, title string, verbs ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, v := range verbs {
		v.GroupID = title
		root.AddCommand(v)
	}
}
