package actions

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Steerer says where the limits of adaptive steps are to be. It is asked with each tick,
// under the engine's lock, and from the goroutines at work on actions.
type Steerer interface {
	// Begin returns where a limit begins that is about to be put in place.
	Begin(step *gatewarden.AdaptiveStep, at time.Time) (gatewarden.Limit, error)
	// Steer looks at what a limit in place came to.
	Steer(step *gatewarden.AdaptiveStep, limit gatewarden.Limit, at time.Time) Steering
}

// Steering is what a Steerer says of a limit in place.
type Steering struct {
	To     *gatewarden.Limit // where it is to go, nil when it is to stay
	Reason string            // one plain sentence, when it is to go
	Binds  bool              // it keeps requests back, or may: its ladder is not to descend
}

// Adjuster is an Executor of adaptive steps.
type Adjuster interface {
	Executor
	// Adjust brings a change that is in place to a.Limit, idempotently. The outcome's Status
	// is applied; or left when somebody else changed it meanwhile: then it was not touched.
	Adjust(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error)
}
