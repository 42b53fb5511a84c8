package state

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	electionBucket = "gatewarden_election"
	leaderKey      = "leader"
	electionVoice  = "election"
)

// Election opens the election in which me stands. Alone, me leads for good. Where others
// share the state it listens for a second, and a guard of the same name that is running is a
// conflict.
func (s *State) Election(ctx context.Context, me Candidate, logger *slog.Logger) (*Election, error) {
	if !s.Shared() {
		return newElection(me, nil, nil, logger), nil
	}
	if me.Name == "" {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "a guard without a name cannot stand for election").
			WithHint("give each guard its own name")
	}
	var b bucketBallot
	err := s.settle(ctx, electionBucket, func(ctx context.Context) (err error) {
		b.bucket, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      electionBucket,
			Description: "gatewarden: which guard leads",
			History:     1,
			Replicas:    s.replicas,
		})
		if err == nil {
			b.stream, err = s.js.Stream(ctx, "KV_"+electionBucket)
		}
		return err
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the election: %w", err)
	}
	e := newElection(me, b, stateVoice{s}, logger)
	if err := e.single(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// bucketBallot is a ballot in a key-value bucket.
type bucketBallot struct {
	bucket jetstream.KeyValue
	stream jetstream.Stream
}

func (b bucketBallot) read(ctx context.Context) (value []byte, revision uint64, err error) {
	msg, err := b.stream.GetLastMsgForSubject(ctx, "$KV."+electionBucket+"."+leaderKey)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return msg.Data, msg.Sequence, nil
}

func (b bucketBallot) write(ctx context.Context, value []byte, after uint64) (revision uint64, err error) {
	revision, err = b.bucket.Update(ctx, leaderKey, value, after)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return 0, errOvertaken
	}
	return revision, err
}

// stateVoice is the voice that all guards of a state hear.
type stateVoice struct{ state *State }

func (v stateVoice) tell(data []byte) error { return v.state.Tell(electionVoice, data) }

func (v stateVoice) hear(heard func(data []byte)) (stop func(), err error) {
	return v.state.Hear(electionVoice, heard)
}
