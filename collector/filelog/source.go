package filelog

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Source follows files.
type Source struct {
	settings Settings
	patterns []string // ready to open
	kin      *kin
	name     string
	sink     collector.Sink
	kept     collector.Checkpoints // nil when nothing outlives the process
	feed     *collector.Feed
	log      *slog.Logger
	metrics  *metrics
	quiet    collector.Quiet
	now      func() time.Time

	files   []*file   // that are followed
	closed  []*file   // that are not: waiting, at rest or missing
	waiting int64     // what the waiting ones hold and was not counted, in bytes
	sought  time.Time // when folders were last looked through for missing ones
	buf     []byte
	looked  bool // once: from then on, a new file is read from its beginning
	stale   bool // a file was truncated: look before anything more is read
}

// newSource makes a source that has no kin yet.
func newSource(env collector.Env, settings Settings) (*Source, error) {
	metrics, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "filelog: cannot register metrics: %w", err)
	}
	feed, err := collector.NewFeed(env, settings.MaxLine)
	if err != nil {
		return nil, err
	}
	s := &Source{
		settings: settings, name: env.Name, sink: env.Sink, kept: env.Checkpoints, feed: feed,
		log: env.Log.With("source", env.Name), metrics: metrics, now: time.Now, buf: make([]byte, blockSize),
	}
	for _, path := range settings.Paths {
		s.patterns = append(s.patterns, absolute(env.Path(path)))
	}
	return s, nil
}

// blockSize is how much is read and counted at a time, when there is so much: about 100
// records. It is the least that Settings.MaxLine can mean, too.
const blockSize = 256 << 10

// lookEvery is how often the patterns are looked at.
const lookEvery = time.Second

// Run reads until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	defer s.close()
	poll := time.NewTicker(time.Duration(s.settings.Poll))
	defer poll.Stop()
	var looked time.Time
	for {
		if now := s.now(); now.Sub(looked) >= lookEvery {
			s.look(ctx)
			looked = now
		}
		if !s.read(ctx) {
			select {
			case <-poll.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (s *Source) close() {
	for _, f := range s.files {
		f.f.Close()
	}
	s.files = nil
}

// read counts a block of each file, and reports whether there may be more at once.
func (s *Source) read(ctx context.Context) (more bool) {
	if s.stale {
		s.look(ctx)
	}
	backlog := s.waiting
	for _, f := range slices.Clone(s.files) { // truncation takes from them
		if ctx.Err() != nil {
			return false
		}
		again, err := s.step(ctx, f)
		if err != nil && ctx.Err() == nil {
			s.failed("reading", f.mark.Path, err)
		}
		more = more || again
		backlog += f.unread()
	}
	s.metrics.backlog.Set(float64(backlog))
	return more
}

// step counts a block of f.
func (s *Source) step(ctx context.Context, f *file) (more bool, err error) {
	found, err := f.lines(&s.buf, max(int(s.settings.MaxLine), blockSize))
	if err != nil {
		return false, err
	}
	// The file is asked only now: had it been truncated while it was read, the lines
	// would be of the new file, or of both.
	same, err := f.same(found.data)
	if err != nil {
		return false, err
	}
	if !same {
		s.truncated(f)
		return true, nil
	}
	read := f.pos + int64(len(found.data))
	if found.next > f.pos {
		if err := s.take(ctx, f, found); err != nil {
			return false, err
		}
	}
	if !found.more {
		f.read = read
	}
	return found.more, nil
}

// take counts what was found.
func (s *Source) take(ctx context.Context, f *file, found finding) error {
	f.active = s.now()
	block := collector.Block{Data: found.lines}
	if found.tooLong {
		block.TooLong = 1
	}
	if found.lines != nil {
		return s.count(ctx, f, block, found.next)
	}
	// Within a line that is too long. It is skipped again after a crash: its mark
	// stays before it.
	if found.tooLong {
		if err := s.feed.Take(ctx, block, nil); err != nil {
			return err
		}
	}
	f.pos, f.skipping = found.next, true
	return nil
}

// count counts lines together with the mark behind them.
func (s *Source) count(ctx context.Context, f *file, block collector.Block, offset int64) error {
	m := f.at(offset)
	err := s.feed.Take(ctx, block, func(ctx context.Context, records []gatewarden.Record) error {
		return s.keep(ctx, records, f.key, &m)
	})
	if err == nil {
		f.mark, f.pos, f.skipping = m, offset, false
	}
	return err
}

// keep counts records and keeps a mark, nil to forget it.
func (s *Source) keep(ctx context.Context, records []gatewarden.Record, key string, m *mark) error {
	if s.kept == nil && len(records) == 0 {
		return nil // not a word to the sink, which would take it for a sign of life
	}
	if s.kept == nil {
		return s.sink.Accept(ctx, s.name, records)
	}
	values := map[string][]byte{key: nil}
	if m != nil {
		values[key] = m.encode()
	}
	return s.kept.Accept(ctx, s.name, records, values)
}

// finish ends a file that was rotated away and has been silent since, if that is so. Its
// last line may lack its end.
func (s *Source) finish(ctx context.Context, f *file) {
	before := f.pos
	for more := true; more; {
		var err error
		if more, err = s.step(ctx, f); err != nil {
			return // there is another time
		}
		if f.f == nil {
			return // it was truncated
		}
	}
	if f.pos != before {
		return
	}
	if rest := f.rest(int(s.settings.MaxLine)); len(rest) > 0 {
		if err := s.count(ctx, f, collector.Block{Data: rest}, f.size); err != nil {
			return // there is another time
		}
	}
	f.read = f.size
	s.letGo(f)
	if !f.copied { // or else the copy would be a new log
		s.forget(ctx, f)
	}
}

// letGo follows f no longer.
func (s *Source) letGo(f *file) {
	f.close()
	s.files = without(s.files, f)
	s.closed = append(s.closed, f)
}

// forget forgets f, which is not followed.
func (s *Source) forget(ctx context.Context, f *file) {
	if err := s.keep(ctx, nil, f.key, nil); err != nil {
		s.failed("forgetting", f.mark.Path, err)
		return
	}
	s.closed = without(s.closed, f)
}

func without(files []*file, f *file) []*file {
	return slices.DeleteFunc(files, func(other *file) bool { return other == f })
}

func (s *Source) failed(doing, path string, err error) {
	s.metrics.failures.Inc()
	if due, held := s.quiet.Due(s.now()); due {
		s.log.Warn("a file cannot be followed; it is tried again", "doing", doing, "path", path, "err", err, "times_before_unlogged", held)
	}
}

// newKey returns a name for a mark that no other has.
func newKey() string { return fmt.Sprintf("%s%016x", prefix, rand.Uint64()) }
