package state

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// stander is a guard of a cluster that stands for election.
type stander struct {
	*Election
	stop   context.CancelFunc
	resign chan struct{}
	done   chan error

	mu    sync.Mutex
	terms []error // why each ended
}

func (g *guards) stand(name string) *stander {
	g.t.Helper()
	e, err := g.open[name].Election(g.t.Context(), Candidate{Name: name, API: "http://" + name}, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(g.t.Context())
	s := &stander{Election: e, stop: stop, resign: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		s.done <- e.Run(ctx, func(ctx context.Context) error {
			var why error
			select {
			case <-s.resign:
			case <-ctx.Done():
				why = context.Cause(ctx)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.terms = append(s.terms, why)
			return nil
		})
	}()
	return s
}

// deposed reports whether a term of this guard ended because another leads.
func (s *stander) deposed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, why := range s.terms {
		if errors.Is(why, errDeposed) {
			return true
		}
	}
	return false
}

// elected waits until one of some guards leads and all of them say so, and returns it.
func elected(t *testing.T, of map[string]*stander) (name string, took time.Duration) {
	t.Helper()
	took = eventually(t, "one leads", func() bool {
		name = ""
		for n, s := range of {
			if s.Leads() {
				name = n
			}
		}
		return name != ""
	})
	eventually(t, "all know that "+name+" leads", func() bool {
		for _, s := range of {
			if who, _, ok := s.Leader(); !ok || who.Name != name || who.API != "http://"+name {
				return false
			}
		}
		return true
	})
	for n, s := range of {
		if s.Leads() != (n == name) {
			t.Errorf("%s and %s lead", n, name)
		}
	}
	return name, took
}

// without returns all but one.
func without(all map[string]*stander, name string) map[string]*stander {
	rest := make(map[string]*stander)
	for n, s := range all {
		if n != name {
			rest[n] = s
		}
	}
	return rest
}

// moveStream makes one server the leader of a stream among the servers.
func (g *guards) moveStream(stream, to string) {
	g.t.Helper()
	leads := func(name string) bool {
		return g.open[name].embedded.server.JetStreamIsStreamLeader("$G", stream)
	}
	eventually(g.t, to+"'s server leads "+stream, func() bool {
		if leads(to) {
			return true
		}
		for name := range g.open {
			if leads(name) {
				_ = g.open[name].embedded.server.JetStreamStepdownStream("$G", stream)
			}
		}
		time.Sleep(200 * time.Millisecond)
		return false
	})
}

func TestElectionAmongThreeGuards(t *testing.T) {
	t.Parallel()
	g := newGuards(t, "a", "b", "c")
	g.start("a", "b", "c")
	standing := make(map[string]*stander)
	for name := range g.open {
		standing[name] = g.stand(name)
	}
	stream := "KV_" + electionBucket
	first, took := elected(t, standing)
	t.Logf("at the beginning: %s", took)

	standing[first].resign <- struct{}{}
	second, took := elected(t, without(standing, first))
	t.Logf("after a resignation: %s", took)

	for name := range standing {
		if name != second {
			g.moveStream(stream, name)
			break
		}
	}
	// A guard that dies: its server is cut off and its heartbeats stop, and it tells nobody.
	g.cut(second)
	third, took := elected(t, without(standing, second))
	t.Logf("after the leader was cut off: %s", took)
	took = eventually(t, "who was cut off steps down", func() bool { return standing[second].deposed() })
	t.Logf("who was cut off stepped down %s later", took)
	g.heal(second)
	eventually(t, "who was cut off knows who leads", func() bool {
		who, _, ok := standing[second].Leader()
		return ok && who.Name == third
	})

	g.moveStream(stream, third)
	g.cut(third)
	fourth, took := elected(t, without(standing, third))
	t.Logf("after the leader was cut off, whose server led the stream: %s", took)
	g.heal(third)
	eventually(t, "who was cut off knows who leads", func() bool {
		who, _, ok := standing[third].Leader()
		return ok && who.Name == fourth
	})

	// A process that ends without a word: its server is gone, and its heartbeats with it.
	dying := standing[fourth]
	g.stop(fourth)
	fifth, took := elected(t, without(standing, fourth))
	t.Logf("after the leader's server was closed: %s: %s leads", took, fifth)
	eventually(t, "whose server is closed steps down", func() bool { return dying.deposed() })
	for _, s := range standing {
		s.stop()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	}
}
