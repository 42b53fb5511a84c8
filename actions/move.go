package actions

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// MoveRequest asks for a share of the requests for the canary of a run. One action
// answers (run, Run.Step, Step.Percent).
type MoveRequest struct {
	Run  *gatewarden.Run
	Step gatewarden.ShareStep
	Mode gatewarden.Mode
}

// MoveLadder returns the id of the ladder that holds the moves of a run: what a person
// reverts to put the weights from before the run back.
func MoveLadder(runID string) string { return "move-" + runID }

// Move brings a run's canary to its share. It is called with each tick until it reports
// done; calls to Kong are made meanwhile. While not done, the error says what keeps it:
// "paused by X", no approval yet, Kong's refusal; it is nil while the call is under way.
// In observe mode it is done when the journal has what would have been done. A newer
// move of the run takes the place of one that is not done yet.
func (e *Engine) Move(ctx context.Context, at time.Time, m MoveRequest) (done bool, err error) {
	return false, gatewarden.Errorf(gatewarden.Internal, "not there yet")
}
