package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	readBatch = 256
	// pullFor and beatEvery make a server that is gone show within twice beatEvery.
	pullFor   = 10 * time.Second
	beatEvery = 2 * time.Second
	// askTimeout bounds one request of a reader. A consumer may be given to a server that is
	// gone, which nobody has noticed yet: then another one is asked for, at first soon.
	askTimeout = 2 * time.Second
	askFirst   = askTimeout / 4
	// idleFor is after which silence a reader looks whether it has missed anything.
	idleFor = 5 * time.Second
	// leaveTimeout bounds telling the server that a consumer is of no more use; it would
	// find out by itself after consumerIdle.
	leaveTimeout = time.Second
	consumerIdle = time.Minute
)

// message is a message of a stream.
type message struct {
	seq     uint64 // its position
	pending uint64 // how many come after it so far
	subject string
	data    []byte
	deleted bool // a marker of a key-value bucket: the key is no more
}

// endError is an error that ends reading; after others it can go on where it was.
type endError struct{ err error }

func (e *endError) Error() string { return e.err.Error() }
func (e *endError) Unwrap() error { return e.err }

// reader visits the messages of a stream in order, through consumers of its own, one
// after the other: a consumer lives on one server and ends with it.
type reader struct {
	stream jetstream.Stream
	filter string // the subjects that are visited; "" for all
	last   uint64 // position of the newest visited

	begun func(pending uint64) error     // told how many messages a new consumer found; may be nil
	look  func(first, last uint64) error // shown the bounds of the stream, at the beginning and when it is silent; may be nil
	visit func(msg message) error
}

// read visits what comes after r.last until something fails. An error of begun, look
// and visit comes back as endError, but errShrunk; errRead comes back as it is.
func (r *reader) read(ctx context.Context) error {
	if err := r.bounds(ctx); err != nil {
		return err
	}
	consumer, err := r.consumer(ctx)
	if err != nil {
		return err
	}
	defer r.leave(ctx, consumer.CachedInfo().Name)
	if r.begun != nil {
		if err := end(r.begun(consumer.CachedInfo().NumPending)); err != nil {
			return err
		}
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readBatch), jetstream.PullExpiry(pullFor), jetstream.PullHeartbeat(beatEvery))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	return r.take(ctx, messages)
}

func (r *reader) consumer(ctx context.Context) (c jetstream.Consumer, err error) {
	for wait := askFirst; wait <= askTimeout; wait *= 2 {
		if c, err = r.ask(ctx, wait); err == nil || !transient(err) || ctx.Err() != nil {
			break
		}
	}
	return c, err
}

func (r *reader) ask(ctx context.Context, wait time.Duration) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return r.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.last + 1,
		FilterSubject:     r.filter,
		MemoryStorage:     true,
		InactiveThreshold: consumerIdle,
	})
}

// take visits what one consumer delivers.
func (r *reader) take(ctx context.Context, messages jetstream.MessagesContext) error {
	for delivered := uint64(1); ; {
		raw, err := messages.Next(jetstream.NextMaxWait(idleFor))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, nats.ErrTimeout) {
			if err = r.bounds(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		meta, err := raw.Metadata()
		if err != nil {
			return err
		}
		// The server counts what it sends: a number that is left out was lost on the way.
		if meta.Sequence.Consumer != delivered {
			return fmt.Errorf("message %d came as %d", meta.Sequence.Consumer, delivered)
		}
		delivered++
		msg := message{
			seq: meta.Sequence.Stream, pending: meta.NumPending, subject: raw.Subject(), data: raw.Data(),
			deleted: raw.Headers().Get(jetstream.MarkerReasonHeader) != "" || raw.Headers().Get(operationHeader) != "",
		}
		err = r.visit(msg)
		if err == nil || errors.Is(err, errRead) {
			r.last = msg.seq
		}
		if err != nil {
			return end(err)
		}
	}
}

// operationHeader is on messages of a key-value bucket that are no values.
const operationHeader = "KV-Operation"

// end makes err one that ends reading.
func end(err error) error {
	if err == nil || errors.Is(err, errRead) || errors.Is(err, errShrunk) {
		return err
	}
	return &endError{err}
}

func (r *reader) bounds(ctx context.Context) error {
	if r.look == nil {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := r.stream.Info(asked)
	if err != nil {
		return err
	}
	return end(r.look(info.State.FirstSeq, info.State.LastSeq))
}

// leave deletes a consumer.
func (r *reader) leave(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	_ = r.stream.DeleteConsumer(ctx, name)
}
