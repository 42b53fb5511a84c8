package canary

import (
	"math"
	"time"

	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// A canary without a baseline. While the baseline has taken no request since the start
// there is nothing to compare with, and the canary is judged by the limits of its own that
// the policy gives, if it gives any.
//
// The null hypothesis of a check is that the canary's share of bad requests is at most its
// limit p. The bets are share bets with p in the place of q0 and the requests in the place
// of the events: of a block's requests the part U is bad, the mean of U is at most p
// however bad requests come in clusters, and so the factor 1 + lambda (U - p) has a mean of
// at most 1 for any lambda from 0 to 1/p. It is cut at aloneCap, which can only lower it,
// so that one bad moment says no more than it does where there is a baseline.
//
// Failures are episodes of clients here too, and must be those of several clients: one
// client whose requests all fail is no reason to roll back. But clients that come through
// one proxy look like one client, and then a canary that fails every request would have
// one episode, of one client. With a baseline it matters how that serves the client
// meanwhile. Without one only this tells the two apart: how much of the canary's traffic
// is that of clients whose run of failures is not over. In a second in which they make
// half of its requests or more they are no odd clients, they are its users; each failed
// request counts then.
const (
	aloneAfter = 30  // seconds without the baseline before the canary is judged alone
	aloneStake = 0.5 // of the evidence: what the comparison may lose by this at most
	aloneUsers = 0.5 // of the canary's requests: clients with so many are no odd ones
)

// aloneCap is what a block gains at most, as a natural logarithm.
var aloneCap = math.Ln10

// aloneCheck judges one kind of bad request by itself.
type aloneCheck struct {
	Age      int           `json:"age"` // of the block, in seconds
	Requests uint64        `json:"n"`
	Bad      uint64        `json:"bad"`
	Fail     stats.Mixture `json:"fail"`
	Pass     passing       `json:"pass"`
	Blocks   int           `json:"blocks"` // with bad requests
	Closed   int           `json:"closed"`
}

// The checks of a canary alone.
const (
	aloneErrors = iota
	aloneSlow
	aloneCount
)

var aloneNames = [aloneCount]string{"errors_alone", "latency_alone"}

func newAloneCheck() aloneCheck {
	return aloneCheck{
		Fail: stats.NewMixture(len(shareGrid), laterStarts), Pass: passing{Mix: stats.NewMixture(len(rareGrid), 0)},
	}
}

// add takes a second, and judges the block when it is long enough. crowd and phi are what
// the history said of failures: how many come at once, and by what evidence for a pass is
// divided.
func (c *aloneCheck) add(requests, bad uint64, length int, limit, weight, crowd, phi float64) {
	c.Age++
	c.Requests += requests
	c.Bad += bad
	if c.Age < blockLongest && (c.Age < length || c.Requests < blockRequests) {
		return
	}
	if c.Requests > 0 {
		c.bet(limit, weight, crowd, phi)
	}
	c.Age, c.Requests, c.Bad = 0, 0, 0
}

func (c *aloneCheck) bet(limit, weight, crowd, phi float64) {
	c.Closed++
	if c.Bad > 0 {
		c.Blocks++
	}
	n, bad := float64(c.Requests), float64(c.Bad)
	var fail [len(shareGrid)]float64
	for g, ratio := range shareGrid {
		fail[g] = min(stats.ShareGain(limit, ratio, crowds(n, crowd), bad/n), aloneCap)
	}
	c.Fail.Next(fail[:], weight)
	var pass [len(rareGrid)]float64
	for g, a := range rareGrid {
		pass[g] = stats.RareGain(a, 0, limit, bad, n, 0, 1) / phi
	}
	c.Pass.next(pass[:])
}

// log returns the evidence for a fail. Below enoughBlocks it counts only as far as it
// speaks for the canary.
func (c *aloneCheck) log() float64 {
	if x := c.Fail.Log(); x < 0 || c.Blocks >= enoughBlocks {
		return x
	}
	return 0
}

// alone reports whether the canary is judged by itself.
func (j *Judge) alone() bool {
	return j.policy.Absolute != nil && j.Totals[Baseline].Requests == 0 && j.Totals[Canary].Requests > 0 &&
		j.Next-j.Start >= aloneAfter
}

// aloneLimit returns the limit of a check, 0 when there is none.
func (j *Judge) aloneLimit(check int) float64 {
	switch a := j.policy.Absolute; {
	case a == nil:
		return 0
	case check == aloneErrors:
		return a.MaxErrors
	default:
		return a.MaxSlow
	}
}

// gatherAlone takes a second while the baseline has had no request.
func (j *Judge) gatherAlone(second int64, c *cell) {
	if j.policy.Absolute == nil || j.Totals[Baseline].Requests > 0 {
		return
	}
	var requests, failed, slow uint64
	failures := j.Totals[Canary].Episodes - j.AloneSeen
	j.AloneSeen = j.Totals[Canary].Episodes
	if c != nil {
		for i := range c.Strata {
			requests += c.Strata[i].Requests[Canary]
			failed += c.Strata[i].Failures[Canary]
			slow += c.Strata[i].Slow
		}
		if failed > 0 && float64(c.InRun) >= aloneUsers*float64(requests) {
			failures = failed
			j.AloneMany = min(j.AloneMany+1, enoughClients)
		}
	}
	crowd, phi := j.Tuning.Crowd[eventFailed], j.Tuning.Phi
	if limit := j.aloneLimit(aloneErrors); limit > 0 {
		j.Alone[aloneErrors].add(requests, failures, j.Tuning.Errors, limit, j.startWeight(j.Tuning.Errors), crowd, phi)
	}
	if limit := j.aloneLimit(aloneSlow); limit > 0 && second-j.Start >= int64(j.policy.WarmUp/time.Second) {
		crowd, phi := j.Tuning.Crowd[eventTail], max(phi, j.Tuning.Crowd[eventTail])
		j.Alone[aloneSlow].add(requests, slow, j.Tuning.Tail, limit, j.startWeight(j.Tuning.Tail), crowd, phi)
	}
}

// aloneLogs returns the evidence of each check for a fail, and what the whole run's is
// multiplied by: part of the stake is on these checks as long as the canary is alone. When
// the baseline comes, what they had against the canary is dropped, so that trouble of both
// is not held against one.
func (j *Judge) aloneLogs() (factor float64, logs [aloneCount]float64) {
	if j.policy.Absolute == nil || j.Alone[aloneErrors].Closed+j.Alone[aloneSlow].Closed == 0 {
		return 0, logs
	}
	var weights [aloneCount]float64
	for i := range logs {
		if j.aloneLimit(i) > 0 {
			weights[i] = 1
			logs[i] = j.Alone[i].log()
		}
	}
	if e := &j.Errors; len(e.Clients)+e.Unknown+j.AloneMany < enoughClients {
		logs[aloneErrors] = min(logs[aloneErrors], 0)
	}
	log := stats.LogMean(logs[:], weights[:])
	factor = stats.LogMean([]float64{log, 0}, []float64{aloneStake, 1 - aloneStake})
	if !j.alone() {
		factor = min(factor, 0)
	}
	return factor, logs
}
