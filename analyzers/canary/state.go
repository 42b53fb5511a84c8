package canary

import (
	"encoding/json"
	"math"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/analyzers/stats"
)

// stateVersion changes when a state of before can't be read any more.
const stateVersion = 1

// saved is the form in which a Judge is kept: with the run, in the journal.
type saved struct {
	Version int    `json:"version"`
	Policy  Policy `json:"policy"`
	State   *state `json:"state"`
}

// MarshalJSON writes the judge with everything that it knows.
func (j *Judge) MarshalJSON() ([]byte, error) {
	return json.Marshal(saved{Version: stateVersion, Policy: j.policy, State: &j.state})
}

// UnmarshalJSON reads what MarshalJSON wrote: the judge then goes on as the one that was
// written would have. Anything that no Judge could have written is refused with code
// Invalid, and j stays as it is.
func (j *Judge) UnmarshalJSON(b []byte) error {
	in := saved{State: &state{}}
	if err := json.Unmarshal(b, &in); err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "canary state: %w", err)
	}
	if in.Version != stateVersion {
		return gatewarden.Errorf(gatewarden.Invalid, "canary state: version %d, want %d", in.Version, stateVersion).
			WithHint("it was written by another version of the program; start the run anew")
	}
	if err := in.Policy.Validate(); err != nil {
		return err
	}
	if in.State == nil {
		return gatewarden.Errorf(gatewarden.Invalid, "canary state: there is none")
	}
	if part := in.State.damaged(); part != "" {
		return gatewarden.Errorf(gatewarden.Invalid, "canary state: damaged in %s", part).WithHint("start the run anew")
	}
	r := Judge{policy: in.Policy, state: *in.State}
	r.prepare()
	*j = r
	return nil
}

// damaged names the first part that no Judge could have written, "" when there is none.
func (s *state) damaged() string {
	switch {
	case !second(s.Start) || !second(s.Next) || !second(s.Newest[0]) || !second(s.Newest[1]) || !second(s.FailedAt) || !second(s.PassedAt):
		return "its times"
	case len(s.Routes) >= maxStrata || s.openDamaged():
		return "the open seconds"
	case s.Tuning.Done == (s.History != nil) || s.Tuning.damaged() || s.History != nil && s.History.damaged():
		return "the history"
	case s.Split.damaged() || len(s.Changes) > maxChanges || !s.Warm.valid():
		return "the split"
	case len(s.Episodes) > maxEpisodes || s.Episodes.damaged() || len(s.Suspects) > maxSuspect || len(s.Trail.Points) > trailPoints:
		return "its lists"
	case s.Errors.damaged():
		return "the errors check"
	case s.Alone[aloneErrors].damaged() || s.Alone[aloneSlow].damaged() || s.AloneSeen > maxCount || s.AloneMany < 0 || s.AloneMany > enoughClients:
		return "the checks of a canary alone"
	case s.Rank.damaged() || s.Tail.damaged():
		return "the latency checks"
	case !s.Totals[0].Latency.valid() || !s.Totals[1].Latency.valid() || s.Troubles[0].damaged() || s.Troubles[1].damaged():
		return "its totals"
	}
	return ""
}

// second reports whether s can be a Unix time of a run: up to the year 9999.
func second(s int64) bool { return s >= -maxSecond && s <= maxSecond }

const maxSecond = 253402300799

func (s *state) openDamaged() bool {
	if len(s.Open) > maxOpen {
		return true
	}
	for at, c := range s.Open {
		if c == nil || c.Second != at || !second(at) || s.Next > 0 && (at < s.Next || at >= s.Next+maxOpen) ||
			(c.Virtual != nil) != (at < s.Start) || c.damaged() {
			return true
		}
		if a := c.Apart; a != nil && (at >= s.Start || a.Second != at || a.Apart != nil || a.Virtual != nil || a.damaged()) {
			return true
		}
	}
	return false
}

func (c *cell) damaged() bool {
	if len(c.Strata) > maxStrata || len(c.Failed) > maxFailing || len(c.Suspect) > maxSuspect {
		return true
	}
	for i := range c.Strata {
		s := &c.Strata[i]
		if !s.Latency[0].valid() || !s.Latency[1].valid() || !counted(s.Requests[:]) || !counted(s.Failures[:]) || !counted(s.Anonymous[:]) || s.Slow > maxCount {
			return true
		}
	}
	if c.Added > maxCount || c.InRun > maxCount || len(c.Good) > maxEpisodes || len(c.Served) > enoughClients {
		return true
	}
	for _, clients := range [2]map[uint64]uint64{c.Good, c.Served} {
		for _, n := range clients {
			if n > maxCount {
				return true
			}
		}
	}
	for _, f := range c.Failed {
		if f.Track > Canary || f.Stratum < 0 || f.Stratum >= maxStrata || f.Target >= virtualArms {
			return true
		}
	}
	return c.Virtual != nil && (!bin(c.Virtual.Median) || !bin(c.Virtual.Tail) || c.Virtual.damaged())
}

func (c *counts) damaged() bool {
	bad := false
	for s := range c.N {
		bad = bad || !counted(c.N[s][:])
		for k := range c.X {
			bad = bad || !counted(c.X[k][s][:])
		}
	}
	return bad
}

func (h *history) damaged() bool {
	bad := h.Seconds < 0 || h.Seconds > maxSecond || h.Idle < 0 || h.Idle > longIdle || h.ChunkAge < 0 || h.ChunkAge > maxSecond || !h.Chunk.valid() ||
		len(h.Medians) > chunkCount || len(h.Tails) > chunkCount
	for _, list := range [2][]int{h.Medians, h.Tails} {
		for _, b := range list {
			bad = bad || !bin(b)
		}
	}
	for i := range h.Open {
		bad = bad || h.Open[i].damaged()
	}
	for _, half := range [2]*[measured]dispersion{&h.Dispersion, &h.Former} {
		for k := range half {
			bad = bad || half[k].damaged()
		}
	}
	return bad
}

func (d *dispersion) damaged() bool {
	bad := false
	for i := range d.Square {
		bad = bad || !amount(d.Events[i])
		for s := range d.Square[i] {
			bad = bad || !amount(d.Square[i][s]) || !amount(d.Chance[i][s])
		}
	}
	return bad
}

func (t *tuning) damaged() bool {
	length := func(s int) bool { return s == oneBlock || s == shortBlock || s == defaultBlock || s == longBlock }
	if !t.Done {
		return *t != tuning{}
	}
	for _, c := range t.Crowd {
		if !(c >= 1 && amount(c)) {
			return true
		}
	}
	return !length(t.Errors) || !length(t.Rank) || !length(t.Tail) || t.Phi < 1 || !amount(t.Phi) || !bin(t.TailBin) || !bin(t.PassBin) ||
		t.History < 0 || t.History > maxSecond
}

func (s *split) damaged() bool {
	if !s.checks() {
		return s.Share != 0 && s.Share != 1
	}
	return !s.Block.valid() || !counted(s.Seen[:]) || !second(s.Quiet) || !s.Margin[0].Valid(len(s.gains)) || !s.Margin[1].Valid(len(s.gains))
}

func (e episodes) damaged() bool {
	for _, ep := range e {
		if !second(ep.Last) || !second(ep.Count) || ep.Good < 0 || ep.Good > math.MaxInt32 || ep.Bad < 0 || ep.Again < episodeAgain || ep.Again > math.MaxInt32 {
			return true
		}
	}
	return false
}

func (t *trouble) damaged() bool {
	bad := t.At < 0 || t.At >= troubleSeconds || !amount(t.Long[0]) || !amount(t.Long[1]) || t.Seconds < 0 || t.Lasting < 0
	for _, s := range t.Ring {
		bad = bad || !counted(s[:])
	}
	return bad
}

func (e *errorCheck) damaged() bool {
	return e.Block.damaged() || !e.Fail.Valid(len(shareGrid)) || e.Pass.damaged(len(rareGrid)) || !e.Ratio.Valid() ||
		len(e.Clients) > enoughClients || len(e.Served) != len(e.Clients) || e.Blocks < 0 || e.Closed < 0 || e.Unknown < 0 || e.Unknown > enoughClients
}

func (r *rankCheck) damaged() bool {
	bad := !r.Block.valid() || len(r.Block.Strata) > maxStrata || !r.Fail.Valid(len(tiltGrid)) || r.Pass.damaged(len(rankGrid)) || r.Closed < 0
	for i := range r.Block.Strata {
		bad = bad || !r.Block.Strata[i][0].valid() || !r.Block.Strata[i][1].valid()
	}
	for _, rungs := range [2]*[len(ladder)]stats.Mixture{&r.Slower, &r.Faster} {
		for i := range rungs {
			bad = bad || !rungs[i].Valid(len(ladderGrid))
		}
	}
	return bad
}

func (t *tailCheck) damaged() bool {
	return t.Block.damaged() || !t.Fail[0].Valid(len(shareGrid)) || !t.Fail[1].Valid(len(shareGrid)) || t.Pass.damaged(len(mirrorGrid)) || t.Closed < 0
}

func (c *aloneCheck) damaged() bool {
	return c.Age < 0 || c.Age > blockLongest || c.Requests > maxCount || c.Bad > maxCount || !c.Fail.Valid(len(shareGrid)) ||
		c.Pass.damaged(len(rareGrid)) || c.Blocks < 0 || c.Closed < 0
}

func (p *passing) damaged(lanes int) bool { return !p.Mix.Valid(lanes) || math.Abs(p.Top) > 1e12 }

func (b *shareBlock) damaged() bool {
	bad := !b.valid() || len(b.Strata) > maxStrata
	for i := range b.Strata {
		s := &b.Strata[i]
		bad = bad || !counted(s.N[:])
		for k := range s.Events {
			bad = bad || !counted(s.Events[k][:])
		}
	}
	return bad
}

func (b *block) valid() bool { return b.Age >= 0 && b.Age <= blockLongest && counted(b.N[:]) }

func bin(b int) bool { return b >= 0 && b <= bins }

func amount(x float64) bool { return x >= 0 && x < 1e30 }

func counted(n []uint64) bool {
	for _, x := range n {
		if x > maxCount {
			return false
		}
	}
	return true
}
