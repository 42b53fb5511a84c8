package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

// transcript is what a story has said so far.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// TestTheStoryHappens is `make shop ARGS=--story`: the guard's real binary, with the
// rules of the containers, in front of a bad canary and of an
// outage. It takes as long as these take, some 45 s.
func TestTheStoryHappens(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gatewarden")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/gatewarden").CombinedOutput(); err != nil {
		t.Fatalf("building the guard: %v\n%s", err, out)
	}
	ctx, cancel := contextFor(t, 4*time.Minute)
	defer cancel()
	var said transcript
	l := &local{
		Guard: binary, Config: "local.yaml", API: "127.0.0.1:0", Rate: 60, Story: true, Out: &said, Logger: quiet(),
	}
	if err := l.run(ctx); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	story := said.String()
	for _, chapter := range []string{
		"All is well: the guard judges 5 SLOs healthy.",
		"gatewarden: orders fail: the canary is worse than the baseline",
		"The pipeline ends as FAILURE: nobody else gets v2-broken.",
		"orders-availability outage breach: ",
		"outage applied: the plugin is in place",
		"outage reverted: the plugin is removed",
		"everything is as before.",
	} {
		_, rest, ok := strings.Cut(story, chapter)
		if !ok {
			t.Fatalf("%q is missing, or not in its place:\n%s", chapter, said.String())
		}
		story = rest
	}
}

// A guard that cannot start is said to be so, with its own words, at once.
func TestAGuardThatDoesNotStartEndsTheShop(t *testing.T) {
	binary, err := exec.LookPath("false")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextFor(t, time.Minute)
	defer cancel()
	l := &local{Guard: binary, Config: "none.yaml", API: "127.0.0.1:0", Rate: 10, Story: true, Out: &transcript{}, Logger: quiet()}
	if err := l.run(ctx); err == nil || !strings.Contains(err.Error(), "the guard: exit status 1") {
		t.Errorf("error is %v", err)
	}
}
