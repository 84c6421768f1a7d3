//go:build !linux

package listen

import (
	"errors"
	"net"
	"net/netip"
)

// originalDestination is netfilter's, and so is Redirect.
func originalDestination(*net.TCPConn) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("reading original destination: only Linux redirects")
}
