package gates

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// callTries is how often a callback is tried in one life of the guard, which with the
	// pauses takes five minutes. Jenkins answers 202 when no build waits for it yet, and also
	// for a hook that never existed, so that only 200 counts.
	callTries  = 9
	callWithin = 10 * time.Second // one try
	callLater  = time.Minute      // the longest pause between two
	maxAnswer  = 64 << 10         // read of an answer, so that its connection can be used again
)

// What became of a try.
const (
	callDelivered = "delivered"
	callFailed    = "failed"
	callAbandoned = "abandoned"
)

// call is a callback that is not yet delivered.
type call struct {
	Tries int       `json:"-"` // in this life of the guard
	Next  time.Time `json:"next"`

	under bool // way, in a goroutine of its own
}

// call tries the run's callback when it is time, without waiting for it.
func (b *Book) call(at time.Time, r *run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := r.todo.Call
	if c == nil || c.under || waits(c.Next, at, callLater) || b.life.Err() != nil {
		return
	}
	c.under = true
	to, view := *r.Callback, r.view(false)
	b.calls.Go(func() {
		ctx, cancel := context.WithTimeout(b.life, callWithin)
		defer cancel()
		b.called(at, r, c, b.cfg.Notify.Notify(ctx, to, view))
	})
}

// called takes what a try of the callback came to. The pause doubles with each.
func (b *Book) called(at time.Time, r *run, c *call, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.under = false
	r.dirty = true
	if err == nil {
		b.metrics.callbacks.WithLabelValues(callDelivered).Inc()
		r.todo.Call = nil
		return
	}
	b.metrics.callbacks.WithLabelValues(callFailed).Inc()
	if c.Tries++; c.Tries == callTries {
		b.cfg.Logger.Error("nobody took the answer of a run; the callback is given up", "run", r.ID, "callback", origin(r.Callback.URL), "tries", c.Tries, "error", err)
		b.metrics.callbacks.WithLabelValues(callAbandoned).Inc()
		r.todo.Call = nil
		return
	}
	b.cfg.Logger.Warn("a callback was not taken; it is tried again", "run", r.ID, "callback", origin(r.Callback.URL), "error", err)
	c.Next = at.Add(min(time.Second<<min(c.Tries, 10), callLater))
}

// checkCallback refuses what could not be called.
func checkCallback(c *gatewarden.Callback) error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return gatewarden.Errorf(gatewarden.Invalid, "the callback's URL is not an http or https URL")
	}
	for _, r := range c.Authorization.Reveal() {
		if r < ' ' || r == 0x7f {
			return gatewarden.Errorf(gatewarden.Invalid, "the callback's authorization is not a single line of text")
		}
	}
	return nil
}

// origin names a URL without what may be a secret in it: of a build's hook, the path is.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return gatewarden.Redacted
	}
	return u.Scheme + "://" + u.Host
}

// caller delivers runs by HTTP.
type caller struct{ http *http.Client }

// newCaller returns a caller over a transport; nil is the usual one.
func newCaller(transport http.RoundTripper) *caller {
	return &caller{http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the authorization is for the one that was named
	}}}
}

// Notify posts the run as JSON. Anything but 200 is an error.
func (c *caller) Notify(ctx context.Context, to gatewarden.Callback, run gatewarden.Run) error {
	run.Callback = nil
	body, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("encoding the run: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "the callback's URL is not one")
	}
	req.Header.Set("Content-Type", "application/json")
	if !to.Authorization.IsZero() {
		req.Header.Set("Authorization", to.Authorization.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return gatewarden.Errorf(gatewarden.Unavailable, "calling %s: %w", origin(to.URL), err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status says it all
	if resp.StatusCode != http.StatusOK {
		return gatewarden.Errorf(gatewarden.Unavailable, "%s answered %d, not 200", origin(to.URL), resp.StatusCode)
	}
	return nil
}
