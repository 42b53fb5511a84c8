package promquery

import (
	"encoding/json"
	"math"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// mark is how far a query has been counted. It is kept among the checkpoints, as JSON.
type mark struct {
	Until time.Time `json:"until"`         // up to where steps are done with
	Seen  time.Time `json:"seen,omitzero"` // where the last one that counted ended
	Rest  remainder `json:"rest"`
	// Total and Other are the counters where the last step ended; nil when not known.
	Total *float64 `json:"total,omitempty"`
	Other *float64 `json:"other,omitempty"`
}

// prefix begins the names of the marks of a source.
func prefix(source string) string { return "promquery/" + source + "/" }

// nameOf returns what the mark of a series is kept under.
func nameOf(source string, s gatewarden.Series) string { return prefix(source) + s.String() }

// loadMark returns the mark of a series, and false when there is none that can be read.
func loadMark(kept collector.Checkpoints, name string) (m mark, ok bool) {
	if kept == nil {
		return mark{}, false
	}
	value, ok := kept.Load(name)[name]
	if !ok || json.Unmarshal(value, &m) != nil || m.Until.IsZero() || !isRest(m.Rest.Good) || !isRest(m.Rest.Bad) {
		return mark{}, false
	}
	return m, true
}

func isRest(v float64) bool { return v >= 0 && v < 1 }

// encode returns what is kept. Nothing in a mark cannot be written.
func (m mark) encode() ([]byte, error) { return json.Marshal(m) }

// known returns a value that may not be known as a number that may be none.
func known(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// kept is the reverse of known.
func kept(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
