package actions

import "context"

// What an Executor can ask in Apply about the answer that it works for stands in the context.
type (
	withdrawnKey struct{}
	heldKey      struct{}
)

// WithWithdrawn returns a context for Apply whose Withdrawn asks the function.
func WithWithdrawn(ctx context.Context, ask func() bool) context.Context {
	return context.WithValue(ctx, withdrawnKey{}, ask)
}

// Withdrawn reports, to an Executor in Apply, whether a person has taken back the answer that
// the action is part of. What cannot be undone is not cut short by that; its executor may
// know of a way to give it up.
func Withdrawn(ctx context.Context) bool {
	ask, ok := ctx.Value(withdrawnKey{}).(func() bool)
	return ok && ask()
}

// WithHeld returns a context for Apply whose Held asks the function.
func WithHeld(ctx context.Context, ask func() error) context.Context {
	return context.WithValue(ctx, heldKey{}, ask)
}

// Held returns an error, unavailable, to an Executor in Apply while nothing is to be begun
// because somebody has paused the guard. One that looks or waits for seconds before it
// changes anything asks right before that, and returns it; Apply is called again when the
// pause is over.
func Held(ctx context.Context) error {
	if ask, ok := ctx.Value(heldKey{}).(func() error); ok {
		return ask()
	}
	return nil
}
