//go:build unix

package filelog

import (
	"os"
	"syscall"
)

// inode returns what the file system calls a file.
func inode(info os.FileInfo) identity {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return identity{Device: number(s.Dev), Inode: number(s.Ino)}
	}
	return identity{}
}

// number takes what has another type on each system.
func number[T int32 | uint32 | int64 | uint64](n T) uint64 { return uint64(n) }
