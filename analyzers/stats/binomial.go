package stats

import "gonum.org/v1/gonum/mathext"

// BinomialTail returns P(X >= k) for X binomial with n trials of probability p:
// how often at least k of n events would be bad if each were bad with probability
// p. It is exact, by the identity
//
//	P(X >= k) = I_p(k, n-k+1)
//
// with the regularised incomplete beta function I (Abramowitz and Stegun, 26.5.24).
// A tail below the smallest float64 is 0.
func BinomialTail(k, n uint64, p float64) float64 {
	switch {
	case k == 0:
		return 1
	case k > n || p <= 0:
		return 0
	case p >= 1:
		return 1
	}
	return mathext.RegIncBeta(float64(k), float64(n-k)+1, p)
}
