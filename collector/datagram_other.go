//go:build !linux

package collector

import "net"

// countDrops does nothing: only Linux tells.
func countDrops(*net.UDPConn) (buffer int, err error) { return 0, nil }

func dropped([]byte) (total uint32, ok bool) { return 0, false }
