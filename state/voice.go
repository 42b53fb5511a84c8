package state

import (
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/gatewarden/gatewarden"
)

// voicePrefix heads every subject of what is told, so that none is a stream's.
const voicePrefix = "gatewarden.told."

// Tell says data on a subject to whoever hears it now, this guard included. Nothing is
// kept, and who is not connected misses it.
func (s *State) Tell(subject string, data []byte) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	if err := s.conn.Publish(voicePrefix+subject, data); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "telling %s: %w", subject, err)
	}
	return nil
}

// Hear calls heard with what is told on a subject, one after the other, until stop is
// called; a call that is under way then may still end. A heard that is slower than what
// is told misses some.
func (s *State) Hear(subject string, heard func(data []byte)) (stop func(), err error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	sub, err := s.conn.Subscribe(voicePrefix+subject, func(m *nats.Msg) { heard(m.Data) })
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "listening to %s: %w", subject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

func checkSubject(subject string) error {
	if subject == "" || strings.ContainsAny(subject, " \t\r\n*>") {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is no subject", subject)
	}
	return nil
}
