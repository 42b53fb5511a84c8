package collector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
)

// ShortestLimit is the least that a limit on one line or message may be set to. The
// longest captured record has 6,473 bytes.
const ShortestLimit = 16 * KiB

// Feed decodes and counts for the sources whose senders wait for no answer: what is
// broken is counted and left out, and the rest counts. It is safe for concurrent use.
type Feed struct {
	name     string
	sink     Sink
	log      *slog.Logger
	decoders *Pool
	metrics  *feedMetrics
	quiet    Quiet
	now      func() time.Time
}

// NewFeed returns the feed of a source, whose frames are at most so long.
func NewFeed(env Env, longest ByteSize) (*Feed, error) {
	metrics, err := newFeedMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "%s: cannot register metrics: %w", env.Name, err)
	}
	// A block is as large as its buffer, which bounds how many elements it has.
	limits := Limits{MaxRecords: math.MaxInt, MaxRecordBytes: int(longest)}
	return &Feed{
		name: env.Name, sink: env.Sink, log: env.Log.With("source", env.Name),
		decoders: NewPool(limits, env.Headers), metrics: metrics, now: time.Now,
	}, nil
}

// Count counts records, all or none, as Sink.Accept does.
type Count func(ctx context.Context, records []gatewarden.Record) error

// Take counts what is in the block by count, by the sink when it is nil. When that
// fails it tries again until ctx is done, which is the only error: the sender waits
// meanwhile, as far as its transport can make it. It may change the block's data.
func (f *Feed) Take(ctx context.Context, b Block, count Count) error {
	d := f.decoders.Get()
	defer f.decoders.Put(d)
	batch, broken := f.decode(d, b)
	if len(batch.Records) > 0 || count != nil {
		if count == nil {
			count = func(ctx context.Context, records []gatewarden.Record) error {
				return f.sink.Accept(ctx, f.name, records)
			}
		}
		if err := f.count(ctx, batch.Records, count); err != nil {
			return err
		}
	}
	f.metrics.received.Add(float64(len(b.Data)))
	f.metrics.tooLong.Add(float64(b.TooLong))
	f.metrics.broken.Add(float64(broken))
	f.metrics.rejected.Add(float64(batch.Rejected))
	if batch.Rejected > 0 {
		f.log.Debug("rejected what is no log record of Kong's", "rejected", batch.Rejected, "reason", batch.Reason)
	}
	return nil
}

// decode decodes the block, without the frames that are broken.
func (f *Feed) decode(d *Decoder, b Block) (batch Batch, broken int) {
	if blank(b.Data) {
		return Batch{}, 0
	}
	batch, err := d.Decode(b.Data)
	if err == nil {
		return batch, 0
	}
	var first error
	for frame := range b.frames() {
		if blank(frame) {
			continue
		}
		if _, err := d.Decode(frame); err != nil {
			if broken++; first == nil {
				first = err
			}
			for i := range frame {
				frame[i] = ' '
			}
		}
	}
	if due, held := f.quiet.Due(f.now()); due {
		f.log.Warn("left out what is not valid JSON", "broken", broken, "first", first, "times_before_unlogged", held)
	}
	if blank(b.Data) {
		return Batch{}, broken
	}
	// What is valid frame by frame, with white space between, is valid as a whole.
	if batch, err = d.Decode(b.Data); err != nil {
		f.log.Error("a block cannot be decoded, though its frames can", "err", err)
	}
	return batch, broken
}

func blank(b []byte) bool { return len(bytes.TrimLeft(b, " \t\r\n")) == 0 }

// The pauses before records that could not be counted are offered again.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// count counts records until it succeeds. What has come in is counted once also when
// ctx is done: the sender has forgotten it.
func (f *Feed) count(ctx context.Context, records []gatewarden.Record, count Count) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := count(context.WithoutCancel(ctx), records)
		if err == nil {
			return nil
		}
		f.metrics.retries.Inc()
		if due, held := f.quiet.Due(f.now()); due {
			f.log.Warn("records could not be counted; they are offered again", "records", len(records), "err", err, "times_before_unlogged", held)
		}
		select {
		case <-ctx.Done():
			return gatewarden.Errorf(gatewarden.Unavailable, "%d records were not counted: %w", len(records), err)
		case <-time.After(pause):
		}
	}
}

// The sizes of a stream's buffer, in bytes. It grows beyond the larger one only for a
// frame that is longer.
const (
	firstBuffer = 32 << 10
	largeBuffer = 256 << 10
)

// Pump counts what r holds until it ends, which is no error, until reading fails, or
// until ctx is done while records cannot be counted. It calls progress, unless nil,
// after whole frames.
func (f *Feed) Pump(ctx context.Context, r io.Reader, framing Framing, progress func()) error {
	buf := make([]byte, 0, firstBuffer)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		full := len(buf) == cap(buf)
		block, used := framing.Cut(buf, err != nil)
		if len(block.Data) > 0 || block.TooLong > 0 {
			if err := f.Take(ctx, block, nil); err != nil {
				return err
			}
			if progress != nil {
				progress()
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		rest := buf[used:]
		switch {
		case full && (cap(buf) < largeBuffer || len(rest) == cap(buf)):
			buf = append(make([]byte, 0, 2*cap(buf)), rest...)
		case len(rest) == 0 && cap(buf) > 2*largeBuffer:
			buf = make([]byte, 0, firstBuffer) // it once held a huge frame
		default:
			buf = buf[:copy(buf, rest)]
		}
	}
}
