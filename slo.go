package gatewarden

import (
	"fmt"
	"hash/fnv"
	"time"
)

// SLIKind says how an SLI tells good events from bad ones.
type SLIKind uint8

// The kinds of SLI.
const (
	SLIAvailability SLIKind = iota // bad: the request failed (Record.Failed)
	SLILatency                     // good: a latency is at most a threshold
	SLIGood                        // good: an expression over the record is true
)

// LatencyPart names a field of Latency, in the words of the rules files.
type LatencyPart string

// The parts of a request's latency that a rule can name.
const (
	OfRequest  LatencyPart = "request"
	OfUpstream LatencyPart = "upstream"
	OfKong     LatencyPart = "kong"
)

// Pick returns the part of l that p names.
func (p LatencyPart) Pick(l Latency) time.Duration {
	switch p {
	case OfUpstream:
		return l.Upstream
	case OfKong:
		return l.Kong
	default:
		return l.Request
	}
}

// SLI tells good events from bad ones.
type SLI struct {
	Kind      SLIKind
	Threshold time.Duration // SLILatency: good is at most this
	Of        LatencyPart   // SLILatency: which latency
	Expr      string        // SLIGood: the expression as written
	// Holds is the compiled Expr. It reports an error when the expression could not
	// be evaluated for this record; such a record is no event of the SLI.
	Holds func(*Record) (bool, error) `json:"-"`
	// Query says where the events are counted; nil when it is here, from records. Its
	// counts come as records of status 200 (good) and 500 (bad), so Kind is
	// SLIAvailability.
	Query *Query `json:",omitempty"`
}

// Query is an SLI that Prometheus, or what speaks its query API, counts.
type Query struct {
	Source string // the name of the source to ask; "" when there is only one
	Total  string // PromQL for all events
	Error  string // PromQL for the bad ones; "" when Good is set
	Good   string // PromQL for the good ones; "" when Error is set
}

// Signal returns the Signal of the records that the query's counts come as. Another
// query has another: what was counted by it says nothing about this one.
func (q *Query) Signal() string {
	h := fnv.New64a()
	for _, part := range []string{q.Source, q.Total, q.Error, q.Good} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return fmt.Sprintf("prometheus:%016x", h.Sum64())
}

// ID identifies what the SLI counts: two SLIs with equal ids count alike, whatever
// SLO they belong to. Counts that outlive a restart are kept under it.
func (s *SLI) ID() string {
	switch s.Kind {
	case SLILatency:
		return fmt.Sprintf("latency:%s<=%s", s.Of, s.Threshold)
	case SLIGood:
		return "good:" + s.Expr
	default:
		return "availability"
	}
}

// Judge says whether r is a good event, and whether it is an event of this SLI at
// all: a request that was never proxied has no upstream latency to judge.
func (s *SLI) Judge(r *Record) (good, valid bool) {
	switch s.Kind {
	case SLILatency:
		d := s.Of.Pick(r.Latency)
		return d <= s.Threshold, d >= 0
	case SLIGood:
		good, err := s.Holds(r)
		return good, err == nil
	default:
		return !r.Failed(), true
	}
}

// Severity ranks how urgent a breach is.
type Severity uint8

// The severities, from the least urgent to the most.
const (
	SeverityNone   Severity = iota
	SeverityTicket          // somebody should look in working hours
	SeverityPage            // wake somebody: the budget goes in hours or days
	SeverityOutage          // the fast line: something broke seconds ago
)

// String returns the word that events and rules use.
func (s Severity) String() string {
	return [...]string{"", "ticket", "page", "outage"}[s]
}

// MarshalText writes the word of String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, v := range []Severity{SeverityNone, SeverityTicket, SeverityPage, SeverityOutage} {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return Errorf(Invalid, "unknown severity %q", b)
}

// BudgetWindow is the period an objective is promised for: rolling, or a calendar
// unit.
type BudgetWindow struct {
	Rolling  time.Duration // 0 when calendar
	Calendar string        // "day", "week", "month", "quarter" or "year"; "" when rolling
}

// Length returns the window's nominal length, which alert pairs are scaled to:
// a month is 30 days, a quarter 90, a year 365.
func (w BudgetWindow) Length() time.Duration {
	const day = 24 * time.Hour
	switch w.Calendar {
	case "day":
		return day
	case "week":
		return 7 * day
	case "month":
		return 30 * day
	case "quarter":
		return 90 * day
	case "year":
		return 365 * day
	default:
		return w.Rolling
	}
}

// Start returns when the budget period that contains at began. Calendar periods
// begin at midnight in at's location; weeks on Monday.
func (w BudgetWindow) Start(at time.Time) time.Time {
	y, m, d := at.Date()
	midnight := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, at.Location()) }
	switch w.Calendar {
	case "day":
		return midnight(y, m, d)
	case "week":
		return midnight(y, m, d-(int(at.Weekday())+6)%7)
	case "month":
		return midnight(y, m, 1)
	case "quarter":
		return midnight(y, (m-1)/3*3+1, 1)
	case "year":
		return midnight(y, 1, 1)
	default:
		return at.Add(-w.Rolling)
	}
}

// AlertPair is one multi-window burn-rate alert: it fires while the burn rate over
// both windows is at least Factor. The long window proves that it matters, the
// short one that it still goes on.
type AlertPair struct {
	Severity    Severity
	Factor      float64
	Long, Short time.Duration
}

// WorkbookPairs returns the four pairs of the SRE workbook (chapter 5, table 5-8),
// scaled to another window than its 30 days: each keeps the share of the budget
// that it lets go (2 %, 5 %, 10 %, 10 %) and the factor, so the windows scale.
// Windows are rounded to whole seconds and never shorter than one second.
func WorkbookPairs(window time.Duration) []AlertPair {
	scale := func(d time.Duration) time.Duration {
		scaled := time.Duration(float64(d) * float64(window) / float64(30*24*time.Hour))
		return max(scaled.Round(time.Second), time.Second)
	}
	const day = 24 * time.Hour
	pairs := []AlertPair{
		{SeverityPage, 14.4, time.Hour, 5 * time.Minute},
		{SeverityPage, 6, 6 * time.Hour, 30 * time.Minute},
		{SeverityTicket, 3, day, 2 * time.Hour},
		{SeverityTicket, 1, 3 * day, 6 * time.Hour},
	}
	for i := range pairs {
		pairs[i].Long, pairs[i].Short = scale(pairs[i].Long), scale(pairs[i].Short)
	}
	return pairs
}

// SLO is a promise about a series: at least Objective of its events are good over
// the window.
type SLO struct {
	Name        string
	Description string
	Series      Series
	Objective   float64 // a ratio in (0, 1): 0.999 where the rules file says 99.9
	Window      BudgetWindow
	// Timeslice, when set, counts slices instead of requests: a slice is good when
	// at least TimesliceObjective of its events are. 0 counts requests (occurrences).
	Timeslice          time.Duration
	TimesliceObjective float64
	SLI                SLI
	Pairs              []AlertPair
	MinEvidence        float64     // a page needs the bad count to be less probable than this; 1e-4 unless set
	Outage             *OutageLine // nil when switched off
	OnOutage           []string    // names of action policies
	OnPage             []string
	OnTicket           []string
	Labels             map[string]string
}

// OutageLine configures the fast line: the detector fires on evidence that the
// bad ratio is now above Ratio.
type OutageLine struct {
	Ratio float64
}

// ErrorBudget returns the share of events that may be bad.
func (s *SLO) ErrorBudget() float64 { return 1 - s.Objective }

// BurnRate returns how many times faster than allowed a bad ratio spends the
// budget: at 1 the budget lasts exactly the window.
func (s *SLO) BurnRate(badRatio float64) float64 { return badRatio / s.ErrorBudget() }

// Policies returns the names of the action policies that a breach of the given
// severity starts.
func (s *SLO) Policies(sev Severity) []string {
	switch sev {
	case SeverityOutage:
		return s.OnOutage
	case SeverityPage:
		return s.OnPage
	case SeverityTicket:
		return s.OnTicket
	default:
		return nil
	}
}
