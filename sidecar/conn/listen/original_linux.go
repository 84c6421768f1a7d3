package listen

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv4.h, ip6_tables.h).
const soOriginalDst = 80

// originalDestination returns the address that conn's client connected to before netfilter rewrote it. It asks the
// kernel's connection tracking, which needs no privilege.
func originalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading original destination: %w", err)
	}
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("reading original destination: not a TCP address: %v", conn.LocalAddr())
	}
	ask := original6
	if local.IP.To4() != nil {
		ask = original4
	}
	var addr netip.AddrPort
	var failure error
	if err := raw.Control(func(fd uintptr) { addr, failure = ask(int(fd)) }); err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading original destination: %w", err)
	}
	if failure != nil {
		return netip.AddrPort{}, fmt.Errorf("reading original destination: %w", failure)
	}
	return addr, nil
}

// original4 reads a sockaddr_in with a function of package unix for a type of the same size.
func original4(fd int) (netip.AddrPort, error) {
	mreq, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := mreq.Multiaddr // family (2), port (2), address (4)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// original6 reads a sockaddr_in6, which is the first part of the type used.
func original6(fd int) (netip.AddrPort, error) {
	info, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, info.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr).Unmap(), port), nil
}
