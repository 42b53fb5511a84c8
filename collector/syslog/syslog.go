// Package syslog takes Kong's log records out of syslog messages, as Kong's syslog
// plugin and relays such as rsyslog send them: over UDP, over TCP, with TLS. It is one
// of the sources under collector.
//
// Messages of other programs, which hold no JSON, are counted as rejected.
package syslog

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("syslog", DefaultSettings(), New) }

// Settings are those of one syslog source.
type Settings struct {
	UDP            string              `yaml:"udp"`             // where it listens; "" for not
	TCP            string              `yaml:"tcp"`             // the same
	TLS            *collector.TLSFiles `yaml:"tls"`             // of TCP
	ReadBuffer     collector.ByteSize  `yaml:"read_buffer"`     // asked of the kernel for the UDP socket
	MaxConnections int                 `yaml:"max_connections"` // beyond it, new ones are closed
	MaxMessage     collector.ByteSize  `yaml:"max_message"`     // of one message over TCP; longer ones are left out
	IdleTimeout    gatewarden.Duration `yaml:"idle_timeout"`    // of a connection, without a whole message
}

// DefaultSettings returns what holds where the configuration is silent. Relays keep one
// connection for good, and may have nothing to send for a night.
func DefaultSettings() Settings {
	return Settings{
		ReadBuffer:     8 * collector.MiB,
		MaxConnections: 256,
		MaxMessage:     collector.MiB,
		IdleTimeout:    gatewarden.Duration(time.Hour),
	}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if s.UDP == "" && s.TCP == "" {
		return gatewarden.Errorf(gatewarden.Invalid, "syslog: it listens nowhere").WithHint(`write udp: ":5514", tcp: ":5514", or both`)
	}
	for key, address := range map[string]string{"udp": s.UDP, "tcp": s.TCP} {
		if address == "" {
			continue
		}
		if err := collector.CheckAddress("syslog", key, address); err != nil {
			return err
		}
	}
	switch {
	case s.MaxConnections <= 0 || s.IdleTimeout <= 0:
		return gatewarden.Errorf(gatewarden.Invalid, "syslog: max_connections and idle_timeout must be above zero")
	case s.ReadBuffer <= 0 || s.ReadBuffer >= collector.GiB:
		return gatewarden.Errorf(gatewarden.Invalid, "syslog: read_buffer (%s) must be above zero and below %s", s.ReadBuffer, collector.GiB)
	case s.MaxMessage < collector.ShortestLimit:
		return gatewarden.Errorf(gatewarden.Invalid, "syslog: max_message (%s) is below %s, which a record of Kong's may have", s.MaxMessage, collector.ShortestLimit)
	case s.TLS != nil && s.TCP == "":
		return gatewarden.Errorf(gatewarden.Invalid, "syslog: tls is for tcp, which is not set").WithHint(`add tcp: ":6514", or leave tls out`)
	}
	return s.TLS.Validate("syslog")
}

// Source listens for messages.
type Source struct {
	stream    *collector.Stream    // nil without TCP
	datagrams *collector.Datagrams // nil without UDP
}

// New makes a source, which listens from then on. The error has the code Conflict when
// an address is taken.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	feed, err := collector.NewFeed(env, settings.MaxMessage)
	if err != nil {
		return nil, err
	}
	s := &Source{}
	if settings.UDP != "" {
		s.datagrams, err = collector.ListenDatagrams(env, collector.DatagramConfig{Listen: settings.UDP, ReadBuffer: settings.ReadBuffer, Open: open}, feed)
	}
	if err == nil && settings.TCP != "" {
		s.stream, err = collector.ListenStream(env, collector.StreamConfig{
			Listen: settings.TCP, TLS: settings.TLS, MaxConnections: settings.MaxConnections, IdleTimeout: time.Duration(settings.IdleTimeout),
			Framing: func() collector.Framing { return newFraming(settings.MaxMessage) },
		}, feed)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open returns the JSON of a datagram, or a value that is no record.
func open(datagram []byte) []byte {
	if json := payload(datagram); json != nil {
		return json
	}
	return null
}

// Addrs returns where it listens; nil where it does not.
func (s *Source) Addrs() (udp, tcp net.Addr) {
	if s.datagrams != nil {
		udp = s.datagrams.Addr()
	}
	if s.stream != nil {
		tcp = s.stream.Addr()
	}
	return udp, tcp
}

// Run serves until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		all     sync.WaitGroup
		ofUDP   error
		ofTCP   error
		serving = func(run func(context.Context) error, err *error) {
			all.Go(func() {
				defer cancel() // one without the other is not what was asked for
				*err = run(ctx)
			})
		}
	)
	if s.datagrams != nil {
		serving(s.datagrams.Run, &ofUDP)
	}
	if s.stream != nil {
		serving(s.stream.Run, &ofTCP)
	}
	all.Wait()
	return errors.Join(ofUDP, ofTCP)
}

// Close ends a source that never ran.
func (s *Source) Close() error {
	var errs []error
	if s.datagrams != nil {
		errs = append(errs, s.datagrams.Close())
	}
	if s.stream != nil {
		errs = append(errs, s.stream.Close())
	}
	return errors.Join(errs...)
}
