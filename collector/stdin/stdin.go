// Package stdin takes log records as JSON, one a line, from the standard input: what
// another program pipes into the guard. It is one of the sources under collector.
package stdin

import (
	"context"
	"io"
	"log/slog"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source, which reads in.
func Factory(in io.Reader) collector.Factory {
	return collector.Of("stdin", DefaultSettings(), func(env collector.Env, s Settings) (collector.Source, error) {
		return New(env, s, in)
	})
}

// Settings are those of the stdin source.
type Settings struct {
	MaxLine collector.ByteSize `yaml:"max_line"` // of one line; longer ones are left out
}

// DefaultSettings returns what holds where the configuration is silent.
func DefaultSettings() Settings { return Settings{MaxLine: collector.MiB} }

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if s.MaxLine < collector.ShortestLimit {
		return gatewarden.Errorf(gatewarden.Invalid, "stdin: max_line (%s) is below %s, which a record of Kong's may have", s.MaxLine, collector.ShortestLimit)
	}
	return nil
}

// Source reads lines.
type Source struct {
	in      io.Reader
	feed    *collector.Feed
	framing collector.Framing
	log     *slog.Logger
}

// New makes a source that reads in. There can be one only in a program.
func New(env collector.Env, settings Settings, in io.Reader) (collector.Source, error) {
	feed, err := collector.NewFeed(env, settings.MaxLine)
	if err != nil {
		return nil, err
	}
	return &Source{in: in, feed: feed, framing: collector.Lines(settings.MaxLine), log: env.Log.With("source", env.Name)}, nil
}

// Run reads until ctx is done. The end of the input is not the end of the guard: from
// then on it hears nothing, and says so after blind_after.
func (s *Source) Run(ctx context.Context) error {
	over := make(chan error, 1)
	// A read of the standard input cannot be interrupted everywhere; one that hangs ends
	// with the process.
	go func() { over <- s.feed.Pump(ctx, s.in, s.framing, nil) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-over:
		if err != nil {
			s.log.Error("the standard input cannot be read on", "err", err)
		} else {
			s.log.Info("the standard input has ended")
		}
	}
	<-ctx.Done()
	return nil
}
