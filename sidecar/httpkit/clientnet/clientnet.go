// Package clientnet says which addresses count as one client, for every limit that is per client: connections, open requests and
// rates.
package clientnet

import "net/netip"

// Of returns the network that counts as one client: an IPv4 address, or the /64 of an IPv6 address, because a host chooses freely
// among the addresses of its /64. It returns the zero Prefix for an invalid address.
func Of(addr netip.Addr) netip.Prefix {
	addr = addr.WithZone("").Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
