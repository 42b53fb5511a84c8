// Package export tells others what the journal says: who or what did what, when and why,
// as JSON lines in a file, as documents of Elasticsearch, as annotations in Grafana. It
// stands beside the end of the data's way:
//
//	journal ─After→ Exporter ─Write→ file, Elasticsearch, Grafana
//
// The journal stays the source of truth: an export may fall behind, or be begun anew, and
// nothing waits for it. How far one has got is asked of the peer itself, so that nothing
// is kept here that could disagree with it: every event arrives once, also when an answer
// was lost or the guard was killed in between.
package export

import (
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Journal is what is exported.
type Journal interface {
	// After yields every event after a position that is there now, in order.
	After(ctx context.Context, position uint64) iter.Seq2[gatewarden.Event, error]
	// Last returns the position of the newest event, 0 when there is none.
	Last() uint64
}

// Mark is how far an export has got: the newest event that the peer has. The instant tells
// whether the position is one of this journal, and not of one that was there before it.
type Mark struct {
	Seq uint64    `json:"seq"`
	At  time.Time `json:"at"`
}

// Target is where events go.
type Target interface {
	// Mark returns the newest event that the target has, zero when it has none.
	Mark(ctx context.Context) (Mark, error)
	// Write makes the target have the events, each once, also those that it has already.
	// After an error it may have some of them.
	Write(ctx context.Context, events []gatewarden.Event) error
}

// Config says what is exported, and how.
type Config struct {
	Name  string                 // of the target, for the log
	Types []gatewarden.EventType // none for all
	// Backlog is how old an event may be to be exported when the target has none yet; 0
	// for all that the journal holds.
	Backlog time.Duration
	Batch   int           // events written at once, at most; 500 unless set
	Every   time.Duration // between looks at the journal; 1 s unless set

	Logger     *slog.Logger          // discarded when nil
	Registerer prometheus.Registerer // of this export alone, by a label; not registered when nil
	Now        func() time.Time      // time.Now when nil
}

func (c Config) withDefaults() Config {
	if c.Batch <= 0 {
		c.Batch = 500
	}
	if c.Every <= 0 {
		c.Every = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Exporter brings events from the journal to a target.
type Exporter struct {
	cfg      Config
	journal  Journal
	target   Target
	metrics  *metrics
	position uint64
	known    bool // whether position is that of the target
}

// New returns an exporter.
func New(cfg Config, journal Journal, target Target) *Exporter {
	cfg = cfg.withDefaults()
	return &Exporter{cfg: cfg, journal: journal, target: target, metrics: newMetrics(cfg.Registerer)}
}

// The pauses after a failure.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// Run exports until ctx is done, and returns nil then.
func (e *Exporter) Run(ctx context.Context) error {
	var pause time.Duration
	for {
		if err := e.step(ctx); err == nil {
			pause = 0
		} else if ctx.Err() == nil {
			e.known = false // what it has of the last batch only the target can say
			if pause == 0 {
				e.cfg.Logger.Warn("what the journal says cannot be exported; it is tried again", "target", e.cfg.Name, "error", err)
			}
			e.metrics.failures.Inc()
			e.metrics.behind.Set(float64(max(e.journal.Last(), e.position) - e.position))
			pause = min(max(2*pause, firstPause), lastPause)
		}
		wait := e.cfg.Every
		if pause > 0 {
			wait = pause/2 + rand.N(pause/2) // not all guards at once
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// step exports what there is.
func (e *Exporter) step(ctx context.Context) error {
	if !e.known {
		if err := e.begin(ctx); err != nil {
			return err
		}
	}
	if e.journal.Last() <= e.position {
		e.metrics.behind.Set(0)
		return nil
	}
	oldest := time.Time{}
	if e.position == 0 && e.cfg.Backlog > 0 {
		oldest = e.cfg.Now().Add(-e.cfg.Backlog)
	}
	batch, upTo := make([]gatewarden.Event, 0, e.cfg.Batch), e.position
	for event, err := range e.journal.After(ctx, e.position) {
		if err != nil {
			return err
		}
		upTo = event.Seq
		if !event.At.Before(oldest) && (len(e.cfg.Types) == 0 || slices.Contains(e.cfg.Types, event.Type)) {
			batch = append(batch, event)
		}
		if len(batch) == e.cfg.Batch {
			if err := e.write(ctx, batch, upTo); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return e.write(ctx, batch, upTo)
}

func (e *Exporter) write(ctx context.Context, batch []gatewarden.Event, upTo uint64) error {
	if len(batch) > 0 {
		if err := e.target.Write(ctx, batch); err != nil {
			return err
		}
		e.metrics.events.Add(float64(len(batch)))
	}
	e.position = upTo
	e.metrics.behind.Set(float64(max(e.journal.Last(), upTo) - upTo))
	return nil
}

// begin finds the position that the target has got to.
func (e *Exporter) begin(ctx context.Context) error {
	mark, err := e.target.Mark(ctx)
	if err != nil {
		return err
	}
	e.position, err = e.positionOf(ctx, mark)
	e.known = err == nil
	return err
}

// positionOf returns the position of a mark in the journal as it is: 0 when the mark is of
// another journal, one that was lost or thrown away.
func (e *Exporter) positionOf(ctx context.Context, mark Mark) (uint64, error) {
	if mark.Seq == 0 {
		return 0, nil
	}
	for event, err := range e.journal.After(ctx, mark.Seq-1) {
		switch {
		case err != nil:
			return 0, err
		case event.Seq == mark.Seq && sameInstant(event.At, mark.At):
			return mark.Seq, nil
		case event.Seq > mark.Seq && !event.At.Before(mark.At):
			return mark.Seq, nil // the event itself is no longer kept
		}
		break
	}
	e.cfg.Logger.Info("the target has events of another journal; this one is exported from its beginning", "target", e.cfg.Name, "position", mark.Seq)
	return 0, nil
}

// sameInstant allows for targets that keep milliseconds.
func sameInstant(a, b time.Time) bool { return a.Sub(b).Abs() < time.Millisecond }
