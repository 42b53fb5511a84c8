package canary

import (
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Verdict closes the seconds that are over and says how the run stands.
func (j *Judge) Verdict(at time.Time) gatewarden.CanaryVerdict {
	j.Advance(at)
	log, logs := j.evidence()
	v := gatewarden.CanaryVerdict{
		At: at, Start: time.Unix(j.Start, 0).UTC(), Evidence: log / math.Ln10, Needed: -math.Log10(j.policy.FalseAlarm),
		Baseline: j.counts(Baseline), Canary: j.counts(Canary), Split: j.splitEvidence(),
		PassNeeded: -math.Log10(j.policy.FalsePass), BaselineTrouble: j.Troubles[0].Lasting > 0 || j.Troubles[1].Lasting > 0,
		History:  gatewarden.Duration(time.Duration(j.Tuning.History) * time.Second),
		Suspects: j.Suspects, Late: j.Late, Ahead: j.Ahead, Dropped: j.Dropped,
	}
	v.Checks = j.checkEvidence(logs)
	v.Absolute = j.alone()
	if v.Absolute {
		v.Split.Large = false
		v.Checks = j.aloneEvidence()
	}
	v.Leading = j.leading(log, logs)
	v.ErrorRatio, v.LatencyRatio = j.effects()
	j.judge(&v)
	v.Expected = gatewarden.Duration(j.expected(&v, log))
	v.Reason = j.reason(&v)
	return v
}

// Standing is the short form of Verdict for whoever looks often and reads seldom: it
// closes the seconds that are over and returns the state and the evidence for a fail.
func (j *Judge) Standing(at time.Time) (state gatewarden.State, evidence float64) {
	j.Advance(at)
	log, _ := j.evidence()
	v := gatewarden.CanaryVerdict{At: at, Start: time.Unix(j.Start, 0)}
	_, v.Split.Large = j.Split.found()
	v.Split.Large = v.Split.Large && !j.alone()
	j.judge(&v)
	return v.State, log / math.Ln10
}

// judge sets the state.
func (j *Judge) judge(v *gatewarden.CanaryVerdict) {
	second := j.Next - 1
	switch {
	case j.FailedAt != 0:
		v.State, v.Since = gatewarden.Breach, instant(j.FailedAt)
	case v.Split.Large:
	case j.PassedAt != 0 && j.fresh(second):
		v.State, v.Since = gatewarden.Healthy, instant(j.PassedAt)
	case j.PassedAt == 0:
		v.Over = v.At.Sub(v.Start) >= j.policy.Deadline
	}
}

func instant(second int64) *time.Time {
	t := time.Unix(second, 0).UTC()
	return &t
}

func (j *Judge) counts(t gatewarden.Track) gatewarden.TrackCounts {
	k := &j.Totals[t]
	c := gatewarden.TrackCounts{Requests: k.Requests, Failures: k.Failures, Episodes: k.Episodes}
	if k.Requests > 0 {
		c.Ratio = float64(k.Failures) / float64(k.Requests)
		c.Newest = instant(j.Newest[t])
	}
	if k.Latency.Total > 0 {
		c.P50 = gatewarden.Duration(binLatency(k.Latency.quantile(0.5)).Round(time.Millisecond))
		c.P99 = gatewarden.Duration(binLatency(k.Latency.quantile(tailQuantile)).Round(time.Millisecond))
		for _, p := range gatewarden.LatencyPercents() {
			c.Latencies = append(c.Latencies, gatewarden.Duration(binLatency(k.Latency.quantile(p/100)).Round(time.Millisecond)))
		}
	}
	return c
}

func (j *Judge) splitEvidence() gatewarden.SplitEvidence {
	s := &j.Split
	e := gatewarden.SplitEvidence{Configured: s.Share}
	if n := s.Seen[Baseline] + s.Seen[Canary]; n > 0 {
		e.Observed = float64(s.Seen[Canary]) / float64(n)
	}
	if s.checks() {
		e.Evidence = s.Margin[0].Log() / math.Ln10
		e.Mismatch, e.Large = s.found()
	}
	return e
}

func (j *Judge) checkEvidence(logs [checkCount]float64) []gatewarden.CheckEvidence {
	var total float64
	for _, w := range j.weights {
		total += w
	}
	var list []gatewarden.CheckEvidence
	for i, w := range j.weights {
		if w == 0 {
			continue
		}
		c := gatewarden.CheckEvidence{Name: checkNames[i], Weight: w / total, Evidence: logs[i] / math.Ln10}
		var pass *passing
		seconds := 0
		switch i {
		case checkErrors:
			pass, c.Blocks, seconds, c.Dispersion = &j.Errors.Pass, j.Errors.Closed, j.Tuning.Errors, j.Tuning.Phi
		case checkRank:
			pass, c.Blocks, seconds = &j.Rank.Pass, j.Rank.Closed, j.Tuning.Rank
		case checkTail:
			pass, c.Blocks, seconds = &j.Tail.Pass, j.Tail.Closed, j.Tuning.Tail
			c.Threshold = j.tailThreshold(0)
		case checkTail2:
			c.Blocks, seconds = j.Tail.Closed, j.Tuning.Tail
			c.Threshold = j.tailThreshold(twice)
		}
		c.Block = gatewarden.Duration(time.Duration(seconds) * time.Second)
		if pass != nil {
			log := pass.Mix.Log() / math.Ln10
			c.Pass, c.Shown = &log, pass.shown(-math.Log(j.policy.FalsePass))
		}
		list = append(list, c)
	}
	return list
}

// aloneEvidence returns the checks of a canary without a baseline.
func (j *Judge) aloneEvidence() []gatewarden.CheckEvidence {
	var list []gatewarden.CheckEvidence
	_, logs := j.aloneLogs()
	for i := range j.Alone {
		if j.aloneLimit(i) == 0 {
			continue
		}
		a := &j.Alone[i]
		pass := a.Pass.Mix.Log() / math.Ln10
		c := gatewarden.CheckEvidence{
			Name: aloneNames[i], Weight: aloneStake, Evidence: logs[i] / math.Ln10, Blocks: a.Closed,
			Pass: &pass, Shown: a.Pass.shown(-math.Log(j.policy.FalsePass)), Block: gatewarden.Duration(time.Duration(j.Tuning.Errors) * time.Second),
		}
		if i == aloneSlow {
			c.Block = gatewarden.Duration(time.Duration(j.Tuning.Tail) * time.Second)
			c.Threshold = gatewarden.Duration(j.policy.Absolute.MaxLatency)
		}
		list = append(list, c)
	}
	if len(list) > 1 {
		for i := range list {
			list[i].Weight /= float64(len(list))
		}
	}
	return list
}

func (j *Judge) tailThreshold(shift int) gatewarden.Duration {
	if j.Tuning.TailBin == 0 {
		return 0
	}
	return gatewarden.Duration(binLatency(j.Tuning.TailBin + shift).Round(time.Millisecond))
}

// leading returns the name of the check that contributes most to the evidence.
func (j *Judge) leading(log float64, logs [checkCount]float64) string {
	if log <= math.Ln2 {
		return ""
	}
	best, name := math.Inf(-1), ""
	if j.alone() {
		_, alone := j.aloneLogs()
		for i, x := range alone {
			if x > best && j.aloneLimit(i) > 0 {
				best, name = x, aloneNames[i]
			}
		}
		return name
	}
	for i, w := range j.weights {
		if w > 0 && math.Log(w)+logs[i] > best {
			best, name = math.Log(w)+logs[i], checkNames[i]
		}
	}
	return name
}

// effects returns the intervals of both ratios.
func (j *Judge) effects() (failures, latency gatewarden.Interval) {
	bounded := func(low, high float64) gatewarden.Interval {
		if math.IsInf(high, 1) {
			high = 0
		}
		return gatewarden.Interval{Low: low, High: high}
	}
	failures = bounded(j.Errors.Ratio.Bounds())
	latency = bounded(j.Rank.bounds())
	b, c := &j.Totals[Baseline], &j.Totals[Canary]
	if b.Episodes > 0 && b.Requests > b.Episodes && c.Requests > c.Episodes {
		failures.Estimate = odds(c.Episodes, c.Requests) / odds(b.Episodes, b.Requests)
	}
	if b.Latency.Total > 0 && c.Latency.Total > 0 {
		latency.Estimate = math.Exp(float64(c.Latency.quantile(0.5)-b.Latency.quantile(0.5)) * binWidth)
	}
	return failures, latency
}

func odds(events, of uint64) float64 { return float64(events) / float64(of-events) }

// expected returns the time to a decision: a fail once half of its evidence is there,
// else a pass.
func (j *Judge) expected(v *gatewarden.CanaryVerdict, log float64) time.Duration {
	need := -math.Log(j.policy.FalseAlarm)
	switch {
	case v.State != gatewarden.Inconclusive || v.Over || v.Split.Large:
		return 0
	case log > need/2:
		return j.Trail.expected(need, func(p point) float64 { return p.Fail })
	case log >= cautionLog:
		return 0
	}
	rest := v.Start.Add(j.policy.MinDuration).Sub(v.At)
	if j.shown() {
		return max(rest, 0)
	}
	d := j.Trail.expected(-math.Log(j.policy.FalsePass), func(p point) float64 { return p.Pass })
	if d == 0 {
		return 0
	}
	return max(d, rest)
}
