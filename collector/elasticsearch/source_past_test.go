package elasticsearch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A source that returns ends the guard's judging: one that follows nothing is still there
// when it has filled in all that there is.
func TestASourceOfThePastRunsUntilItIsStopped(t *testing.T) {
	for name, documents := range map[string]int{"there is nothing to fill in": 0, "the past is filled in": 40} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, g := &standin{caps: flatCaps}, newGuard()
				for i := range documents {
					at := time.Now().Add(-time.Duration(i+1) * time.Minute)
					s.add(at, at, nil)
				}
				source := newSource(t, g, s, func(s *Settings) { s.Read = readNothing })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- source.Run(ctx) }()
				time.Sleep(time.Hour)
				synctest.Wait()
				select {
				case err := <-ended:
					t.Errorf("Run has returned %v while its context goes on", err)
					return
				default:
				}
				if n := g.counted(); n != documents {
					t.Errorf("%d documents, %d counted", documents, n)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}
