package canary

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// Judge judges one run of one canary. Its methods must not be called concurrently. The
// same observations and instants give the same verdicts, in whatever order the
// observations between two instants come, and with a restart (MarshalJSON) in between.
//
// Observations of the baseline from before the start are its history. It is best fed
// with five minutes of it or more.
type Judge struct {
	policy  Policy
	bins    *binTable
	shifts  [shiftCount]int
	weights [checkCount]float64

	state
	last    *cell       // the one that was added to last
	free    []*cell     // cells to use again
	passing [3]*passing // what passes returns
}

// state is all of a Judge that changes.
type state struct {
	Start  int64           `json:"start"`  // Unix seconds
	Next   int64           `json:"next"`   // the next second to close, 0 before the first one
	Newest [2]int64        `json:"newest"` // the newest second with requests, by track
	Open   map[int64]*cell `json:"open,omitempty"`
	Routes []string        `json:"routes,omitempty"` // the strata
	routes map[string]int

	Split    split      `json:"split"`
	Changes  []change   `json:"changes,omitempty"` // of the split, not yet reached
	History  *history   `json:"history,omitempty"` // until the start
	Warm     histogram  `json:"warm"`              // the baseline since the start, until there is a threshold
	Tuning   tuning     `json:"tuning"`
	Episodes episodes   `json:"episodes,omitempty"`
	Troubles [2]trouble `json:"troubles"` // failures, tail

	Errors errorCheck `json:"errors"`
	Rank   rankCheck  `json:"rank"`
	Tail   tailCheck  `json:"tail"`

	Alone     [aloneCount]aloneCheck `json:"alone"`
	AloneSeen uint64                 `json:"alone_seen"` // episodes of the canary that are in its blocks
	AloneMany int                    `json:"alone_many"` // seconds with failures in which clients that fail make most of its requests, up to enoughClients

	Totals   [2]totals            `json:"totals"`
	Suspects []gatewarden.Suspect `json:"suspects,omitempty"`
	Trail    trail                `json:"trail"`
	FailedAt int64                `json:"failed_at,omitempty"` // the second from which on the run has failed
	PassedAt int64                `json:"passed_at,omitempty"`
	Late     uint64               `json:"late"`    // observations of a second that was closed already
	Ahead    uint64               `json:"ahead"`   // too far in the future
	Dropped  uint64               `json:"dropped"` // before the start and not the baseline's, or of a far past
}

// change is a change of the configured split.
type change struct {
	Second int64   `json:"second"`
	Share  float64 `json:"share"`
}

// totals are a track's figures since the start.
type totals struct {
	Requests uint64    `json:"requests"`
	Failures uint64    `json:"failures"`
	Episodes uint64    `json:"episodes"`
	Latency  histogram `json:"latency"`
}

const (
	maxOpen    = 256 // seconds that can be open at once
	maxChanges = 64
)

// New returns the judge of a run that starts at the given instant, cut to seconds. A
// judge that is to be at hand before its run is made with a start in the far future, or
// with the zero time for "not known yet": it gathers the baseline's history until Begin.
func New(p Policy, start time.Time) (*Judge, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	j := &Judge{policy: p}
	if start.IsZero() || start.Unix() > maxSecond {
		start = time.Unix(maxSecond, 0)
	}
	j.state = state{
		Start: start.Unix(), History: &history{}, Errors: newErrorCheck(), Rank: newRankCheck(), Tail: newTailCheck(),
		Alone: [aloneCount]aloneCheck{newAloneCheck(), newAloneCheck()},
	}
	j.prepare()
	return j, nil
}

// Begin starts a run whose start lies in the future: it starts with the next whole second
// at or after the given instant that is not closed yet. From then on the judge is the one
// that New would have made with that start and that has seen the same. A start that is
// earlier already stays.
func (j *Judge) Begin(at time.Time) {
	start := at.Unix()
	if at.Nanosecond() > 0 {
		start++
	}
	if start = max(start, j.Next); start >= j.Start {
		return
	}
	j.Start = start
	for second, c := range j.Open {
		if second >= start {
			c.begin()
		}
	}
	j.last = nil
}

// Wait changes how long a second stays open for records that arrive late, Policy.Delay, to at
// most a minute. It is for a judge whose run has not begun: a run's records all have as long.
func (j *Judge) Wait(delay time.Duration) { j.policy.Delay = min(max(delay, 0), maxDelay) }

// prepare derives what is not part of the state.
func (j *Judge) prepare() {
	j.bins = newBinTable()
	if j.policy.Errors != nil {
		j.weights[checkErrors] = checkWeights[checkErrors]
	}
	if j.policy.Latency != nil {
		j.shifts = rankShifts(j.policy.Latency)
		copy(j.weights[checkRank:], checkWeights[checkRank:])
	}
	if j.Tuning.PassBin == 0 { // as in a state of a former version
		j.Tuning.PassBin = j.Tuning.TailBin
	}
	if j.Open == nil {
		j.Open = map[int64]*cell{}
	}
	if j.Episodes == nil {
		j.Episodes = episodes{}
	}
	j.routes = make(map[string]int, len(j.Routes))
	for i, r := range j.Routes {
		j.routes[r] = i
	}
}

// SetSplit says that from the given instant on the canary is configured to take the
// share of the requests, in [0, 1]; outside of it the share is not known and not checked.
// Blocks end where the split changes. Say it in the order of time, and before the
// instant is judged.
func (j *Judge) SetSplit(at time.Time, share float64) {
	if !(share >= 0 && share <= 1) {
		share = 0
	}
	if len(j.Changes) == maxChanges {
		j.Changes = slices.Delete(j.Changes, 0, 1)
	}
	j.Changes = append(j.Changes, change{Second: at.Unix(), Share: share})
}

// Add takes an observation. It counts when its second is closed, Policy.Delay after the
// second's end; what comes later is counted as late and does not count.
func (j *Judge) Add(o *gatewarden.Observation) {
	c := j.cell(o)
	if c == nil {
		return
	}
	if c.Second < j.Start && o.Track == Canary {
		c = c.apart()
	}
	c.Added++
	n := uint64(max(o.Weight, 1))
	stratum := j.route(o.Route)
	s := c.stratum(stratum)
	s.Requests[o.Track] += n
	bin := -1
	if o.Latency >= 0 && !o.Failed {
		bin = j.bins.bin(o.Latency)
		s.Latency[o.Track].add(bin, n)
		if a := j.policy.Absolute; a != nil && a.MaxLatency > 0 && o.Track == Canary && o.Latency > a.MaxLatency {
			s.Slow += n
		}
	}
	client := hash(o.Client)
	var target uint8
	if c.Virtual != nil {
		target = uint8(hash(o.Target) % virtualArms)
		c.Virtual.latency([schemes]uint8{target, uint8(client % virtualArms)}, bin, n)
	}
	if o.Failed {
		s.Failures[o.Track] += n
		f := failure{Nanos: int64(o.At.Nanosecond()), Track: o.Track, Stratum: stratum, Target: target}
		if o.Client == "" || !c.fail(client, f) {
			s.Anonymous[o.Track] += n
		}
	}
	if v := (visit{client, o.Track, o.Failed, n}); o.Client != "" && !c.Visits.add(v) {
		j.meet(c, v)
	}
	if o.Track == Canary && (o.Failed || j.Tuning.TailBin > 0 && bin >= j.Tuning.TailBin+twice) {
		c.Suspect = addSuspect(c.Suspect, o)
	}
}

// cell returns the open second that o belongs to, nil when it does not count.
func (j *Judge) cell(o *gatewarden.Observation) *cell {
	second := o.At.Unix()
	switch {
	case o.Track > Canary || second < j.Start && j.Tuning.Done:
		j.Dropped++
		return nil
	case j.last != nil && j.last.Second == second:
		return j.last
	case j.Next > 0 && second < j.Next:
		j.Late++
		return nil
	case j.Next > 0 && second >= j.Next+maxOpen || j.Open[second] == nil && len(j.Open) >= maxOpen:
		j.Ahead++
		return nil
	}
	c := j.Open[second]
	if c == nil {
		c = j.newCell(second)
		j.Open[second] = c
	}
	j.last = c
	return c
}

func (j *Judge) newCell(second int64) *cell {
	c := &cell{}
	if n := len(j.free); n > 0 {
		c, j.free = j.free[n-1], j.free[:n-1]
	}
	c.reset(second)
	if second < j.Start {
		c.Virtual = &virtualCell{Median: j.History.median(), Tail: j.History.tail()}
	}
	return c
}

// route returns the stratum of a route.
func (j *Judge) route(name string) int {
	i, ok := j.routes[name]
	if !ok {
		if len(j.Routes) >= maxStrata-1 {
			return maxStrata - 1
		}
		i = len(j.Routes)
		name = strings.Clone(name)
		j.Routes = append(j.Routes, name)
		j.routes[name] = i
	}
	return i
}

// Advance closes the seconds that are over at the given instant, late records taken into
// account. Instants do not go back; Verdict advances by itself.
func (j *Judge) Advance(at time.Time) {
	limit := at.Add(-j.policy.Delay).Unix() // this second is the first to stay open
	if j.Next == 0 {
		if len(j.Open) == 0 {
			return
		}
		j.begin(limit)
	}
	for ; j.Next < limit; j.Next++ {
		c := j.Open[j.Next]
		j.close(j.Next, c)
		if c != nil {
			delete(j.Open, j.Next)
			j.free = append(j.free, c)
		}
	}
	j.last = nil
}

// begin finds the first second to close. What lies too far before or ahead of it is
// dropped now that it can be told.
func (j *Judge) begin(limit int64) {
	j.Next = limit
	for second := range j.Open {
		if second >= limit-maxHistory {
			j.Next = min(j.Next, second)
		}
	}
	for second, c := range j.Open {
		switch {
		case second < j.Next:
			j.Dropped += c.observations()
		case second >= j.Next+maxOpen:
			j.Ahead += c.observations()
		default:
			continue
		}
		delete(j.Open, second)
	}
}

// close judges a second; c is nil when nothing happened in it.
func (j *Judge) close(second int64, c *cell) {
	if second < j.Start {
		if c != nil && c.Apart != nil {
			j.Dropped += c.Apart.Added
		}
		j.History.add(c.events(j, second, nil))
		j.watch(c) // what is usual of the baseline
		return
	}
	if !j.Tuning.Done {
		j.Tuning = j.History.tune()
		j.History = nil
	}
	j.changeSplit(second)
	c.events(j, second, &j.Errors.Block)
	trouble := j.watch(c)
	if c != nil {
		j.count(c)
	}
	j.gatherAlone(second, c)
	j.gatherErrors(c, trouble)
	j.gatherLatency(second, c, trouble)
	j.decide(second)
	if second%episodeGap == 0 {
		j.Episodes.forget(second)
	}
}

// events counts the episodes of the second: into the virtual arms before the start, into
// a block of the errors check after it. It returns c.
func (c *cell) events(j *Judge, second int64, into *shareBlock) *cell {
	if c == nil {
		return nil
	}
	var clients []uint64
	if len(c.Failed) > 0 {
		clients = slices.Sorted(maps.Keys(c.Failed)) // in an order, as the table of episodes may be full
	}
	j.meetAll(c)
	for _, client := range clients {
		f := c.Failed[client]
		if !j.Episodes.counts(client, second, len(clients)) {
			continue
		}
		if into == nil {
			c.Virtual.X[eventFailed][byTarget][f.Target]++
			c.Virtual.X[eventFailed][byClient][client%virtualArms]++
			continue
		}
		into.stratum(f.Stratum).Events[0][f.Track]++
		j.Totals[f.Track].Episodes++
		if f.Track == Canary {
			j.Errors.met(client)
		}
	}
	for client, n := range c.Good {
		j.Episodes.good(client, n)
	}
	for client, n := range c.Served {
		j.Errors.serve(client, n)
	}
	if into == nil {
		return c
	}
	for i := range c.Strata {
		for t, n := range c.Strata[i].Anonymous {
			into.stratum(i).Events[0][t] += n
			j.Totals[t].Episodes += n
			if gatewarden.Track(t) == Canary {
				j.Errors.Unknown = int(min(uint64(j.Errors.Unknown)+n, enoughClients))
			}
		}
	}
	return c
}

// count adds a second to the run's figures.
func (j *Judge) count(c *cell) {
	var n [2]uint64
	for i := range c.Strata {
		s := &c.Strata[i]
		for t := range n {
			n[t] += s.Requests[t]
			j.Totals[t].Failures += s.Failures[t]
			j.Totals[t].Latency.merge(&s.Latency[t])
		}
	}
	for t := range n {
		j.Totals[t].Requests += n[t]
		if n[t] > 0 {
			j.Newest[t] = c.Second
		}
	}
	j.Split.add(c.Second, n)
	j.Suspects = mergeSuspects(j.Suspects, c.Suspect)
}

// watch reports whether the baseline is in trouble by itself, by its failures or by its
// latency.
func (j *Judge) watch(c *cell) (trouble [2]bool) {
	if c == nil {
		return [2]bool{}
	}
	var requests, failures, latencies, slow uint64
	for i := range c.Strata {
		s := &c.Strata[i]
		requests += s.Requests[Baseline]
		failures += s.Failures[Baseline]
		latencies += s.Latency[Baseline].Total
		if j.Tuning.TailBin > 0 {
			slow += s.Latency[Baseline].from(j.Tuning.TailBin)
		}
	}
	trouble[0] = j.Troubles[0].add(requests, failures, 1)
	if j.Tuning.TailBin > 0 {
		trouble[1] = j.Troubles[1].add(latencies, slow, max(1, j.Tuning.Crowd[eventTail]))
	}
	return trouble
}

// changeSplit takes up a change of the split that has come into force: what was gathered
// under the old one is judged by itself.
func (j *Judge) changeSplit(second int64) {
	for len(j.Changes) > 0 && j.Changes[0].Second <= second {
		if j.Changes[0].Share != j.Split.Share {
			if j.Split.checks() {
				j.closeErrors()
				j.closeRank()
				j.closeTail()
			}
			j.Split.set(j.Changes[0].Share, second)
		}
		j.Changes = slices.Delete(j.Changes, 0, 1)
	}
}

func (j *Judge) gatherErrors(c *cell, trouble [2]bool) {
	if j.policy.Errors == nil {
		j.Errors.Block.reset()
		return
	}
	b := &j.Errors.Block
	b.Age++
	b.Trouble = b.Trouble || trouble[0]
	if c != nil {
		for i := range c.Strata {
			s := b.stratum(i)
			for t, n := range c.Strata[i].Requests {
				s.N[t] += n
				b.N[t] += n
			}
		}
	}
	if b.due(j.Tuning.Errors, blockFewest) {
		j.closeErrors()
	}
}

func (j *Judge) gatherLatency(second int64, c *cell, trouble [2]bool) {
	if j.policy.Latency == nil {
		return
	}
	j.learnTail(second, c)
	if second-j.Start < int64(j.policy.WarmUp/time.Second) {
		return
	}
	gather := func(b *block) {
		b.Age++
		b.Trouble = b.Trouble || trouble[0] || trouble[1]
	}
	gather(&j.Rank.Block.block)
	if j.Tuning.TailBin > 0 {
		gather(&j.Tail.Block.block)
	}
	if c != nil {
		for i := range c.Strata {
			j.gatherLatencies(i, &c.Strata[i].Latency)
		}
	}
	if j.Rank.Block.due(j.Tuning.Rank, blockRequests) {
		j.closeRank()
	}
	if j.Tail.Block.due(j.Tuning.Tail, blockRequests) {
		j.closeTail()
	}
}

// gatherLatencies adds one route's latencies of a second to the blocks, and may take them
// away from the second.
func (j *Judge) gatherLatencies(stratum int, latency *[2]histogram) {
	j.gatherTail(stratum, latency)
	rank := j.Rank.Block.stratum(stratum)
	for t := range latency {
		j.Rank.Block.N[t] += latency[t].Total
		if rank[t].Total == 0 {
			rank[t], latency[t] = latency[t], rank[t]
		} else {
			rank[t].merge(&latency[t])
		}
	}
}

func (j *Judge) gatherTail(stratum int, latency *[2]histogram) {
	tail := j.Tuning.TailBin
	if tail == 0 {
		return
	}
	s := j.Tail.Block.stratum(stratum)
	for t := range latency {
		s.N[t] += latency[t].Total
		j.Tail.Block.N[t] += latency[t].Total
	}
	base, canary := &latency[Baseline], &latency[Canary]
	once, twiceOver := base.from(tail), base.from(tail+twice)
	s.Events[tailOnce][Baseline] += once
	s.Events[tailTwice][Baseline] += twiceOver
	pass := j.Tuning.PassBin
	s.Events[tailPass][Baseline] += base.from(pass)
	s.Events[tailOnce][Canary] += canary.from(tail + j.shifts[shiftMax])
	s.Events[tailTwice][Canary] += canary.from(tail + twice + j.shifts[shiftMax])
	s.Events[tailPass][Canary] += canary.from(pass + j.shifts[shiftPass])
}

// learnTail finds the tail's threshold in the run's first seconds when the history did
// not tell it. It holds from the next second on, so that no bet rests on what it saw.
func (j *Judge) learnTail(second int64, c *cell) {
	if j.Tuning.TailBin > 0 || c == nil {
		return
	}
	if second-j.Start >= warmSeconds && j.Warm.Total >= historySamples {
		j.Tuning.TailBin = j.Warm.quantile(tailQuantile) + 1
		j.Tuning.PassBin = j.Tuning.TailBin
		j.Warm = histogram{}
		return
	}
	for i := range c.Strata {
		j.Warm.merge(&c.Strata[i].Latency[Baseline])
	}
}

func (j *Judge) closeErrors() {
	if j.policy.Errors != nil {
		j.Errors.close(j.policy.Errors, j.startWeight(j.Tuning.Errors), &j.Tuning)
	}
}
func (j *Judge) closeRank() { j.Rank.close(&j.shifts, j.startWeight(j.Tuning.Rank)) }
func (j *Judge) closeTail() { j.Tail.close(j.startWeight(j.Tuning.Tail), &j.Tuning.Crowd) }

// startWeight is the weight of trouble that starts with a given block: the same for each
// block up to the deadline.
func (j *Judge) startWeight(length int) float64 {
	return laterStarts * float64(length) / j.policy.Deadline.Seconds()
}

// evidence returns the logarithm of the evidence for a fail, and of each check's.
func (j *Judge) evidence() (float64, [checkCount]float64) {
	logs := [checkCount]float64{j.Errors.log(), j.Rank.Fail.Log(), j.Tail.Fail[tailOnce].Log(), j.Tail.Fail[tailTwice].Log()}
	alone, _ := j.aloneLogs()
	return stats.LogMean(logs[:], j.weights[:]) + alone, logs
}

// cautionLog: evidence for a fail that is more than 10 allows no pass.
var cautionLog = math.Log(10)

// decide fails or passes the run if the evidence suffices after this second.
func (j *Judge) decide(second int64) {
	log, _ := j.evidence()
	j.Trail.add(second, log, j.passLog())
	if j.FailedAt != 0 {
		return
	}
	if _, large := j.Split.found(); large && !j.alone() {
		return
	}
	age := time.Duration(second+1-j.Start) * time.Second
	switch {
	case log >= -math.Log(j.policy.FalseAlarm):
		j.FailedAt = second + 1
	case j.PassedAt == 0 && age >= j.policy.MinDuration && age <= j.policy.Deadline && log < cautionLog && j.shown() && j.fresh(second):
		j.PassedAt = second + 1
	}
}

// passes returns the processes that must all speak for a pass.
func (j *Judge) passes() []*passing {
	p := j.passing[:0]
	if j.alone() {
		for i := range j.Alone {
			if j.aloneLimit(i) > 0 {
				p = append(p, &j.Alone[i].Pass)
			}
		}
		return p
	}
	if j.policy.Errors != nil {
		p = append(p, &j.Errors.Pass)
	}
	if j.policy.Latency != nil {
		p = append(p, &j.Rank.Pass, &j.Tail.Pass)
	}
	return p
}

func (j *Judge) shown() bool {
	for _, p := range j.passes() {
		if !p.shown(-math.Log(j.policy.FalsePass)) {
			return false
		}
	}
	return true
}

// passLog returns the weakest evidence for a pass.
func (j *Judge) passLog() float64 {
	least := math.Inf(1)
	for _, p := range j.passes() {
		least = min(least, p.Mix.Log())
	}
	return least
}

// silence is after how many seconds without a request a track says nothing any more.
const silence = 60

// fresh reports whether both tracks have taken requests lately, or the one that is judged
// alone.
func (j *Judge) fresh(second int64) bool {
	return second-j.Newest[Canary] < silence && (second-j.Newest[Baseline] < silence || j.alone())
}
