package check

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// KeysURI refuses a URL that keys must not be fetched from. Plain HTTP is accepted only from a loopback address, because an
// attacker on the network could replace the keys, or from any host if insecure is true. A URL with credentials is refused, because
// it would be logged. The errors do not quote the URL.
func KeysURI(uri string, insecure bool) error {
	u, err := url.Parse(uri)
	if err != nil {
		return errors.New("it is not a URL; write for example https://id.example.com/keys")
	}
	switch {
	case u.User != nil:
		return errors.New("it must not contain a user name or password; write for example https://id.example.com/keys")
	case u.Fragment != "":
		return errors.New("it must not contain a fragment; leave out # and the text after it")
	case insecure && u.Scheme == "http" && u.Hostname() != "" && (u.Port() == "" || isPort(u.Port())):
		return nil
	}
	return secureHost(u)
}

// VaultAddress is like KeysURI, and refuses a query as well.
func VaultAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("it is not a URL; write for example https://vault.example.com:8200")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it must not contain a user name, password, query or fragment; write for example https://vault.example.com:8200")
	}
	return secureHost(u)
}

func secureHost(u *url.URL) error {
	switch {
	case u.Hostname() == "":
		return errors.New("it has no host; write for example https://host.example.com")
	case u.Port() != "" && !isPort(u.Port()):
		return errors.New("the port is not a number from 1 to 65535")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("it must start with https://, for example https://host.example.com (http:// is only for a loopback address)")
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// Certificates reads PEM certificates. It returns nil, which means the certificates of the system, if the bundle is empty.
func Certificates(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the CA bundle contains no PEM certificate; write at least one, which begins with -----BEGIN CERTIFICATE-----")
	}
	return pool, nil
}

// TokenIssuer refuses a text that cannot be the iss claim of the policy's own tokens. The discovery documents are below this
// URL (RFC 8414 §2, §3.1).
func TokenIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || strings.Contains(u.Path, "*") || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		u.Fragment != "" {
		return errors.New("it is not an https URL without user, query, fragment and asterisk; write for example https://shop.example.com")
	}
	if u.Port() != "" && !isPort(u.Port()) {
		return errors.New("the port is not a number from 1 to 65535")
	}
	if _, err := ParsePattern(strings.TrimSuffix(u.Path, "/") + keysName); err != nil {
		return errors.New("requests for the discovery documents below its path would be refused; write it without empty or dot segments, semicolons, " +
			"backslashes and double escapes, for example https://shop.example.com/accounts")
	}
	return nil
}

// keysName is the name of one discovery document below an issuer; it represents all of them.
const keysName = "/.well-known/openid-configuration"

// PathPrefix refuses a prefix that no path of a request can have.
func PathPrefix(prefix string) error {
	if !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") || strings.ContainsAny(prefix, "%*{} ") {
		return errors.New("it is not a plain path that begins with a slash and does not end with one; write for example /auth")
	}
	_, err := ParsePattern(prefix)
	return err
}
