package main

import (
	"math/rand/v2"
	"time"

	"github.com/gatewarden/gatewarden"
)

// mail brings records to the judge as gateways do: late, in any order, and with clocks
// that differ. Without any of that it brings them at once.
type mail struct {
	delay  int
	skew   time.Duration
	rng    *rand.Rand
	on     [8][]gatewarden.Observation // under way, by the second of arrival
	second int
}

func newMail(s *scenario) mail {
	return mail{delay: min(s.delay, 7), skew: s.skew, rng: rand.New(rand.NewPCG(1, 2))}
}

// deliver sends a second's records and hands over those that arrive within it.
func (m *mail) deliver(s *second, add func(*gatewarden.Observation)) {
	if m.delay == 0 && m.skew == 0 {
		for i := range s.requests {
			add(&s.requests[i])
		}
		return
	}
	batch := [2]int{m.rng.IntN(m.delay + 1), m.rng.IntN(m.delay + 1)} // each gateway sends a second's records together
	for i := range s.requests {
		o := s.requests[i]
		gateway := m.rng.IntN(2)
		o.At = o.At.Add(m.skew * time.Duration(2*gateway-1))
		at := (m.second + batch[gateway]) % len(m.on)
		m.on[at] = append(m.on[at], o)
	}
	now := &m.on[m.second%len(m.on)]
	m.rng.Shuffle(len(*now), func(i, j int) { (*now)[i], (*now)[j] = (*now)[j], (*now)[i] })
	for i := range *now {
		add(&(*now)[i])
	}
	*now = (*now)[:0]
	m.second++
}
