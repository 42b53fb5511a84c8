package elasticsearch

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Source reads an index.
type Source struct {
	settings Settings
	name     string
	sink     collector.Sink
	kept     collector.Checkpoints // nil when nothing outlives the process
	past     collector.Past        // nil when nobody asks for it
	headers  *collector.Headers
	log      *slog.Logger
	metrics  *metrics
	quiet    collector.Quiet
	index    *index
	decoders *collector.Pool
	now      func() time.Time
}

// New makes a source. It sends nothing yet.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "elasticsearch: cannot register metrics: %w", err)
	}
	s := &Source{
		settings: settings, name: env.Name, sink: env.Sink, kept: env.Checkpoints, past: env.Past, headers: env.Headers,
		log: env.Log.With("source", env.Name), metrics: m, now: time.Now,
		decoders: collector.NewPool(collector.Limits{MaxRecords: math.MaxInt}, env.Headers),
	}
	if s.index, err = newIndex(env, settings, m); err != nil {
		return nil, err
	}
	return s, nil
}

// Lag returns how late records come, for those who judge by the second.
func (s *Source) Lag() time.Duration { return s.settings.Late() }

// Follows reports whether what is indexed from now on is read.
func (s *Source) Follows() bool { return s.settings.Follows() }

// lookEvery is how often the fields of the index are looked at anew: tomorrow's index may
// be made otherwise.
const lookEvery = 10 * time.Minute

// lookAgain is lookEvery while there are no documents that show whether they say when they
// were indexed.
const lookAgain = 30 * time.Second

// Run reads until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	l, ok := s.layout(ctx)
	if !ok {
		return nil
	}
	s.log.Info("reading the index", "index", s.settings.Index, "how", l.String(), "read", s.settings.Read)
	follow, fill, err := s.begin(ctx, l)
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	defer working.Wait()
	if s.Follows() {
		working.Go(func() { follow.follow(ctx) })
	}
	working.Go(func() { fill.fill(ctx) })
	<-ctx.Done() // when the past is filled in, too
	return nil
}

// look finds out how the documents of the index are made.
func (s *Source) look(ctx context.Context) (*layout, error) {
	l, err := s.index.look(ctx, &s.settings)
	if err == nil && s.settings.Read == readDocuments && l.ingested.name != "" {
		err = s.index.stamped(ctx, l, s.now())
	}
	return l, err
}

// layout waits until the index can be read, and returns false when ctx is done before.
func (s *Source) layout(ctx context.Context) (*layout, bool) {
	for wait := backoff(0); ; {
		l, err := s.look(ctx)
		if err == nil && s.settings.Read == readBuckets {
			err = l.problem
		}
		if err == nil {
			return l, true
		}
		if ctx.Err() == nil {
			s.failed("looking at the fields of the index", err)
		}
		if !sleep(ctx, wait.next()) {
			return nil, false
		}
	}
}

// begin takes up reading where it ended, or decides where it begins: what is indexed, or
// happens, from then on is followed, and what was before is the past.
func (s *Source) begin(ctx context.Context, l *layout) (*follower, *filler, error) {
	follow := &follower{Source: s, seen: map[int64]map[uint32]struct{}{}}
	fill := &filler{Source: s, layout: l}
	known := s.load(followed, &follow.mark)
	follow.adopt(l)
	if known {
		follow.recall()
		s.load(filled, &fill.mark)
		return follow, fill, nil
	}
	until := s.until()
	follow.mark.Until = until
	pastEnd := until + time.Minute.Milliseconds() // clocks differ: what was indexed before decides
	switch {
	case s.settings.Read == readNothing:
		pastEnd = s.now().UnixMilli()
	case follow.bySlots():
		follow.mark.Until = floor(until-time.Duration(s.settings.Lateness).Milliseconds(), follow.slotWidth())
		pastEnd = follow.mark.Until
	default:
		fill.mark.Ingested = until
	}
	fill.mark.Left = s.pastUntil(pastEnd)
	// The past first: should the process die between the two, both are decided anew.
	if err := s.count(ctx, nil, filled, &fill.mark); err != nil {
		return nil, nil, fmt.Errorf("keeping where the past ends: %w", err)
	}
	if err := s.count(ctx, nil, followed, &follow.mark); err != nil {
		return nil, nil, fmt.Errorf("keeping from when on the index is followed: %w", err)
	}
	return follow, fill, nil
}

// pastUntil returns what is to be filled in of the time before to, in Unix milliseconds.
func (s *Source) pastUntil(to int64) []interval {
	reach := time.Duration(s.settings.PastReach)
	if s.past == nil || reach == 0 {
		return nil
	}
	if since := s.past.Since(); !since.IsZero() {
		to = min(to, since.UnixMilli())
	}
	// An hour is as wide as any bucket.
	from := floor(s.now().Add(-reach).UnixMilli(), time.Hour.Milliseconds())
	if from >= to {
		return nil
	}
	return []interval{{from, to}}
}
