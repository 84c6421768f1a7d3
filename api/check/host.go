package check

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxHost is the maximum length of a host, in bytes (RFC 1035 §2.3.4).
const maxHost = 253

// HostPattern is a host that a rule names: one name, or every name below a domain. The zero HostPattern matches nothing.
type HostPattern struct {
	// name is in lower case. With below it begins with a dot.
	name  string
	below bool
}

// ParseHostPattern compiles a host, such as shop.example.com, or *.example.com for every name below example.com, in any depth.
func ParseHostPattern(text string) (HostPattern, error) {
	name, below := strings.CutPrefix(text, "*.")
	switch {
	case strings.Contains(name, "://") || strings.ContainsAny(name, "/:[]"):
		return HostPattern{}, fmt.Errorf("%.128q is not a host: the scheme, the port and the path are not compared, and IPv6 addresses cannot be; write for example shop.example.com", text)
	case strings.Contains(name, "*"):
		return HostPattern{}, fmt.Errorf("%.128q has a * that is not its first label; write for example *.example.com for every name below example.com", text)
	case !isASCII(name):
		return HostPattern{}, fmt.Errorf("%.128q is not in ASCII, and requests have the ASCII form of a name (RFC 5891); write it, for example xn--bcher-kva.example", text)
	case !isHostName(name) || below && isIPv4(name):
		return HostPattern{}, fmt.Errorf("%.128q is not a host; write letters, digits, hyphens and dots, for example shop.example.com or *.example.com", text)
	}
	name = strings.ToLower(name)
	if below {
		name = "." + name
	}
	return HostPattern{name: name, below: below}, nil
}

// Match reports whether the pattern matches a host that Host returned.
func (p HostPattern) Match(host string) bool {
	if p.below {
		return len(host) > len(p.name) && strings.HasSuffix(host, p.name)
	}
	return host != "" && host == p.name
}

// Host returns the name in the Host field or the authority of a request, in lower case, without the port and without the dot of the
// DNS root at its end. It returns "" if there is no name that a pattern could match, such as an IPv6 address.
func Host(authority string) string {
	host, port, hasPort := strings.Cut(authority, ":")
	if hasPort && strings.Trim(port, "0123456789") != "" {
		return ""
	}
	host = strings.TrimSuffix(host, ".")
	if !isHostName(host) {
		return ""
	}
	return strings.ToLower(host)
}

// isHostName reports whether s consists of labels of letters, digits, hyphens and underscores, with dots between them.
func isHostName(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i] | 0x20
			if ('a' > c || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}

func isIPv4(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
