package canary

import "github.com/gatewarden/gatewarden"

// The tracks, for short: arrays of two are indexed by them.
const (
	Baseline = gatewarden.TrackBaseline
	Canary   = gatewarden.TrackCanary
)
