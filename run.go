package gatewarden

import "time"

// RunState is where a run of a canary stands. Running is the only one that changes.
type RunState string

// The states of a run.
const (
	RunRunning      RunState = "running"
	RunPass         RunState = "pass"
	RunFail         RunState = "fail"
	RunInconclusive RunState = "inconclusive" // no answer by the deadline
	RunCancelled    RunState = "cancelled"
)

// Run is one question "may this canary go on?" with its answer.
type Run struct {
	ID         string            `json:"id"`
	Canary     string            `json:"canary"`
	Key        string            `json:"key,omitempty"` // the asker's own: the same key finds the same run
	State      RunState          `json:"state"`
	Version    uint64            `json:"version,omitempty"` // another one whenever there is something new to see
	Reason     string            `json:"reason"`            // one plain sentence
	By         string            `json:"by,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"` // the asker's, such as version and build URL
	StartedAt  time.Time         `json:"started_at"`
	Deadline   time.Time         `json:"deadline"`
	EndedAt    *time.Time        `json:"ended_at,omitempty"`
	Override   *Override         `json:"override,omitempty"`

	Steps []int `json:"steps,omitempty"` // shares in per cent that the guard moves through
	Step  int   `json:"step,omitempty"`  // from 1: the one it is at; beyond the last: promoted
	// Watched says that the canary is judged on after a pass, until the deadline.
	Watched bool `json:"watched,omitempty"`

	Callback *Callback      `json:"callback,omitempty"`
	Verdict  *CanaryVerdict `json:"verdict,omitempty"`
	Trail    []RunPoint     `json:"trail,omitempty"` // the evidence over time, thinned out as it grows
}

// Over reports whether the run has its answer.
func (r *Run) Over() bool { return r.State != RunRunning }

// Override is a person's decision that took the place of the evidence.
type Override struct {
	State  RunState  `json:"state"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Callback is whom to tell when the run is over.
type Callback struct {
	URL           string `json:"url"`
	Authorization Secret `json:"authorization,omitzero"` // the value of the header of that name
}

// RunPoint is the evidence at one instant of a run. Evidence is a common logarithm.
type RunPoint struct {
	At    time.Time `json:"at"`
	Fail  float64   `json:"fail"`
	Pass  float64   `json:"pass"`            // the least of the checks that have to be shown
	Share float64   `json:"share,omitempty"` // the configured one of the canary, 0 when not known
}

// CanaryVerdict says how a run stands at one instant. Healthy is a pass, Breach a fail;
// Inconclusive is everything else. Evidence is given as a common logarithm: 2 is what a
// false alarm of 1 % needs.
type CanaryVerdict struct {
	At     time.Time  `json:"at"`
	Start  time.Time  `json:"start"`
	State  State      `json:"state"`
	Since  *time.Time `json:"since,omitempty"` // when it was decided
	Over   bool       `json:"over"`            // the deadline has passed without a decision
	Reason string     `json:"reason"`          // one plain sentence

	Baseline TrackCounts `json:"baseline"`
	Canary   TrackCounts `json:"canary"`

	Evidence   float64         `json:"evidence"` // for a fail, all checks together
	Needed     float64         `json:"needed"`
	PassNeeded float64         `json:"pass_needed"`       // of each check that has a part in a pass
	Leading    string          `json:"leading,omitempty"` // the check that contributes most, when there is evidence
	Checks     []CheckEvidence `json:"checks"`

	ErrorRatio   Interval `json:"error_ratio"`   // of the odds of a failure, canary over baseline
	LatencyRatio Interval `json:"latency_ratio"` // of latencies

	Split           SplitEvidence `json:"split"`
	BaselineTrouble bool          `json:"baseline_trouble"`   // the baseline has an outage of its own
	Absolute        bool          `json:"absolute,omitempty"` // the baseline has no traffic: judged by limits of its own
	History         Duration      `json:"history"`            // how much of the baseline was seen before the start
	Expected        Duration      `json:"expected,omitempty"` // until a decision, an order of magnitude; 0 unknown
	Suspects        []Suspect     `json:"suspects,omitempty"`

	Late    uint64 `json:"late"`    // observations that came too late to count
	Ahead   uint64 `json:"ahead"`   // that lie too far in the future
	Dropped uint64 `json:"dropped"` // that belong to no part of the run
}

// PassEvidence returns the least evidence for a pass among the checks that have a part in
// it, 0 when there is none.
func (v *CanaryVerdict) PassEvidence() float64 {
	least, found := 0.0, false
	for _, c := range v.Checks {
		if c.Pass != nil && (!found || *c.Pass < least) {
			least, found = *c.Pass, true
		}
	}
	return least
}

// TrackCounts are the figures of a track since the start.
type TrackCounts struct {
	Requests uint64     `json:"requests"`
	Failures uint64     `json:"failures"`
	Episodes uint64     `json:"episodes"` // failures, a client's run of them counted once
	Ratio    float64    `json:"ratio"`    // of failures, 0 without requests
	P50      Duration   `json:"p50"`
	P99      Duration   `json:"p99"`
	Newest   *time.Time `json:"newest,omitempty"` // the newest second with requests
	// Latencies are those that so many per cent of the requests did not exceed:
	// LatencyPercents, in that order. Empty without latencies.
	Latencies []Duration `json:"latencies,omitempty"`
}

// LatencyPercents are the percentiles by which TrackCounts shows a distribution.
func LatencyPercents() []float64 { return []float64{1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9} }

// CheckEvidence is how one check stands.
type CheckEvidence struct {
	Name       string   `json:"name"`
	Weight     float64  `json:"weight"`         // of the false alarm probability
	Evidence   float64  `json:"evidence"`       // log10, for a fail
	Pass       *float64 `json:"pass,omitempty"` // log10, for a pass; absent when the check has no part in it
	Shown      bool     `json:"shown"`          // the evidence for a pass suffices
	Blocks     int      `json:"blocks"`
	Block      Duration `json:"block"`                // the length of one
	Dispersion float64  `json:"dispersion,omitempty"` // of failures, by which evidence for a pass is divided
	Threshold  Duration `json:"threshold,omitempty"`  // of the tail
}

// Interval holds a ratio at all times together with 95 % probability. High is 0 when it
// has no upper bound.
type Interval struct {
	Low      float64 `json:"low"`
	High     float64 `json:"high,omitempty"`
	Estimate float64 `json:"estimate,omitempty"` // 0 when there is none
}

// SplitEvidence compares the share of requests that the canary takes with the configured
// weights.
type SplitEvidence struct {
	Configured float64 `json:"configured,omitempty"` // 0 when not known
	Observed   float64 `json:"observed"`             // since it was configured so
	Evidence   float64 `json:"evidence"`             // log10, against a mismatch of up to a quarter
	Mismatch   bool    `json:"mismatch"`
	Large      bool    `json:"large"` // so large that the run is not judged
}

// Suspect is a request of the canary to look at first.
type Suspect struct {
	At      time.Time `json:"at"`
	ID      string    `json:"id,omitempty"`
	TraceID string    `json:"trace_id,omitempty"`
	Route   string    `json:"route,omitempty"`
	Failed  bool      `json:"failed"`
	Latency Duration  `json:"latency,omitempty"` // of one that was slow instead
}
