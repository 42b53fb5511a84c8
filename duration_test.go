package gatewarden

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestADurationReadsAsOperatorsWriteIt(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "300ms": 300 * time.Millisecond, "30s": 30 * time.Second, "5m": 5 * time.Minute,
		"1h30m": 90 * time.Minute, "30d": 30 * day, "4w": 28 * day, "1w1d": 8 * day, "0.5s": 500 * time.Millisecond,
		"1d12h": 36 * time.Hour, "1.5ms": 1500 * time.Microsecond,
	} {
		got, err := ParseDuration(text)
		if err != nil || time.Duration(got) != want {
			t.Errorf("ParseDuration(%q) = %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestWhatIsNoDurationIsRefusedWithAHint(t *testing.T) {
	for _, text := range []string{"", "5", "s", "5 m", "5x", "-", ".", "1..5s", "1h-5m", "1e3s", "5mm", "99999999999w", "1µ", "5m ", "NaNs"} {
		d, err := ParseDuration(text)
		if ErrorCode(err) != Invalid {
			t.Errorf("ParseDuration(%q) = %s, %v, want an error of code invalid", text, d, err)
		}
		if e, ok := errors.AsType[*Error](err); ok && e.Hint == "" {
			t.Errorf("ParseDuration(%q): the error has no hint", text)
		}
	}
}

func TestANegativeDurationIsWrittenAndNotRead(t *testing.T) {
	for want, d := range map[string]Duration{
		"-5m":                           Duration(-5 * time.Minute),
		"-106751d23h47m16s854.775808ms": math.MinInt64,
		"-0.000001ms":                   -1,
	} {
		if got := d.String(); got != want {
			t.Errorf("%d ns is written %q, want %q", d, got, want)
		}
		if _, err := ParseDuration(want); ErrorCode(err) != Invalid {
			t.Errorf("ParseDuration(%q): %v, want an error of code invalid", want, err)
		}
	}
}

// anyDuration draws durations of every size.
func anyDuration() *rapid.Generator[Duration] {
	return rapid.Map(rapid.OneOf(
		rapid.Int64Range(0, math.MaxInt64),
		rapid.Map(rapid.Int64Range(0, 1e6), func(n int64) int64 { return n * int64(time.Millisecond) }),
		rapid.Map(rapid.Int64Range(0, 1e6), func(n int64) int64 { return n * int64(time.Minute) }),
	), func(n int64) Duration { return Duration(n) })
}

func TestADurationReadsBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyDuration().Draw(t, "duration")
		got, err := ParseDuration(want.String())
		if err != nil || got != want {
			t.Errorf("%d ns is written %q, which reads as %d ns, %v", want, want.String(), got, err)
		}
	})
}

func TestADurationTravelsThroughJSON(t *testing.T) {
	b, err := json.Marshal(Duration(90 * time.Minute))
	if err != nil || string(b) != `"1h30m"` {
		t.Fatalf("1h30m is marshalled as %s, %v", b, err)
	}
	var d Duration
	if err := json.Unmarshal(b, &d); err != nil || time.Duration(d) != 90*time.Minute {
		t.Errorf("and unmarshalled as %s, %v", d, err)
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"1h30m", "300ms", "30d", "0", "-5m", "1.5ms", "9223372036854775807ns", "1e9s", "..s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		again, err := ParseDuration(d.String())
		if err != nil || again != d {
			t.Errorf("%q reads as %d ns, is written %q, and that reads as %d ns, %v", text, d, d, again, err)
		}
	})
}
