package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/store"
)

// ReplayInput is one recorded log.
type ReplayInput struct {
	Name string
	R    io.Reader
}

// ReplayOptions say what to replay, and to whom to tell.
type ReplayOptions struct {
	Rules      *rules.Rules
	Inputs     []ReplayInput // merged by the completion time of their records
	Gates      []ReplayGate  // rollouts to judge
	Targets    []byte        // what Kong's GET /upstreams/NAME/targets answered then; nil when not known
	BlindAfter time.Duration // 1 m unless set
	Logger     *slog.Logger
	// Event is called with each event in order. An error ends the replay.
	Event func(gatewarden.Event) error
	// Broken is called for what could not be read.
	Broken func(error)
	// Progress, unless nil, is called now and then with the time that the replay has
	// reached.
	Progress func(at time.Time, records int)
}

// ReplaySummary is what a replay came to.
type ReplaySummary struct {
	From, To time.Time
	Records  int
	Broken   int                  // places where a log could not be read
	Rejected int                  // valid JSON that is no record of Kong's
	Dropped  int                  // repeats, and records too late or in the future: ahead of all around them
	Verdicts []gatewarden.Verdict // of the last instant
	Runs     []gatewarden.Run     // of Gates, in the order in which they began
}

// Replay judges recorded logs in event time, with the loop that runs live. Policies
// only observe: their actions are events that say what would have been done.
func Replay(ctx context.Context, opts ReplayOptions) (ReplaySummary, error) {
	r, err := newReplay(ctx, opts)
	if err != nil {
		return ReplaySummary{}, err
	}
	err = r.run(ctx)
	r.summary.Verdicts = r.loop.current()
	return r.summary, errors.Join(err, r.loop.engine.Close(ctx))
}

// replay is a loop with a clock that the records drive.
type replay struct {
	opts    ReplayOptions
	loop    *loop
	gates   *replayGates
	journal *journal.Journal
	now     time.Time           // the clock: the completion time of the newest record
	next    time.Time           // the next instant to judge
	ahead   []gatewarden.Record // held until others confirm their time; see leap
	written uint64              // position of the last event told
	summary ReplaySummary
}

func newReplay(ctx context.Context, opts ReplayOptions) (*replay, error) {
	if opts.BlindAfter == 0 {
		opts.BlindAfter = rules.Defaults().BlindAfter
	}
	r := &replay{opts: opts, journal: journal.NewMemory()}
	reg := prometheus.NewRegistry()
	s := store.New(store.Config{}, reg)
	in := newIntake(s, func() time.Time { return r.now }, opts.BlindAfter, reg)
	policies := slices.Clone(opts.Rules.Policies)
	byKind := map[gatewarden.StepKind]actions.Executor{}
	for i := range policies {
		policies[i].Mode = gatewarden.ModeObserve
		for _, step := range policies[i].Steps {
			byKind[step.Kind] = neverActs{}
		}
	}
	t, err := pinned(ctx, opts.Rules.Canaries, opts.Targets, opts.Logger)
	if err != nil {
		return nil, err
	}
	if r.gates, err = newReplayGates(&opts, t); err != nil {
		return nil, err
	}
	runs := 0
	r.loop, _, err = newLoop(ctx, parts{
		rules: opts.Rules, store: s, intake: in, journal: r.journal, registry: reg,
		gates: gates.Config{Tracks: t, Logger: opts.Logger, NewID: func() string { runs++; return strconv.Itoa(runs) }},
		engine: actions.Config{
			Policies: policies, Executors: byKind, Now: func() time.Time { return r.next }, Logger: opts.Logger,
		},
	})
	if err != nil {
		return nil, err
	}
	r.gates.book = r.loop.runs
	return r, nil
}

// run feeds the records and judges each second once the clock is past it.
func (r *replay) run(ctx context.Context) error {
	headers := &collector.Headers{}
	headers.Set(r.opts.Rules.Headers())
	inputs := openInputs(r.opts.Inputs, headers, r.opts.Broken)
	var ended error
	for ended == nil {
		var batch []gatewarden.Record
		if batch, ended = inputs.next(); ended != nil {
			break
		}
		if err := r.feed(ctx, batch); err != nil {
			return err
		}
	}
	if errors.Is(ended, io.EOF) {
		ended = nil // otherwise a log was cut off; what came before it counts
	}
	// Nothing contradicts what lies ahead at the end: it is true unless it is alone.
	if r.summary.Records == 0 || len(r.ahead) > 1 {
		if err := r.believe(ctx); err != nil {
			return err
		}
	}
	r.disbelieve()
	r.summary.Broken, r.summary.Rejected = inputs.stats()
	if r.summary.Records == 0 {
		return ended
	}
	err := r.judge(ctx, r.now.Truncate(time.Second).Add(time.Second)) // to the end of the last second
	return errors.Join(ended, err, r.endGates(ctx))
}

// endGates brings the runs to their end, and tells of those that the recording leaves
// without an answer.
func (r *replay) endGates(ctx context.Context) error {
	runs, err := r.gates.end(ctx, r.next)
	if err == nil {
		err = r.tell(ctx)
	}
	r.summary.Runs = runs
	errs := append(r.gates.neverBegan(), err)
	for _, run := range runs {
		if run.EndedAt != nil {
			continue
		}
		run.Trail = nil
		errs = append(errs, r.opts.Event(gatewarden.Event{
			At: r.now, Type: gatewarden.EventGate, Name: run.Canary, State: string(run.State), Reason: run.Reason, Run: &run,
		}))
	}
	return errors.Join(errs...)
}

const (
	// leap is by how much a record may be ahead of all before it without being doubted: a
	// wrong date would make everything behind it late, and the replay end there.
	leap = time.Hour
	// believed is how many records confirm a leap, one after the other.
	believed = 10
)

// feed counts a batch in the order of the log, but for records that leap ahead: those count
// when others have confirmed that it is so late, and are of the future otherwise.
func (r *replay) feed(ctx context.Context, batch []gatewarden.Record) error {
	for len(batch) > 0 {
		if len(r.ahead) > 0 && batch[0].At.Before(r.ahead[0].At.Add(-leap)) {
			r.disbelieve()
		}
		var err error
		switch n := r.untilLeap(batch); {
		case n > 0:
			err, batch = r.count(ctx, batch[:n]), batch[n:]
		default:
			if r.ahead, batch = append(r.ahead, batch[0].Clone()), batch[1:]; len(r.ahead) == believed {
				err = r.believe(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// untilLeap returns how many of the records of a batch are to be counted before one that
// leaps ahead, or that others wait for to confirm a leap.
func (r *replay) untilLeap(batch []gatewarden.Record) (n int) {
	if len(r.ahead) > 0 {
		return 0
	}
	newest := r.next
	for n < len(batch) && batch[n].At.Sub(newest) <= leap {
		if at := batch[n].At; at.After(newest) {
			newest = at
		}
		n++
	}
	return n
}

// believe counts what was held.
func (r *replay) believe(ctx context.Context) error {
	held := r.ahead
	r.ahead = nil
	return r.count(ctx, held)
}

// disbelieve drops what was held, as of the future.
func (r *replay) disbelieve() {
	if len(r.ahead) == 0 {
		return
	}
	r.opts.Logger.Warn("records lie ahead of all around them and are left out: a clock was wrong", "records", len(r.ahead), "first", r.ahead[0].At)
	r.summary.Records += len(r.ahead)
	r.summary.Dropped += len(r.ahead)
	r.ahead = nil
}

// count counts records in the order of the log. An instant is judged when the first
// record comes that completed at it or later, on what came before: as if each record
// had arrived when its request completed. One that is out of order counts late, as it
// does live.
func (r *replay) count(ctx context.Context, batch []gatewarden.Record) error {
	for len(batch) > 0 {
		if err := r.clock(ctx, batch[0].At); err != nil {
			return err
		}
		if err := r.gates.look(ctx, &batch[0]); err != nil {
			return err
		}
		n := 1
		for n < len(batch) && batch[n].At.Before(r.next) && len(r.gates.waiting) == 0 {
			if batch[n].At.After(r.now) {
				r.now = batch[n].At
			}
			n++
		}
		r.summary.Records += n
		r.summary.To = r.now
		added := r.loop.intake.count(ctx, "replay", batch[:n])
		r.summary.Dropped += added.Duplicate + added.TooLate + added.Future
		batch = batch[n:]
	}
	return ctx.Err()
}

// memory is how far back the store reaches. What comes after a longer silence finds
// nothing left to be judged with, so the seconds of the silence are passed over: one
// record with a wrong clock must not cost decades of them.
const memory = 92 * 24 * time.Hour

// clock moves the clock on to at, never back, and judges the instants up to it.
func (r *replay) clock(ctx context.Context, at time.Time) error {
	if r.next.IsZero() {
		r.summary.From = at
		r.loop.intake.expect("replay", "file", at)
	}
	if at.Sub(r.next) > memory {
		r.next = at.Truncate(tickEvery).Add(tickEvery)
	}
	if at.After(r.now) {
		r.now = at
	}
	return r.judge(ctx, at)
}

// judge runs the loop for every instant up to and including limit.
func (r *replay) judge(ctx context.Context, limit time.Time) error {
	for ; !r.next.After(limit); r.next = r.next.Add(tickEvery) {
		if err := r.loop.Tick(ctx, r.next); err != nil {
			return err
		}
		if err := r.tell(ctx); err != nil {
			return err
		}
		if r.opts.Progress != nil && r.next.Second() == 0 && r.next.Nanosecond() == 0 {
			r.opts.Progress(r.next, r.summary.Records)
		}
	}
	return nil
}

// tell hands the new events on.
func (r *replay) tell(ctx context.Context) error {
	if r.journal.Last() == r.written {
		return nil
	}
	events, err := r.journal.Events(ctx, journal.Query{After: r.written})
	if err != nil {
		return err
	}
	for _, e := range events {
		r.written = e.Seq
		if err := r.opts.Event(e); err != nil {
			return err
		}
	}
	return nil
}

// merged yields the records of several logs in the order of their completion times,
// as far as each log is in order itself.
type merged struct {
	readers []*collector.Reader
	heads   [][]gatewarden.Record // what was read of each and not yet handed out
	spent   []int                 // inputs to read on: their last batch has been handed out
}

func openInputs(inputs []ReplayInput, headers *collector.Headers, broken func(error)) *merged {
	m := &merged{heads: make([][]gatewarden.Record, len(inputs))}
	for i, in := range inputs {
		r := collector.NewReader(in.R, in.Name)
		r.Report, r.Headers = broken, headers
		m.readers = append(m.readers, r)
		m.spent = append(m.spent, i)
	}
	return m
}

// next returns records that may be counted together: those of the log that is
// furthest behind, up to where another one has an older record. They are valid until
// the next call; io.EOF follows the last ones.
func (m *merged) next() ([]gatewarden.Record, error) {
	for _, i := range m.spent {
		batch, err := m.readers[i].Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		m.heads[i] = batch
	}
	m.spent = m.spent[:0]
	first, second := m.oldest()
	if first < 0 {
		return nil, io.EOF
	}
	batch := m.heads[first]
	n := len(batch)
	if second >= 0 {
		for n = 1; n < len(batch) && !batch[n].At.After(m.heads[second][0].At); n++ {
		}
	}
	if m.heads[first] = batch[n:]; n == len(batch) {
		m.spent = append(m.spent, first)
	}
	return batch[:n], nil
}

// oldest returns which inputs have the oldest and the second oldest record, -1 for
// none.
func (m *merged) oldest() (first, second int) {
	first, second = -1, -1
	for i, h := range m.heads {
		switch {
		case len(h) == 0:
		case first < 0 || h[0].At.Before(m.heads[first][0].At):
			first, second = i, first
		case second < 0 || h[0].At.Before(m.heads[second][0].At):
			second = i
		}
	}
	return first, second
}

func (m *merged) stats() (broken, rejected int) {
	for _, r := range m.readers {
		s := r.Stats()
		broken += s.Broken
		rejected += s.Rejected
	}
	return broken, rejected
}

// neverActs is the executor of a replay, where every policy observes.
type neverActs struct{}

var errReplay = gatewarden.Errorf(gatewarden.Internal, "a replay never acts")

// Prepare refuses.
func (neverActs) Prepare(context.Context, gatewarden.Action) (json.RawMessage, error) {
	return nil, errReplay
}

// Apply refuses.
func (neverActs) Apply(context.Context, gatewarden.Action, func(json.RawMessage) error) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{}, errReplay
}

// Revert refuses.
func (neverActs) Revert(context.Context, gatewarden.Action) (gatewarden.Outcome, error) {
	return gatewarden.Outcome{}, errReplay
}
