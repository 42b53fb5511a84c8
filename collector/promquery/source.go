package promquery

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden/collector"
)

// middleWidth is how wide steps are that are hours old.
const middleWidth = 5 * time.Minute

// Source asks.
type Source struct{ settings Settings }

// New makes a source.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	return &Source{settings: settings}, nil
}

// Run asks until ctx is done.
func (s *Source) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Lag is how far behind the present the events of a query are to be judged: what is
// older has all been counted while the source is well.
func (s *Source) Lag() time.Duration {
	return time.Duration(s.settings.Delay) + 2*time.Duration(s.settings.Step)
}

// Silent reports whether events of the signal are missing at an instant, for longer than
// a limit beyond Lag, and says why: a half sentence.
func (s *Source) Silent(signal string, at time.Time, limit time.Duration) (bool, string) {
	return true, "it has not been asked yet"
}
