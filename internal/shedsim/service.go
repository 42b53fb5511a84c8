package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// service is what is overloaded: so many workers, and a queue before them. As most
// servers do, it works on requests whose clients have long left.
type service struct {
	clock   *clock
	rng     *rand.Rand
	workers int
	mean    time.Duration // of the work of one request; log-normal
	queued  int           // how many may wait

	busy    int
	waiting []*call
	head    int
}

// spread is the sigma of the logarithm of the work.
const spread = 0.5

// call is one request at the service.
type call struct {
	done func() // when it has its answer
}

// take takes a request in, and reports false when the queue is full.
func (s *service) take(c *call) bool {
	switch {
	case s.busy < s.workers:
		s.work(c)
	case len(s.waiting)-s.head >= s.queued:
		return false
	default:
		s.waiting = append(s.waiting, c)
	}
	return true
}

func (s *service) work(c *call) {
	s.busy++
	work := math.Exp(s.rng.NormFloat64()*spread-spread*spread/2) * float64(s.mean)
	s.clock.after(time.Duration(work), func() {
		s.busy--
		c.done()
		s.next()
	})
}

// next lets a worker that is free take from the queue.
func (s *service) next() {
	for s.head < len(s.waiting) && s.busy < s.workers {
		c := s.waiting[s.head]
		s.waiting[s.head] = nil
		s.head++
		s.work(c)
	}
	if s.head > 1024 && s.head*2 > len(s.waiting) {
		s.waiting = append([]*call(nil), s.waiting[s.head:]...)
		s.head = 0
	}
}

// resize changes how many workers there are; those at work come to their end.
func (s *service) resize(workers int) {
	s.workers = workers
	s.next()
}
