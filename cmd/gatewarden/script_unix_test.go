//go:build unix

package main

import (
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// sigusr sends a signal of the user's to everything that runs in the background.
func sigusr(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"1": syscall.SIGUSR1, "2": syscall.SIGUSR2}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: sigusr 1|2")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
	}
}
