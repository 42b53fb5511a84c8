package unit

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestARateIsReadAndCounted(t *testing.T) {
	for sentence, c := range map[string]struct {
		text     string
		from, to time.Duration
		want     int
		length   time.Duration
	}{
		"one rate for some time":                   {"100x10m", 0, time.Second, 100, 10 * time.Minute},
		"a length without a unit is seconds":       {"100x60", 59 * time.Second, 61 * time.Second, 100, time.Minute},
		"pieces follow each other":                 {"100x1m 50x30s 0x1h", 59 * time.Second, 61 * time.Second, 150, time.Hour + 90*time.Second},
		"a rate below one":                         {"0.5x10s", 0, 10 * time.Second, 5, 10 * time.Second},
		"a hundredth of a request in each second":  {"0.01x1000", 0, 1000 * time.Second, 10, 1000 * time.Second},
		"a rising rate":                            {"0..100x10", 0, 10 * time.Second, 500, 10 * time.Second},
		"the first second of a rising rate":        {"0..100x10", 0, time.Second, 5, 10 * time.Second},
		"a falling rate":                           {"100..0x10", 9 * time.Second, 10 * time.Second, 5, 10 * time.Second},
		"the last piece without an end":            {"_x1h 10", time.Hour, time.Hour + 3*time.Second, 30, time.Hour},
		"nothing after the end":                    {"10x1m", time.Minute, time.Hour, 0, time.Minute},
		"half a second of an odd rate, the first":  {"3x1m", 0, 500 * time.Millisecond, 1, time.Minute},
		"half a second of an odd rate, the second": {"3x1m", 500 * time.Millisecond, time.Second, 2, time.Minute},
	} {
		t.Run(sentence, func(t *testing.T) {
			var r Rate
			if err := r.UnmarshalText([]byte(c.text)); err != nil {
				t.Fatal(err)
			}
			if got := r.Count(c.from, c.to); got != c.want {
				t.Errorf("%d requests, want %d", got, c.want)
			}
			if r.Length() != c.length {
				t.Errorf("it lasts %s, want %s", r.Length(), c.length)
			}
		})
	}
}

func TestWhatIsNoRateIsRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "x", "100x", "x10", "-1x10", "1e3x10", "100x0", "100x-5s", "100x1.5s", "100 50x10", "0..100", "..x10", "1..x10", "NaNx10", "Infx10", "1e99x1",
		"2000000x1", "1x93d", "1x50d 1x50d", strings.Repeat("1x1 ", 1001), "100×10", "1x10 " + strings.Repeat("9", 200),
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%.40q passes", text)
		}
	}
}

// Cut into parts in whatever way, the requests are as many as of the whole.
func TestNoRequestIsLostBetweenTwoParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "pieces")
		var words []string
		for range n {
			word := rapid.SampledFrom([]string{"_", "0.01", "0.3", "7", "99.9", "0..50", "50..0.5"}).Draw(t, "rate")
			words = append(words, word+"x"+rapid.SampledFrom([]string{"1", "3", "10s", "1m"}).Draw(t, "length"))
		}
		var r Rate
		if err := r.UnmarshalText([]byte(strings.Join(words, " "))); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for at := time.Duration(0); at < r.Length(); at += 500 * time.Millisecond {
			c := r.Count(at, at+500*time.Millisecond)
			if c < 0 {
				t.Fatalf("%d requests at %s", c, at)
			}
			sum += c
		}
		if whole := r.Count(0, r.Length()); sum != whole || math.Abs(float64(whole)-r.total(r.Length())) > 1 {
			t.Fatalf("%d requests in parts, %d as a whole, %g by the rate", sum, whole, r.total(r.Length()))
		}
	})
}

func FuzzRate(f *testing.F) {
	for _, seed := range []string{"100x10m 50x30s", "0..100x1m", "_x5m 0.5", "1x1", "..", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r Rate
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		if n := r.Count(0, r.Length()); n < 0 || r.Length() > maxLength {
			t.Errorf("%q: %d requests over %s", text, n, r.Length())
		}
	})
}
