package collector

import (
	"encoding/binary"
	"net"
	"syscall"
)

// countDrops makes the kernel tell with each datagram how many it has dropped so far,
// and returns the size of the socket's buffer.
func countDrops(conn *net.UDPConn) (buffer int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1); failed == nil {
			buffer, failed = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		}
	})
	if err == nil {
		err = failed
	}
	return buffer, err
}

// dropped returns the number that came with a datagram, when there was one: the kernel
// leaves it out until it has dropped something.
func dropped(control []byte) (total uint32, ok bool) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		if m.Header.Level == syscall.SOL_SOCKET && m.Header.Type == syscall.SO_RXQ_OVFL && len(m.Data) >= 4 {
			return binary.NativeEndian.Uint32(m.Data), true
		}
	}
	return 0, false
}
