package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// slackText says what an action is about, in Slack's own markup. What else was begun, and
// whether that waits for somebody, is not this action's to know and changes while the message
// is read: it says where that stands, not what was the case when it was written.
func slackText(a gatewarden.Action) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	severity := ""
	if a.Trigger.Severity != gatewarden.SeverityNone {
		severity = " (" + a.Trigger.Severity.String() + ")"
	}
	return fmt.Sprintf("*%s*%s: %s\nSince %s. What is changed, what waits for approval, and the ids to approve or revert by: `gatewarden actions`",
		escape(a.Trigger.Name), severity, escape(a.Trigger.Reason), a.Trigger.Since.UTC().Format("15:04:05 MST"))
}

// slack posts to an incoming webhook.
func (e *Executor) slack(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	body, err := json.Marshal(map[string]string{"text": slackText(a)})
	if err != nil {
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Internal, "writing the message about action %s: %w", a.ID, err)
	}
	return e.send(ctx, a, "the channel's webhook", body)
}
