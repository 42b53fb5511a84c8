package promquery

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// follower counts the events of one query. It belongs to one goroutine, but for state.
type follower struct {
	source *Source
	query  query
	series gatewarden.Series
	name   string // of its mark
	log    *slog.Logger
	mark   mark

	mu    sync.Mutex
	slos  []gatewarden.SLO // that live on it
	state state
}

// state is what others ask about.
type state struct {
	until, seen time.Time
	problem     string // why the newest step did not count; "" when it did
}

// The pauses after a question that failed.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// settle is how long a step may have no numbers and is asked for again: what feeds the
// server may be late. Afterwards it is passed over.
const settle = 5 * time.Minute

// maxSteps bounds one question. Prometheus gives 11,000 points at most.
const maxSteps = 600

// run counts until ctx is done.
func (f *follower) run(ctx context.Context) {
	f.begin(f.source.now())
	pause := firstPause
	for {
		more, err := f.advance(ctx, f.source.now())
		wait := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = pause
			if p, ok := errors.AsType[*problem](err); ok {
				wait = max(wait, p.after)
			}
			pause = min(2*pause, lastPause)
		case !more:
			wait, pause = f.untilNext(f.source.now()), firstPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// begin takes up where the last life was, or begins as far back as there is to fill in.
func (f *follower) begin(now time.Time) {
	s := f.source
	m, ok := loadMark(s.env.Checkpoints, f.name)
	oldest := now.Add(-f.backfill())
	if !ok {
		m = mark{Until: oldest.Truncate(f.width(now.Sub(oldest)))}
	}
	if earliest := now.Add(-time.Duration(longestBackfill)); m.Until.Before(earliest) {
		m.Until, m.Total, m.Other = earliest.Truncate(time.Hour), nil, nil
	}
	f.mark = m
	f.show(nil)
	f.log.Info("the events of a query are counted", "from", m.Until, "known_before", ok)
}

// backfill returns how far back a query that is new begins: as far as its SLOs look.
func (f *follower) backfill() time.Duration {
	if f.source.env.Past == nil {
		return 0
	}
	longest := time.Duration(0)
	for _, slo := range f.lives() {
		longest = max(longest, slo.Window.Length())
		for _, p := range slo.Pairs {
			longest = max(longest, p.Long)
		}
	}
	return min(longest, time.Duration(f.source.settings.Backfill))
}

// width returns how wide steps of an age are: as the store keeps them, and no narrower
// than the settings say.
func (f *follower) width(age time.Duration) time.Duration {
	step := time.Duration(f.source.settings.Step)
	if f.source.env.Past == nil {
		return step
	}
	wide := f.source.env.Past.Resolution(age)
	if f.query.total.is == counter || f.query.other.is == counter {
		wide = min(wide, middleWidth) // what a restart costs is a step
	}
	return max(step, wide)
}

// frontier returns the end of the last step that may be asked for.
func (f *follower) frontier(now time.Time) time.Time {
	return now.Add(-time.Duration(f.source.settings.Delay)).Truncate(time.Duration(f.source.settings.Step))
}

// untilNext returns how long it is until there is a new step to ask for. Queries are
// spread over a quarter of a step, so that they do not all come at once.
func (f *follower) untilNext(now time.Time) time.Duration {
	step := time.Duration(f.source.settings.Step)
	h := fnv.New32a()
	h.Write([]byte(f.name))
	spread := time.Duration(h.Sum32()%1000) * step / 4000
	due := f.frontier(now).Add(step + time.Duration(f.source.settings.Delay) + spread)
	return max(due.Sub(now), 10*time.Millisecond)
}

// plan returns the next steps to ask for: of one width, which is right for their age, and
// none beyond the frontier. It may be empty.
func (f *follower) plan(now time.Time) span {
	from, end := f.mark.Until, f.frontier(now)
	wide := f.width(now.Sub(from))
	s := span{from: from, width: time.Duration(f.source.settings.Step)}
	if from.Truncate(wide).Equal(from) && !from.Add(wide).After(end) {
		s.width = wide
	}
	for s.n < maxSteps && !s.end(s.n).After(end) {
		start := s.end(s.n - 1)
		if s.n > 0 && (f.width(now.Sub(start)) != wide || s.width < wide && start.Truncate(wide).Equal(start)) {
			break // another width is right from here on
		}
		s.n++
	}
	return s
}

// comeBack sets the mark back when it is in the future: the clock was ahead, and steps were
// passed over before there was anything in them. Those that were counted meanwhile are not
// counted again.
func (f *follower) comeBack(now time.Time) {
	end := f.frontier(now)
	ahead := f.mark.Until.Sub(end)
	if ahead <= collector.MostAhead {
		return
	}
	if f.mark.Seen.After(end) {
		end = f.mark.Seen
	}
	if present := now.Truncate(time.Duration(f.source.settings.Step)); end.After(present) {
		end = present
	}
	f.mark.Until, f.mark.Seen, f.mark.Total, f.mark.Other = end, end, nil, nil
	f.log.Warn("a query was counted up to a time that is yet to come: the clock was ahead. It is counted anew from now on", "ahead", ahead)
}

// advance counts the next steps, and reports whether there are more to count at once.
func (f *follower) advance(ctx context.Context, now time.Time) (more bool, err error) {
	f.comeBack(now)
	steps := f.plan(now)
	if steps.n == 0 {
		return false, nil
	}
	next := f.mark
	total, err := f.side(ctx, &f.query.total, steps, &next.Total)
	if err == nil {
		var other []events
		if other, err = f.side(ctx, &f.query.other, steps, &next.Other); err == nil {
			return f.take(ctx, now, steps, total, other, next)
		}
	}
	if ctx.Err() == nil {
		f.show(err)
	}
	return false, err
}

// side asks for one side of the query.
func (f *follower) side(ctx context.Context, e *expression, s span, last **float64) ([]events, error) {
	window := max(time.Duration(f.source.settings.Window), s.width)
	l, err := f.source.client.ask(ctx, e.over(window), e.grid(s, known(*last)))
	if err != nil {
		return nil, sideError{e.key, err}
	}
	list, end := e.count(l, s, window, known(*last))
	*last = kept(end)
	return list, nil
}

// sideError says which side of a query an error is of.
type sideError struct {
	key string
	err error
}

func (e sideError) Error() string { return e.key + ": " + e.err.Error() }
func (e sideError) Unwrap() error { return e.err }

// take counts steps. Those at the end that lack numbers and are not old enough to be
// passed over are left for the next time.
func (f *follower) take(ctx context.Context, now time.Time, s span, total, other []events, next mark) (more bool, err error) {
	outcomes := make([]outcome, s.n)
	for i := range outcomes {
		outcomes[i] = f.query.judge(total[i], other[i])
	}
	last := outcomes[s.n-1]
	whole := s.n
	for s.n > 0 && outcomes[s.n-1].err != nil && now.Sub(s.end(s.n-1)) < settle {
		s.n--
	}
	if s.n < whole {
		next.Total, next.Other = nil, nil // they are of later on
	}
	if s.n > 0 {
		if err := f.count(ctx, now, s, outcomes[:s.n], next); err != nil {
			return false, err
		}
	}
	f.show(last.err)
	return s.n == whole, nil
}

// count hands the records of steps on, with the mark behind them.
func (f *follower) count(ctx context.Context, now time.Time, s span, outcomes []outcome, next mark) error {
	var records []gatewarden.Record
	var covered []span
	sum, lacking := uint64(0), 0
	of := recordOf(f.series)
	for i, o := range outcomes {
		from := s.end(i - 1)
		if o.err != nil {
			lacking++
			continue
		}
		if k := len(covered) - 1; k >= 0 && covered[k].to().Equal(from) {
			covered[k].n++
		} else {
			covered = append(covered, span{from, s.width, 1})
		}
		slot := f.slot(now.Sub(from))
		good, bad := take(&next.Rest.Good, o.good), take(&next.Rest.Bad, o.bad)
		of.Status = statusGood
		records = spread(records, of, good, from, s.width, slot)
		of.Status = statusBad
		records = spread(records, of, bad, from, s.width, slot)
		next.Seen, sum = s.end(i), sum+good+bad
	}
	next.Until = s.to()
	if err := f.accept(ctx, records, covered, next); err != nil {
		return err
	}
	f.mark = next
	m := f.source.metrics
	m.events.Add(float64(sum))
	m.steps.WithLabelValues(counted).Add(float64(len(outcomes) - lacking))
	m.steps.WithLabelValues(missing).Add(float64(lacking))
	return nil
}

// slot returns how finely events of an age are placed.
func (f *follower) slot(age time.Duration) time.Duration {
	if f.source.env.Past == nil {
		return time.Second
	}
	return f.source.env.Past.Resolution(age)
}

// accept counts records, with their mark in the same step. What they cover is said
// first: should the guard end in between, the steps are counted, and covered, again.
func (f *follower) accept(ctx context.Context, records []gatewarden.Record, covered []span, next mark) error {
	env := &f.source.env
	for _, slo := range f.lives() {
		for _, c := range covered {
			if env.Covered != nil {
				env.Covered(&slo, c.from, c.to())
			}
		}
	}
	if err := f.keep(context.WithoutCancel(ctx), records, next); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "the events could not be counted: %w", err)
	}
	return nil
}

// keep counts records, and keeps their mark where there are marks.
func (f *follower) keep(ctx context.Context, records []gatewarden.Record, next mark) error {
	env := &f.source.env
	if env.Checkpoints == nil {
		return env.Sink.Accept(ctx, env.Name, records)
	}
	value, err := next.encode()
	if err != nil {
		return fmt.Errorf("writing down how far a query was counted: %w", err)
	}
	return env.Checkpoints.Accept(ctx, env.Name, records, map[string][]byte{f.name: value})
}

// recordOf returns a record that belongs to the series.
func recordOf(s gatewarden.Series) gatewarden.Record {
	r := gatewarden.Record{
		Signal: s.Signal, Workspace: s.Workspace, Service: s.Service, Route: s.Route, Consumer: s.Consumer,
		Latency: gatewarden.Latency{Request: gatewarden.NoLatency, Upstream: gatewarden.NoLatency, Kong: gatewarden.NoLatency},
	}
	if s.Tag != "" {
		r.Tags = []string{s.Tag}
	}
	return r
}

// show makes known how it goes, and logs when that changes.
func (f *follower) show(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.state.problem
	f.state = state{until: f.mark.Until, seen: f.mark.Seen}
	if err != nil {
		f.state.problem = err.Error()
	}
	switch {
	case before == "" && err != nil:
		f.log.Warn("the events of a query cannot be counted; it is asked again and again", "err", err)
	case before != "" && err == nil:
		f.log.Info("the events of a query are counted again")
	}
}

// lives returns the SLOs that live on the query.
func (f *follower) lives() []gatewarden.SLO {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slos
}

func (f *follower) serve(slos []gatewarden.SLO) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slos = slos
}

func (f *follower) is() state {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}
