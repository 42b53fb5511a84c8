package jaeger

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Source asks one Jaeger.
type Source struct {
	settings Settings
	feed     *collector.SpanFeed
	log      *slog.Logger
	metrics  *metrics
	quiet    collector.Quiet
	client   *http.Client
	now      func() time.Time

	dialect dialect // that Jaeger understands; nil before it was found out
	failing bool
}

// New makes a source.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	limits := collector.DefaultSpanLimits()
	limits.Timeout = time.Duration(settings.Timeout)
	feed, err := collector.NewSpanFeed(env, limits)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "jaeger: cannot register metrics: %w", err)
	}
	roots, err := authorities(env, settings.CAFile)
	if err != nil {
		return nil, err
	}
	return &Source{
		settings: settings, feed: feed, log: env.Log.With("source", env.Name), metrics: m, now: time.Now,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			},
			// A page to log in at has no traces: where it leads does not matter.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func authorities(env collector.Env, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(env.Path(file))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "jaeger: reading ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "jaeger: ca_file %s has no certificate in PEM", file)
	}
	return pool, nil
}

// Lag returns by how much the spans are later than they end: that of the oldest in a window
// that has just closed.
func (s *Source) Lag() time.Duration {
	return time.Duration(s.settings.Settle) + time.Duration(s.settings.Interval)
}

// farthest is how far back the source asks when Jaeger has given no answer for long. What
// is older is too late to act on, and more of it might be more than Jaeger can bear.
const farthest = 10 * time.Minute

// shortest is the shortest window that is asked for.
const shortest = time.Second

// Run asks until ctx is done. It begins with the window that has closed when it starts.
func (s *Source) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	interval := time.Duration(s.settings.Interval)
	every := time.NewTicker(interval)
	defer every.Stop()
	asked := map[string]time.Time{} // up to when, by service
	for {
		end := s.now().Add(-time.Duration(s.settings.Settle)).Truncate(time.Millisecond)
		for _, service := range s.settings.Services {
			from, ok := asked[service]
			if !ok {
				from = end.Add(-interval)
			}
			asked[service] = s.follow(ctx, service, from, end)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// follow asks for a service's traces in [from, end), and returns up to when it has them.
func (s *Source) follow(ctx context.Context, service string, from, end time.Time) time.Time {
	if end.Sub(from) > farthest {
		skipped := end.Sub(from) - farthest
		s.metrics.skipped.Add(skipped.Seconds())
		s.log.Warn("Jaeger gave no answer for so long that traces are left out", "service", service, "left_out", skipped)
		from = end.Add(-farthest)
	}
	if ahead := from.Sub(end); ahead > collector.MostAhead {
		s.log.Warn("Jaeger was asked for traces that are yet to come: the clock was ahead. It is asked anew from now on", "service", service, "ahead", ahead)
		from = end.Add(-s.Lag())
	}
	for length := max(time.Duration(s.settings.Interval), shortest); from.Before(end) && ctx.Err() == nil; {
		to := from.Add(length)
		if to.After(end) {
			to = end
		}
		whole, err := s.ask(ctx, service, from, to)
		if ctx.Err() != nil {
			return from
		}
		s.note(err)
		if err != nil {
			return from
		}
		if !whole && to.Sub(from) > shortest {
			length = max(to.Sub(from)/2, shortest)
			continue
		}
		if !whole {
			s.metrics.partial.Inc()
			if due, held := s.quiet.Due(s.now()); due {
				s.log.Warn("a second has more traces than the limit; some are missing", "service", service, "limit", s.settings.Limit, "times_before_unlogged", held)
			}
		}
		from = to
	}
	return from
}

// ask asks for one window and hands the spans on. whole says whether the answer has all
// traces of it.
func (s *Source) ask(ctx context.Context, service string, from, to time.Time) (whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	began := s.now()
	defer func() { s.metrics.seconds.Observe(s.now().Sub(began).Seconds()) }()
	if s.dialect == nil {
		if s.dialect, err = s.learn(ctx); err != nil {
			return false, err
		}
	}
	b := &collector.SpanBatch{Max: s.settings.MaxSpans}
	traces, err := s.search(ctx, b, service, from, to)
	if err != nil && !errors.Is(err, collector.ErrTooManySpans) {
		s.dialect = nil // it may be another Jaeger than before
		return false, err
	}
	whole = err == nil && traces < s.settings.Limit
	if err := s.feed.Deliver(ctx, b); err != nil {
		return false, fmt.Errorf("handing the spans on: %w", err)
	}
	return whole, nil
}

// note counts how a question went, and logs when that changes.
func (s *Source) note(err error) {
	if err == nil {
		s.metrics.questions.WithLabelValues("ok").Inc()
	} else {
		s.metrics.questions.WithLabelValues("failed").Inc()
	}
	switch {
	case err != nil && !s.failing:
		s.log.Warn("Jaeger gives no traces; it is asked on", "err", err)
	case err == nil && s.failing:
		s.log.Info("Jaeger gives traces again")
	}
	s.failing = err != nil
}
