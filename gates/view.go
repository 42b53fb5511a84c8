package gates

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// find returns a run by its id.
func (b *Book) find(id string) (*run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.runs[id]; r != nil {
		return r, nil
	}
	return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no run %q", id).WithHint("GET /api/v1/runs lists them")
}

// Run returns a run with its trail. Its verdict is at most a second behind the last tick.
func (b *Book) Run(id string) (gatewarden.Run, error) {
	r, err := b.find(id)
	if err != nil {
		return gatewarden.Run{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.refresh()
	return r.view(true), nil
}

// Latest returns a canary's newest run with its trail.
func (b *Book) Latest(canary string) (gatewarden.Run, error) {
	b.mu.Lock()
	r := b.newest(canary)
	known := b.slot(canary) != nil
	b.mu.Unlock()
	switch {
	case r != nil:
		return b.Run(r.ID)
	case known:
		return gatewarden.Run{}, gatewarden.Errorf(gatewarden.NotFound, "the canary %s has had no run yet", canary).
			WithHint("gatewarden gate %s starts one", canary)
	default:
		return gatewarden.Run{}, gatewarden.Errorf(gatewarden.NotFound, "there is no canary named %q", canary).
			WithHint("GET /api/v1/canaries lists them")
	}
}

// Runs returns what f selects, the newest first, without trails.
func (b *Book) Runs(f Filter) []gatewarden.Run {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*run
	for _, r := range b.runs {
		if (f.Canary == "" || f.Canary == r.Canary) && (f.State == "" || f.State == r.State) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, newestFirst)
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	views := make([]gatewarden.Run, len(list))
	for i, r := range list {
		r.refresh()
		views[i] = r.view(false)
	}
	return views
}

// Wait returns the run with its trail once it is over or no longer as seen, which is a
// state or a version, running unless given; and as it is when ctx ends. The error is
// unavailable once the book is abandoned.
func (b *Book) Wait(ctx context.Context, id, seen string) (gatewarden.Run, error) {
	if seen == "" {
		seen = string(gatewarden.RunRunning)
	}
	r, err := b.find(id)
	if err != nil {
		return gatewarden.Run{}, err
	}
	for {
		b.mu.Lock()
		if r.news(seen) || ctx.Err() != nil {
			r.refresh()
			defer b.mu.Unlock()
			return r.view(true), nil
		}
		if r.wake == nil {
			r.wake = make(chan struct{})
		}
		wake := r.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
		case <-b.term.Done():
			return gatewarden.Run{}, b.over()
		}
	}
}

// news reports whether there is something else to see than what was seen. That a run is over
// is news when the timeline has it too: who is told may look there next.
func (r *run) news(seen string) bool {
	if r.Over() {
		return len(r.todo.Events) == 0
	}
	return seen != string(r.State) && seen != strconv.FormatUint(r.Version, 10)
}

// Canaries returns every canary in the order of the rules.
func (b *Book) Canaries() []View {
	b.mu.Lock()
	defer b.mu.Unlock()
	views := make([]View, 0, len(b.slots))
	for _, s := range b.slots {
		if s.canary != nil {
			views = append(views, b.view(s))
		}
	}
	return views
}

// Canary returns one canary; not_found when the rules have none of that name.
func (b *Book) Canary(name string) (View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slot(name)
	if s == nil || s.canary == nil {
		return View{}, gatewarden.Errorf(gatewarden.NotFound, "there is no canary named %q", name).
			WithHint("GET /api/v1/canaries lists them; they are in the rules under canaries")
	}
	return b.view(s), nil
}

// view returns a canary as it stands; mu is held.
func (b *Book) view(s *slot) View {
	v := View{Canary: *s.canary, History: s.past.seen().Round(time.Second)}
	v.Share, v.Known = b.share(s.name)
	for track := range s.seen {
		v.Tracks[track] = s.seen[track].view(b.at)
	}
	if s.latest != nil {
		s.latest.refresh()
		run := s.latest.view(false)
		v.Run = &run
	}
	return v
}
