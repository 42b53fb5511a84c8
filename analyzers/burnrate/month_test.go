package burnrate

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// go test ./analyzers/burnrate -run 'Month|Table' -table -v -timeout 30m
var table = flag.Bool("table", false, "simulate whole months and print tables")

// healthy lists patterns of errors that are no outage, each as traffic of a given
// rate: at 1 request a second no error at all stays under 10 % of any 5 s, so
// there the clustered patterns are what such a service really has: an error that
// its client tries again at once.
var healthy = []struct {
	name    string
	traffic func(rng *rand.Rand, rate int64) traffic
}{
	{"0.1 %, each error by itself", func(rng *rand.Rand, rate int64) traffic {
		return steady(rng, float64(rate), 0.001)
	}},
	{"0.1 %, 5 s worth in half a second", func(rng *rand.Rand, rate int64) traffic {
		return bursts(rate, func(int64) int64 { return 50*tenths + rng.Int64N(900*tenths) })
	}},
	{"at the line: 5 s worth in half a second, every 5 s", func(_ *rand.Rand, rate int64) traffic {
		return bursts(rate, func(int64) int64 { return 5 * tenths })
	}},
	{"at the line, 5 s and a bit apart", func(rng *rand.Rand, rate int64) traffic {
		return bursts(rate, func(int64) int64 { return 5*tenths + rng.Int64N(tenths) })
	}},
}

// bursts is even traffic in which, now and then, everything fails until a tenth of
// five seconds' requests have. gap gives the tenths from one burst's beginning to
// the next, at least 50.
func bursts(rate int64, gap func(tenth int64) int64) traffic {
	total := even(rate)
	size := uint64(max(rate*5/10, 1))
	var next int64
	var left uint64
	return func(tenth int64) gatewarden.Count {
		if next == 0 {
			next = tenth
		}
		if tenth >= next {
			g := gap(tenth)
			if rate < 2 {
				g *= 200 // an error at this rate is above the line for its 5 s
			}
			left, next = size, tenth+g
			if rate < 2 {
				left = 2 // tried again once
			}
		}
		n := total(tenth)
		bad := min(n, left)
		left -= bad
		return gatewarden.Count{Good: n - bad, Bad: bad}
	}
}

func TestMonthWithoutFalseOutage(t *testing.T) {
	span := 2 * time.Hour
	if *table {
		span = 30 * 24 * time.Hour
	}
	for _, rate := range []int64{1, 10, 100, 1000} {
		for i, p := range healthy {
			t.Run(fmt.Sprintf("%d per s, %s", rate, p.name), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(rate), uint64(i)))
				l := newLane(0.1, start, rng.Int64N(tenths), rng.Int64N(tenths))
				alarms := l.alarms(span, p.traffic(rng, rate))
				t.Logf("%d false outages in %v", len(alarms), gatewarden.Duration(span))
				if len(alarms) > 0 {
					t.Errorf("false outages at %v", alarms)
				}
			})
		}
	}
}

// Two seconds of total failure in five do fire, so the month above proves
// something; one second, which may be one crowd of requests, does not.
func TestBurstsAboveTheLine(t *testing.T) {
	for seconds, fires := range map[int64]bool{1: false, 2: true} {
		n := even(100)
		l := newLane(0.1, start, 3, 7)
		alarms := l.alarms(time.Minute, func(tenth int64) gatewarden.Count {
			c := gatewarden.Count{Good: n(tenth)}
			if tenth%(5*tenths) < seconds*tenths {
				c = gatewarden.Count{Bad: c.Good}
			}
			return c
		})
		if (len(alarms) > 0) != fires {
			t.Errorf("with %d seconds of five failing it fires at %v", seconds, alarms)
		}
	}
}

// Whatever the traffic and however the errors come: while they are at most the
// ratio over any five seconds, the line does not fire.
func TestUnderTheRatioOverAnyFiveSecondsNeverFires(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const length, window = 40 * tenths, gateSeconds * tenths
		ratio := rapid.SampledFrom([]float64{0.05, 0.1, 0.3, 0.5, 0.9}).Draw(t, "ratio")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		level := rapid.IntRange(1, 2000).Draw(t, "level")
		total := make([]uint64, length)
		for i := range total {
			if rng.IntN(20) == 0 {
				level = max(1, level*rng.IntN(4))%5000 + 1 // surges and lulls
			}
			total[i] = uint64(rng.IntN(level + 1))
		}
		bad := worst(rng, total, window, ratio)
		l := newLane(ratio, start, rng.Int64N(tenths), rng.Int64N(tenths))
		alarms := l.alarms(length*time.Second/tenths, func(tenth int64) gatewarden.Count {
			i := tenth - start.Unix()*tenths
			return gatewarden.Count{Good: total[i] - bad[i], Bad: bad[i]}
		})
		if len(alarms) > 0 {
			t.Errorf("fires at %v", alarms)
		}
	})
}

// worst lets as much fail as any window allows, in random spells.
func worst(rng *rand.Rand, total []uint64, window int, ratio float64) []uint64 {
	sum := func(xs []uint64) (s uint64) {
		for _, x := range xs {
			s += x
		}
		return s
	}
	bad := make([]uint64, len(total))
	spell := false
	for i := range total {
		if rng.IntN(8) == 0 {
			spell = !spell
		}
		if !spell {
			continue
		}
		allowed := total[i]
		for from := i - window + 1; from <= i; from++ { // before the beginning there was nothing
			first, last := max(from, 0), min(from+window, len(total))
			most := uint64(ratio * float64(sum(total[first:last])))
			allowed = min(allowed, most-min(most, sum(bad[first:last])))
		}
		bad[i] = allowed
	}
	return bad
}
