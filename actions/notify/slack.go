package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// slackText says what an action is about, in Slack's own markup.
func slackText(a gatewarden.Action) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	severity := ""
	if a.Trigger.Severity != gatewarden.SeverityNone {
		severity = " (" + a.Trigger.Severity.String() + ")"
	}
	return fmt.Sprintf("*%s*%s: %s\nAnswered by `%s` since %s. To take it back: `gatewarden actions revert %s`",
		escape(a.Trigger.Name), severity, escape(a.Trigger.Reason), escape(a.Policy), a.Trigger.Since.UTC().Format("15:04:05 MST"), escape(a.Ladder))
}

// slack posts to an incoming webhook.
func (e *Executor) slack(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	body, err := json.Marshal(map[string]string{"text": slackText(a)})
	if err != nil {
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Internal, "writing the message about action %s: %w", a.ID, err)
	}
	return e.send(ctx, a, "the channel's webhook", body)
}
