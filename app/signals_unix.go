//go:build unix

package app

import (
	"os"
	"syscall"
)

// steering returns the signals that pause the guard and that end it, none of both where
// a system has no such signals.
func steering() (pause, resume os.Signal) { return syscall.SIGUSR1, syscall.SIGUSR2 }
