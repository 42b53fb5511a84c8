package collector

import (
	"math"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// ByteSize is a number of bytes that reads and writes as operators write it:
// "32MiB", "512KiB", "1000".
type ByteSize int64

// The units of a ByteSize.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
)

// String writes b in the largest unit that divides it: "32MiB", "1500".
func (b ByteSize) String() string {
	switch {
	case b != 0 && b%GiB == 0:
		return strconv.FormatInt(int64(b/GiB), 10) + "GiB"
	case b != 0 && b%MiB == 0:
		return strconv.FormatInt(int64(b/MiB), 10) + "MiB"
	case b != 0 && b%KiB == 0:
		return strconv.FormatInt(int64(b/KiB), 10) + "KiB"
	default:
		return strconv.FormatInt(int64(b), 10)
	}
}

// MarshalText writes String.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads a whole number of bytes, KiB, MiB or GiB.
func (b *ByteSize) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "KMGiB")
	unit, ok := map[string]ByteSize{"": 1, "B": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB}[string(text[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 || n > math.MaxInt64/int64(unit) {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not a size", text).
			WithHint("write a whole number of bytes, or one with a unit: 512KiB, 32MiB, 1GiB")
	}
	*b = ByteSize(n) * unit
	return nil
}
