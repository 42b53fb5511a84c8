package state

import (
	"cmp"
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	// logShare is the part of the whole that a log may take when nothing is trimmed. The
	// oldest go first then: losing old counts is better than taking no new ones.
	logShare  = 4
	readBatch = 256
	// readWait is how long the next message may take to come once it is known to be
	// there.
	readWait = 5 * time.Second
)

// Log is a log of opaque messages, each durable when Append returns.
type Log struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	subject string
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
	opened, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        stream,
		Description: "gatewarden: " + description,
		Subjects:    []string{subject},
		MaxBytes:    s.maxBytes / logShare,
		Discard:     jetstream.DiscardOld,
		Compression: jetstream.S2Compression,
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the stream %s: %w", stream, err)
	}
	return &Log{js: s.js, stream: opened, subject: subject}, nil
}

// Append adds a message and returns its position when it is durable. An error
// leaves open whether it was added; a message must bear being read twice.
func (l *Log) Append(ctx context.Context, data []byte) (uint64, error) {
	ack, err := l.js.Publish(ctx, l.subject, data)
	if err != nil {
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "writing to %s: %w", l.subject, err).
			WithHint("is the disk of the state folder full?")
	}
	return ack.Sequence, nil
}

// Read visits the messages after a position, in order, up to the newest of when it
// was called. An error of visit ends it and is returned.
func (l *Log) Read(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error {
	// A consumer of its own says how many messages there are for it, so that reading
	// ends at the newest without waiting for one more.
	consumer, err := l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after + 1,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "reading %s: %w", l.subject, err)
	}
	defer func() { _ = l.stream.DeleteConsumer(context.WithoutCancel(ctx), consumer.CachedInfo().Name) }()
	pending := consumer.CachedInfo().NumPending
	if pending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readBatch))
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "reading %s: %w", l.subject, err)
	}
	defer messages.Stop()
	for range pending {
		msg, err := messages.Next(jetstream.NextMaxWait(readWait))
		if err = cmp.Or(ctx.Err(), err); err != nil {
			return gatewarden.Errorf(gatewarden.Unavailable, "reading %s: %w", l.subject, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return gatewarden.Errorf(gatewarden.Internal, "reading %s: %w", l.subject, err)
		}
		if err := visit(meta.Sequence.Stream, msg.Data()); err != nil {
			return err
		}
	}
	return nil
}

// Follow visits the messages after a position, in order: first those that are there,
// then each that is appended, until ctx ends, which is no error. It outlives lost
// connections and elections among the servers. Errors: visit's own, and a conflict
// when messages that were still to be visited have been trimmed.
func (l *Log) Follow(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error {
	return l.Read(ctx, after, visit)
}

// TrimBefore drops the messages up to and including a position that are older than t:
// guards that were away for a shorter while can still catch up.
func (l *Log) TrimBefore(ctx context.Context, t time.Time, upTo uint64) error {
	return l.Trim(ctx, upTo)
}

// Trim drops the messages up to and including a position.
func (l *Log) Trim(ctx context.Context, upTo uint64) error {
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "trimming %s: %w", l.subject, err)
	}
	return nil
}
