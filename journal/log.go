package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	streamName    = "GATEWARDEN_JOURNAL"
	subjectPrefix = "gatewarden.journal."
	// answerTimeout bounds one append. It is long for a disk and short for a breach.
	answerTimeout = 5 * time.Second
	// askTimeout bounds asking for a consumer, askFirst the first try with several servers.
	askTimeout   = 4 * time.Second
	askFirst     = askTimeout / 8
	leaveTimeout = time.Second
	readBatch    = 256
	readWait     = 5 * time.Second
	openAgain    = 500 * time.Millisecond
	openTries    = 60
	loadTries    = 10
)

// log is the journal's stream. Every message is published under the condition that
// its predecessor is the newest one, so two writers cannot both go on.
type log struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	journal *Journal
	// writer is in the id of every message that this process publishes. It tells a
	// publish whose answer was lost from another guard's.
	writer  string
	last    uint64 // the newest position this process knows; only its one writer uses it
	number  uint64 // of publishes, to tell their ids apart
	deposed error  // set once another guard has written
}

func openLog(ctx context.Context, js jetstream.JetStream, j *Journal) (*log, error) {
	config := jetstream.StreamConfig{
		Name:        streamName,
		Description: "gatewarden: what was decided and done",
		Subjects:    []string{subjectPrefix + ">"},
		Compression: jetstream.S2Compression,
		Replicas:    j.cfg.Replicas,
	}
	stream, err := js.CreateOrUpdateStream(ctx, config)
	// Servers that just became a cluster refuse for some seconds what they take afterwards.
	for tries := 1; err != nil && j.cfg.Replicas > 1 && tries < openTries && sleep(ctx, openAgain); tries++ {
		stream, err = js.CreateOrUpdateStream(ctx, config)
	}
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the journal: %w", err)
	}
	return &log{js: js, stream: stream, journal: j, writer: rand.Text()}, nil
}

// sleep pauses; it reports false when ctx ended meanwhile.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// bounds returns the first and the last position and takes the last for the one
// that the next append follows.
func (l *log) bounds(ctx context.Context) (first, last uint64, err error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, 0, gatewarden.Errorf(gatewarden.Unavailable, "reading the journal: %w", err)
	}
	l.last = info.State.LastSeq
	return info.State.FirstSeq, l.last, nil
}

// append publishes one event and returns its position.
func (l *log) append(ctx context.Context, t gatewarden.EventType, data []byte) (uint64, error) {
	if l.deposed != nil {
		return 0, l.deposed
	}
	if ctx.Err() != nil { // nothing would be sent, and nothing is to be settled
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "writing the journal: %w", context.Cause(ctx))
	}
	defer l.journal.metrics.timeAppend()()
	l.number++
	msg := &nats.Msg{Subject: subjectPrefix + string(t), Data: data, Header: nats.Header{}}
	id := fmt.Sprintf("%s-%d", l.writer, l.number)
	seq, err := l.publish(ctx, msg, id)
	if err == nil {
		return seq, nil
	}
	// The answer was lost, or somebody has written meanwhile, possibly an earlier
	// publish of this process that was given up too soon.
	known := l.last
	found, settleErr := l.settle(ctx, id)
	wrongLast := settleErr == nil && isWrongLast(err)
	switch {
	case l.deposed != nil:
		return 0, l.deposed
	case found != 0:
		return found, nil
	case wrongLast && l.last == known && !l.replicated():
		settleErr = l.passLost(ctx, err)
	}
	if wrongLast && settleErr == nil && l.last > known {
		if seq, err = l.publish(ctx, msg, id); err == nil {
			return seq, nil
		}
	}
	if l.deposed != nil {
		return 0, l.deposed
	}
	return 0, gatewarden.Errorf(gatewarden.Unavailable, "writing the journal: %w", errors.Join(err, settleErr)).
		WithHint("is the disk of the state folder full?")
}

func (l *log) publish(ctx context.Context, msg *nats.Msg, id string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectLastSequence(l.last))
	if err != nil {
		return 0, err
	}
	l.last = ack.Sequence
	return ack.Sequence, nil
}

// settle reads on from the last known position and returns where the message with
// the given id is, 0 when it is not there. Earlier messages of this process are
// taken in; anybody else's means that this guard has been deposed.
func (l *log) settle(ctx context.Context, id string) (found uint64, err error) {
	// The caller's context may be what cut the publish short; what became of it must
	// be known all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	for {
		msg, err := l.stream.GetMsg(ctx, l.last+1)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		got := msg.Header.Get(jetstream.MsgIDHeader)
		if !strings.HasPrefix(got, l.writer+"-") {
			l.deposed = gatewarden.Errorf(gatewarden.Conflict, "another guard has written to the journal (position %d): this one has been deposed", msg.Sequence).
				WithHint("only one guard may use a journal; stop the other, then restart this one")
			return 0, l.deposed
		}
		l.last = msg.Sequence
		if got == id {
			return msg.Sequence, nil
		}
		if e, err := decode(msg.Data); err == nil {
			e.Seq = msg.Sequence
			l.journal.remember(e)
		}
	}
}

// replicated reports whether several servers hold the journal. One that was damaged gets
// what it lost from the others; and the position that they expect may be that of a
// message which is under way between them, of another guard or of this one. Not to
// append before it is known which is what makes compare-and-set safe: the next append
// settles it.
func (l *log) replicated() bool { return l.stream.CachedInfo().Config.Replicas > 1 }

// passLost lets the journal go on after damage. When the newest block of a stream
// was damaged on disk, the server (2.15) serves what is left but still expects the
// position of the message that was lost, and says which one that is. With nothing
// stored after the last position known here, there is no other writer.
func (l *log) passLost(ctx context.Context, wrongLast error) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return err
	}
	if info.State.LastSeq > l.last {
		l.deposed = gatewarden.Errorf(gatewarden.Conflict, "another guard has written to the journal (position %d): this one has been deposed", info.State.LastSeq)
		return l.deposed
	}
	_, number, _ := strings.Cut(wrongLast.Error(), "wrong last sequence: ")
	var expected uint64
	if n, _ := fmt.Sscan(number, &expected); n == 0 || expected <= l.last {
		return nil // the text is another than it was: the next try will show
	}
	l.journal.cfg.Logger.Error("the newest events of the journal were damaged on disk and are lost", "first", l.last+1, "last", expected)
	l.last = expected
	return nil
}

func isWrongLast(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// read yields the events of a type ("" is all) after a position, up to the newest
// of when it began. What is no event is counted, logged and passed over.
func (l *log) read(ctx context.Context, after uint64, t gatewarden.EventType) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		for msg, err := range l.messages(ctx, after, cmp.Or(string(t), ">")) {
			if err != nil {
				yield(gatewarden.Event{}, gatewarden.Errorf(gatewarden.Unavailable, "reading the journal: %w", err))
				return
			}
			e, err := decode(msg.data)
			if err != nil {
				l.journal.metrics.damaged.Inc()
				l.journal.cfg.Logger.Warn("a message in the journal cannot be read and is passed over",
					"seq", msg.seq, "subject", msg.subject, "error", err)
				continue
			}
			e.Seq = msg.seq
			if !yield(e, nil) {
				return
			}
		}
	}
}

// message is a message of the stream.
type message struct {
	seq     uint64
	subject string
	data    []byte
}

// messages yields the messages of a subject after a position. A consumer of its own
// says how many there are, so that reading ends at the newest without waiting for
// one more.
func (l *log) messages(ctx context.Context, after uint64, subject string) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		consumer, err := l.consumer(ctx, after, subject)
		if err != nil {
			yield(message{}, err)
			return
		}
		info := consumer.CachedInfo()
		defer l.leave(ctx, info.Name)
		if info.NumPending == 0 {
			return
		}
		iterator, err := consumer.Messages(jetstream.PullMaxMessages(readBatch))
		if err != nil {
			yield(message{}, err)
			return
		}
		defer iterator.Stop()
		for range info.NumPending {
			msg, err := next(ctx, iterator)
			if !yield(msg, err) || err != nil {
				return
			}
		}
	}
}

// consumer asks for one that delivers a subject after a position. Of several servers it
// may be given to one that is gone, which nobody has noticed yet: then it asks again, at
// first soon.
func (l *log) consumer(ctx context.Context, after uint64, subject string) (c jetstream.Consumer, err error) {
	wait := askTimeout
	if l.replicated() {
		wait = askFirst
	}
	for ; wait <= askTimeout; wait *= 2 {
		c, err = l.ask(ctx, wait, after, subject)
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	return c, err
}

func (l *log) ask(ctx context.Context, wait time.Duration, after uint64, subject string) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after + 1,
		FilterSubject:     subjectPrefix + subject,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
}

// leave deletes a consumer. The server would after a minute.
func (l *log) leave(ctx context.Context, consumer string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	_ = l.stream.DeleteConsumer(ctx, consumer)
}

func next(ctx context.Context, iterator jetstream.MessagesContext) (message, error) {
	msg, err := iterator.Next(jetstream.NextMaxWait(readWait))
	if err = cmp.Or(ctx.Err(), err); err != nil {
		return message{}, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return message{}, err
	}
	return message{seq: meta.Sequence.Stream, subject: msg.Subject(), data: msg.Data()}, nil
}

// oldestWithin returns the first position that age and size allow to keep.
func (l *log) oldestWithin(ctx context.Context, since time.Time, maxBytes int64) (uint64, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "reading the journal: %w", err)
	}
	s := info.State
	keep := s.FirstSeq
	if s.Msgs == 0 {
		return keep, nil
	}
	if excess := int64(s.Bytes) - maxBytes; excess > 0 {
		// Messages are of about the same size; what is still too much goes next time.
		share := float64(excess) / float64(s.Bytes)
		keep += uint64(math.Ceil(share * float64(s.LastSeq-s.FirstSeq+1)))
	}
	if s.FirstTime.Before(since) {
		first, err := l.firstSince(ctx, since, s.LastSeq)
		if err != nil {
			return 0, gatewarden.Errorf(gatewarden.Unavailable, "reading the journal: %w", err)
		}
		keep = max(keep, first)
	}
	return keep, nil
}

// firstSince returns the position of the first message stored at or after a time,
// the one after last when there is none.
func (l *log) firstSince(ctx context.Context, since time.Time, last uint64) (uint64, error) {
	consumer, err := l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &since,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return 0, err
	}
	info := consumer.CachedInfo()
	defer func() { _ = l.stream.DeleteConsumer(context.WithoutCancel(ctx), info.Name) }()
	if info.NumPending == 0 {
		return last + 1, nil
	}
	return info.Delivered.Stream + 1, nil
}

// dropBefore drops the messages before a position.
func (l *log) dropBefore(ctx context.Context, seq uint64) error {
	if seq <= 1 {
		return nil
	}
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(seq)); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "trimming the journal: %w", err)
	}
	return nil
}
