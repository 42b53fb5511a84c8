package main

import (
	"fmt"
	"regexp"
	"strings"
)

// release is a version of a service. The example has no source of its own for each: a
// version whose name ends in -broken or -slow has that flaw, any other is good.
type release struct {
	Version string `json:"version"`
	flaw    faults
}

var validVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// releaseOf returns the release of a version.
func releaseOf(version string) (release, error) {
	if !validVersion.MatchString(version) {
		return release{}, fmt.Errorf("version %q: write letters, digits, dots and dashes, such as v2 or v2-broken", version)
	}
	r := release{Version: version}
	switch {
	case strings.HasSuffix(version, "-broken"):
		r.flaw = faults{Errors: 0.3}
	case strings.HasSuffix(version, "-slow"):
		r.flaw = faults{Slow: 0.5, DelayMillis: 400}
	}
	return r, nil
}

// faults are what is wrong with an instance.
type faults struct {
	Errors      float64 `json:"errors"`       // share of requests that fail with 500, from 0 to 1
	Slow        float64 `json:"slow"`         // share of requests that take DelayMillis longer, from 0 to 1
	DelayMillis int     `json:"delay_millis"` // at most a minute
}

// check says what makes no sense.
func (f faults) check() error {
	switch {
	case f.Errors < 0 || f.Errors > 1:
		return fmt.Errorf("errors is %v: it is a share, from 0 to 1", f.Errors)
	case f.Slow < 0 || f.Slow > 1:
		return fmt.Errorf("slow is %v: it is a share, from 0 to 1", f.Slow)
	case f.DelayMillis < 0 || f.DelayMillis > 60_000:
		return fmt.Errorf("delay_millis is %d: it is from 0 to 60000", f.DelayMillis)
	case f.Slow > 0 && f.DelayMillis == 0:
		return fmt.Errorf("slow without delay_millis slows nothing down")
	default:
		return nil
	}
}
