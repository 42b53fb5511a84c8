package canary

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// reason says in one plain sentence why the verdict is what it is.
func (j *Judge) reason(v *gatewarden.CanaryVerdict) string {
	switch {
	case v.State == gatewarden.Breach:
		if v.Absolute {
			return "the canary is beyond its own limits, with no baseline to compare with: " + j.aloneEffect(v) + sure(v)
		}
		return "the canary is worse than the baseline: " + j.effect(v) + sure(v)
	case v.Split.Large:
		return fmt.Sprintf("can't judge: the canary takes %s of the requests where %s is configured, so the two tracks may not see the same kind of traffic",
			percent(v.Split.Observed), percent(v.Split.Configured))
	case v.State == gatewarden.Healthy && v.Absolute:
		return "the canary is shown to be within its own limits, with no baseline to compare with: " + j.aloneEffect(v)
	case v.State == gatewarden.Healthy:
		return "the canary is shown to be within its margins: " + j.effect(v)
	case v.At.Before(v.Start.Add(j.policy.Delay + time.Second)):
		return "the run has not begun to be judged yet"
	case v.Canary.Requests == 0 && j.Late > v.Baseline.Requests:
		return fmt.Sprintf("can't judge: its records come too late, %s of them so far: a second waits for them for %s", grouped(j.Late), gatewarden.Duration(j.policy.Delay))
	case v.Canary.Requests == 0 && v.Baseline.Requests == 0:
		return "can't judge: no request of either track has come: do the selectors fit, does Kong's log arrive?"
	case v.Canary.Requests == 0:
		return "can't judge: the canary has taken no requests"
	case v.Absolute && j.Next-1-j.Newest[Canary] < silence:
		return j.aloneReason(v)
	case v.Baseline.Requests == 0 && j.policy.Absolute != nil && j.Next-j.Start < aloneAfter:
		return fmt.Sprintf("not decided yet: the baseline has taken no requests; without one the canary is judged by its own limits from %d s on", aloneAfter)
	case v.Baseline.Requests == 0:
		return "can't judge: the baseline has taken no requests, so there is nothing to compare with, and the canary has no limits of its own"
	case j.Next-1-j.Newest[Canary] >= silence:
		return "can't judge: the canary has taken no requests since " + v.Canary.Newest.Format(time.TimeOnly)
	case j.Next-1-j.Newest[Baseline] >= silence:
		return "can't judge: the baseline has taken no requests since " + v.Baseline.Newest.Format(time.TimeOnly)
	case v.Over:
		return "the deadline has passed with evidence neither for a fail nor for a pass: " + j.effect(v) + "; " + j.missing(v)
	}
	return "not decided yet: " + j.effect(v) + "; " + j.missing(v)
}

// aloneReason says how a canary without a baseline stands.
func (j *Judge) aloneReason(v *gatewarden.CanaryVerdict) string {
	begin := "not decided yet"
	if v.Over {
		begin = "the deadline has passed with evidence neither for a fail nor for a pass"
	}
	return begin + ", judged by its own limits only as the baseline has taken no requests: " + j.aloneEffect(v) + "; " + j.missing(v)
}

// aloneEffect says what a canary without a baseline does, and what its limits are.
func (j *Judge) aloneEffect(v *gatewarden.CanaryVerdict) string {
	a := j.policy.Absolute
	var parts []string
	if a.MaxErrors > 0 {
		parts = append(parts, fmt.Sprintf("%s of its %s requests failed, %s is allowed", percent(v.Canary.Ratio), grouped(v.Canary.Requests), percent(a.MaxErrors)))
	}
	if a.MaxSlow > 0 {
		parts = append(parts, fmt.Sprintf("latency at p50 %s, at p99 %s; %s may take longer than %s", v.Canary.P50, v.Canary.P99, percent(a.MaxSlow), gatewarden.Duration(a.MaxLatency)))
	}
	return strings.Join(parts, "; ")
}

// effect says how the tracks differ in what matters most.
func (j *Judge) effect(v *gatewarden.CanaryVerdict) string {
	var parts []string
	latency := strings.HasPrefix(v.Leading, "latency")
	if j.policy.Errors != nil && (v.State != gatewarden.Breach || !latency) {
		s := fmt.Sprintf("%s of its %s requests failed, the baseline's %s", percent(v.Canary.Ratio), grouped(v.Canary.Requests), percent(v.Baseline.Ratio))
		if v.State == gatewarden.Breach && v.ErrorRatio.Low > 1 {
			s += ", at least " + number(v.ErrorRatio.Low) + " times the odds"
		}
		parts = append(parts, s)
	}
	if j.policy.Latency != nil && (v.State != gatewarden.Breach || latency) {
		parts = append(parts, j.latencyEffect(v))
	}
	return strings.Join(parts, "; ")
}

func (j *Judge) latencyEffect(v *gatewarden.CanaryVerdict) string {
	s := fmt.Sprintf("latency at p50 %s, the baseline's %s; at p99 %s, the baseline's %s", v.Canary.P50, v.Baseline.P50, v.Canary.P99, v.Baseline.P99)
	if v.State == gatewarden.Breach && v.LatencyRatio.Low > 1 {
		s += ", at least " + percent(v.LatencyRatio.Low-1) + " slower"
	}
	return s
}

// sure says how strong the evidence was when the run failed.
func sure(v *gatewarden.CanaryVerdict) string {
	return fmt.Sprintf("; evidence 10^%.1f at %s, 10^%s was needed", v.Evidence, v.At.UTC().Format(time.TimeOnly), number(v.Needed))
}

// missing says what a pass waits for.
func (j *Judge) missing(v *gatewarden.CanaryVerdict) string {
	if v.Evidence >= 1 {
		return fmt.Sprintf("evidence for a fail is 10^%.1f of 10^%s", v.Evidence, number(v.Needed))
	}
	var open []string
	for _, c := range v.Checks {
		if c.Pass != nil && !c.Shown {
			open = append(open, strings.ReplaceAll(c.Name, "_", " "))
		}
	}
	switch {
	case len(open) > 0 && v.BaselineTrouble:
		return "the baseline is in trouble itself, and that says nothing for the canary"
	case len(open) > 0:
		return "a pass still needs evidence on " + strings.Join(open, " and ")
	}
	return "a pass waits for the minimum duration of " + gatewarden.Duration(j.policy.MinDuration).String()
}

// percent writes a ratio in per cent with two significant digits: "0.12 %".
func percent(ratio float64) string { return number(ratio*100) + " %" }

// number writes x with two significant digits below 100, without an exponent.
func number(x float64) string {
	decimals := 0
	for limit := 10.0; x > 0 && x < limit && decimals < 6; limit /= 10 {
		decimals++
	}
	s := strconv.FormatFloat(x, 'f', decimals, 64)
	if decimals > 0 {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// grouped writes n with a comma after each thousand.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
