//go:build linux

package nonblock

import (
	"net"
	"syscall"
	"unsafe"
)

// receive is recv(2) without a name. It is repeated after a signal.
func receive(fd uintptr, b []byte) (int, syscall.Errno) {
	n, errno := transferred(syscall.SYS_RECVFROM, fd, b, syscall.MSG_DONTWAIT)
	received(fd)
	return n, errno
}

// send is send(2) without a signal for a closed connection.
func send(fd uintptr, b []byte) (int, syscall.Errno) {
	sending()
	return transferred(syscall.SYS_SENDTO, fd, b, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

// message is the argument of sendmsg(2).
type message struct {
	header  syscall.Msghdr
	vectors [maxGathered]syscall.Iovec
}

// send is sendmsg without a signal for a closed connection. No buffer may be empty.
func (m *message) send(fd uintptr, buffers net.Buffers) (int, syscall.Errno) {
	for i, b := range buffers {
		m.vectors[i].Base = unsafe.SliceData(b)
		m.vectors[i].SetLen(len(b))
	}
	m.header.Iov = &m.vectors[0]
	m.header.Iovlen = uint64(len(buffers))
	sending()
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&m.header)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// peek reports whether anything but silence is to be read.
func peek(fd uintptr) bool {
	var b [1]byte
	_, errno := transferred(syscall.SYS_RECVFROM, fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return errno != syscall.EAGAIN
}

// transferred calls recvfrom or sendto. Its arguments must be on one line with the call: the garbage collector keeps b in place for it
// (package unsafe, pattern 4).
func transferred(call, fd uintptr, b []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
