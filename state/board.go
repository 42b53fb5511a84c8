package state

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const boardBucket = "gatewarden_board"

// Board shows small values to all guards that share the state: the latest of each key.
type Board struct {
	bucket jetstream.KeyValue
	stream jetstream.Stream
}

// Board opens the board.
func (s *State) Board(ctx context.Context) (*Board, error) {
	b := new(Board)
	err := s.settle(ctx, boardBucket, func(ctx context.Context) (err error) {
		b.bucket, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      boardBucket,
			Description: "gatewarden: what each guard shows the others",
			History:     1,
			Replicas:    s.replicas,
		})
		if err == nil {
			b.stream, err = s.js.Stream(ctx, "KV_"+boardBucket)
		}
		return err
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the board: %w", err)
	}
	return b, nil
}

// Put replaces the value of a key.
func (b *Board) Put(ctx context.Context, key string, value []byte) error {
	_, err := b.bucket.Put(ctx, key, value)
	if errors.Is(err, jetstream.ErrInvalidKey) {
		return gatewarden.Errorf(gatewarden.Invalid, "the key %q: %w", key, err).WithHint("letters, digits and -/_=. are allowed")
	}
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "writing %s on the board: %w", key, err)
	}
	return nil
}

// Watch visits every key with its value, then each change, until ctx ends, which is no
// error. It outlives lost connections and elections among the servers. A value that is
// replaced before it was visited may be passed over.
func (b *Board) Watch(ctx context.Context, visit func(key string, value []byte)) error {
	pause := firstPause
	r := reader{stream: b.stream, visit: func(msg message) error {
		pause = firstPause
		if !msg.deleted {
			visit(strings.TrimPrefix(msg.subject, "$KV."+boardBucket+"."), msg.data)
		}
		return nil
	}}
	for {
		_ = r.read(ctx) // whatever it was, it is begun again
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, maxPause)
	}
}
