package check

import (
	"fmt"
	"net/netip"
	"strings"
)

// Network returns the network that a rule names: CIDR notation, or one address. Networks of IPv4-mapped IPv6 addresses
// (::ffff:10.0.0.0/104) become the IPv4 networks that they stand for, because clients' addresses are compared unmapped. It
// refuses a network with bits of a host, which would be larger than the address in front of the slash suggests, and zones, which
// mean nothing to other hosts (RFC 4007 §6).
func Network(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%.64q is neither a network nor an address; write for example 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7", text)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, CIDR(text)
	}
	if network != network.Masked() {
		return netip.Prefix{}, fmt.Errorf("%.64q has bits of a host behind the network; write %s for the network, or %s for the one address", text, network.Masked(), network.Addr())
	}
	if network.Addr().Is4In6() {
		if network.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%.64q contains more than IPv4 addresses; write an IPv4 network, for example 10.0.0.0/8, or an IPv6 network, for example 2001:db8::/32", text)
		}
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network, nil
}
