package notify

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

var _ actions.Renewer = (*Executor)(nil)

// alert is one of those that POST /api/v2/alerts takes. Alertmanager tells alerts apart
// by their labels: the same labels again prolong it, or end it.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      *time.Time        `json:"endsAt,omitempty"` // absent: Alertmanager's own resolve_timeout from now
}

// alertOf returns the alert of an action, which ends by itself at the given time.
func alertOf(a gatewarden.Action, ends *time.Time) alert {
	labels := map[string]string{"alertname": a.Policy, subjectOf(a.Trigger): a.Trigger.Name}
	if a.Trigger.Severity != gatewarden.SeverityNone {
		labels["severity"] = a.Trigger.Severity.String()
	}
	if a.Spec.Alertmanager != nil {
		maps.Copy(labels, a.Spec.Alertmanager.Labels)
	}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" }) // as Alertmanager does itself
	al := alert{
		Labels: labels, StartsAt: a.Trigger.Since.UTC(),
		Annotations: map[string]string{"summary": a.Trigger.Reason, "action": a.ID, "ladder": a.Ladder},
	}
	if ends != nil {
		utc := ends.UTC()
		al.EndsAt = &utc
	}
	return al
}

// alertmanager posts the alert of an action, which ends at the given time.
func (e *Executor) alertmanager(ctx context.Context, a gatewarden.Action, ends *time.Time) (gatewarden.Outcome, error) {
	body, err := json.Marshal([]alert{alertOf(a, ends)})
	if err != nil {
		return gatewarden.Outcome{}, gatewarden.Errorf(gatewarden.Internal, "writing the alert of action %s: %w", a.ID, err)
	}
	return e.send(ctx, a, "the Alertmanager", body)
}

// Renew implements actions.Renewer: the alert is sent again, to end with its new lease.
func (e *Executor) Renew(ctx context.Context, a gatewarden.Action) error {
	if a.Spec.Kind != gatewarden.StepAlertmanager {
		return nil
	}
	out, err := e.alertmanager(ctx, a, a.LeaseUntil)
	if err == nil && out.Status == gatewarden.ActionFailed {
		err = gatewarden.Errorf(gatewarden.Invalid, "%s: %s", out.Reason, out.Details)
	}
	return err
}

// clocksApart is how far an Alertmanager's clock may be behind this one: of two ends it keeps
// the later one when the earlier is still to come by its clock, and that is the lease's.
const clocksApart = time.Minute

// past returns an end that is over by any such clock, and not before the alert began.
func past(begun, now time.Time) time.Time {
	if end := now.Add(-clocksApart); end.After(begun.Add(time.Second)) {
		return end
	}
	return begun.Add(time.Second)
}

// resolve ends the alert.
func (e *Executor) resolve(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	now := e.now()
	out, err := e.alertmanager(ctx, a, new(past(a.Trigger.Since, now)))
	switch {
	case err != nil && a.LeaseUntil != nil && now.After(*a.LeaseUntil):
		return gatewarden.Outcome{Status: gatewarden.ActionLeft, Reason: "the alert has ended by itself; it could not be resolved before: " + err.Error()}, nil
	case err != nil:
		return gatewarden.Outcome{}, err
	case out.Status != gatewarden.ActionApplied: // asked again it would say the same
		return gatewarden.Outcome{Status: gatewarden.ActionLeft, Reason: out.Reason + "; the alert ends by itself", Details: out.Details}, nil
	default:
		return gatewarden.Outcome{Status: gatewarden.ActionReverted, Reason: "the alert is resolved"}, nil
	}
}

// endByHand returns the command that resolves the alert without the guard. Whom a URL with a
// password or the file of a token lets in is left to who runs it.
func (e *Executor) endByHand(a gatewarden.Action) string {
	u, err := url.Parse(webhookOf(&a.Spec).URL)
	begun := a.Trigger.Since
	body, jsonErr := json.Marshal([]alert{{Labels: alertOf(a, nil).Labels, StartsAt: begun.UTC(), EndsAt: new(begun.UTC().Add(time.Second))}})
	if err != nil || jsonErr != nil {
		return "gatewarden actions revert " + a.ID
	}
	u.User = nil
	token := ""
	if a.Spec.Alertmanager.BearerTokenFile != "" {
		token = ` -H "Authorization: Bearer $ALERTMANAGER_TOKEN"`
	}
	return "curl -X POST" + token + " -H 'Content-Type: application/json' -d '" + strings.ReplaceAll(string(body), "'", `'\''`) + "' '" + u.String() + "'"
}
