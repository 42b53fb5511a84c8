package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatewarden/gatewarden"
)

// TestASecondSignalEndsAtOnce signals a gate twice whose guard does not answer when it
// is to cancel.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	g := &gateGuard{course: map[string]course{"orders": {}}}
	polling, cancelling := make(chan struct{}, 1000), make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/cancel"):
			_, _ = io.Copy(io.Discard, r.Body) // before, a server does not see a client go
			cancelling <- struct{}{}
			<-r.Context().Done()
			return
		case r.Method == http.MethodGet:
			polling <- struct{}{}
		}
		g.ServeHTTP(w, r)
	}))
	defer server.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	gate := exec.Command(self, "gate", "orders", "--server", server.URL)
	gate.Env = append(os.Environ(), mainEnv+"=1")
	gate.Stdout, gate.Stderr = log, log
	if err := gate.Start(); err != nil {
		t.Fatal(err)
	}
	for _, reached := range []chan struct{}{polling, cancelling} {
		<-reached
		if err := gate.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	_ = gate.Wait() // what it ended with is in ProcessState
	status, ok := gate.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %s, want to be ended by the second signal", gate.ProcessState)
	}
	if run := g.only(t); run.State != gatewarden.RunRunning {
		t.Errorf("the run is %s, although the guard never heard of an end", run.State)
	}
}
