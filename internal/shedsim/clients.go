package main

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gatewarden/gatewarden"
)

// clients ask at random, have so much patience, and try again.
type clients struct {
	clock    *clock
	rng      *rand.Rand
	gateway  *gateway
	service  *service
	rate     func(at time.Duration) float64 // originals a second, by the time since the beginning
	start    time.Time
	patience time.Duration
	tries    int  // in all
	broken   bool // the service fails every request, at once
	done     func(at time.Time, took time.Duration)
}

// arrivals plans the next client, and so on.
func (c *clients) arrivals() {
	rate := max(c.rate(c.clock.now.Sub(c.start)), 1e-3)
	c.clock.after(time.Duration(c.rng.ExpFloat64()/rate*float64(time.Second)), func() {
		c.ask(1)
		c.arrivals()
	})
}

// backOff is how long a client waits before it tries again, at least; at most twice that.
// It is also what Kong's Retry-After of a limit a second says.
const backOff = time.Second

// ask sends a request for the so-and-so-many-th time.
func (c *clients) ask(try int) {
	again := func() {
		if try < c.tries {
			c.clock.after(backOff+time.Duration(c.rng.Int64N(int64(backOff))), func() { c.ask(try + 1) })
		}
	}
	if status := c.gateway.admit(); status != 0 {
		c.gateway.write(status, gatewarden.OriginKong, time.Millisecond)
		again()
		return
	}
	begun, open := c.clock.now, true
	if c.broken || !c.service.take(&call{done: func() {
		if open {
			open = false
			took := c.clock.now.Sub(begun)
			c.gateway.write(http.StatusOK, gatewarden.OriginUpstream, took)
			c.done(c.clock.now, took)
		}
	}}) {
		c.gateway.write(http.StatusServiceUnavailable, gatewarden.OriginUpstream, time.Millisecond)
		again()
		return
	}
	c.clock.after(c.patience, func() {
		if open { // the client leaves, which Kong logs as 499
			open = false
			c.gateway.write(499, gatewarden.OriginKong, c.patience)
			again()
		}
	})
}
