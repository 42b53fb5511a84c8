package actions

import (
	"cmp"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	// shedGrace is how long after a revert the old state may still answer: up to 9.1 s
	// were seen on another node of the same database, and each worker switches by
	// itself.
	shedGrace = 15 * time.Second
	// shedKeep is how long records from before a revert may still come in: Kong tries
	// to deliver a batch for a minute.
	shedKeep = 5 * time.Minute
)

// view is what readers see; it is never changed, only replaced.
type view struct {
	actions []gatewarden.Action // newest first
	paused  *Pause
}

// publish replaces the view. It is called with mu held.
func (e *Engine) publish() {
	v := &view{actions: make([]gatewarden.Action, 0, len(e.actions)), paused: e.pause()}
	for _, a := range newestFirst(e.actions) {
		if a.Status != "" { // what is only planned is not decided yet
			v.actions = append(v.actions, a.Action)
		}
	}
	e.view.Store(v)
}

func newestFirst(actions map[string]*action) []*action {
	sorted := make([]*action, 0, len(actions))
	for _, a := range actions {
		sorted = append(sorted, a)
	}
	slices.SortFunc(sorted, func(a, b *action) int {
		return cmp.Or(b.PlannedAt.Compare(a.PlannedAt), cmp.Compare(b.Ladder, a.Ladder), cmp.Compare(b.Step, a.Step), cmp.Compare(b.ID, a.ID))
	})
	return sorted
}

// List returns the actions, the newest first: those in place and the last that
// ended.
func (e *Engine) List() []gatewarden.Action { return slices.Clone(e.view.Load().actions) }

// Get returns one action.
func (e *Engine) Get(id string) (gatewarden.Action, bool) {
	for _, a := range e.view.Load().actions {
		if a.ID == id {
			return a, true
		}
	}
	return gatewarden.Action{}, false
}

// Paused returns the pause in force, or nil.
func (e *Engine) Paused() *Pause { return e.view.Load().paused }

// Sheds returns which responses the changes in place make by themselves, from the
// moment the call began, and those of changes that ended a short while ago, whose
// records can still come in.
func (e *Engine) Sheds() []gatewarden.Shed {
	var sheds []gatewarden.Shed
	now := e.cfg.Now()
	for _, a := range e.view.Load().actions {
		shed, ok := a.Spec.Sheds()
		if !ok || a.StartedAt == nil {
			continue
		}
		shed.Action, shed.From = a.ID, *a.StartedAt
		if !a.Status.InPlace() && a.EndedAt != nil {
			shed.To = a.EndedAt.Add(shedGrace)
			if now.After(shed.To.Add(shedKeep)) {
				continue
			}
		}
		sheds = append(sheds, shed)
	}
	return sheds
}
