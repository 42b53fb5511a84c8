package app

import (
	"context"
	"log/slog"

	"github.com/gatewarden/gatewarden/collector"
)

// source is one of those that the configuration lists.
type source struct {
	collector.Source
	name string
	log  *slog.Logger
}

// Run lets the source work until ctx is done. In a group of actors who returns ends all of
// them: a source that does so without an error, before it is asked to, is said to have ended
// and waited for. It is silent then, and what others bring is judged on.
func (s source) Run(ctx context.Context) error {
	err := s.Source.Run(ctx)
	if err == nil && ctx.Err() == nil {
		s.log.Error("a source has ended by itself and brings nothing any more; the guard goes on", "source", s.name,
			"hint", "this is a mistake in gatewarden: please report it; a restart begins the source anew")
		<-ctx.Done()
	}
	return err
}
