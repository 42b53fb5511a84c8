package gatewarden

import (
	"fmt"
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
	rest := time.Duration(d)
	if rest == 0 {
		return "0s"
	}
	var b strings.Builder
	if rest < 0 {
		b.WriteByte('-')
		rest = -rest
	}
	for _, u := range durationUnits[1:] {
		if n := rest / u.d; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * u.d
		}
	}
	if rest > 0 {
		b.WriteString(rest.String())
	}
	return b.String()
}

// ParseDuration reads what String writes, weeks too: numbers with a unit each,
// such as "1w", "1h30m" or "0.5s". The units are w, d, h, m, s, ms.
func ParseDuration(s string) (Duration, error) {
	if s == "0" {
		return 0, nil
	}
	bad := func() (Duration, error) {
		return 0, Errorf(Invalid, "%q is not a duration", s).WithHint("write a number and a unit: 300ms, 30s, 5m, 1h30m, 30d, 4w")
	}
	var sum float64
	for rest := s; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		value, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil {
			return bad()
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "wdhms"))
		unit, ok := unitOf(rest[:letters])
		if !ok {
			return bad()
		}
		if sum += value * float64(unit); sum >= float64(1<<63-1) {
			return bad()
		}
		if rest = rest[letters:]; rest == "" {
			return Duration(sum), nil
		}
	}
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
