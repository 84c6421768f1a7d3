package framing

import (
	"net/netip"
)

// authority checks the host and port of an absolute request target. Only hosts that net/url accepts pass, without user names (RFC 9110
// §4.2.4) and without escapes.
type authority struct {
	part authorityPart
	// literal is an IPv6 address in brackets, of length bytes.
	literal [len("0000:0000:0000:0000:0000:0000:255.255.255.255")]byte
	length  int
	ended   bool
}

type authorityPart uint8

const (
	authorityStart authorityPart = iota
	inHost
	inLiteral
	afterLiteral
	inPort
)

// add reports whether c may follow. A slash or question mark ends the authority.
func (a *authority) add(c byte) bool {
	switch {
	case a.ended:
		return true
	case a.part == inLiteral:
		return a.inLiteral(c)
	case c == '/' || c == '?':
		a.ended = true
		return true
	case a.part == inPort:
		return '0' <= c && c <= '9'
	case c == ':':
		a.part = inPort
		return true
	case c == '[' && a.part == authorityStart:
		a.part = inLiteral
		return true
	}
	ok := a.part != afterLiteral && isHost(c) && c != '@' && c != '%' && c != '[' && c != ']'
	a.part = inHost
	return ok
}

// inLiteral reports whether c continues an IPv6 address, or ends a valid one.
func (a *authority) inLiteral(c byte) bool {
	if c == ']' {
		a.part = afterLiteral
		address, err := netip.ParseAddr(string(a.literal[:a.length]))
		return err == nil && address.Is6()
	}
	if _, hex := hexDigit(c); a.length == len(a.literal) || !hex && c != ':' && c != '.' {
		return false
	}
	a.literal[a.length] = c
	a.length++
	return true
}
