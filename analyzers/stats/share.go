package stats

import "math"

// The share bet asks of a crowd of bad events how many of them are the canary's.
//
// A block of time holds m bad events of both tracks; the canary took the share s of
// its requests. While the canary's odds of a bad event are at most rho times the
// baseline's, the share U of the events that are the canary's has, given m, a mean of
// at most
//
//	q0 = rho s / (rho s + 1 - s)
//
// (xc given m is Fisher's noncentral hypergeometric, a sum of independent indicators
// whose odds are at most rho times those of the central case, and t -> rho t/(1+(rho-1)t)
// is concave for rho >= 1). So the factor 1 + lambda (U - q0) has a mean of at most 1 for
// any 0 <= lambda <= 1/q0 that is fixed before U is seen. Nothing is assumed about how
// the events cluster: if each crowd of them falls on the canary with a probability of at
// most q0, the mean of U is at most q0 whatever the sizes of the crowds. That is what the
// likelihood ratio of single events (Turner, Ly and Gruenwald, arXiv 2106.02693, and the
// multinomial test of Lindon and Malek, arXiv 2011.03567) does not survive.

// stakeCap is the share of the stake that one block may lose at most, unless the
// likelihood ratio of a single event loses more.
const stakeCap = 0.98

// ShareNull returns q0: the greatest mean share of the bad events that may be the
// canary's while its odds are at most rho times the baseline's and it takes the share
// s of the requests, in [0, 1].
func ShareNull(s, rho float64) float64 { return rho * s / (rho*s + 1 - s) }

// ShareStake returns lambda for m >= 1 events under the alternative that the odds are
// ratio > 1 times those of q0, in (0, 1):
//
//	lambda_m = c (1 - (1 - lambda_1/c)^m),  c = max(lambda_1, 0.98/q0),  lambda_1 = (q1-q0) / (q0 (1-q0))
//
// At m = 1 the bet is the likelihood ratio of that alternative; each further event stakes
// the same part of what is left of the cap. For binomial counts that gains at least nine
// tenths of what the best stake would. It never exceeds m times the stake of one event
// (Bernoulli's inequality), which ShareMargin relies on. Any m that is fixed before u is
// seen keeps the bet fair: events that come in crowds are staked on as so many crowds.
func ShareStake(q0, ratio, m float64) float64 {
	one := (ShareNull(q0, ratio) - q0) / (q0 * (1 - q0))
	limit := stakeCap / q0
	if one >= limit || m <= 1 {
		return one
	}
	return limit * -math.Expm1(m*math.Log1p(-one/limit))
}

// ShareGain returns the logarithm of the bet's factor when the share u of m events was
// the canary's. No events are no bet: 0.
//
// The mirror image, a bet that the odds are lower than those of q0, is
// ShareGain(1-q0, ratio, m, 1-u): with rho <= 1 everything above holds for the
// baseline's share.
func ShareGain(q0, ratio, m, u float64) float64 {
	if m <= 0 || q0 <= 0 || q0 >= 1 {
		return 0
	}
	return math.Log1p(ShareStake(q0, ratio, m) * (u - q0))
}

// ShareMargin returns what ShareGain must pay so that the canary may fail a further
// ratio d of its n requests: with (q1/q0-1) d n taken off, the factor's mean stays at
// most 1 while the canary's probability of a bad event is at most that of odds ratio
// rho plus d, since lambda is at most m times the stake of one event.
func ShareMargin(q0, ratio, d, n float64) float64 {
	if q0 <= 0 || q0 >= 1 {
		return 0
	}
	return (ShareNull(q0, ratio)/q0 - 1) * d * n
}

// RareGain returns the logarithm of the mirror bet on counts: evidence that the canary
// is better than its margin. xc of nc canary requests and xb of nb baseline requests
// were bad; a in (0, 1) is the alternative, small for "hardly any". The factor is
//
//	a^xc b^xb exp((1-a) d nc),   b = 1 + rho (nc/nb) (1-a)
//
// and for independent requests with any probabilities, equal or not, its mean is at most
// exp((1-a) nc (rho pb + d - pc)): at most 1 while the canary's mean probability pc is at
// least rho times the baseline's pb plus d. Clusters are not covered; the caller divides
// by the dispersion.
func RareGain(a, rho, d, xc, nc, xb, nb float64) float64 {
	if nc <= 0 || nb <= 0 {
		return 0
	}
	return xc*math.Log(a) + xb*math.Log1p(rho*nc/nb*(1-a)) + (1-a)*d*nc
}

// rankCap keeps one block of the rank bet from winning or losing everything: at most a
// factor of 1.95, at least 0.05.
const rankCap = 0.95

// RankGain returns the logarithm of the rank bet's factor 1 + 0.95 tanh(c z), c > 0,
// where z is the standardised Mann-Whitney statistic of a block ([Ranks.Z]), positive when
// the canary is slower. While the canary is stochastically at most as slow as the
// baseline, z is stochastically below a variable that is symmetric about 0 (the two
// samples are exchangeable at equality) and tanh is odd and rising, so the factor's
// mean is at most 1 for independent requests without ties. With ties counted as halves
// that need not hold; with ties counted against the bet it does. RankGain(c, -z) is the
// mirror image.
func RankGain(c, z float64) float64 { return math.Log1p(rankCap * math.Tanh(c*z)) }

// A tilted rank bet wins or loses so much in one block at most: a factor of 3.85, 0.05.
const (
	tiltCap   = 4
	tiltFloor = 0.05
)

// Tilt is a lane of the tilted rank bet, whose factor is
//
//	0.05 + 0.95 min(Lift exp(Slope z - Slope^2/2), 4)
//
// With a Lift of 1 its mean is at most 1 for independent requests: the Mann-Whitney
// statistic W of n against m exchangeable values without ties has the moment generating
// function of the Gaussian binomial coefficient,
//
//	E exp(t (W - nm/2)) = prod(i = 1..n) [ i sinh((m+i)t/2) ] / [ (m+i) sinh(i t/2) ]
//
// and log(sinh(x)/x) - x^2/6 falls with x, as Langevin's function coth x - 1/x is at most
// x/3. So it is at most exp(t^2 Var W / 2), and the same holds for sums over strata. The
// cap takes from the mean what steep lanes would win beyond it; a Lift above 1 gives some
// of that back, so little that the mean stays at most 1 for all sizes of samples: that is
// checked by enumeration.
//
// RankGain needs nothing but symmetry, but no bet that rests on symmetry alone can win a
// factor above 2, and it loses a fifth of what there is to win when the mean of z is about
// 0.7 in each block. Where requests come in crowds neither is proven: then it matters what
// a block may win. A crowd falls on the canary with a probability of its share of the
// requests, so the tilted bet is made only while that is at most 1/4, and RankGain takes
// its place beyond.
type Tilt struct{ Slope, Lift float64 }

// Gain returns the logarithm of the bet's factor, where z is as in [RankGain] and share is
// the canary's share of the requests.
func (t Tilt) Gain(z, share float64) float64 {
	if share > 1./tiltCap {
		return RankGain(t.Slope, z)
	}
	return math.Log(tiltFloor + (1-tiltFloor)*min(t.Lift*math.Exp(t.Slope*z-t.Slope*t.Slope/2), tiltCap))
}

// Ranks sums up the Mann-Whitney statistics of strata: how often a canary's latency
// exceeds a baseline's within its stratum, against what chance makes of it. The zero
// value has no strata.
type Ranks struct {
	excess   float64 // sum of W - n m / 2
	variance float64 // sum of n m (n+m+1) / 12
}

// Add takes a stratum of n canary and m baseline values, in which w of the n m pairs had
// the canary above the baseline.
func (r *Ranks) Add(w, n, m float64) {
	r.excess += w - n*m/2
	r.variance += n * m * (n + m + 1) / 12
}

// Z returns the standardised statistic, 0 without pairs.
func (r *Ranks) Z() float64 {
	if r.variance <= 0 {
		return 0
	}
	return r.excess / math.Sqrt(r.variance)
}
