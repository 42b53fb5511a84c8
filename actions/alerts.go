package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// maxAlerts bounds how many alerts of others fire at once, those that have fallen silent
	// of late included; more are refused.
	maxAlerts = 10_000
	// silentAlert is how long an alert may be neither repeated nor resolved until it says
	// nothing any more. Alertmanager repeats every 4 h unless told otherwise.
	silentAlert = 24 * time.Hour
	// forgetAlert is how long one is known that was not repeated: a ladder that cannot be
	// judged by then has ended before, though a restart in the first forgetAfter of that counts
	// it anew.
	forgetAlert = silentAlert + 2*forgetAfter
)

// alarm is an alert of somebody else that fires.
type alarm struct {
	gatewarden.Alert
	heard  time.Time // when it was last repeated
	silent bool      // not for so long that it says nothing any more; the journal knows
}

// alarmName is what ladders call the alerts that start a policy: no SLO has such a name.
func alarmName(policy string) string { return "alerts/" + policy }

// Hear takes alerts of others in and returns how many of them start a policy or have
// done so. Those that no policy wants are not remembered. A repeat changes nothing, and
// an alert is in the journal only when it begins, when it is resolved or falls silent for good,
// and when it is heard again after that.
// What it starts is begun with the next tick. Errors: unavailable when there are too many
// or the journal does not take them, so that they are sent again.
func (e *Engine) Hear(ctx context.Context, alerts []gatewarden.Alert) (wanted int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.ready(); err != nil {
		return 0, err
	}
	var errs []error
	for i := range alerts {
		_, known := e.alarms[alerts[i].Fingerprint]
		wants := e.rules.wants(&alerts[i])
		if wants {
			wanted++
		}
		if wants || known { // what the rules no longer want is resolved all the same
			errs = append(errs, e.hearOne(ctx, &alerts[i]))
		}
	}
	return wanted, errors.Join(errs...)
}

func (e *Engine) hearOne(ctx context.Context, a *gatewarden.Alert) error {
	now := e.cfg.Now()
	known, fires := e.alarms[a.Fingerprint]
	switch {
	case a.Firing && fires && !known.silent:
		known.heard = now
		return nil
	case !a.Firing && !fires:
		return nil
	case a.Firing && !fires && len(e.alarms) >= maxAlerts:
		return gatewarden.Errorf(gatewarden.Unavailable, "%d alerts fire already, or have fallen silent of late, and no more are taken", maxAlerts)
	}
	event := gatewarden.Event{At: now, Type: gatewarden.EventAlert, Name: cmp.Or(a.Labels["alertname"], a.Fingerprint), State: gatewarden.AlertResolved, Reason: reasonOf(a), Alert: a}
	if a.Firing {
		event.State = gatewarden.AlertFiring
	}
	if _, err := e.append(ctx, event); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "the journal does not take the alert %s: %w", event.Name, err)
	}
	e.setAlarm(a, now)
	return nil
}

func (e *Engine) setAlarm(a *gatewarden.Alert, heard time.Time) {
	if !a.Firing {
		delete(e.alarms, a.Fingerprint)
		return
	}
	if e.alarms == nil {
		e.alarms = make(map[string]*alarm)
	}
	e.alarms[a.Fingerprint] = &alarm{Alert: *a, heard: heard}
}

// mute reports whether the alarm says nothing any more.
func (a *alarm) mute(at time.Time) bool { return a.silent || at.Sub(a.heard) > silentAlert }

// silence writes down which alerts have fallen silent, so that they do not fire again after a
// restart. What they have started goes on as blind, until they are forgotten.
func (e *Engine) silence(ctx context.Context, at time.Time) error {
	e.forgetSilent(at)
	var errs []error
	for _, a := range e.alarms {
		if a.silent || !a.mute(at) {
			continue
		}
		over := a.Alert
		over.Firing = false
		name := cmp.Or(a.Labels["alertname"], a.Fingerprint)
		_, err := e.append(ctx, gatewarden.Event{
			At: at, Type: gatewarden.EventAlert, Name: name, State: gatewarden.AlertSilent, Alert: &over,
			Reason: fmt.Sprintf("the alert %s was neither repeated nor resolved for %s: it says nothing any more", name, gatewarden.Duration(silentAlert)),
		})
		a.silent = err == nil
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (e *Engine) forgetSilent(at time.Time) {
	maps.DeleteFunc(e.alarms, func(_ string, a *alarm) bool { return a.silent && at.Sub(a.heard) > forgetAlert })
}

// reasonOf says what an alert is about.
func reasonOf(a *gatewarden.Alert) string {
	name := "the alert " + cmp.Or(a.Labels["alertname"], a.Fingerprint)
	if a.Summary == "" {
		return clip(name + " fires")
	}
	return clip(name + ": " + a.Summary)
}

// recall takes up the alerts that fired when the guard stopped, and those that had fallen
// silent. How long the others have been silent is counted from now.
func (e *Engine) recall(ctx context.Context, at time.Time) error {
	for event, err := range e.cfg.Journal.All(ctx, gatewarden.EventAlert) {
		if err != nil {
			return fmt.Errorf("reading the journal for alerts: %w", err)
		}
		switch {
		case event.Alert == nil:
		case event.State == gatewarden.AlertSilent:
			over := *event.Alert
			over.Firing = true // as far as anybody knows
			e.setAlarm(&over, event.At.Add(-silentAlert))
			e.alarms[over.Fingerprint].silent = true
		default:
			e.setAlarm(event.Alert, at)
		}
	}
	e.forgetSilent(at)
	return nil
}

// wants reports whether an alert starts any policy.
func (b *ruleBook) wants(a *gatewarden.Alert) bool {
	for _, p := range b.policies {
		if matchesAny(p.OnAlert, a) {
			return true
		}
	}
	return false
}

func matchesAny(list []gatewarden.Matcher, a *gatewarden.Alert) bool {
	return slices.ContainsFunc(list, func(m gatewarden.Matcher) bool { return m.Matches(a) })
}

// judgeAlarms adds a verdict for each policy that alerts start, as if they were an SLO of
// its own. It is called with mu held.
func (e *Engine) judgeAlarms(at time.Time) {
	for _, p := range e.rules.policies {
		if len(p.OnAlert) > 0 {
			e.verdicts[alarmName(p.Name)] = e.alarmVerdict(&p, at)
		}
	}
}

func (e *Engine) alarmVerdict(p *gatewarden.ActionPolicy, at time.Time) *gatewarden.Verdict {
	v := &gatewarden.Verdict{At: at, Kind: gatewarden.EventAlert, Name: alarmName(p.Name), State: gatewarden.Healthy, Reason: "no alert fires"}
	var first *alarm
	for _, a := range e.alarms {
		switch {
		case !matchesAny(p.OnAlert, &a.Alert):
		case a.mute(at):
			if first == nil {
				v.State, v.Reason = gatewarden.Inconclusive, "an alert was neither repeated nor resolved for "+gatewarden.Duration(silentAlert).String()
			}
		case first == nil || a.StartsAt.Before(first.StartsAt) || a.StartsAt.Equal(first.StartsAt) && a.Fingerprint < first.Fingerprint:
			first = a
		}
	}
	if first != nil {
		v.State, v.Severity, v.At, v.Reason = gatewarden.Breach, gatewarden.SeverityPage, first.StartsAt, reasonOf(&first.Alert)
	}
	return v
}
