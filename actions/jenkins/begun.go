package jenkins

import (
	"encoding/json"

	"github.com/gatewarden/gatewarden/actions"
)

var _ actions.Follower = (*Executor)(nil)

// Begun implements actions.Follower: an action whose item or build is known, or whose trigger's answer
// was lost, is followed or looked for, and never triggered again.
func (*Executor) Begun(raw json.RawMessage) bool {
	var m memo
	return json.Unmarshal(raw, &m) == nil && (m.QueueID > 0 || m.Build > 0 || m.Lost)
}
