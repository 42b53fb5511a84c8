package state

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
	// settleWith is how long opening something waits for servers of one's own to settle;
	// those of a cluster of guards are waited for as long as the caller likes.
	settleWith = 30 * time.Second
	settleLog  = 10 * time.Second
	// useTimeout is for one try of something small, blobTimeout for one of a blob.
	useTimeout  = 5 * time.Second
	blobTimeout = 40 * time.Second
	// firstTry is the part of these that the first try gets.
	firstTry = 10
)

// settle calls open until the servers have settled enough for it: a cluster that just
// started, or lost a server, refuses for some seconds what it takes afterwards. Alone,
// open is called once.
func (s *State) settle(ctx context.Context, what string, open func(ctx context.Context) error) error {
	if !s.Shared() {
		return open(ctx)
	}
	if s.cluster == nil {
		limited, cancel := context.WithTimeout(ctx, settleWith)
		defer cancel()
		ctx = limited
	}
	return s.again(ctx, what, open)
}

// patiently is settle for what is opened already: after the loss of a server each stream
// elects another one to lead it, and a guard that takes over at that moment has to wait
// for all that it uses. What is asked of a server that is gone, before that was noticed,
// is never answered: the first try is short, and the longest takes as long as each. Alone,
// there is one try, of as long as each.
func (s *State) patiently(ctx context.Context, what string, each time.Duration, use func(ctx context.Context) error) error {
	if !s.Shared() {
		ctx, cancel := context.WithTimeout(ctx, each) // without one the client's own holds: 5 s, also for 20 MB
		defer cancel()
		return use(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, each+settleWith)
	defer cancel()
	wait := each / firstTry
	return s.again(ctx, what, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		wait = min(2*wait, each)
		return use(ctx)
	})
}

// again calls do until it succeeds, fails for good, or ctx ends.
func (s *State) again(ctx context.Context, what string, do func(ctx context.Context) error) error {
	told := time.NewTicker(settleLog)
	defer told.Stop()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(ctx)
		if err == nil || !transient(err) {
			return err
		}
		select {
		case <-told.C:
			s.logger.Warn("waiting for the servers to settle", "for", what, "error", err)
		default:
		}
		if !sleep(ctx, pause) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
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

// Codes of JetStream's API that the client gives no names.
const (
	codeNoSuitablePeers = 10005 // fewer servers than replicas, so far
	codeNotClustered    = 10006
	codeNotLeader       = 10009
	codeAssignment      = 10048 // another change of the same stream is under way
	codeStreamNotFound  = 10059 // another guard is about to make it
	codeNoReplicasYet   = 10074 // the server does not know yet that it is one of several
)

// transient reports whether an error is one that servers give until they have settled.
func transient(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeNoSuitablePeers, codeNotClustered, codeNotLeader, codeAssignment, codeStreamNotFound, codeNoReplicasYet:
			return true
		default:
			return api.Code == 503
		}
	}
	for _, is := range []error{
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse, context.DeadlineExceeded,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
