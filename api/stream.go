package api

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
)

const (
	writeWithin  = 20 * time.Second // who does not read for so long is gone
	maxFollowers = 100              // of events and of runs, as many as viewers
)

// stream is an answer that goes on.
type stream struct {
	w      http.ResponseWriter
	out    *http.ResponseController
	within time.Duration // each part must be read
}

// newStream begins an answer that goes on.
func newStream(w http.ResponseWriter, contentType string) stream {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	return stream{w, http.NewResponseController(w), writeWithin}
}

// write sends a text at once. An error means that nobody reads.
func (s stream) write(format string, args ...any) error {
	if err := s.limit(time.Now().Add(s.within)); err != nil {
		return err
	}
	if format != "" { // else only the header
		fmt.Fprintf(s.w, format, args...)
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	return s.limit(time.Time{}) // over HTTP/2 a stream ends with its deadline, written in time or not
}

func (s stream) limit(at time.Time) error {
	if err := s.out.SetWriteDeadline(at); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// seats are for those whose answers go on, so many at most.
type seats struct{ taken, refused atomic.Int64 }

// take takes a seat. Leave gives it back. Without one left it is an error, and counted.
func (s *seats) take(most int64, full string) (leave func(), err error) {
	if s.taken.Add(1) > most {
		s.taken.Add(-1)
		s.refused.Add(1)
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "%d %s", most, full).WithHint("close some of them")
	}
	return func() { s.taken.Add(-1) }, nil
}
