package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// failpoint returns the hook of the crash test, nil for everybody else: it kills the
// process as kill -9 does when the engine comes to the step that failpointEnv names.
func failpoint() func(name string) {
	want, pass, _ := strings.Cut(os.Getenv(failpointEnv), ":")
	if want == "" {
		return nil
	}
	left := atomic.Int64{}
	if n, err := strconv.ParseInt(pass, 10, 64); err == nil {
		left.Store(n - 1)
	}
	return func(name string) {
		if name == want && left.Add(-1) < 0 {
			// Kill does not return, unless it fails; then the crash test sees no crash.
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
