//go:build !unix

package state

import "os"

// flock does nothing: the standard library has no file lock here. Two guards on
// one folder are then caught by the journal's compare-and-set only.
func flock(*os.File) error { return nil }
