package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Audit is all that is known of a run when it is over.
type Audit struct {
	Events  []gatewarden.Event // the whole journal
	Kong    []Call             // of the guard
	Jenkins []Call             // likewise
	Builds  []Build            // that carry the id of an action
	Skew    time.Duration      // how far the guard's clock was off at most
	Edited  map[string]bool    // ids of what somebody else has changed at Kong
}

// Build is a build of the rollback job.
type Build struct {
	Number int
	Action string
}

// Problems lists what the guard did that it must never do, and what it did without
// saying so.
func (a *Audit) Problems() []string {
	return slices.Concat(a.lives(), a.unexplained(), a.rollbacks(), a.paused(), a.unasked())
}

// follows says which statuses an action may have after another.
var follows = map[gatewarden.ActionStatus][]gatewarden.ActionStatus{
	"":                          {gatewarden.ActionSkipped, gatewarden.ActionWaiting, gatewarden.ActionStarted, gatewarden.ActionFailed},
	gatewarden.ActionSkipped:    {gatewarden.ActionSkipped, gatewarden.ActionWaiting, gatewarden.ActionStarted, gatewarden.ActionFailed},
	gatewarden.ActionWaiting:    {gatewarden.ActionWaiting, gatewarden.ActionStarted, gatewarden.ActionSkipped, gatewarden.ActionExpired, gatewarden.ActionFailed},
	gatewarden.ActionStarted:    {gatewarden.ActionStarted, gatewarden.ActionApplied, gatewarden.ActionFailed, gatewarden.ActionUnknown, gatewarden.ActionLeft, gatewarden.ActionReverting, gatewarden.ActionReplaced},
	gatewarden.ActionApplied:    {gatewarden.ActionApplied, gatewarden.ActionUnverified, gatewarden.ActionIneffective, gatewarden.ActionReverting, gatewarden.ActionReplaced},
	gatewarden.ActionUnverified: {gatewarden.ActionUnverified, gatewarden.ActionApplied, gatewarden.ActionIneffective, gatewarden.ActionReverting},
	gatewarden.ActionReverting:  {gatewarden.ActionReverting, gatewarden.ActionReverted, gatewarden.ActionLeft, gatewarden.ActionFailed},
}

// lives holds each action's life: it goes through statuses that follow one another, each
// with its reason, and comes to an end; and so does each ladder, once.
func (a *Audit) lives() (problems []string) {
	last := map[string]gatewarden.Event{}
	ended, ladders := map[string]int{}, map[string]bool{}
	seq := uint64(0)
	for _, e := range a.Events {
		if e.Seq <= seq {
			problems = append(problems, fmt.Sprintf("event %d comes after event %d", e.Seq, seq))
		}
		if seq = e.Seq; e.Type != gatewarden.EventAction {
			continue
		}
		if e.Reason == "" {
			problems = append(problems, fmt.Sprintf("%s is %s without a reason (event %d)", e.Name, e.State, e.Seq))
		}
		if e.State == gatewarden.LadderEnded {
			ended[e.Name]++
		}
		if e.Action == nil {
			continue
		}
		ladders[e.Action.Ladder] = true
		if e.State == gatewarden.LadderBegun {
			continue
		}
		was := gatewarden.ActionStatus("")
		if before, known := last[e.Name]; known {
			was = before.Action.Status
		}
		if !slices.Contains(follows[was], e.Action.Status) {
			problems = append(problems, fmt.Sprintf("%s goes from %q to %q: %s (event %d)", e.Name, was, e.Action.Status, e.Reason, e.Seq))
		}
		last[e.Name] = e
	}
	for _, id := range slices.Sorted(maps.Keys(last)) {
		switch e := last[id]; {
		case a.abandoned(e.Action):
		case e.Action.Status.InPlace() && (e.Action.Spec.Kind.Reversible() || e.Action.Status != gatewarden.ActionApplied):
			problems = append(problems, fmt.Sprintf("%s is still %s: %s", id, e.State, e.Reason))
		case e.Action.Status == gatewarden.ActionWaiting:
			problems = append(problems, id+" still waits")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ladders)) {
		if ended[id] != 1 {
			problems = append(problems, fmt.Sprintf("ladder %s has %d ends", id, ended[id]))
		}
	}
	return problems
}

// Abandoned returns the changes of weights that stay for good, because a newer run of their
// canary has begun.
func (a *Audit) Abandoned() (list []gatewarden.Action) {
	last := map[string]*gatewarden.Action{}
	for _, e := range a.Events {
		if e.Type == gatewarden.EventAction && e.Action != nil && e.State != gatewarden.LadderBegun {
			last[e.Name] = e.Action
		}
	}
	for _, id := range slices.Sorted(maps.Keys(last)) {
		if a.abandoned(last[id]) {
			list = append(list, *last[id])
		}
	}
	begun := map[string]uint64{}
	NoteBegun(begun, a.Events)
	return InOrder(list, begun)
}

// Moved reports whether a move of a canary was made after an instant: it sets the weights of the
// canary's targets, whoever had set them before.
func (a *Audit) Moved(after time.Time) bool {
	return slices.ContainsFunc(a.Events, func(e gatewarden.Event) bool {
		return e.Action != nil && e.Action.Spec.Share != nil && e.At.After(after.Add(-a.Skew)) && e.Action.Status == gatewarden.ActionStarted
	})
}

// abandoned reports whether an action is one of a ladder that a newer run has ended.
func (a *Audit) abandoned(action *gatewarden.Action) bool {
	standing := action.Status == gatewarden.ActionApplied || action.Status == gatewarden.ActionUnverified
	if !standing || !action.Spec.Kind.Weighs() || action.Trigger.Kind != gatewarden.EventGate {
		return false
	}
	closed := false
	for _, e := range a.Events {
		if e.Type == gatewarden.EventAction && e.Name == action.Ladder {
			closed = closed || e.State == gatewarden.LadderClosed
			if e.State == gatewarden.LadderEnded {
				return !closed
			}
		}
	}
	return false
}

// unasked finds what was begun in mode approve although no person had approved it, or one
// had rejected it, or after it had expired.
func (a *Audit) unasked() (problems []string) {
	approved, refused := map[string]bool{}, map[string]bool{}
	for _, e := range a.Events {
		if e.Type != gatewarden.EventAction || e.Action == nil || e.Action.Mode != gatewarden.ModeApprove {
			continue
		}
		switch e.Action.Status {
		case gatewarden.ActionWaiting:
			approved[e.Name] = e.By != ""
		case gatewarden.ActionExpired:
			refused[e.Name] = true
		case gatewarden.ActionSkipped:
			refused[e.Name] = refused[e.Name] || e.By != ""
		case gatewarden.ActionStarted:
			if !approved[e.Name] || refused[e.Name] {
				problems = append(problems, fmt.Sprintf("%s was begun, and no person had approved it (event %d)", e.Name, e.Seq))
			}
		default: // is no beginning
		}
	}
	return problems
}

// unexplained finds calls that changed something and that no intent in the journal
// covers: of an action that was under way or being taken back when the call was made.
func (a *Audit) unexplained() (problems []string) {
	for _, c := range slices.Concat(a.Kong, a.Jenkins) {
		if c.Changes && c.Status > 0 && !a.covered(&c) {
			problems = append(problems, fmt.Sprintf("%s %s at %s: no intent in the journal covers it", c.Method, c.Path, c.At.Format(clockFormat)))
		}
	}
	return problems
}

// covered reports whether the journal had the intent before the call. A whole configuration
// is covered when each entity that it changes is.
func (a *Audit) covered(c *Call) bool {
	if !c.declares() {
		return a.intended(c)
	}
	return !slices.ContainsFunc(c.Touched, func(id string) bool {
		return !a.Edited[id] && !a.intended(&Call{At: c.At, Method: http.MethodDelete, Path: "/" + id})
	})
}

// intended is covered for a call that changes one thing.
func (a *Audit) intended(c *Call) bool {
	for i := range a.Events {
		e := &a.Events[i]
		if e.Type != gatewarden.EventAction || e.At.After(c.At.Add(a.Skew)) {
			continue
		}
		if e.Action == nil {
			continue
		}
		if s := e.Action.Status; (s == gatewarden.ActionStarted || s == gatewarden.ActionReverting) && concerns(e.Action, c) {
			return true
		}
	}
	return a.orphan(c)
}

// concerns reports whether a call can be one of an action: a trigger carries its id, a
// change at Kong is of an entity that the action's memo names.
func concerns(a *gatewarden.Action, c *Call) bool {
	if a.Spec.Kind == gatewarden.StepJenkins {
		return triggerOf(c) == a.ID
	}
	id := c.Path[strings.LastIndex(c.Path, "/")+1:]
	return triggerOf(c) == "" && len(id) > 8 && strings.Contains(string(a.Memo), id)
}

// orphan reports whether a call removes a plugin that no action in the journal accounts
// for, which the guard says only once it is done.
func (a *Audit) orphan(c *Call) bool {
	id := c.Path[strings.LastIndex(c.Path, "/")+1:]
	return c.Method == http.MethodDelete && slices.ContainsFunc(a.Events, func(e gatewarden.Event) bool {
		return e.Type == gatewarden.EventAction && e.Action == nil && strings.Contains(e.Reason, id)
	})
}

// Left reports whether the guard says that it has left alone what is at a path of the
// Admin API.
func (a *Audit) Left(path string) bool {
	return slices.ContainsFunc(a.Events, func(e gatewarden.Event) bool {
		return e.Action != nil && e.Action.Status == gatewarden.ActionLeft && concerns(e.Action, &Call{Path: path})
	})
}

// triggerOf returns the id of the action that a trigger of a build carries, "" when the
// call is none.
func triggerOf(c *Call) string {
	if !strings.HasSuffix(c.Path, "/buildWithParameters") {
		return ""
	}
	for _, text := range []string{c.Body, c.Query} {
		if form, err := url.ParseQuery(text); err == nil && form.Get("GATEWARDEN_ACTION") != "" {
			return form.Get("GATEWARDEN_ACTION")
		}
	}
	return "unknown"
}

// rollbacks finds actions that were rolled back twice: by two triggers that Jenkins took,
// or by more builds than the triggers, and the copies that the network made of them, are.
func (a *Audit) rollbacks() (problems []string) {
	taken, copies, builds := map[string]int{}, map[string]int{}, map[string]int{}
	for _, c := range a.Jenkins {
		id := triggerOf(&c)
		if id == "" {
			continue
		}
		if strings.HasPrefix(c.Fault, string(Duplicate)) {
			copies[id]++
		}
		if c.Status == 201 || c.Status == 303 || strings.HasPrefix(c.Fault, string(LostItem)) {
			taken[id]++
		}
	}
	for _, b := range a.Builds {
		builds[b.Action]++
	}
	for id, n := range taken {
		if n > 1 {
			problems = append(problems, fmt.Sprintf("%s triggered its job %d times", id, n))
		}
	}
	for id, n := range builds {
		if n > 1+copies[id] {
			problems = append(problems, fmt.Sprintf("%s has %d builds", id, n))
		}
	}
	return problems
}

// paused finds what was begun while the guard was paused: an intent to do something, or a
// call for one. What was in place before may be taken back.
func (a *Audit) paused() (problems []string) {
	status := map[string]gatewarden.ActionStatus{}
	for _, e := range a.Events {
		if e.Action == nil || e.Type != gatewarden.EventAction {
			continue
		}
		if by := a.pauseAt(e.Seq); by != "" && e.Action.Status == gatewarden.ActionStarted && status[e.Name] != gatewarden.ActionStarted {
			problems = append(problems, fmt.Sprintf("%s was begun while %s had paused the guard (event %d)", e.Name, by, e.Seq))
		}
		status[e.Name] = e.Action.Status
	}
	if a.Skew > 0 {
		return problems // when it paused by the clock of the calls is not known
	}
	for _, c := range slices.Concat(a.Kong, a.Jenkins) {
		if c.Changes && c.Status > 0 && a.heldAt(c.At.Add(-c.Kept), underWay) && !a.takenBack(&c) && (a.heldAt(c.At, callsEnd) || !a.wasUnderWay(&c)) {
			problems = append(problems, fmt.Sprintf("%s %s at %s: made while the guard was paused", c.Method, c.Path, c.At.Format(clockFormat)))
		}
	}
	return problems
}

// pauseAt returns who has paused the guard at a place in the journal.
func (a *Audit) pauseAt(seq uint64) (by string) {
	for _, e := range a.Events {
		if e.Seq >= seq {
			break
		}
		switch e.State {
		case gatewarden.GuardPaused:
			by = e.Name
		case gatewarden.GuardResumed:
			by = ""
		}
	}
	return by
}

// underWay is how long after the pause a call may still come from the guard that was on its
// way when somebody paused it. That a fault keeps it from its peer for longer is not the guard's doing.
const underWay = time.Second

// callsEnd is underWay for a whole configuration: a step waits for its turn, reads all of
// it, and writes, as one call.
const callsEnd = 5 * time.Second

// wasUnderWay reports whether a whole configuration may be of a step whose intent had been
// written down before the guard was paused, and which had not ended when it was written.
func (a *Audit) wasUnderWay(c *Call) bool {
	if !c.declares() {
		return false
	}
	started := map[string]bool{}
	paused := false
	for _, e := range a.Events {
		if e.At.After(c.At) {
			break
		}
		switch {
		case e.State == gatewarden.GuardPaused:
			paused = true
		case e.State == gatewarden.GuardResumed:
			paused = false
		case e.Action == nil:
		case e.Action.Status != gatewarden.ActionStarted:
			delete(started, e.Action.ID)
		case !paused:
			started[e.Action.ID] = true
		}
	}
	return len(started) > 0
}

// heldAt reports whether the guard had been paused for longer than a while.
func (a *Audit) heldAt(at time.Time, longer time.Duration) bool {
	var since time.Time
	for _, e := range a.Events {
		if e.At.After(at) {
			break
		}
		switch e.State {
		case gatewarden.GuardPaused:
			since = e.At
		case gatewarden.GuardResumed:
			since = time.Time{}
		}
	}
	return !since.IsZero() && at.Sub(since) > longer
}

// takenBack reports whether a call is of an action that was being taken back.
func (a *Audit) takenBack(c *Call) bool {
	if c.declares() {
		return !slices.ContainsFunc(c.Touched, func(id string) bool {
			return !a.Edited[id] && !a.takenBack(&Call{At: c.At, Method: http.MethodDelete, Path: "/" + id})
		})
	}
	for _, e := range a.Events {
		if e.Action != nil && e.Action.Status == gatewarden.ActionReverting && !e.At.After(c.At) && concerns(e.Action, c) {
			return true
		}
	}
	return a.orphan(c)
}

// Story is the journal as text.
func (a *Audit) Story() string {
	var b strings.Builder
	for _, e := range a.Events {
		fmt.Fprintf(&b, "%4d %s %-6s %-10s %s: %s\n", e.Seq, e.At.Local().Format(clockFormat), e.Type, e.State, e.Name, e.Reason)
	}
	return b.String()
}

// CallStory is the calls as text, but for looks that nothing hit.
func CallStory(calls []Call) string {
	var b strings.Builder
	for _, c := range calls {
		if c.Changes || c.Fault != "" {
			body := c.Body
			if json.Valid([]byte(body)) && len(body) > 200 {
				body = body[:200] + "…"
			}
			fmt.Fprintf(&b, "%s %-6s %s → %d %s %s\n", c.At.Format(clockFormat), c.Method, c.Path, c.Status, c.Fault, body)
		}
	}
	return b.String()
}
