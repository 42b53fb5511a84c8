package gatewarden

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes as operators write it: "30d",
// "1h30m", "300ms".
type Duration time.Duration

var durationUnits = []struct {
	name string
	d    time.Duration
}{
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

// String writes d with the largest units that fit: "1d12h", "5m", "1.5ms", "0s".
func (d Duration) String() string {
	rest := uint64(d)
	var b strings.Builder
	switch {
	case d == 0:
		return "0s"
	case d < 0:
		b.WriteByte('-')
		rest = -rest
	}
	for _, u := range durationUnits[1:] {
		n := rest / uint64(u.d)
		rest -= n * uint64(u.d)
		if u.d == time.Millisecond && rest > 0 {
			fmt.Fprintf(&b, "%d.%sms", n, strings.TrimRight(fmt.Sprintf("%06d", rest), "0"))
		} else if n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
		}
	}
	return b.String()
}

// ParseDuration reads what String writes of a duration that is not negative, weeks
// too: numbers with a unit each, such as "1w", "1h30m" or "0.5s". The units are w, d,
// h, m, s, ms. What is finer than a nanosecond is cut off.
func ParseDuration(s string) (Duration, error) {
	if s == "0" {
		return 0, nil
	}
	bad := Errorf(Invalid, "%q is not a duration", s).WithHint("write a number and a unit: 300ms, 30s, 5m, 1h30m, 30d, 4w")
	var sum time.Duration
	for rest := s; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		number := rest[:digits]
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "wdhms"))
		unit, ok := unitOf(rest[:letters])
		if !ok {
			return 0, bad
		}
		part, ok := times(number, unit)
		if !ok || part > math.MaxInt64-sum {
			return 0, bad
		}
		sum += part
		if rest = rest[letters:]; rest == "" {
			return Duration(sum), nil
		}
	}
}

// times multiplies a decimal number with a unit, in whole numbers so that nothing is
// rounded. It reports false when that is no number or more than a Duration holds.
func times(number string, unit time.Duration) (time.Duration, bool) {
	whole, fraction, _ := strings.Cut(number, ".")
	if whole == "" && fraction == "" || strings.Contains(fraction, ".") {
		return 0, false
	}
	n, err := strconv.ParseInt("0"+whole, 10, 64)
	if err != nil || n > int64(math.MaxInt64/unit) {
		return 0, false
	}
	sum := time.Duration(n) * unit
	var part time.Duration
	for i := len(fraction) - 1; i >= 0; i-- { // the last digit first, each a tenth of the one before
		part = (part + time.Duration(fraction[i]-'0')*unit) / 10
	}
	return sum + part, part <= math.MaxInt64-sum
}

func unitOf(name string) (time.Duration, bool) {
	for _, u := range durationUnits {
		if u.name == name {
			return u.d, true
		}
	}
	return 0, false
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}
