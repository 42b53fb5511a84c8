package gatewarden

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Track is a side of a canary's comparison.
type Track uint8

// The tracks. Arrays of two are indexed by them.
const (
	TrackBaseline Track = iota
	TrackCanary
)

// String returns the track's word.
func (t Track) String() string {
	if t == TrackCanary {
		return "canary"
	}
	return "baseline"
}

// Canary says how a release is compared with what it replaces: which requests belong to
// which track, what counts as worse, and what follows. Ratios are in (0, 1), not per cent.
type Canary struct {
	Name        string
	Description string
	Series      Series // the requests that are compared; a track by service or route needs none
	// Upstream is the Kong upstream whose targets the tracks are, when they are selected by
	// target; "" otherwise. Unless the rules say it, it is called as the service is.
	Upstream string
	Tracks   [2]Selector

	Errors  *ErrorMargins   // nil: failures are not judged
	Latency *LatencyMargins // nil: latencies are not judged

	// Limits are what the canary is judged by as long as the baseline has no traffic: what
	// the SLOs of its requests allow. Nil when there are none; a run is then inconclusive.
	Limits *CanaryLimits

	FalseAlarm  float64 // probability of ever failing a canary that is within its margins
	FalsePass   float64 // probability of passing one that is beyond a pass margin, for each
	WarmUp      time.Duration
	MinDuration time.Duration // no pass before; fails do not wait
	Deadline    time.Duration // from then on a run without an answer is inconclusive

	Steps          []int // shares of the requests in per cent, rising; none: somebody else moves the weights
	OnInconclusive Inconclusiveness
	OnFail, OnPass []string // names of action policies
	Mode           Mode     // of the steps
}

// Inconclusiveness says what a run without an answer at its deadline comes to.
type Inconclusiveness string

// What it can come to.
const (
	Hold       Inconclusiveness = "hold" // it stays inconclusive, and the weights stay as they are
	HoldsAPass Inconclusiveness = "pass"
	HoldsAFail Inconclusiveness = "fail"
)

// ErrorMargins bound how much more often the canary may fail than the baseline. A canary
// within Max is not failed; one is passed only when it is shown to be within Pass.
type ErrorMargins struct {
	MaxRatio       float64 `json:"max_ratio"`       // of the odds, at least 1
	MaxDifference  float64 `json:"max_difference"`  // of the ratios, in addition
	PassRatio      float64 `json:"pass_ratio"`      // at least MaxRatio
	PassDifference float64 `json:"pass_difference"` // at least MaxDifference, and above 0
}

// LatencyMargins bound how much slower the canary may be.
type LatencyMargins struct {
	MaxRatio  float64 `json:"max_ratio"`  // 1.1: ten per cent slower is tolerated
	PassRatio float64 `json:"pass_ratio"` // above MaxRatio
}

// CanaryLimits bound what a canary may do by itself.
type CanaryLimits struct {
	MaxErrors  float64       // ratio of failures; 0: not judged
	MaxLatency time.Duration // what is slow; 0: not judged
	MaxSlow    float64       // ratio of requests slower than that
}

// Traffic returns the series that the canary's requests are in. Tracks by route or service
// have one each; the baseline's has most of them.
func (c *Canary) Traffic() Series {
	s := c.Series
	switch b := c.Tracks[TrackBaseline]; {
	case len(b.Values) == 0:
	case b.Kind == ByService:
		s.Service = b.Values[0]
	case b.Kind == ByRoute:
		s.Route = b.Values[0]
	}
	return s
}

// SelectorKind says by what a track's requests are known.
type SelectorKind string

// The kinds of selectors, in the words of the rules files.
const (
	ByTarget         SelectorKind = "target"          // the target that Kong tried first, as "ip:port" or as Kong lists it
	ByTargetTag      SelectorKind = "target_tag"      // the same, by a tag of the target in Kong
	ByService        SelectorKind = "service"         // Kong's service
	ByRoute          SelectorKind = "route"           // Kong's route
	ByResponseHeader SelectorKind = "response_header" // a header of the response
	ByRequestHeader  SelectorKind = "request_header"  // a header of the request
)

// Selector picks the requests of a track. Selectors of the two tracks may be of different
// kinds when each is of a service, a route or a header; two by target share the upstream.
type Selector struct {
	Kind   SelectorKind `json:"kind"`
	Header string       `json:"header,omitempty"` // the header's name in lower case
	Values []string     `json:"values"`           // any of them
}

// Has reports whether value is one of those that s selects.
func (s Selector) Has(value string) bool { return slices.Contains(s.Values, value) }

// Targets reports whether the track is a set of an upstream's targets.
func (s Selector) Targets() bool { return s.Kind == ByTarget || s.Kind == ByTargetTag }

// String returns s as the rules files write it.
func (s Selector) String() string {
	value := strings.Join(s.Values, ", ")
	if s.Header != "" {
		return fmt.Sprintf(`%s: "%s: %s"`, s.Kind, s.Header, value)
	}
	if len(s.Values) > 1 {
		value = "[" + value + "]"
	}
	return fmt.Sprintf("%s: %s", s.Kind, value)
}

// matches reports whether r belongs to the track by what is in the record itself.
func (s Selector) matches(r *Record) bool {
	switch s.Kind {
	case ByService:
		return s.Has(r.Service)
	case ByRoute:
		return s.Has(r.Route)
	case ByResponseHeader, ByRequestHeader:
		value, ok := r.Header(s.Kind == ByResponseHeader, s.Header)
		return ok && s.Has(strings.TrimSpace(value))
	default:
		return false // a target's track is not in the record
	}
}
