package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Past is what the API needs to know of how things came to be as they are.
type Past interface {
	// History counts an SLO's events by steps over the window that ends now; a window of 0
	// is the SLO's own. It has about as many points, never more.
	History(slo string, window time.Duration, points int) (History, error)
	// Breakdown says whose events those of the window were.
	Breakdown(slo string, window time.Duration) (Breakdown, error)
}

// History is what was counted for an SLO, step by step.
type History struct {
	Name   string              `json:"name"`
	From   time.Time           `json:"from"`
	To     time.Time           `json:"to"`
	Step   gatewarden.Duration `json:"step"`
	Points []gatewarden.Count  `json:"points"` // the oldest first; the last one may be of a shorter step
}

// HistoryList is the answer of GET /api/v1/history.
type HistoryList struct {
	Histories []History `json:"histories"`
}

// Breakdown says which requests an SLO's events of a window were.
type Breakdown struct {
	Name      string            `json:"name"`
	From      time.Time         `json:"from"`
	To        time.Time         `json:"to"`
	Total     gatewarden.Count  `json:"total"`
	Classes   map[string]uint64 `json:"classes"` // requests by status class: "2xx"; "other" is what HTTP does not know
	Shed      uint64            `json:"shed"`    // answered by a change of the guard, in none of the classes
	Routes    []Part            `json:"routes"`
	Consumers []Part            `json:"consumers"` // those that rules name: only they are counted apart
}

// Part is a narrower series within that of an SLO, the one with the most bad events first.
type Part struct {
	Series   gatewarden.Series `json:"series"`
	Requests uint64            `json:"requests"`
	// Count is what the SLO's SLI makes of them, nil when that was not counted there.
	Count *gatewarden.Count `json:"count,omitempty"`
}

const (
	defaultPoints = 120
	maxPoints     = 1000
	maxHistories  = 200 // in one answer
	maxPast       = 366 * 24 * time.Hour
)

// noPast answers for a guard that remembers nothing.
type noPast struct{}

var _ Past = noPast{}

func (noPast) History(string, time.Duration, int) (History, error) { return History{}, errNoPast() }
func (noPast) Breakdown(string, time.Duration) (Breakdown, error)  { return Breakdown{}, errNoPast() }

func errNoPast() error {
	return gatewarden.Errorf(gatewarden.NotFound, "this guard keeps no history")
}

// WithPast makes the server answer for the past. Without, it says that there is none.
func (s *Server) WithPast(p Past) *Server {
	s.past = p
	return s
}

// span is the part of the past that a request asks for.
type span struct {
	window time.Duration // 0: the SLO's own
	points int
}

func readSpan(v url.Values) (span, error) {
	s := span{points: defaultPoints}
	if window := v.Get("window"); window != "" {
		d, err := gatewarden.ParseDuration(window)
		if s.window = time.Duration(d); err != nil || s.window < time.Second || s.window > maxPast {
			return s, gatewarden.Errorf(gatewarden.Invalid, "window=%q is not a duration from 1s to 366d", window).
				WithHint("write a number and a unit: 6h")
		}
	}
	if points := v.Get("points"); points != "" {
		var err error
		if s.points, err = strconv.Atoi(points); err != nil || s.points < 2 || s.points > maxPoints {
			return s, gatewarden.Errorf(gatewarden.Invalid, "points=%q is not a number from 2 to %d", points, maxPoints)
		}
	}
	return s, nil
}

// histories answers with the past of several SLOs, those that name= asks for or else the
// first ones.
func (s *Server) histories(r *http.Request) (any, error) {
	v := r.URL.Query()
	span, err := readSpan(v)
	if err != nil {
		return nil, err
	}
	list := HistoryList{Histories: []History{}}
	names := v["name"]
	if len(names) > maxHistories {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "%d names are too many for one answer", len(names)).
			WithHint("ask for at most %d at once", maxHistories)
	}
	for _, slo := range s.guard.SLOs() {
		if len(list.Histories) == maxHistories {
			break
		}
		if names != nil && !slices.Contains(names, slo.Name) {
			continue
		}
		h, err := s.past.History(slo.Name, span.window, span.points)
		if err != nil {
			return nil, err
		}
		list.Histories = append(list.Histories, h)
	}
	return list, nil
}

func (s *Server) history(r *http.Request) (any, error) {
	span, err := readSpan(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return s.past.History(r.PathValue("name"), span.window, span.points)
}

func (s *Server) breakdown(r *http.Request) (any, error) {
	span, err := readSpan(r.URL.Query())
	if err != nil {
		return nil, err
	}
	b, err := s.past.Breakdown(r.PathValue("name"), span.window)
	b.Routes, b.Consumers = emptyNotNull(b.Routes), emptyNotNull(b.Consumers)
	return b, err
}
