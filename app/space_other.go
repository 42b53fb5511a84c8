//go:build !linux && !darwin

package app

// freeSpace does not know.
func freeSpace(string) (uint64, bool) { return 0, false }
