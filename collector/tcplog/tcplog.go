// Package tcplog takes what Kong's tcp-log plugin sends: log records as JSON, one a
// line, over any number of connections. It is one of the sources under collector.
//
// Kong forgets a line when it is written, and is told nothing. So a line that is broken
// or too long is counted and left out while the rest of its connection goes on, and the
// source reads no faster than it counts: Kong's queue is then what waits.
package tcplog

import (
	"context"
	"net"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("tcplog", DefaultSettings(), New) }

// Settings are those of one tcplog source.
type Settings struct {
	Listen         string              `yaml:"listen"`
	TLS            *collector.TLSFiles `yaml:"tls"`
	MaxConnections int                 `yaml:"max_connections"` // beyond it, new ones are closed
	MaxLine        collector.ByteSize  `yaml:"max_line"`        // of one line; longer ones are left out
	IdleTimeout    gatewarden.Duration `yaml:"idle_timeout"`    // without a whole line
}

// DefaultSettings returns what holds where the configuration is silent. Kong keeps an
// idle connection for a minute by default; it must not find it closed before.
func DefaultSettings() Settings {
	return Settings{
		Listen:         ":9514",
		MaxConnections: 256,
		MaxLine:        collector.MiB,
		IdleTimeout:    gatewarden.Duration(5 * time.Minute),
	}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if err := collector.CheckAddress("tcplog", "listen", s.Listen); err != nil {
		return err
	}
	if s.MaxConnections <= 0 || s.IdleTimeout <= 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "tcplog: max_connections and idle_timeout must be above zero")
	}
	if s.MaxLine < collector.ShortestLimit {
		return gatewarden.Errorf(gatewarden.Invalid, "tcplog: max_line (%s) is below %s, which a record of Kong's may have", s.MaxLine, collector.ShortestLimit)
	}
	return s.TLS.Validate("tcplog")
}

// Source listens for connections.
type Source struct{ stream *collector.Stream }

// New makes a source, which listens from then on. The error has the code Conflict when
// the address is taken.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	feed, err := collector.NewFeed(env, settings.MaxLine)
	if err != nil {
		return nil, err
	}
	stream, err := collector.ListenStream(env, collector.StreamConfig{
		Listen: settings.Listen, TLS: settings.TLS, MaxConnections: settings.MaxConnections, IdleTimeout: time.Duration(settings.IdleTimeout),
		Framing: func() collector.Framing { return collector.Lines(settings.MaxLine) },
	}, feed)
	if err != nil {
		return nil, err
	}
	return &Source{stream}, nil
}

// Addr returns where it listens.
func (s *Source) Addr() net.Addr { return s.stream.Addr() }

// Run serves until ctx is done.
func (s *Source) Run(ctx context.Context) error { return s.stream.Run(ctx) }

// Close ends a source that never ran.
func (s *Source) Close() error { return s.stream.Close() }
