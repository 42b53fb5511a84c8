package app

import (
	"testing"
	"time"
)

func TestARunWaitsForWhatOtherGuardsSaw(t *testing.T) {
	sec := func(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }
	for sentence, c := range map[string]struct {
		told func(h *hearing)
		at   float64
		want string // "" for no
	}{
		"before the log answers": {func(*hearing) {}, 0, "what other guards saw before this one led has not been read yet"},
		"while what was in it is read": {func(h *hearing) {
			h.begin(3, 9)
			h.take(8)
		}, 60, "what other guards saw before this one led has not been read yet"},
		"not when it is read": {func(h *hearing) {
			h.begin(3, 9)
			h.take(9)
		}, 60, ""},
		"not for more than it began with, as that may be its own": {func(h *hearing) {
			h.begin(3, 9)
			h.take(9)
			h.begin(9, 12)
		}, 60, ""},
		"not for what was written a moment ago": {func(h *hearing) {
			h.begin(0, 0)
			h.heed("b", progress{Written: 5}, sec(0))
			h.heed("b", progress{Written: 5}, sec(3))
		}, 3, ""},
		"for what was written four seconds ago": {func(h *hearing) {
			h.begin(0, 0)
			h.heed("b", progress{Written: 5}, sec(0))
			h.heed("b", progress{Written: 7}, sec(3.5))
			h.take(4)
		}, 4, "what b saw is 4s behind"},
		"not while the one is taken after the other": {func(h *hearing) {
			h.begin(0, 0)
			for i := range 20 {
				h.heed("b", progress{Written: uint64(i + 2)}, sec(float64(i)/2))
				h.take(uint64(i))
			}
		}, 9.5, ""},
		"for what waits to be written": {func(h *hearing) {
			h.begin(0, 0)
			h.heed("b", progress{Waits: 2500 * time.Millisecond}, sec(0))
		}, 1, "what b saw is 3s behind"},
		"for one that has just fallen silent": {func(h *hearing) {
			h.begin(0, 0)
			h.heed("a", progress{}, sec(4))
			h.heed("b", progress{}, sec(0))
		}, 4, "what b saw is 4s behind"},
		"not for one that is gone": {func(h *hearing) {
			h.begin(0, 0)
			h.heed("b", progress{Waits: time.Hour}, sec(0))
		}, 5, ""},
		"for what one that is gone had written": {func(h *hearing) {
			h.begin(0, 0)
			h.heed("b", progress{Written: 1}, sec(0))
		}, 9, "what b saw is 9s behind"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var h hearing
			c.told(&h)
			if is, why := h.late(sec(c.at)); why != c.want || is != (c.want != "") {
				t.Errorf("late is %v: %q, want %q", is, why, c.want)
			}
		})
	}
}
