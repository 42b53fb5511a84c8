package promquery

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// middleWidth is what steps must divide, so that wider ones are made of whole ones.
const middleWidth = 5 * time.Minute

// Source asks.
type Source struct {
	settings Settings
	env      collector.Env
	log      *slog.Logger
	metrics  *metrics
	client   *client
	now      func() time.Time

	mu        sync.Mutex
	followers map[gatewarden.Series]*follower
}

var _ collector.Source = (*Source)(nil)

// New makes a source.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "prometheus: cannot register metrics: %w", err)
	}
	s := &Source{
		settings: settings, env: env, log: env.Log.With("source", env.Name), metrics: m, now: time.Now,
		followers: map[gatewarden.Series]*follower{},
	}
	peer, err := newHTTPClient(env, &s.settings)
	if err != nil {
		return nil, err
	}
	s.client = &client{
		settings: &s.settings, env: env, http: peer, turns: make(chan struct{}, settings.Concurrency), metrics: m, now: time.Now,
	}
	return s, nil
}

// followEvery is how often the queries are looked at: a reload changes them.
const followEvery = time.Second

// Run asks until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	defer s.client.http.CloseIdleConnections()
	var asking sync.WaitGroup
	defer asking.Wait()
	stops := map[gatewarden.Series]context.CancelFunc{}
	look := time.NewTicker(followEvery)
	defer look.Stop()
	for {
		s.follow(ctx, &asking, stops)
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// follow begins to count queries that are new, and forgets those that are gone.
func (s *Source) follow(ctx context.Context, asking *sync.WaitGroup, stops map[gatewarden.Series]context.CancelFunc) {
	wanted := map[gatewarden.Series][]gatewarden.SLO{}
	if s.env.Queries != nil {
		for _, slo := range s.env.Queries() {
			if slo.SLI.Query != nil {
				wanted[slo.Series] = append(wanted[slo.Series], slo)
			}
		}
	}
	for series, slos := range wanted {
		if f := s.follower(series); f != nil {
			f.serve(slos)
			continue
		}
		f, err := s.newFollower(series, slos)
		if err != nil {
			if _, known := stops[series]; !known {
				s.log.Error("a query cannot be counted", "slo", slos[0].Name, "err", err)
				stops[series] = func() {}
			}
			continue
		}
		followerCtx, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		stops[series] = func() { stop(); <-done } // should it come again, it must not be counted by two
		s.hold(series, f)
		asking.Go(func() { defer close(done); f.run(followerCtx) })
	}
	for series, stop := range stops {
		if _, ok := wanted[series]; !ok {
			stop()
			delete(stops, series)
			s.hold(series, nil)
		}
	}
	s.forget(ctx, wanted)
	s.measure()
}

func (s *Source) newFollower(series gatewarden.Series, slos []gatewarden.SLO) (*follower, error) {
	q, err := parse(slos[0].SLI.Query)
	if err != nil {
		return nil, err
	}
	return &follower{
		source: s, query: q, series: series, name: nameOf(s.env.Name, series), slos: slos,
		log: s.log.With("slo", slos[0].Name),
	}, nil
}

// forget drops the marks of queries that are gone: should they come again, their counts
// are gone, too, and are filled in anew.
func (s *Source) forget(ctx context.Context, wanted map[gatewarden.Series][]gatewarden.SLO) {
	if s.env.Checkpoints == nil {
		return
	}
	names := map[string]bool{}
	for series := range wanted {
		names[nameOf(s.env.Name, series)] = true
	}
	gone := map[string][]byte{}
	for name := range s.env.Checkpoints.Load(prefix(s.env.Name)) {
		if !names[name] {
			gone[name] = nil
		}
	}
	if len(gone) == 0 {
		return
	}
	if err := s.env.Checkpoints.Accept(context.WithoutCancel(ctx), s.env.Name, nil, gone); err != nil {
		s.log.Warn("how far queries were counted that nobody asks for any more could not be forgotten", "err", err)
	}
}

// measure sets the gauges.
func (s *Source) measure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, behind := s.now(), time.Duration(0)
	for _, f := range s.followers {
		if seen := f.is().seen; !seen.IsZero() {
			behind = max(behind, now.Sub(seen))
		}
	}
	s.metrics.followed.Set(float64(len(s.followers)))
	s.metrics.behind.Set(behind.Seconds())
}

func (s *Source) follower(series gatewarden.Series) *follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.followers[series]
}

// hold keeps the follower of a series; nil lets it go.
func (s *Source) hold(series gatewarden.Series, f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == nil {
		delete(s.followers, series)
		return
	}
	s.followers[series] = f
}

// Lag is how far behind the present the events of a query are to be judged: what is
// older has all been counted while the source is well.
func (s *Source) Lag() time.Duration {
	return time.Duration(s.settings.Delay) + 2*time.Duration(s.settings.Step)
}

// Silent reports whether the events of a series end longer than a limit before what is
// judged at an instant, which is Lag before it, and says why: a half sentence.
func (s *Source) Silent(series gatewarden.Series, at time.Time, limit time.Duration) (bool, string) {
	f := s.follower(series)
	if f == nil {
		return true, s.env.Name + " does not count its query yet"
	}
	is, judged := f.is(), at.Add(-s.Lag())
	switch {
	case !is.seen.IsZero() && judged.Sub(is.seen) <= limit:
		return false, ""
	case is.problem != "":
		return true, s.env.Name + ": " + is.problem
	case judged.Sub(is.until) > limit && is.seen.IsZero():
		return true, s.env.Name + " has not answered yet"
	case judged.Sub(is.until) > limit:
		return true, fmt.Sprintf("%s is catching up, and has counted up to %s", s.env.Name, is.until.UTC().Format(time.DateTime))
	default:
		return true, s.env.Name + " has no numbers of it yet"
	}
}
