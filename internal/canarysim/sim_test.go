package main

import (
	"bytes"
	"context"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// airquality is R's data set: ozone in May and in August.
var (
	may    = []float64{41, 36, 12, 18, 28, 23, 19, 8, 7, 16, 11, 14, 18, 14, 34, 6, 30, 11, 1, 11, 4, 32, 23, 45, 115, 37}
	august = []float64{39, 9, 16, 78, 35, 66, 122, 89, 110, 44, 28, 65, 22, 59, 23, 31, 44, 21, 9, 45, 168, 73, 76, 118, 84, 85}
)

// The example of R's documentation of wilcox.test, which Kayenta calls.
func TestWilcoxonIsThatOfR(t *testing.T) {
	w := newWilcoxon(may, august)
	if got, _ := w.statistic(0); got != 127.5 {
		t.Errorf("W = %v, want 127.5", got)
	}
	lower, upper, estimate := w.interval(0.95)
	for name, c := range map[string]struct{ got, want float64 }{
		"lower end": {lower, -52.99996}, "upper end": {upper, -14.99998}, "estimate": {estimate, -31.99996},
	} {
		if math.Abs(c.got-c.want) > 1e-3 { // R stops at 1e-4
			t.Errorf("%s = %v, want %v", name, c.got, c.want)
		}
	}
}

func TestKayentaClassifies(t *testing.T) {
	base := []float64{10.1, 9.8, 10.4, 9.6, 10.0, 10.2, 9.9, 10.3, 9.7, 10.05}
	twice := make([]float64, len(base))
	for i, x := range base {
		twice[i] = 2 * x
	}
	for name, c := range map[string]struct {
		experiment, control []float64
		want                bool
	}{
		"the same samples pass":      {base, base, false},
		"twice as much is high":      {twice, base, true},
		"half as much is not high":   {base, twice, false},
		"nothing to compare with":    {base, nil, false},
		"constants differ upwards":   {[]float64{2, 2}, []float64{1, 1}, true},
		"constants differ downwards": {[]float64{1, 1}, []float64{2, 2}, false},
		"R's interval of two samples ends at the extreme, so they are high already": {twice[:2], base[:2], true},
	} {
		if got := high(c.experiment, c.control, kayentaConfidence, kayentaTolerance); got != c.want {
			t.Errorf("%s: high is %v", name, got)
		}
	}
}

// tableOf runs the command and returns what it prints.
func tableOf(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(context.Background(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheTableIsTheSameForTheSameFlags(t *testing.T) {
	args := []string{"-minutes", "6", "-healthy", "2", "-bad", "2", "-only", "aa,errors-half,latency-x2"}
	one := tableOf(t, append(args, "-workers", "1")...)
	if two := tableOf(t, append(args, "-workers", "2")...); one != two {
		t.Errorf("with two workers it is another table:\n%s\n%s", one, two)
	}
	if other := tableOf(t, append(args, "-seed", "7")...); one == other {
		t.Error("another seed gives the same table")
	}
	if rows := strings.Count(one, "\n| "); rows != 2+3 {
		t.Errorf("%d rows with their two headers, want 5:\n%s", rows, one)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-false-alarm", "2"}, {"-nonsense"}, {"-minutes", "0"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

func TestNthIsTheSortedOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := rapid.SliceOfN(rapid.Float64Range(0, 5), 1, 40).Draw(t, "values")
		k := rapid.IntRange(0, len(l)-1).Draw(t, "k")
		sorted := slices.Sorted(slices.Values(l))
		if got := nth(l, k); got != sorted[k] {
			t.Errorf("the value at %d of %v is %v", k, sorted, got)
		}
	})
}

func TestScenariosHaveDistinctKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range keys() {
		if seen[k] || strings.ContainsAny(k, ", ") {
			t.Errorf("key %q is twice there, or can't be written in a list", k)
		}
		seen[k] = true
	}
}

// The rates that a scenario names are the rates that it makes.
func TestRolloutsHaveTheRatesTheyName(t *testing.T) {
	for _, c := range []struct {
		key  string
		want float64 // failures of the baseline
	}{{"aa", 0.001}, {"aa-retry", 0.005}, {"aa-pods", 0.005}, {"aa-2rps", 0.01}} {
		var n, failed [2]float64
		for _, s := range healthyScenarios() {
			if s.key != c.key {
				continue
			}
			for seed := range uint64(4) {
				r := newRollout(s, seed)
				for second := range 1800 {
					now := r.next(second)
					for track := range n {
						n[track] += float64(now.n[track])
						failed[track] += float64(now.failed[track])
					}
				}
			}
		}
		if got := n[1] / (n[0] + n[1]); math.Abs(got-0.1) > 0.01 {
			t.Errorf("%s: the canary takes %.3f", c.key, got)
		}
		if got := failed[0] / n[0]; math.Abs(got-c.want) > 0.25*c.want {
			t.Errorf("%s: %.5f of the baseline's requests fail, want %v", c.key, got, c.want)
		}
	}
}
