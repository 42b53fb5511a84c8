package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/run"
)

// ending is a source that ends by itself.
type ending struct{ err error }

func (e ending) Run(context.Context) error { return e.err }

// A source that ended once ended the term of the guard that leads, again and again, and
// nothing was judged any more.
func TestASourceThatEndsByItselfEndsNothingElse(t *testing.T) {
	broken := errors.New("its port is gone")
	for name, c := range map[string]struct {
		ends error
		late time.Duration // until the group ends
	}{
		"without an error":               {nil, time.Hour},
		"with an error it ends the term": {broken, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				ctx, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				began := time.Now()
				var g run.Group
				g.Add(run.ContextHandler(ctx))
				addActor(ctx, &g, source{ending{c.ends}, "odd", slog.New(slog.NewTextHandler(&log, nil))}.Run)
				if err := g.Run(); c.ends != nil && !errors.Is(err, c.ends) {
					t.Errorf("the group ends with %v", err)
				}
				if after := time.Since(began); after != c.late {
					t.Errorf("the group ends after %s, want %s", after, c.late)
				}
				if said := strings.Count(log.String(), "level=ERROR"); (said == 1) != (c.ends == nil) || said == 1 && !strings.Contains(log.String(), "source=odd") {
					t.Errorf("the log says\n%s", &log)
				}
			})
		})
	}
}
