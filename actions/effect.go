package actions

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Shower is an Executor that knows how its changes show in the traffic.
type Shower interface {
	Executor
	// Sign returns how an applied action shows and by when, and false when that cannot be
	// told by requests.
	Sign(ctx context.Context, a gatewarden.Action) (sign gatewarden.Sign, ok bool)
}

// Watch counts what the requests of [from, to) say of a sign. known is false when there
// can be no telling, such as while no source delivers.
type Watch interface {
	Effect(sign *gatewarden.Sign, from, to time.Time) (e gatewarden.Effect, known bool)
}
