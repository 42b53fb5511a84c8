package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Page is what people are shown who open the guard in a browser.
type Page interface {
	http.Handler // its files, below /page/
	// Show answers with the page itself. First is a First as JSON, which may stand in HTML
	// as it is; nil when the page has to wait for its stream.
	Show(w http.ResponseWriter, r *http.Request, first []byte)
}

// WithPage makes the server show a page to browsers.
func (s *Server) WithPage(page Page) *Server {
	s.page = page
	return s
}

// First is what the page is sent with, so that it need not ask before it can show something:
// what the stream of GET /api/v1/live begins with, and the newest events. It is told to who
// may read the stream too: both are behind the same door.
type First struct {
	Status   Status             `json:"status"`
	SLOs     LivePart           `json:"slos"`
	Canaries LivePart           `json:"canaries"`
	Actions  LivePart           `json:"actions"`
	Events   []gatewarden.Event `json:"events"` // the oldest first
}

const (
	firstEvents = 30                     // more than a screen has room for
	firstWithin = 100 * time.Millisecond // for a journal that is slow; the stream brings the events too
	mostFirst   = 1 << 20                // bytes: with more of it the page would be there later, not sooner
)

// first returns a First as JSON, or nil when there is none to begin with: the page then
// begins with its stream.
func (s *Server) first(ctx context.Context) []byte {
	f, err := s.begin(ctx)
	if err != nil {
		s.logger.Debug("the page is sent without what it shows first", "error", err)
		return nil
	}
	text, err := json.Marshal(f) // with < > & as \u003c and so on
	if err != nil || len(text) > mostFirst {
		s.logger.Debug("the page is sent without what it shows first", "bytes", len(text), "most", mostFirst, "error", err)
		return nil
	}
	return text
}

// begin gathers what the page shows first.
func (s *Server) begin(ctx context.Context) (f First, err error) {
	f.Status = s.glance()
	if f.SLOs, _, err = news(nil, s.judged(), nameOfSLO); err != nil {
		return f, fmt.Errorf("encoding the SLOs: %w", err)
	}
	if f.Canaries, _, err = news(nil, s.gates.Canaries(), nameOfCanary); err != nil {
		return f, fmt.Errorf("encoding the canaries: %w", err)
	}
	if f.Actions, _, err = news(nil, recent(s.guard.Actions()), nameOfAction); err != nil {
		return f, fmt.Errorf("encoding the actions: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, firstWithin)
	defer cancel()
	if f.Events, err = s.guard.Events(ctx, EventQuery{Limit: firstEvents}); err != nil {
		s.logger.Debug("the page is sent without events", "error", err)
	}
	f.Events = emptyNotNull(f.Events)
	return f, nil
}
