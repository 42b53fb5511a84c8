package burnrate

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// budget fills in the SLI over the SLO's window, what is left of the error budget,
// and when it ends.
//
// The budget is a share of the events that there were: with a bad ratio b over the
// window and an error budget e, 1 - b/e of it is left. For a calendar window these
// are the events since the period began.
func (a *Analyzer) budget(at time.Time, ev *gatewarden.SLOEvidence) {
	slo := &a.slo
	start := slo.Window.Start(at)
	if slo.Window.Calendar == "" {
		ev.Count = a.look.counts[a.rolling]
	} else {
		ev.Count = a.look.events.Count(start, a.look.to)
	}
	spent := slo.BurnRate(ev.Count.BadRatio())
	ev.SLI = 1 - ev.Count.BadRatio()
	ev.Budget = 1 - spent
	burn := slo.BurnRate(a.look.counts[a.recent].BadRatio())
	if left, ends := forecast(slo.Window, at, start, spent, burn); ends {
		end := at.Add(left).Truncate(time.Second)
		ev.Exhausted = &end
	}
}

// recentWindow is what "the current rate" is measured over: the long window of the
// first pair, or the same share of the SLO's window (an hour of 30 days).
func recentWindow(slo *gatewarden.SLO) time.Duration {
	if len(slo.Pairs) > 0 {
		return slo.Pairs[0].Long
	}
	return max((slo.Window.Length() / 720).Truncate(time.Second), time.Second)
}

// forecast returns how long the budget lasts if burning goes on at rate burn and
// traffic stays as it is, and false when it outlasts the window or has ended already:
// since when nobody has noted. spent is the burn rate over the window so far, so 1 - spent of the
// budget is left.
//
// In a rolling window of length W the rest is gone after (1 - spent) W / burn; what
// leaves the window meanwhile is not given back in this, so it errs on the early
// side. In a calendar period the budget ends when the mean burn rate since its start
// reaches 1: after t with spent*e + burn*t = e + t, e being the time since the start.
func forecast(w gatewarden.BudgetWindow, at, start time.Time, spent, burn float64) (left time.Duration, ends bool) {
	if spent >= 1 {
		return 0, false
	}
	length := w.Length()
	t := (1 - spent) * float64(length) / burn // +Inf when nothing burns
	limit := float64(length)
	if w.Calendar != "" {
		if burn <= 1 {
			return 0, false
		}
		t = (1 - spent) * float64(at.Sub(start)) / (burn - 1)
		limit = float64(periodEnd(w, start).Sub(at))
	}
	if t >= limit {
		return 0, false
	}
	return time.Duration(t), true
}

// periodEnd returns when the calendar period that began at start ends: the start of
// the one that an instant safely inside the next belongs to.
func periodEnd(w gatewarden.BudgetWindow, start time.Time) time.Time {
	return w.Start(start.Add(w.Length() + w.Length()/5))
}
