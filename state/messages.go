package state

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	// logShare is the part of the whole that a log may take when nothing is trimmed. The
	// oldest go first then: losing old counts is better than taking no new ones.
	logShare = 4
	// readTries is how often reading is begun anew without getting any further. With the
	// time that one try takes it outlasts an election among the servers (4 to 9 s).
	readTries = 8
	// shrunkFor is how long a log may seem to end before what was read of it already.
	shrunkFor = 10 * time.Second
)

// Log is a log of opaque messages, each durable when Append returns.
type Log struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	subject string
	now     func() time.Time
}

// Cells opens the log of what was counted since the last snapshot.
func (s *State) Cells(ctx context.Context) (*Log, error) {
	return s.log(ctx, "GATEWARDEN_CELLS", "gatewarden.cells", "one-second tallies since the last snapshot")
}

// Observations opens the log of what the runs of canaries were shown since they were
// written down last.
func (s *State) Observations(ctx context.Context) (*Log, error) {
	return s.log(ctx, "GATEWARDEN_OBSERVATIONS", "gatewarden.observations", "requests of the canaries that are judged")
}

// Observed opens the log of what guards that do not lead saw of canaries, for the one
// that does.
func (s *State) Observed(ctx context.Context) (*Log, error) {
	return s.log(ctx, "GATEWARDEN_OBSERVED", "gatewarden.observed", "requests of canaries that guards saw which do not lead")
}

func (s *State) log(ctx context.Context, stream, subject, description string) (*Log, error) {
	l := &Log{js: s.js, subject: subject, now: time.Now}
	err := s.settle(ctx, stream, func(ctx context.Context) (err error) {
		l.stream, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name:        stream,
			Description: "gatewarden: " + description,
			Subjects:    []string{subject},
			MaxBytes:    s.maxBytes / logShare,
			Discard:     jetstream.DiscardOld,
			Compression: jetstream.S2Compression,
			Replicas:    s.replicas,
		})
		return err
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the stream %s: %w", stream, err)
	}
	return l, nil
}

// Append adds a message and returns its position when it is durable. An error
// leaves open whether it was added; a message must bear being read twice. It is invalid
// when the message is too large for the server: trying again is of no use.
func (l *Log) Append(ctx context.Context, data []byte) (uint64, error) {
	ack, err := l.js.Publish(ctx, l.subject, data)
	if errors.Is(err, nats.ErrMaxPayload) {
		return 0, gatewarden.Errorf(gatewarden.Invalid, "writing %d bytes to %s: %w", len(data), l.subject, err)
	}
	if err != nil {
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "writing to %s: %w", l.subject, err).
			WithHint("is the disk of the state folder full?")
	}
	return ack.Sequence, nil
}

// errRead ends reading at the newest message.
var errRead = errors.New("read")

// Read visits the messages after a position, in order, up to the newest of when it
// was called. An error of visit ends it and is returned.
func (l *Log) Read(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error {
	var counted bool
	var left uint64 // messages to visit
	r := reader{stream: l.stream, last: after}
	r.begun = func(pending uint64) error {
		if !counted {
			counted, left = true, pending
		}
		if left = min(left, pending); left == 0 {
			return errRead
		}
		return nil
	}
	r.visit = func(msg message) error {
		if err := visit(msg.seq, msg.data); err != nil {
			return err
		}
		if left--; left == 0 || msg.pending == 0 {
			return errRead
		}
		return nil
	}
	for tries := 1; ; tries++ {
		from := r.last
		err := r.read(ctx)
		if errors.Is(err, errRead) {
			return nil
		}
		if ended, ok := errors.AsType[*endError](err); ok {
			return ended.err
		}
		if r.last > from {
			tries = 0
		}
		if tries == readTries || !sleep(ctx, min(firstPause<<tries, maxPause)) {
			return gatewarden.Errorf(gatewarden.Unavailable, "reading %s: %w", l.subject, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// Follow visits the messages after a position, in order: first those that are there,
// then each that is appended, until ctx ends, which is no error. It outlives lost
// connections and elections among the servers. Errors: visit's own, and a conflict
// when messages that were still to be visited have been trimmed.
func (l *Log) Follow(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error {
	var shrunk time.Time // since when the log has ended before what was visited
	pause := firstPause
	r := reader{stream: l.stream, last: after}
	r.visit = func(msg message) error {
		if msg.seq != r.last+1 {
			return l.lost(r.last, msg.seq)
		}
		pause = firstPause
		return visit(msg.seq, msg.data)
	}
	r.look = func(first, last uint64) error {
		if first > r.last+1 {
			return l.lost(r.last, first)
		}
		if last >= r.last {
			shrunk = time.Time{}
			return nil
		}
		// A server that was just elected may have to catch up with what it knows itself.
		if shrunk.IsZero() {
			shrunk = l.now()
		}
		if l.now().Sub(shrunk) < shrunkFor {
			return errShrunk
		}
		return gatewarden.Errorf(gatewarden.Conflict, "%s ends at position %d, before %d, which was read of it: it has begun anew", l.subject, last, r.last).
			WithHint("restart this guard: it then reads what there is")
	}
	for {
		if ended, ok := errors.AsType[*endError](r.read(ctx)); ok {
			return ended.err
		}
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, maxPause)
	}
}

// errShrunk begins reading anew.
var errShrunk = errors.New("the log ends before what was read of it")

func (l *Log) lost(last, next uint64) error {
	return gatewarden.Errorf(gatewarden.Conflict, "%s goes on at position %d after %d: what was between has been trimmed", l.subject, next, last).
		WithHint("this guard was away or behind for too long; restart it: it then begins with the newest snapshot")
}

// Trim drops the messages up to and including a position.
func (l *Log) Trim(ctx context.Context, upTo uint64) error {
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "trimming %s: %w", l.subject, err)
	}
	return nil
}

// TrimBefore drops the messages up to and including a position that are older than t:
// guards that were away for a shorter while can still catch up.
func (l *Log) TrimBefore(ctx context.Context, t time.Time, upTo uint64) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "trimming %s: %w", l.subject, err)
	}
	if s := info.State; s.Msgs == 0 || s.FirstSeq > upTo || !s.FirstTime.Before(t) {
		return nil
	}
	younger, err := l.firstSince(ctx, t, info.State.FirstSeq, min(upTo, info.State.LastSeq)+1)
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "trimming %s: %w", l.subject, err)
	}
	return l.Trim(ctx, younger-1)
}

// firstSince returns the position in [from, to) of the first message stored at or after
// t, to when there is none. Messages are stored in the order of time.
func (l *Log) firstSince(ctx context.Context, t time.Time, from, to uint64) (uint64, error) {
	for from < to {
		middle := from + (to-from)/2
		msg, err := l.stream.GetMsg(ctx, middle)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // somebody else trims too
			from = middle + 1
		case err != nil:
			return 0, err
		case msg.Time.Before(t):
			from = middle + 1
		default:
			to = middle
		}
	}
	return to, nil
}
