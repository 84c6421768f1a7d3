package certificate

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of SPIFFE IDs (SPIFFE-ID §2.3), in bytes.
const (
	maxSPIFFE      = 2048
	maxTrustDomain = 255
)

// ParseSPIFFE returns the trust domain of a SPIFFE ID, or why it is not one that identifies a workload (SPIFFE-ID §2, X.509-SVID §2).
func ParseSPIFFE(id string) (domain string, err error) {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	switch {
	case !ok:
		return "", errors.New("it does not begin with spiffe://")
	case len(id) > maxSPIFFE:
		return "", fmt.Errorf("it has more than %d bytes", maxSPIFFE)
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if domain == "" || len(domain) > maxTrustDomain || !only(domain, isTrustDomain) {
		return "", errors.New("its trust domain is not of lower-case letters, digits, dots, hyphens and underscores")
	}
	if !hasPath {
		return "", errors.New("it names a trust domain and no workload")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || !only(segment, isSegment) {
			return "", errors.New("a segment of its path is empty, relative, or has other characters than letters, digits, dots, hyphens and underscores")
		}
	}
	return domain, nil
}

func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func isTrustDomain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

func isSegment(c byte) bool { return isTrustDomain(c) || c >= 'A' && c <= 'Z' }
