package canary

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// Policy says what is promised about the judgement and what counts as worse. Ratios are
// in (0, 1), not per cent.
type Policy struct {
	Errors  *gatewarden.ErrorMargins   `json:"errors,omitempty"`  // nil: failures are not judged
	Latency *gatewarden.LatencyMargins `json:"latency,omitempty"` // nil: latencies are not judged
	// Absolute, when set, is what the canary is judged by while the baseline has taken no
	// request since the start. Without it such a run has no answer.
	Absolute *Absolute `json:"absolute,omitempty"`

	FalseAlarm float64 `json:"false_alarm"` // probability of ever failing a canary that is within its margins
	FalsePass  float64 `json:"false_pass"`  // probability of passing one that is beyond a pass margin, for each

	MinDuration time.Duration `json:"min_duration"` // no pass before; fails do not wait
	Deadline    time.Duration `json:"deadline"`     // from then on a run without an answer has none
	WarmUp      time.Duration `json:"warm_up"`      // latencies of this time after the start do not count; failures do
	// Delay is how long a second stays open for records that arrive late. It adds to
	// every answer.
	Delay time.Duration `json:"delay"`
}

// Absolute are limits of the canary by itself, such as its service's SLOs set them: the
// error budget, and how large a share may be slower than a threshold. A canary is failed
// when it is shown to be beyond one, and passed only when it is shown to be within all.
type Absolute struct {
	MaxErrors  float64       `json:"max_errors,omitempty"`  // ratio of failures; 0: not judged
	MaxLatency time.Duration `json:"max_latency,omitempty"` // what is slow; 0: not judged
	MaxSlow    float64       `json:"max_slow,omitempty"`    // ratio of requests slower than that
}

// validate returns what is wrong with a.
func (a *Absolute) validate() error {
	bad := func(field, want string, got any) error {
		return gatewarden.Errorf(gatewarden.Invalid, "canary policy: absolute.%s is %v, must be %s", field, got, want)
	}
	switch {
	case !(a.MaxErrors >= 0 && a.MaxErrors < 1):
		return bad("max_errors", "0 or more, below 100 %", a.MaxErrors)
	case a.MaxLatency < 0:
		return bad("max_latency", "0 or more", a.MaxLatency)
	case !(a.MaxSlow >= 0 && a.MaxSlow < 1):
		return bad("max_slow", "0 or more, below 100 %", a.MaxSlow)
	case (a.MaxLatency > 0) != (a.MaxSlow > 0):
		return gatewarden.Errorf(gatewarden.Invalid, "canary policy: absolute has one of max_latency and max_slow; it takes both or none")
	case a.MaxErrors == 0 && a.MaxLatency == 0:
		return gatewarden.Errorf(gatewarden.Invalid, "canary policy: absolute has no limit").WithHint("leave it out, or set max_errors")
	}
	return nil
}

// DefaultPolicy returns the defaults.
func DefaultPolicy() Policy {
	return Policy{
		Errors:      &gatewarden.ErrorMargins{MaxRatio: 1.1, MaxDifference: 1e-4, PassRatio: 1.5, PassDifference: 1e-3},
		Latency:     &gatewarden.LatencyMargins{MaxRatio: 1.1, PassRatio: 1.25},
		FalseAlarm:  0.01,
		FalsePass:   0.05,
		MinDuration: 5 * time.Minute,
		Deadline:    30 * time.Minute,
		WarmUp:      30 * time.Second,
		Delay:       3 * time.Second,
	}
}

// The greatest values that a policy may have.
const (
	maxDelay    = time.Minute
	maxDeadline = 7 * 24 * time.Hour
	maxMargin   = 100 // as a ratio
)

// Validate returns what is wrong with p, an Error of code Invalid, or nil.
func (p *Policy) Validate() error {
	bad := func(field, want string, got any) error {
		return gatewarden.Errorf(gatewarden.Invalid, "canary policy: %s is %v, must be %s", field, got, want)
	}
	switch {
	case p.Errors == nil && p.Latency == nil:
		return gatewarden.Errorf(gatewarden.Invalid, "canary policy: nothing to check").WithHint("checks: [errors, latency]")
	case !(p.FalseAlarm > 0 && p.FalseAlarm <= 0.5): // written so that NaN is refused as well
		return bad("false_alarm", "above 0 and at most 50 %", p.FalseAlarm)
	case !(p.FalsePass > 0 && p.FalsePass <= 0.5):
		return bad("false_pass", "above 0 and at most 50 %", p.FalsePass)
	case p.Deadline <= 0 || p.Deadline > maxDeadline:
		return bad("deadline", "above 0 and at most 7d", p.Deadline)
	case p.MinDuration < 0 || p.MinDuration > p.Deadline:
		return bad("min_duration", "at most the deadline", p.MinDuration)
	case p.WarmUp < 0 || p.WarmUp > p.Deadline:
		return bad("warm_up", "at most the deadline", p.WarmUp)
	case p.Delay < 0 || p.Delay > maxDelay:
		return bad("delay", "at most 1m", p.Delay)
	}
	if p.Absolute != nil {
		if err := p.Absolute.validate(); err != nil {
			return err
		}
	}
	if e := p.Errors; e != nil {
		switch {
		case !(e.MaxRatio >= 1 && e.MaxRatio <= maxMargin):
			return bad("errors.max_ratio", "1 to 100", e.MaxRatio)
		case !(e.MaxDifference >= 0 && e.MaxDifference < 1):
			return bad("errors.max_difference", "0 or more, below 100 %", e.MaxDifference)
		case !(e.PassRatio >= e.MaxRatio && e.PassRatio <= maxMargin):
			return bad("errors.pass_ratio", "at least max_ratio, at most 100", e.PassRatio)
		case !(e.PassDifference >= e.MaxDifference && e.PassDifference > 0 && e.PassDifference < 1):
			return bad("errors.pass_difference", "above 0, at least max_difference, below 100 %", e.PassDifference)
		}
	}
	if l := p.Latency; l != nil {
		switch {
		case !(l.MaxRatio >= 1 && l.MaxRatio <= maxMargin):
			return bad("latency.max_ratio", "1 to 100", l.MaxRatio)
		case !(l.PassRatio > l.MaxRatio && l.PassRatio <= maxMargin):
			return bad("latency.pass_ratio", "above max_ratio, at most 100", l.PassRatio)
		}
	}
	return nil
}
