//go:build unix

package filelog

import (
	"os"
	"syscall"
)

// inode returns what the file system calls a file.
func inode(info os.FileInfo) identity {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return identity{Device: uint64(s.Dev), Inode: s.Ino} //nolint:unconvert // Dev has another type on other systems
	}
	return identity{}
}
