package unit

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Rate is requests per second over time, in the notation of promtool turned to rates:
// pieces, each a rate and how long it holds.
//
//	100x10m            100 requests a second for 10 minutes
//	100x10m 50x30s     and then 50 a second for 30 seconds
//	0..200x1m          rising evenly from 0 to 200 a second
//	0.5                one request every 2 s; the last piece may have no end
//	_x5m               none for 5 minutes
//
// A length without a unit is seconds. Before the first piece and after the last there are
// no requests.
type Rate struct {
	pieces []piece
}

// piece is a stretch in which the rate changes evenly.
type piece struct {
	from, to float64
	length   time.Duration // 0 for without end
}

const (
	maxPieces = 1000
	maxRate   = 1e6 // requests a second: what a counter of 32 bits holds for an hour
	maxLength = 92 * 24 * time.Hour
)

// UnmarshalText reads the notation.
func (r *Rate) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) == 0 || len(words) > maxPieces {
		return notation(string(text))
	}
	pieces := make([]piece, len(words))
	for i, w := range words {
		p, ok := parsePiece(w)
		if !ok || p.length == 0 && i < len(words)-1 {
			return notation(w)
		}
		pieces[i] = p
	}
	r.pieces = pieces
	if r.Length() > maxLength {
		return gatewarden.Errorf(gatewarden.Invalid, "a test lasts at most %s", gatewarden.Duration(maxLength))
	}
	return nil
}

func notation(word string) error {
	if len(word) > 80 {
		word = word[:80] + "…"
	}
	return gatewarden.Errorf(gatewarden.Invalid, "%q is no rate over time", word).
		WithHint(`write "100x10m 50x30s": requests a second, and for how long; 0..100x1m rises; only the last may have no end`)
}

func parsePiece(word string) (p piece, ok bool) {
	rates, length, timed := strings.Cut(word, "x")
	if timed {
		if p.length, ok = parseLength(length); !ok {
			return p, false
		}
	}
	if rates == "_" {
		return p, true
	}
	first, second, rises := strings.Cut(rates, "..")
	if p.from, ok = parseRate(first); !ok {
		return p, false
	}
	p.to = p.from
	if rises {
		p.to, ok = parseRate(second)
	}
	return p, ok && (timed || !rises)
}

func parseRate(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && f >= 0 && f <= maxRate && strings.Trim(text, "0123456789.") == ""
}

func parseLength(text string) (time.Duration, bool) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		text = strconv.FormatUint(n, 10) + "s"
	}
	var d gatewarden.Duration
	if d.UnmarshalText([]byte(text)) != nil || d <= 0 || time.Duration(d)%time.Second != 0 {
		return 0, false
	}
	return time.Duration(d), time.Duration(d) <= maxLength
}

// Length returns how long all pieces last together; one without end counts as nothing.
func (r *Rate) Length() time.Duration {
	var sum time.Duration
	for _, p := range r.pieces {
		if sum += p.length; sum > maxLength {
			return sum // and no overflow
		}
	}
	return sum
}

// total returns how many requests there were from the beginning up to an instant: the
// area under the rate. Whole requests come when it passes a whole number, so that any
// rate, however low, brings as many as it says.
func (r *Rate) total(at time.Duration) float64 {
	var sum float64
	for _, p := range r.pieces {
		if at <= 0 {
			break
		}
		whole, within := p.length, at
		if whole > 0 {
			within = min(at, whole)
		}
		to := p.to
		if whole > 0 {
			to = p.from + (p.to-p.from)*within.Seconds()/whole.Seconds()
		}
		sum += (p.from + to) / 2 * within.Seconds()
		at -= within
	}
	return sum
}

// Count returns how many requests there are in [from, to) since the beginning.
func (r *Rate) Count(from, to time.Duration) int {
	const whole = 1e-6 // what floating point loses must not cost a request
	return int(math.Floor(r.total(to)+whole)) - int(math.Floor(r.total(from)+whole))
}
