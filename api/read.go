package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden"
)

func (s *Server) status(*http.Request) (any, error) { return s.glance(), nil }

// glance is the guard's status, with what only the server knows.
func (s *Server) glance() Status {
	status := s.guard.Status()
	status.TraceURL = s.traceURL
	return status
}

// WithTraceURL makes the server say where a trace is looked at; {trace_id} in it stands for
// the id.
func (s *Server) WithTraceURL(url string) *Server {
	s.traceURL = url
	return s
}

// SLOList is the answer of GET /api/v1/slos.
type SLOList struct {
	SLOs []SLO `json:"slos"`
}

func (s *Server) slos(*http.Request) (any, error) {
	return SLOList{SLOs: emptyNotNull(s.guard.SLOs())}, nil
}

func (s *Server) slo(r *http.Request) (any, error) {
	name := r.PathValue("name")
	all := s.guard.SLOs()
	i := slices.IndexFunc(all, func(v SLO) bool { return v.Name == name })
	if i < 0 {
		return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no SLO named %q", name).
			WithHint("GET /api/v1/slos lists them")
	}
	return all[i], nil
}

// ActionList is the answer of GET /api/v1/actions, the newest first.
type ActionList struct {
	Actions []gatewarden.Action `json:"actions"`
}

func (s *Server) actions(*http.Request) (any, error) {
	return ActionList{Actions: emptyNotNull(s.guard.Actions())}, nil
}

func (s *Server) action(r *http.Request) (any, error) {
	id := r.PathValue("id")
	all := s.guard.Actions()
	i := slices.IndexFunc(all, func(a gatewarden.Action) bool { return a.ID == id })
	if i < 0 {
		return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no action %q", id).
			WithHint("GET /api/v1/actions lists them")
	}
	return all[i], nil
}

// EventList is the answer of GET /api/v1/events, the oldest first.
type EventList struct {
	Events []gatewarden.Event `json:"events"`
}

// events answers with a list, or, with follow=true or when asked for an event
// stream, with events as they happen: NDJSON or server-sent events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	sse := r.Header.Get("Accept") == "text/event-stream"
	if follow, _ := strconv.ParseBool(r.URL.Query().Get("follow")); follow || sse {
		s.follow(w, r, q, sse)
		return
	}
	list, err := s.guard.Events(r.Context(), q)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, EventList{Events: emptyNotNull(list)})
}

func (s *Server) follow(w http.ResponseWriter, r *http.Request, q EventQuery, sse bool) {
	leave, err := s.follows.take(maxFollowers, "streams are followed already")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer leave()
	contentType := "application/x-ndjson"
	if sse {
		contentType = "text/event-stream"
	}
	out := newStream(w, contentType)
	if err := out.write(""); err != nil { // the client learns at once that it is connected
		if errors.Is(err, http.ErrNotSupported) { // otherwise the client is gone
			s.fail(w, r, gatewarden.Errorf(gatewarden.Internal, "this connection cannot stream: %w", err))
		}
		return
	}
	for e, err := range s.guard.Follow(r.Context(), q) {
		if err != nil {
			// The status is out: end the stream. The client comes back with the last seq it saw.
			s.logger.Debug("a follower of the events ended", "error", err)
			return
		}
		line, err := json.Marshal(e)
		if err != nil {
			s.logger.Error("an event does not encode", "seq", e.Seq, "error", err)
			continue
		}
		if sse {
			err = out.write("id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, line)
		} else {
			err = out.write("%s\n", line)
		}
		if err != nil {
			return // the client is gone
		}
	}
}

const maxEvents = 10_000

func readQuery(r *http.Request) (EventQuery, error) {
	v := r.URL.Query()
	q := EventQuery{Type: gatewarden.EventType(v.Get("type")), Name: v.Get("name"), Limit: 1000}
	since := v.Get("since")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		since = last // a browser's EventSource that reconnects
	}
	var err error
	if since != "" {
		if q.Since, err = strconv.ParseUint(since, 10, 64); err != nil {
			return q, gatewarden.Errorf(gatewarden.Invalid, "since=%q is not a position in the journal", since).
				WithHint("it is the seq of an event")
		}
	}
	if limit := v.Get("limit"); limit != "" {
		if q.Limit, err = strconv.Atoi(limit); err != nil || q.Limit < 1 || q.Limit > maxEvents {
			return q, gatewarden.Errorf(gatewarden.Invalid, "limit=%q is not a number from 1 to %d", limit, maxEvents)
		}
	}
	switch q.Type {
	case "", gatewarden.EventSLO, gatewarden.EventCanary, gatewarden.EventGate, gatewarden.EventAction, gatewarden.EventSource, gatewarden.EventAlert, gatewarden.EventDrift, gatewarden.EventSuspect, gatewarden.EventGuard:
		return q, nil
	default:
		return q, gatewarden.Errorf(gatewarden.Invalid, "type=%q is no type of event", q.Type).
			WithHint("the types are slo, canary, gate, action, source, alert, drift, suspect, guard")
	}
}

func (s *Server) healthy(*http.Request) (any, error) {
	return map[string]string{"status": "healthy"}, nil
}

func (s *Server) ready(*http.Request) (any, error) {
	if err := s.guard.Ready(); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "not ready: %w", err)
	}
	return map[string]string{"status": "ready"}, nil
}

const indexText = `gatewarden guards a Kong gateway. This is its API.

  GET  /api/v1/status            the guard at a glance: sources, configuration, states
  GET  /api/v1/slos[/NAME]       every SLO with its verdict and the evidence
  GET  /api/v1/slos/NAME/history, /api/v1/history   what was counted, step by step
  GET  /api/v1/slos/NAME/breakdown   whose requests those were: routes, consumers, status classes
  GET  /api/v1/canaries[/NAME]   every canary, its traffic and its newest run
  GET  /api/v1/canaries/NAME/runs[/latest]
  POST /api/v1/canaries/NAME/runs   may this release go on? starts a run
  GET  /api/v1/runs[/ID]         runs with their verdicts; ?wait=30s answers when one has changed
  GET  /api/v1/runs/ID/events    one run as it goes, as server-sent events
  POST /api/v1/runs/ID/cancel|override
  GET  /api/v1/events            the timeline; ?follow=true streams it, one JSON object a line
  GET  /api/v1/live              everything that changes, as server-sent events: what the page shows
  GET  /api/v1/actions[/ID]      what was done at the gateway and in Jenkins, and how to undo it
  POST /api/v1/actions/ID/approve|reject|revert
  POST /api/v1/pause, /api/v1/resume
  POST /api/v1/alerts
  GET  /metrics                  for Prometheus
  GET  /-/healthy, /-/ready      for probes
  POST /-/reload                 read the configuration and the rules again
`

// index answers at the root: browsers with the page, everybody else with what there is.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if s.page != nil && strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.page.Show(w, r, s.first(r.Context()))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, indexText)
}

// orNowhere answers what mux has no route for: with 405 and what is allowed when the
// path has others, else with 404.
func (s *Server) orNowhere(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern == "" {
				continue
			}
			w.Header().Set("Allow", method)
			err := gatewarden.Errorf(gatewarden.Invalid, "%s takes %s, not %s", r.URL.Path, method, r.Method)
			writeJSON(w, http.StatusMethodNotAllowed, errorBody(err))
			return
		}
		s.fail(w, r, gatewarden.Errorf(gatewarden.NotFound, "nothing answers %s %s", r.Method, r.URL.Path).
			WithHint("GET / lists what does"))
	})
}

func asError(err error) *gatewarden.Error {
	e, _ := errors.AsType[*gatewarden.Error](err)
	return e
}

func emptyNotNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
