package notify

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func alertAction() gatewarden.Action {
	a := action(gatewarden.WebhookStep{})
	until := a.Trigger.Since.Add(15 * time.Minute)
	a.LeaseUntil = &until
	a.Spec = gatewarden.Step{Kind: gatewarden.StepAlertmanager, Alertmanager: &gatewarden.AlertmanagerStep{
		URL: "http://am.test/prefix/", Labels: map[string]string{"team": "shop", "severity": "critical", "slo": ""},
	}}
	return a
}

const alertStart = `[{"labels":{"alertname":"tell-team","severity":"critical","team":"shop"},` +
	`"annotations":{"action":"tell-team-5f3a9c21-1","ladder":"tell-team-5f3a9c21","summary":"half of the requests fail"},` +
	`"startsAt":"2026-11-21T12:00:00Z","endsAt":"`

func TestAnAlertIsPostedRenewedAndResolved(t *testing.T) {
	r, a := &receiver{}, alertAction()
	e := newExecutor(r, nil)
	e.now = func() time.Time { return time.Date(2026, 11, 21, 12, 20, 0, 0, time.UTC) }
	out, err := e.Apply(t.Context(), a, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := gatewarden.Outcome{
		Status: gatewarden.ActionApplied, Reason: "the Alertmanager at http://am.test answered 200",
		Change: "called the Alertmanager at http://am.test",
		Undo: `curl -X POST -H 'Content-Type: application/json' -d '[{"labels":{"alertname":"tell-team","severity":"critical","team":"shop"},` +
			`"startsAt":"2026-11-21T12:00:00Z","endsAt":"2026-11-21T12:00:01Z"}]' 'http://am.test/prefix/api/v2/alerts'`,
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	later := a.LeaseUntil.Add(10 * time.Minute)
	a.LeaseUntil = &later
	if err := e.Renew(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if out, err = e.Revert(t.Context(), a); err != nil || out.Status != gatewarden.ActionReverted {
		t.Errorf("%+v, %v", out, err)
	}
	bodies := []string{alertStart + `2026-11-21T12:15:00Z"}]`, alertStart + `2026-11-21T12:25:00Z"}]`, alertStart + `2026-11-21T12:19:00Z"}]`}
	if diff := cmp.Diff(bodies, r.bodies); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, call := range r.calls {
		if call.Method != http.MethodPost || call.URL.String() != "http://am.test/prefix/api/v2/alerts" {
			t.Errorf("%s %s", call.Method, call.URL)
		}
	}
}

// alertmanagerOf keeps the last of one alert as Alertmanager does (provider/mem Put, Alert.Merge):
// an end that is still to come gives way to a later one that it knows already.
func alertmanagerOf(t *testing.T, now func() time.Time, kept *alert) *receiver {
	r := &receiver{}
	r.answer = func(*http.Request) (int, http.Header, string) {
		var got []alert
		if err := json.Unmarshal([]byte(r.bodies[len(r.bodies)-1]), &got); err != nil || len(got) != 1 || got[0].EndsAt.Before(got[0].StartsAt) {
			t.Errorf("%v of %q", err, r.bodies)
			return 400, http.Header{}, ""
		}
		al := got[0]
		overlaps := kept.EndsAt != nil && al.EndsAt.After(kept.StartsAt) && al.EndsAt.Before(*kept.EndsAt)
		if resolved := !al.EndsAt.After(now()); overlaps && !resolved {
			al.EndsAt = kept.EndsAt
		}
		*kept = al
		return 200, http.Header{}, ""
	}
	return r
}

func TestAnAlertmanagerBehindOurClockStopsPagingToo(t *testing.T) {
	for name, c := range map[string]struct{ behind, lasted time.Duration }{
		"the same clock":                             {0, 10 * time.Minute},
		"a second behind":                            {time.Second, 10 * time.Minute},
		"most of a minute behind":                    {59 * time.Second, 10 * time.Minute},
		"a second behind, an alert of a few seconds": {time.Second, 5 * time.Second},
		"a second ahead, an alert of no time at all": {-time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, kept := alertAction(), alert{}
			ours := a.Trigger.Since.Add(c.lasted)
			theirs := func() time.Time { return ours.Add(-c.behind) }
			e := newExecutor(alertmanagerOf(t, theirs, &kept), nil)
			e.now = func() time.Time { return ours }
			if _, err := e.Apply(t.Context(), a, nil); err != nil {
				t.Fatal(err)
			}
			if out, err := e.Revert(t.Context(), a); err != nil || out.Status != gatewarden.ActionReverted {
				t.Fatalf("%+v, %v", out, err)
			}
			if kept.EndsAt.After(theirs()) {
				t.Errorf("it is %s there and the alert ends at %s", theirs(), kept.EndsAt)
			}
		})
	}
}

func TestLabelsSayWhatItIsAbout(t *testing.T) {
	a := action(gatewarden.WebhookStep{})
	if diff := cmp.Diff(map[string]string{"alertname": "tell-team", "slo": "orders-availability", "severity": "outage"}, alertOf(a, nil).Labels); diff != "" {
		t.Errorf("of a breach (-want +got)\n%s", diff)
	}
	a.Trigger.Kind, a.Trigger.Severity = gatewarden.EventGate, gatewarden.SeverityNone
	if diff := cmp.Diff(map[string]string{"alertname": "tell-team", "canary": "orders-availability"}, alertOf(a, nil).Labels); diff != "" {
		t.Errorf("of a run (-want +got)\n%s", diff)
	}
}

func TestAnAlertmanagerThatSaysNo(t *testing.T) {
	a := alertAction()
	for name, c := range map[string]struct {
		status int
		after  time.Duration // the end of the lease
		want   gatewarden.ActionStatus
		code   gatewarden.Code
	}{
		"it is down, and the alert still lives":         {503, -time.Minute, "", gatewarden.Unavailable},
		"it is down, and the alert has ended by itself": {503, time.Minute, gatewarden.ActionLeft, ""},
		"it will never take it":                         {400, -time.Minute, gatewarden.ActionLeft, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExecutor(answers(c.status, "no"), nil)
			e.now = func() time.Time { return a.LeaseUntil.Add(c.after) }
			out, err := e.Revert(t.Context(), a)
			if out.Status != c.want || gatewarden.ErrorCode(err) != c.code {
				t.Errorf("%+v, %v", out, err)
			}
			if err := e.Renew(t.Context(), a); err == nil {
				t.Error("the alert was not renewed, and nobody is told")
			}
		})
	}
}

func TestSlackIsTold(t *testing.T) {
	r := &receiver{}
	e := newExecutor(r, map[string]string{"/run/slack": "https://hooks.slack.test/services/T0/B0/x\n"})
	a := action(gatewarden.WebhookStep{})
	a.Spec = gatewarden.Step{Kind: gatewarden.StepSlack, Slack: &gatewarden.SlackStep{URLFile: "/run/slack"}}
	a.Trigger.Reason = "half of the requests to <orders> & co. fail"
	out, err := e.Apply(t.Context(), a, nil)
	if err != nil || out.Status != gatewarden.ActionApplied || out.Change != "called the channel's webhook at https://hooks.slack.test" {
		t.Errorf("%+v, %v", out, err)
	}
	const want = `{"text":"*orders-availability* (outage): half of the requests to \u0026lt;orders\u0026gt; \u0026amp; co. fail\n` +
		"Since 12:00:00 UTC. What is changed, what waits for approval, and the ids to approve or revert by: `gatewarden actions`" + `"}`
	if diff := cmp.Diff([]string{want}, r.bodies); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if out, err := e.Revert(t.Context(), a); err != nil || out.Status != gatewarden.ActionLeft {
		t.Errorf("%+v, %v: a message cannot be taken back", out, err)
	}
}
