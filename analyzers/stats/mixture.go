package stats

import "math"

// Mixture is an e-process over alternatives and over the time that trouble may have
// started: the weighted sum, over the lanes g of a grid and the blocks j, of the products
//
//	E_t = sum over g of p_g [ w_0 prod(i = 1..t) e_gi + sum(j <= t) w_j prod(i = j..t) e_gi ] + weight not yet spent
//
// where e_gi is the factor of lane g in block i, and p_g the prior weight of the lane. Each
// factor has a mean of at most 1, and both kinds of weights sum to 1, so E_t is a non-negative supermartingale that starts at 1 and
// exceeds 1/alpha with a probability of at most alpha, however often it is looked at
// (Ville). It is an e-detector (Shin, Ramdas and Rinaldo) with a budget of false alarms
// in total: trouble that starts late costs a constant factor, not what was lost before it.
//
// It is kept in logarithms, and serialises as it is: with its prior, so that evidence that
// was gathered under one goes on under it.
type Mixture struct {
	First []float64 `json:"first"`           // log of 1/2 prod from the first block on, by lane
	Since []float64 `json:"since,omitempty"` // log of the sum over later starts, by lane; empty before the first block
	Left  float64   `json:"left"`            // weight not yet spent on starts
	Prior []float64 `json:"prior,omitempty"` // log of p_g times the number of lanes, by lane; empty when all are alike

	log   float64 // what Log returns, while known
	known bool
}

// NewMixture returns a Mixture without evidence. The share of the weight, in [0, 1), is
// kept for later starts.
func NewMixture(lanes int, later float64) Mixture {
	m := Mixture{First: make([]float64, lanes), Left: later}
	for g := range m.First {
		m.First[g] = math.Log1p(-later)
	}
	return m
}

// NewMixtureOf is NewMixture with a prior weight for each lane, all positive. They need not
// sum to 1; only what they are to each other matters.
func NewMixtureOf(prior []float64, later float64) Mixture {
	m := NewMixture(len(prior), later)
	m.Prior = make([]float64, len(prior))
	var sum float64
	for _, p := range prior {
		sum += p
	}
	for g, p := range prior {
		m.Prior[g] = math.Log(p / sum * float64(len(prior)))
		m.First[g] += m.Prior[g]
	}
	return m
}

// prior returns the logarithm of what the weight of a lane is to the mean one.
func (m *Mixture) prior(lane int) float64 {
	if m.Prior == nil {
		return 0
	}
	return m.Prior[lane]
}

// Next takes one block: the logarithm of each lane's factor, and the weight of the
// possibility that trouble starts with this block.
func (m *Mixture) Next(gains []float64, weight float64) {
	m.known = false
	weight = min(weight, m.Left)
	m.Left -= weight
	if m.Since == nil && weight > 0 {
		m.Since = make([]float64, len(m.First))
		for g := range m.Since {
			m.Since[g] = math.Log(weight) + m.prior(g) + gains[g]
			m.First[g] += gains[g]
		}
		return
	}
	if m.Since == nil {
		for g := range m.First {
			m.First[g] += gains[g]
		}
		return
	}
	logWeight := math.Log(weight)
	for g := range m.First {
		m.First[g] += gains[g]
		m.Since[g] = addLogs(m.Since[g], logWeight+m.prior(g)) + gains[g]
	}
}

// Log returns the natural logarithm of the evidence: 0 at the start. Asked again between
// two blocks it costs nothing.
func (m *Mixture) Log() float64 {
	if !m.known {
		m.log, m.known = m.sum(), true
	}
	return m.log
}

func (m *Mixture) sum() float64 {
	top := math.Inf(-1)
	for _, logs := range [2][]float64{m.First, m.Since} {
		for _, x := range logs {
			top = max(top, x)
		}
	}
	prior, left := math.Log(float64(len(m.First))), math.Log(m.Left)
	top = max(top-prior, left)
	if math.IsInf(top, 0) {
		return top
	}
	sum := math.Exp(left - top) // not Left times exp(-top), which is 0 times infinity after hours of none
	for _, logs := range [2][]float64{m.First, m.Since} {
		for _, x := range logs {
			sum += math.Exp(x - prior - top)
		}
	}
	return top + math.Log(sum)
}

// Valid reports whether m is a state that a Mixture of so many lanes can be in.
func (m *Mixture) Valid(lanes int) bool {
	ok := len(m.First) == lanes && (m.Since == nil || len(m.Since) == lanes) && m.Left >= 0 && m.Left <= 1
	for _, logs := range [2][]float64{m.First, m.Since} {
		for _, x := range logs {
			ok = ok && math.Abs(x) < 1e12
		}
	}
	if m.Prior == nil {
		return ok
	}
	var sum float64
	for _, x := range m.Prior {
		sum += math.Exp(x)
	}
	return ok && len(m.Prior) == lanes && math.Abs(sum-float64(lanes)) < 1e-6
}

// addLogs returns log(exp(a) + exp(b)).
func addLogs(a, b float64) float64 {
	if b > a {
		a, b = b, a
	}
	if math.IsInf(a, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// LogMean returns the logarithm of the weighted mean of numbers given by their
// logarithms. Whatever depends on whatever, the weighted mean of e-processes is one.
func LogMean(logs, weights []float64) float64 {
	top, total := math.Inf(-1), 0.0
	for i, x := range logs {
		if weights[i] > 0 {
			top, total = max(top, x), total+weights[i]
		}
	}
	if math.IsInf(top, -1) {
		return 0
	}
	var sum float64
	for i, x := range logs {
		if weights[i] > 0 {
			sum += weights[i] / total * math.Exp(x-top)
		}
	}
	return top + math.Log(sum)
}
