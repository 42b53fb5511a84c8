package gates

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// maxTargets is how many targets of a track are remembered by name.
const maxTargets = 100

// sighting is what was seen of a track since the guard started, for those who look.
type sighting struct {
	requests uint64
	failures uint64
	newest   time.Time
	seconds  [60]struct {
		second int64
		n      uint64
	}
	targets map[string]bool
}

func (s *sighting) add(o *gatewarden.Observation) {
	n := uint64(max(o.Weight, 1))
	s.requests += n
	if o.Failed {
		s.failures += n
	}
	if o.At.After(s.newest) {
		s.newest = o.At
	}
	second := o.At.Unix()
	if at := &s.seconds[uint64(second)%uint64(len(s.seconds))]; at.second == second {
		at.n += n
	} else if at.second < second {
		at.second, at.n = second, n
	}
	if o.Target == "" || s.targets[o.Target] || len(s.targets) >= maxTargets {
		return
	}
	if s.targets == nil {
		s.targets = map[string]bool{}
	}
	s.targets[strings.Clone(o.Target)] = true
}

// view returns the sighting as of an instant.
func (s *sighting) view(at time.Time) TrackView {
	v := TrackView{Requests: s.requests, Failures: s.failures, Newest: s.newest, Targets: slices.Sorted(maps.Keys(s.targets))}
	now := at.Unix() // its second is not over
	var sum uint64
	for _, sec := range s.seconds {
		if sec.second < now && sec.second >= now-int64(len(s.seconds)) {
			sum += sec.n
		}
	}
	v.Rate = float64(sum) / float64(len(s.seconds))
	return v
}
