//go:build !linux

package listen

import (
	"errors"
	"net"
	"net/netip"
)

// originalDestination works only on Linux, as does Redirect.
func originalDestination(*net.TCPConn) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("reading original destination: only Linux supports redirects")
}
