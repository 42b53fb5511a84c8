package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	liveEvery   = time.Second            // how often a viewer learns what has changed
	liveSettle  = 200 * time.Millisecond // after an event: what it changed is seen soon
	liveActions = 200                    // the newest so many, besides those in place or waiting
	maxViewers  = 100
)

// LivePart is what has changed in a list since a viewer was told last. Order names all that
// is in it, and is missing when that is as before.
type LivePart struct {
	Order   []string          `json:"order,omitzero"` // empty when there is nothing any more
	Changed []json.RawMessage `json:"changed,omitempty"`
}

// live streams the guard's state to the page, as server-sent events: "status", "slos",
// "canaries" and "actions", first whole and then what has changed, and "event" for each
// event of the journal.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r)
	leave := func() {}
	if err == nil {
		leave, err = s.viewers.take(maxViewers, "viewers have the page open already")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer leave()
	v := &viewer{server: s, out: newStream(w, "text/event-stream"), told: map[string]*told{}}
	if err := v.watch(r.Context(), q); err != nil && r.Context().Err() == nil {
		s.logger.Debug("a viewer of the page was let go", "error", err)
	}
}

// viewer is one open page.
type viewer struct {
	server *Server
	out    stream
	told   map[string]*told // by list
}

// told is what a viewer knows of a list.
type told struct {
	order []string
	items map[string][]byte // the JSON of each
}

// watch tells the viewer everything until ctx ends, or the viewer is gone or too slow.
func (v *viewer) watch(ctx context.Context, q EventQuery) error {
	ctx, cancel := context.WithCancel(ctx)
	events, ended := make(chan gatewarden.Event), make(chan error, 1)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() { ended <- v.server.hand(ctx, q, events) })

	if err := v.tellState(); err != nil {
		return err
	}
	next, soon := time.NewTimer(liveEvery), false
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case e := <-events:
			if err := v.tell("event", e.Seq, e); err != nil {
				return err
			}
			if !soon {
				soon = true
				next.Reset(liveSettle)
			}
		case <-next.C:
			if err := v.tellState(); err != nil {
				return err
			}
			soon = false
			next.Reset(liveEvery)
		}
	}
}

// hand hands what the query selects to events, until ctx ends or the journal lets go.
func (s *Server) hand(ctx context.Context, q EventQuery, events chan<- gatewarden.Event) error {
	for e, err := range s.guard.Follow(ctx, q) {
		if err != nil {
			return err
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// tellState writes what has changed.
func (v *viewer) tellState() error {
	if err := v.tell("status", 0, v.server.glance()); err != nil {
		return err
	}
	if err := tellList(v, "slos", v.server.judged(), nameOfSLO); err != nil {
		return err
	}
	if err := tellList(v, "canaries", v.server.gates.Canaries(), nameOfCanary); err != nil {
		return err
	}
	return tellList(v, "actions", recent(v.server.guard.Actions()), nameOfAction)
}

func nameOfSLO(s *SLO) string                  { return s.Name }
func nameOfCanary(c *Canary) string            { return c.Name }
func nameOfAction(a *gatewarden.Action) string { return a.ID }

// judged returns the SLOs without the instant of their verdicts: each look has another, and
// nothing else may be new; the status says when.
func (s *Server) judged() []SLO {
	slos := s.guard.SLOs()
	for i := range slos {
		slos[i].Verdict.At = time.Time{}
	}
	return slos
}

// recent returns the newest actions, and all that somebody may have to decide about.
func recent(actions []gatewarden.Action) []gatewarden.Action {
	if len(actions) <= liveActions {
		return actions
	}
	list := slices.Clone(actions[:liveActions])
	for _, a := range actions[liveActions:] {
		if a.Status.InPlace() || a.Status == gatewarden.ActionWaiting {
			list = append(list, a)
		}
	}
	return list
}

// tellList writes what has changed in a list whose items name gives unique names.
func tellList[T any](v *viewer, list string, items []T, name func(*T) string) error {
	part, now, err := news(v.told[list], items, name)
	if err != nil {
		return fmt.Errorf("encoding the %s for the page: %w", list, err)
	}
	v.told[list] = now
	if part.Order == nil && part.Changed == nil {
		return nil
	}
	return v.tell(list, 0, part)
}

// news returns what is new in a list to who was told before, or everything to who was told
// nothing, and what is known after that.
func news[T any](before *told, items []T, name func(*T) string) (LivePart, *told, error) {
	known := before != nil
	if !known {
		before = &told{}
	}
	now := &told{order: make([]string, len(items)), items: make(map[string][]byte, len(items))}
	part := LivePart{}
	for i := range items {
		id := name(&items[i])
		text, err := json.Marshal(&items[i])
		if err != nil {
			return part, now, fmt.Errorf("%s: %w", id, err)
		}
		now.order[i], now.items[id] = id, text
		if !bytes.Equal(before.items[id], text) {
			part.Changed = append(part.Changed, text)
		}
	}
	if !known || !slices.Equal(before.order, now.order) {
		part.Order = now.order
	}
	return part, now, nil
}

// tell writes one event. Those of the journal have their position as id, so that a browser
// that reconnects gets what it missed.
func (v *viewer) tell(event string, id uint64, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding a %s for the page: %w", event, err)
	}
	position := ""
	if id > 0 {
		position = fmt.Sprintf("id: %d\n", id)
	}
	return v.out.write("%sevent: %s\ndata: %s\n\n", position, event, text)
}
