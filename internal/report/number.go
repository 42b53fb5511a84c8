package report

import (
	"math"
	"strconv"
	"strings"
)

// evidence writes a common logarithm with one digit, and never "-0".
func evidence(log float64) string {
	if math.Abs(log) < 0.05 {
		return "0"
	}
	return trimmed(strconv.FormatFloat(log, 'f', 1, 64))
}

// ratio writes a ratio of about 1 to two digits after the point, a large one to fewer.
func ratio(x float64) string {
	switch {
	case x < 10:
		return trimmed(strconv.FormatFloat(x, 'f', 2, 64))
	case x < 100:
		return trimmed(strconv.FormatFloat(x, 'f', 1, 64))
	default:
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
}

// percent writes a ratio in per cent with two significant digits: "0.12 %".
func percent(x float64) string {
	x *= 100
	decimals := 0
	for limit := 10.0; x > 0 && x < limit && decimals < 6; limit /= 10 {
		decimals++
	}
	return trimmed(strconv.FormatFloat(x, 'f', decimals, 64)) + " %"
}

// trimmed leaves out digits after the point that say nothing.
func trimmed(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// grouped writes n with a comma after each thousand.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
