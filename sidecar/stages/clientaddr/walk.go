package clientaddr

import (
	"net/netip"
	"strings"
)

const (
	// maxHops is the maximum number of proxies in a row that are trusted.
	maxHops = 32
	// maxEntryLen is more than the longest address with a port: [ffff:…:255.255.255.255]:65535.
	maxEntryLen = 64
)

// walk reads the lines of X-Forwarded-For from right to left as long as the current address is a trusted proxy. It
// returns the last valid address, and the verified part of the list, client first. The verified part is empty if the
// client is the peer itself. An invalid address ends the walk, and so does hop 32.
func (l *locator) walk(peer netip.Addr, lines []string) (client netip.Addr, verified string) {
	client = peer
	var hops []string
	for i := len(lines) - 1; i >= 0; i-- {
		line, more := lines[i], true
		for more && len(hops) < maxHops && l.trusts(client) {
			var entry string
			line, entry, more = cutLast(line)
			addr, ok := parseEntry(entry)
			if !ok {
				return client, join(hops)
			}
			client = addr
			hops = append(hops, addr.String())
		}
		if more {
			break
		}
	}
	return client, join(hops)
}

// cutLast cuts the last element off a comma-separated line.
func cutLast(line string) (before, last string, found bool) {
	i := strings.LastIndexByte(line, ',')
	if i < 0 {
		return "", line, false
	}
	return line[:i], line[i+1:], true
}

// join turns hops, nearest first, into a list with the client first.
func join(hops []string) string {
	var b strings.Builder
	for i := len(hops) - 1; i >= 0; i-- {
		b.WriteString(hops[i])
		if i > 0 {
			b.WriteString(", ")
		}
	}
	return b.String()
}

// parseEntry reads one address of the list: plain, with a port, in brackets, or in brackets with a port.
func parseEntry(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	if len(s) > maxEntryLen {
		return netip.Addr{}, false
	}
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		a, err := netip.ParseAddr(inner[:len(inner)-1])
		return plain(a), err == nil && a.Is6()
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return plain(a), true
	}
	ap, err := netip.ParseAddrPort(s)
	return plain(ap.Addr()), err == nil
}

// plain returns a without its zone, and as IPv4 if it is a mapped IPv4 address, so that each client has one address.
func plain(a netip.Addr) netip.Addr { return a.WithZone("").Unmap() }
