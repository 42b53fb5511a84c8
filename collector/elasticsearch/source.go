package elasticsearch

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Source reads an index.
type Source struct {
	settings Settings
	name     string
	sink     collector.Sink
	kept     collector.Checkpoints // nil when nothing outlives the process
	past     collector.Past        // nil when nobody asks for it
	headers  *collector.Headers
	log      *slog.Logger
	metrics  *metrics
	quiet    collector.Quiet
	index    *index
	decoders *collector.Pool
	now      func() time.Time
}

// New makes a source. It sends nothing yet.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "elasticsearch: cannot register metrics: %w", err)
	}
	s := &Source{
		settings: settings, name: env.Name, sink: env.Sink, kept: env.Checkpoints, past: env.Past, headers: env.Headers,
		log: env.Log.With("source", env.Name), metrics: m, now: time.Now,
		decoders: collector.NewPool(collector.Limits{MaxRecords: settings.Page}, env.Headers),
	}
	if s.index, err = newIndex(env, settings, m); err != nil {
		return nil, err
	}
	return s, nil
}

// Run reads until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
