package state

import (
	"context"

	"github.com/gatewarden/gatewarden"
)

// Begin returns the position before the oldest message that there is, or would be, which is
// what Follow takes to visit everything, and that of the newest: the same when there is none.
func (l *Log) Begin(ctx context.Context) (after, newest uint64, err error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, 0, gatewarden.Errorf(gatewarden.Unavailable, "asking where %s begins: %w", l.subject, err)
	}
	return max(info.State.FirstSeq, 1) - 1, info.State.LastSeq, nil
}
