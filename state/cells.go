package state

import (
	"cmp"
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	cellsStream  = "GATEWARDEN_CELLS"
	cellsSubject = "gatewarden.cells"
	// cellsShare is the part of the whole that cells may take when snapshots fail and
	// nothing is trimmed. The oldest go first then: losing old counts is better than
	// taking no new ones.
	cellsShare = 4
	readBatch  = 256
	// readWait is how long the next message may take to come once it is known to be
	// there.
	readWait = 5 * time.Second
)

// Cells is a log of opaque messages: what was counted since the last snapshot.
type Cells struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// Cells opens the stream of cells.
func (s *State) Cells(ctx context.Context) (*Cells, error) {
	opened, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        cellsStream,
		Description: "gatewarden: one-second tallies since the last snapshot",
		Subjects:    []string{cellsSubject},
		MaxBytes:    s.maxBytes / cellsShare,
		Discard:     jetstream.DiscardOld,
		Compression: jetstream.S2Compression,
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the stream of cells: %w", err)
	}
	return &Cells{js: s.js, stream: opened}, nil
}

// Append adds a message and returns its position when it is durable. An error
// leaves open whether it was added; a message must bear being read twice.
func (c *Cells) Append(ctx context.Context, data []byte) (uint64, error) {
	ack, err := c.js.Publish(ctx, cellsSubject, data)
	if err != nil {
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "writing cells: %w", err).
			WithHint("is the disk of the state folder full?")
	}
	return ack.Sequence, nil
}

// Read visits the messages after a position, in order, up to the newest of when it
// was called. An error of visit ends it and is returned.
func (c *Cells) Read(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error {
	// A consumer of its own says how many messages there are for it, so that reading
	// ends at the newest without waiting for one more.
	consumer, err := c.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after + 1,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "reading cells: %w", err)
	}
	defer func() { _ = c.stream.DeleteConsumer(context.WithoutCancel(ctx), consumer.CachedInfo().Name) }()
	pending := consumer.CachedInfo().NumPending
	if pending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readBatch))
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "reading cells: %w", err)
	}
	defer messages.Stop()
	for range pending {
		msg, err := messages.Next(jetstream.NextMaxWait(readWait))
		if err = cmp.Or(ctx.Err(), err); err != nil {
			return gatewarden.Errorf(gatewarden.Unavailable, "reading cells: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return gatewarden.Errorf(gatewarden.Internal, "reading cells: %w", err)
		}
		if err := visit(meta.Sequence.Stream, msg.Data()); err != nil {
			return err
		}
	}
	return nil
}

// Trim drops the messages up to and including a position.
func (c *Cells) Trim(ctx context.Context, upTo uint64) error {
	if err := c.stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "trimming cells: %w", err)
	}
	return nil
}
