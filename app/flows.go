package app

import (
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/store"
)

const (
	flowWindow = 10 * time.Minute // what counts as of late
	flowsEvery = 5 * time.Second  // how often it is counted anew, while somebody asks
)

// flows says what the gateway is asked for, so that the engine can tell how much of it a
// change would touch.
type flows struct {
	store *store.Store

	mu   sync.Mutex
	at   time.Time
	last []gatewarden.Flow
}

// Of returns the requests of the last flowWindow, by service and route, the shed ones
// among them.
func (f *flows) Of(at time.Time) []gatewarden.Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	if since := at.Sub(f.at); f.last == nil || since < 0 || since >= flowsEvery {
		f.at, f.last = at, f.count(at)
	}
	return f.last
}

func (f *flows) count(at time.Time) []gatewarden.Flow {
	list := []gatewarden.Flow{}
	rest := map[string]int64{} // of services, less those of known routes
	for _, s := range f.store.List() {
		name := s.Series
		if name.Service == "" || name != (gatewarden.Series{Service: name.Service, Route: name.Route}) || at.Sub(s.Last) > flowWindow {
			continue
		}
		w := f.store.Window(name, at.Add(-flowWindow), at)
		n := w.Requests() + w.Shed
		if name.Route == "" {
			rest[name.Service] += int64(n)
			continue
		}
		rest[name.Service] -= int64(n)
		list = append(list, gatewarden.Flow{Service: name.Service, Route: name.Route, Requests: n})
	}
	for service, n := range rest {
		if n > 0 {
			list = append(list, gatewarden.Flow{Service: service, Requests: uint64(n)})
		}
	}
	return list
}
