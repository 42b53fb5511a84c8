// Package suspect finds out where a breach comes from: it is the analyzer of traces.
//
//	spans ─Add→ open traces ─Close, when they are whole→ tallies by service ─Find→ Suspect
//
// A breach says that requests of a service fail or are slow; it does not say that this
// service is to blame. The spans of its requests do: which service below it failed without
// a service below that having failed, and in which one the time went by. A service is
// suspected when its share has risen against the time before the breach, by more than
// chance would explain, and of several the deepest is.
//
// Everything is bounded: spans that wait for their trace to be whole, services, and the
// time that is remembered. Like all analyzers it has no clock, log or goroutine; unlike
// them it is told of spans as they come. A Book is not for concurrent use.
package suspect

import (
	"fmt"
	"strconv"
	"time"
)

// Cause says what rose.
type Cause string

// The causes.
const (
	Errors Cause = "errors" // the share of its spans that fail
	Time   Cause = "time"   // the share of the time that goes by in it, not in what it calls
)

// Share is a part of a whole, over some time.
type Share struct {
	Ratio  float64       `json:"ratio"`          // of its calls that failed, or of the time of all services
	Calls  uint64        `json:"calls"`          // of the service
	Failed uint64        `json:"failed"`         // of them
	Self   time.Duration `json:"self,omitempty"` // what a trace spent in it, on average
}

// Suspect is the service that a breach seems to come from.
type Suspect struct {
	Service string `json:"service"`
	Cause   Cause  `json:"cause"`
	Now     Share  `json:"now"`
	Before  Share  `json:"before"`
}

// String says it in words: "the trouble is in payments: 41 % of its spans fail, 0.2 % before".
func (s Suspect) String() string {
	if s.Cause == Time {
		return fmt.Sprintf("the trouble is in %s: %s of the time goes by in it, %s before (%s in each trace, %s before)",
			s.Service, percent(s.Now.Ratio), percent(s.Before.Ratio), shown(s.Now.Self), shown(s.Before.Self))
	}
	return fmt.Sprintf("the trouble is in %s: %s of its spans fail, %s before", s.Service, percent(s.Now.Ratio), percent(s.Before.Ratio))
}

// percent writes a ratio with two significant digits: "41 %", "0.2 %".
func percent(ratio float64) string {
	p := ratio * 100
	if p >= 99.5 && p < 100 {
		return "99 %" // not all of them
	}
	if p >= 9.95 {
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
	return strconv.FormatFloat(p, 'g', 2, 64) + " %"
}

// shown writes a duration as people read it.
func shown(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}

// Question is what Find is asked.
type Question struct {
	// Service is the one whose SLO is in breach; "" for the whole gateway. Only traces with
	// a span of it count, and in them it, what it calls, and who calls it.
	Service string
	// From is when the trouble began, as far as one knows: what is before it is taken for
	// how things usually are.
	From time.Time
	// At is the instant of the question.
	At time.Time
	// Slow says that it is about latency: then the time is looked at first, else errors are.
	Slow bool
}

// Trace is what a whole trace says, for those who want more of it than a suspect.
type Trace struct {
	ID       string
	End      time.Time
	Peers    []string // whom its spans called, those that say it, in the order of their beginnings
	Services []Visit
}

// Visit is a service's part of a trace.
type Visit struct {
	Service string
	Calls   int // that it took
	Failed  int // of them
	Depth   int // how many services are above it
}
