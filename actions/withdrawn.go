package actions

import "context"

type withdrawnKey struct{}

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
