// Package udplog takes what Kong's udp-log plugin sends: log records as JSON, one a
// datagram. It is one of the sources under collector.
//
// Nobody waits and nobody asks again over UDP: what comes faster than it is counted is
// dropped by the kernel once the socket's buffer is full. The source counts that.
package udplog

import (
	"context"
	"net"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("udplog", DefaultSettings(), New) }

// Settings are those of one udplog source.
type Settings struct {
	Listen     string             `yaml:"listen"`
	ReadBuffer collector.ByteSize `yaml:"read_buffer"` // asked of the kernel for the socket
}

// DefaultSettings returns what holds where the configuration is silent.
func DefaultSettings() Settings { return Settings{Listen: ":9515", ReadBuffer: 8 * collector.MiB} }

// maxReadBuffer is what fits into the number that the kernel is given, doubled.
const maxReadBuffer = collector.GiB - 1

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if s.ReadBuffer <= 0 || s.ReadBuffer > maxReadBuffer {
		return gatewarden.Errorf(gatewarden.Invalid, "udplog: read_buffer (%s) must be above zero and below %s", s.ReadBuffer, collector.GiB)
	}
	return collector.CheckAddress("udplog", "listen", s.Listen)
}

// largestDatagram is more than one can hold.
const largestDatagram = 64 * collector.KiB

// Source listens for datagrams.
type Source struct{ datagrams *collector.Datagrams }

// New makes a source, which listens from then on. The error has the code Conflict when
// the address is taken.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	feed, err := collector.NewFeed(env, largestDatagram)
	if err != nil {
		return nil, err
	}
	datagrams, err := collector.ListenDatagrams(env, collector.DatagramConfig{Listen: settings.Listen, ReadBuffer: settings.ReadBuffer}, feed)
	if err != nil {
		return nil, err
	}
	return &Source{datagrams}, nil
}

// Addr returns where it listens.
func (s *Source) Addr() net.Addr { return s.datagrams.Addr() }

// Run serves until ctx is done.
func (s *Source) Run(ctx context.Context) error { return s.datagrams.Run(ctx) }

// Close ends a source that never ran.
func (s *Source) Close() error { return s.datagrams.Close() }
