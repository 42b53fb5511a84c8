package fakejenkins

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Spoiling is how a fault keeps an answer from the client.
type Spoiling int

// The ways to spoil an answer.
const (
	Pass    Spoiling = iota // not at all: the answer is only late
	Reset                   // the connection breaks
	Hang                    // nothing comes, ever: a half-open connection
	Cut                     // half of the body comes, then the connection breaks
	Instead                 // somebody else answers with Fault.Status: a proxy, a login page
)

// Fault is what goes wrong with requests. The zero Fault spoils nothing.
type Fault struct {
	// When picks the requests; nil picks all.
	When func(*http.Request) bool
	// Skip lets that many of the picked requests pass first; Times is how many it
	// then hits, 0 for all.
	Skip, Times int
	// Delay passes before anything else.
	Delay time.Duration
	// Handled says that Jenkins still does what it was asked for. With Reset this is
	// the crucial fault: the build is queued, and nobody tells the client.
	Handled bool
	// Late has Jenkins do that only so long after the answer: a proxy that gave up on a
	// request which was on its way.
	Late   time.Duration
	Spoil  Spoiling
	Status int // of Instead; 502 unless set
}

type fault struct {
	Fault
	seen int
}

// Triggers picks the requests that ask for a build.
func Triggers(r *http.Request) bool {
	return r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/build") || strings.HasSuffix(r.URL.Path, "/buildWithParameters"))
}

// Reads picks all requests but POSTs.
func Reads(r *http.Request) bool { return r.Method != http.MethodPost }

// Inject adds a fault and returns how to take it away. The first of the faults
// that picks a request hits it.
func (s *Server) Inject(f Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &fault{Fault: f}
	s.faults = append(s.faults, added)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, g := range s.faults {
			if g == added {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
				return
			}
		}
	}
}

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) faultFor(r *http.Request) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.When != nil && !f.When(r) {
			continue
		}
		f.seen++
		if f.seen > f.Skip && (f.Times == 0 || f.seen <= f.Skip+f.Times) {
			return f
		}
	}
	return nil
}

// spoil serves the request as the fault has it.
func (s *Server) spoil(w http.ResponseWriter, r *http.Request, f *fault, req *Request) {
	select {
	case <-time.After(f.Delay):
	case <-s.closed:
	}
	rec := newRecorder()
	if f.Late > 0 {
		s.work.Go(func() {
			select {
			case <-time.After(f.Late):
				s.serve(newRecorder(), r.WithContext(s.life), req)
			case <-s.closed:
			}
		})
	} else if f.Handled || f.Spoil == Pass || f.Spoil == Cut {
		s.serve(rec, r, req)
	}
	s.recordStatus(req, rec.status, f.Spoil != Pass)
	switch f.Spoil {
	case Pass:
		rec.copyTo(w)
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
		panic(http.ErrAbortHandler)
	case Cut:
		w.Header().Set("Content-Type", rec.header.Get("Content-Type"))
		w.Header().Set("Content-Length", strconv.Itoa(len(rec.body)+1)) // always more than comes
		w.WriteHeader(max(rec.status, http.StatusOK))
		_, _ = w.Write(rec.body[:len(rec.body)/2])
		if fl, ok := w.(http.Flusher); ok {
			fl.Flush()
		}
		panic(http.ErrAbortHandler)
	case Instead:
		status := f.Status
		if status == 0 {
			status = http.StatusBadGateway
		}
		page(w, status, "from a proxy before Jenkins")
	default:
		panic(http.ErrAbortHandler)
	}
}
