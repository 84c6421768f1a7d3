package token

import (
	"fmt"
	"net/url"
	"strings"
)

// serialized is an origin as browsers send it (RFC 6454 §6.2): in small letters, and without the scheme's own port. What is
// no origin is returned as it is, for AddTrustedOrigin to refuse.
func serialized(origin string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return "", fmt.Errorf("reading trusted origin %q: %w", origin, err)
	}
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.String(), nil
}
