package kong

import (
	"math"

	"github.com/gatewarden/gatewarden"
)

const (
	maxWeight = 65535 // Kong's
	// usualTotal is the sum of weights that is tried first.
	usualTotal = 100
	// largeTotal is where proportions within a track stop being worth larger weights: a
	// worker of Kong's keeps a wheel of as many slots.
	largeTotal = 10000
	// goodShare and goodPart are the relative errors with which the search is content, of
	// the share and of a target's part in its track; worstShare is the largest taken.
	goodShare, goodPart, worstShare = 0.01, 0.05, 0.02
)

// divide returns weights for the targets of both tracks, indexed by gatewarden.Track, so
// that those of the canary together get percent of all. Within a track the parts are
// as the given weights have them, and equal when these are all 0. The sum is the
// smallest from 100 on that is exact enough. Error: Invalid when no weights are.
func divide(percent float64, present [2][]int) ([2][]int, error) {
	if percent == 0 || percent == 100 {
		return extreme(percent, present), nil
	}
	parts := [2][]float64{proportions(present[0]), proportions(present[1])}
	share := percent / 100
	var best [2][]int
	bestPart := math.Inf(1)
	for total := usualTotal; total <= maxWeight; total++ {
		w, ok := weigh(float64(total), share, parts)
		if !ok {
			break
		}
		shareError, partError := deviation(w, share, parts)
		if shareError <= goodShare && (partError <= goodPart || total > largeTotal) {
			return w, nil
		}
		if shareError <= worstShare && partError < bestPart {
			best, bestPart = w, partError
		}
		if total == largeTotal && best[0] != nil {
			return best, nil
		}
	}
	if best[0] == nil {
		return best, gatewarden.Errorf(gatewarden.Invalid, "no weights up to %d give %v %% to the canary", maxWeight, percent)
	}
	return best, nil
}

// extreme gives all to one track, which keeps the weights it has.
func extreme(percent float64, present [2][]int) [2][]int {
	var w [2][]int
	for track := range present {
		w[track] = make([]int, len(present[track]))
		all := gatewarden.Track(track) == gatewarden.TrackCanary == (percent == 100)
		if !all {
			continue
		}
		copy(w[track], present[track])
		if sum(present[track]) == 0 {
			for i := range w[track] {
				w[track][i] = usualTotal
			}
		}
	}
	return w
}

// proportions returns each weight's part of their sum, equal parts when that is 0.
func proportions(weights []int) []float64 {
	parts := make([]float64, len(weights))
	total := sum(weights)
	for i, w := range weights {
		if total == 0 {
			parts[i] = 1 / float64(len(weights))
		} else {
			parts[i] = float64(w) / float64(total)
		}
	}
	return parts
}

// weigh rounds the weights for a total, false when one is too large for Kong. A target
// that has a part in its track keeps one.
func weigh(total, share float64, parts [2][]float64) (w [2][]int, ok bool) {
	for track, of := range [2]float64{total * (1 - share), total * share} {
		w[track] = make([]int, len(parts[track]))
		for i, part := range parts[track] {
			if part > 0 {
				w[track][i] = max(1, int(math.Round(part*of)))
			}
			if w[track][i] > maxWeight {
				return w, false
			}
		}
	}
	return w, true
}

// deviation returns the relative errors of weights: of the share, canary's or baseline's
// whichever is larger, and the largest of a target's part in its track.
func deviation(w [2][]int, share float64, parts [2][]float64) (ofShare, ofPart float64) {
	sums := [2]float64{float64(sum(w[0])), float64(sum(w[1]))}
	off := math.Abs(sums[1]/(sums[0]+sums[1]) - share)
	ofShare = off / min(share, 1-share)
	for track := range w {
		for i, part := range parts[track] {
			if part > 0 {
				ofPart = max(ofPart, math.Abs(float64(w[track][i])/sums[track]-part)/part)
			}
		}
	}
	return ofShare, ofPart
}

func sum(weights []int) (total int) {
	for _, w := range weights {
		total += w
	}
	return total
}
