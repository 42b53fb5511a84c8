package stats

import (
	"math"
	"math/big"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// exactTail sums P(X = k) over k with rational arithmetic.
func exactTail(k, n uint64, p float64) float64 {
	rat := new(big.Rat).SetFloat64(p)
	not := new(big.Rat).Sub(big.NewRat(1, 1), rat)
	pow := func(x *big.Rat, n uint64) *big.Rat {
		r := big.NewRat(1, 1)
		for range n {
			r.Mul(r, x)
		}
		return r
	}
	sum := new(big.Rat)
	for i := k; i <= n; i++ {
		term := new(big.Rat).SetInt(new(big.Int).Binomial(int64(n), int64(i)))
		sum.Add(sum, term.Mul(term, pow(rat, i)).Mul(term, pow(not, n-i)))
	}
	f, _ := sum.Float64()
	return f
}

func TestBinomialTailIsExact(t *testing.T) {
	for _, p := range []float64{0.0001, 0.001, 0.01, 0.1, 0.5, 0.95} {
		for n := uint64(1); n <= 21; n += 5 {
			for k := uint64(0); k <= n+1; k++ {
				got, want := BinomialTail(k, n, p), exactTail(k, n, p)
				if math.Abs(got-want) > 1e-10*want {
					t.Errorf("P(X >= %d | %d, %v) = %v, want %v", k, n, p, got, want)
				}
			}
		}
	}
}

// Where enumeration ends: sums of the binomial density by its logarithm.
func TestBinomialTailOfManyEvents(t *testing.T) {
	for _, c := range []struct {
		k, n uint64
		p    float64
	}{
		{150, 100_000, 0.001}, {1200, 1_000_000, 0.001}, {3000, 10_000, 0.29}, {10_400, 100_000_000, 1e-4}, {20, 1_000_000_000, 1e-9},
	} {
		d := distuv.Binomial{N: float64(c.n), P: c.p}
		var want float64
		for k := c.k; k <= c.n; k++ {
			term := math.Exp(d.LogProb(float64(k)))
			if want += term; term < want*1e-18 {
				break
			}
		}
		if got := BinomialTail(c.k, c.n, c.p); math.Abs(got-want) > 1e-6*want {
			t.Errorf("P(X >= %d | %d, %v) = %v, want %v", c.k, c.n, c.p, got, want)
		}
	}
}

func TestBinomialTailIsAProbabilityThatFallsWithTheCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, 1<<50).Draw(t, "n")
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		k := rapid.Uint64Range(0, n+2).Draw(t, "k")
		a, b := BinomialTail(k, n, p), BinomialTail(k+1, n, p)
		if math.IsNaN(a) || a < 0 || a > 1 || b > a*(1+1e-9) {
			t.Errorf("P(X >= %d) = %v, P(X >= %d) = %v of %d at %v", k, a, k+1, b, n, p)
		}
	})
}
