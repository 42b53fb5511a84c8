//go:build linux || darwin

package app

import "syscall"

// freeSpace returns how many bytes a user may still write into a folder's file system,
// and whether that is known.
func freeSpace(dir string) (uint64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}
