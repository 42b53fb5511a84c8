// Package api is how people and programs look at the guard and steer it: the HTTP
// API under /api/v1, health and readiness, and the metrics. It judges nothing and
// keeps nothing; it asks a Guard and translates.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatewarden/gatewarden"
)

// Guard is what the API needs of the running program.
type Guard interface {
	Status() Status
	SLOs() []SLO
	Events(ctx context.Context, q EventQuery) ([]gatewarden.Event, error)
	// Follow yields what the query selects, first from the journal, then as it
	// happens, until ctx ends or an error is yielded.
	Follow(ctx context.Context, q EventQuery) iter.Seq2[gatewarden.Event, error]
	Actions() []gatewarden.Action // newest first
	Approve(ctx context.Context, id, by string) error
	Reject(ctx context.Context, id, by, reason string) error
	Revert(ctx context.Context, id, by string) error // of an action or of a whole ladder
	Pause(ctx context.Context, by, reason string) error
	Resume(ctx context.Context, by string) error
	Reload(ctx context.Context) error
	// Ready returns why the guard is not ready, or nil.
	Ready() error
}

// Status is the guard at a glance.
type Status struct {
	Version   string       `json:"version"`
	StartedAt time.Time    `json:"started_at"`
	Now       time.Time    `json:"now"`
	Paused    *Pause       `json:"paused,omitempty"`
	Config    ConfigStatus `json:"config"`
	Sources   []Source     `json:"sources"`
	// Completeness compares Kong's log with Kong's counters; absent when nothing does.
	Completeness *Completeness     `json:"completeness,omitempty"`
	Nodes        []gatewarden.Node `json:"nodes,omitempty"` // of Kong, as they describe themselves
	Drift        *gatewarden.Drift `json:"drift,omitempty"` // how alike they are, and whether what actions rely on is there
	Series       int               `json:"series"`
	Guards       []GuardStatus     `json:"guards,omitempty"`    // that share the state; none for a guard that is alone
	States       map[string]int    `json:"slo_states"`          // how many SLOs are healthy, in breach, inconclusive
	Listeners    map[string]string `json:"listeners,omitempty"` // what listens where
	// TraceURL is where a trace is looked at, {trace_id} in it standing for the id.
	TraceURL string `json:"trace_url,omitempty"`
}

// Pause says who paused the guard and why.
type Pause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// ConfigStatus says whether the files on disk are the ones in force.
type ConfigStatus struct {
	File     string    `json:"file"`
	LoadedAt time.Time `json:"loaded_at"`
	Error    string    `json:"error,omitempty"` // why the newest files were not taken
	Unfit    []string  `json:"unfit,omitempty"` // steps that Kong or Jenkins would refuse, and why
}

// Source is one way in, and how it does.
type Source struct {
	Name       string     `json:"name"`
	Kind       string     `json:"kind"`
	Records    uint64     `json:"records"`
	Rate       float64    `json:"records_per_second"`    // over the last minute
	LastRecord *time.Time `json:"last_record,omitempty"` // when the last one arrived
	LagSeconds float64    `json:"lag_seconds"`           // from a request's end to its arrival here, the newest
	Silent     bool       `json:"silent"`
	Duplicates uint64     `json:"duplicates"` // records that had been counted already
	Dropped    uint64     `json:"dropped"`    // records of another time, and what was lost before it was one
	Errors     uint64     `json:"errors"`     // what could not be used: no record, broken, refused, a failed question
	// Completeness is the share of the requests that Kong counted which came this way;
	// absent when it is not known.
	Completeness *float64 `json:"completeness,omitempty"`
}

// Completeness says how much of what Kong counted its log brought, over a window.
type Completeness struct {
	From     time.Time             `json:"from"`
	To       time.Time             `json:"to"`
	Limit    float64               `json:"limit"`              // a ratio: below it nothing is judged
	Whole    bool                  `json:"whole"`              // whether the counters of every node are known for all of the window
	All      ServiceCompleteness   `json:"all"`                // of all services that have a log
	Services []ServiceCompleteness `json:"services,omitempty"` // with requests in the window
}

// GuardStatus is one of the guards that share a state.
type GuardStatus struct {
	Name    string    `json:"name"`
	API     string    `json:"api"` // where the others reach it
	Version string    `json:"version"`
	Leads   bool      `json:"leads"` // it judges and acts
	Up      bool      `json:"up"`    // it was heard of within seconds
	HeardAt time.Time `json:"heard_at"`
}

// ServiceCompleteness is Completeness for one service.
type ServiceCompleteness struct {
	Service string  `json:"service,omitempty"`
	Counted uint64  `json:"counted"` // by Kong
	Logged  uint64  `json:"logged"`
	Ratio   float64 `json:"ratio"`         // of logged to counted; 1 without requests
	Lacking bool    `json:"lacking"`       // it is too little to judge by
	Why     string  `json:"why,omitempty"` // when it is
}

// SLO is one objective with what is currently judged of it.
type SLO struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Series      gatewarden.Series  `json:"series"`
	SLI         string             `json:"sli"`
	Objective   float64            `json:"objective"` // per cent, as in the rules
	Window      string             `json:"window"`
	OnOutage    []string           `json:"on_outage,omitempty"`
	OnPage      []string           `json:"on_page,omitempty"`
	OnTicket    []string           `json:"on_ticket,omitempty"`
	Labels      map[string]string  `json:"labels,omitempty"`
	Verdict     gatewarden.Verdict `json:"verdict"`
	BadTraces   []BadTrace         `json:"bad_traces,omitempty"` // of its newest bad events that were traced, the newest first
	Sources     []string           `json:"sources,omitempty"`    // that bring its events, as far as is known yet
}

// BadTrace is where a bad event can be looked at.
type BadTrace struct {
	TraceID string    `json:"trace_id"`
	At      time.Time `json:"at"`
	Status  int       `json:"status"`
}

// EventQuery selects events. Zero fields select all.
type EventQuery struct {
	Since uint64 // those after this position in the journal
	Type  gatewarden.EventType
	Name  string
	Limit int // the newest so many
}

// Server answers the API.
type Server struct {
	guard    Guard
	gates    Gates
	past     Past
	traceURL string // where a trace is looked at, "" when nobody said
	page     Page   // nil: the root is a text
	viewers  seats  // pages that are open
	follows  seats  // streams of events, and of runs
	gatherer prometheus.Gatherer
	logger   *slog.Logger
}

// New returns a server over guard. Metrics come from gatherer; nil leaves /metrics
// out, for when it has a listener of its own.
func New(guard Guard, gatherer prometheus.Gatherer, logger *slog.Logger) *Server {
	return &Server{guard: guard, gates: noGates{}, past: noPast{}, gatherer: gatherer, logger: logger}
}

// Handler returns all routes of the API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /api/v1/status":                      s.status,
		"GET /api/v1/slos":                        s.slos,
		"GET /api/v1/slos/{name}":                 s.slo,
		"GET /api/v1/slos/{name}/history":         s.history,
		"GET /api/v1/slos/{name}/breakdown":       s.breakdown,
		"GET /api/v1/history":                     s.histories,
		"GET /api/v1/canaries":                    s.canaries,
		"GET /api/v1/canaries/{name}":             s.canary,
		"GET /api/v1/canaries/{name}/runs":        s.runsOf,
		"POST /api/v1/canaries/{name}/runs":       s.startRun,
		"GET /api/v1/canaries/{name}/runs/latest": s.latestRun,
		"GET /api/v1/runs":                        s.runs,
		"GET /api/v1/runs/{id}":                   s.run,
		"POST /api/v1/runs/{id}/cancel":           s.cancelRun,
		"POST /api/v1/runs/{id}/override":         s.overrideRun,
		"GET /api/v1/actions":                     s.actions,
		"GET /api/v1/actions/{id}":                s.action,
		"POST /api/v1/actions/{id}/approve":       steer("approved", s.approve),
		"POST /api/v1/actions/{id}/reject":        steer("rejected", s.reject),
		"POST /api/v1/actions/{id}/revert":        steer("reverting", s.revert),
		"POST /api/v1/alerts":                     s.alerts,
		"POST /api/v1/pause":                      steer("paused", s.pause),
		"POST /api/v1/resume":                     steer("resumed", s.resume),
		"POST /-/reload":                          s.reload,
		"GET /-/healthy":                          s.healthy,
		"GET /-/ready":                            s.ready,
	} {
		mux.Handle(pattern, s.answer(handle))
	}
	mux.HandleFunc("GET /api/v1/events", s.events)
	mux.HandleFunc("GET /api/v1/runs/{id}/events", s.runEvents)
	mux.HandleFunc("GET /api/v1/live", s.live)
	if s.gatherer != nil {
		mux.Handle("GET /metrics", exposed(s.gatherer))
	}
	mux.HandleFunc("GET /{$}", s.index)
	if s.page != nil {
		mux.Handle("GET /page/", s.page)
	}
	return inTime(s.orNowhere(mux), writeWithin)
}

// MetricsHandler exposes gatherer to Prometheus, OpenMetrics included, where metrics have a
// listener of their own.
func MetricsHandler(gatherer prometheus.Gatherer) http.Handler {
	return inTime(exposed(gatherer), writeWithin)
}

func exposed(gatherer prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// statusOf translates an error's code at this border, the only place that does.
var statusOf = map[gatewarden.Code]int{
	gatewarden.Invalid:     http.StatusBadRequest,
	gatewarden.NotFound:    http.StatusNotFound,
	gatewarden.Conflict:    http.StatusConflict,
	gatewarden.Unavailable: http.StatusServiceUnavailable,
	gatewarden.Internal:    http.StatusInternalServerError,
}

// ErrorBody is the JSON of every answer that is not a success.
type ErrorBody struct {
	Error struct {
		Code    gatewarden.Code `json:"code"`
		Message string          `json:"message"`
		Hint    string          `json:"hint,omitempty"`
	} `json:"error"`
}

// answer writes what handle returns as JSON, or its error with the status of its code.
func (s *Server) answer(handle func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := handle(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if a, ok := v.(answered); ok {
			writeJSON(w, a.status, a.body)
			return
		}
		writeJSON(w, http.StatusOK, v)
	})
}

// answered is an answer with another status than 200.
type answered struct {
	status int
	body   any
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	body := errorBody(err)
	if body.Error.Code == gatewarden.Internal {
		s.logger.Error("the API met an internal error", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, statusOf[body.Error.Code], body)
}

// errorBody is an error as the API shows it, its hint apart from its message.
func errorBody(err error) ErrorBody {
	var body ErrorBody
	body.Error.Code, body.Error.Message = gatewarden.ErrorCode(err), err.Error()
	if e := asError(err); e != nil && e.Hint != "" {
		body.Error.Hint = e.Hint
		body.Error.Message = strings.TrimSuffix(body.Error.Message, " ("+e.Hint+")")
	}
	return body
}

// writeJSON answers with v. What can't be written is an error, not an answer without a body.
func writeJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		_ = enc.Encode(errorBody(gatewarden.Errorf(gatewarden.Internal, "the answer can't be written: %w", err))) // two texts: they can
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // the status is out and the client may be gone: there is nobody left to tell
}

// maxRequestBody bounds what a steering request may carry.
const maxRequestBody = 64 << 10

// order is the body of a steering request: who asks, and why.
type order struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// readOrder reads who asks.
func readOrder(r *http.Request) (order, error) {
	var o order
	if err := readBody(r, &o, `{"by": "your name", "reason": "why"}`); err != nil {
		return o, err
	}
	return o, o.sign(r)
}

// sign makes the order's By say who asks, which must be somebody.
func (o *order) sign(r *http.Request) error {
	if o.By = signed(r, o.By); o.By == "" {
		return gatewarden.Errorf(gatewarden.Invalid, `"by" is empty: the timeline must say who did this`)
	}
	return nil
}

// readBody reads the body of a steering request; example is what it looks like. A JSON
// content type is required, because a foreign web page in an operator's browser cannot
// send one without the browser asking first.
func readBody(r *http.Request, into any, example string) error {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return gatewarden.Errorf(gatewarden.Invalid, "the request must have the content type application/json").
			WithHint("send -H 'Content-Type: application/json' -d '%s'", strings.ReplaceAll(example, `": `, `":`))
	}
	dec := json.NewDecoder(io.LimitReader(r.Body, maxRequestBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "the request's body is not the JSON expected here: %v", err).
			WithHint("it looks like %s", example)
	}
	return nil
}
