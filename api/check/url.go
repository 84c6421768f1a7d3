package check

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// KeysURI refuses what keys must not be fetched from: plain HTTP except from this host (whoever sits between could give keys of
// their own), and addresses with credentials, which would end up in logs. The errors do not quote the address.
func KeysURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return errors.New("not a URL; write one as https://id.example.com/keys")
	}
	switch {
	case u.User != nil:
		return errors.New("it must not hold a user name or password; leave them out")
	case u.Fragment != "":
		return errors.New("it must not hold a fragment; leave out # and what follows")
	}
	return secureHost(u)
}

// VaultAddress is like KeysURI for an address without path's end: no query, and no fragment.
func VaultAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("the address is not a URL; write one as https://vault.example.com:8200")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the address must hold no user name, password or query; write one as https://vault.example.com:8200")
	}
	return secureHost(u)
}

func secureHost(u *url.URL) error {
	switch {
	case u.Hostname() == "":
		return errors.New("it names no host; write one as https://host.example.com")
	case u.Port() != "" && !isPort(u.Port()):
		return errors.New("the port is not a number from 1 to 65535")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("it must start with https:// (http:// is for a loopback address only)")
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// Certificates reads PEM certificates; nil stands for the system's, where the bundle is empty.
func Certificates(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the CA bundle has no PEM certificate; write one that begins with -----BEGIN CERTIFICATE-----")
	}
	return pool, nil
}

// TokenIssuer refuses what cannot be the iss of our own tokens: below it lie the documents of discovery (RFC 8414 §2, §3.1).
func TokenIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || strings.Contains(u.Path, "*") || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		u.Fragment != "" {
		return errors.New("it is not an https URL without user, query, fragment and asterisk; write one as https://shop.example.com")
	}
	if u.Port() != "" && !isPort(u.Port()) {
		return errors.New("the port is not a number from 1 to 65535")
	}
	if _, err := ParsePattern(strings.TrimSuffix(u.Path, "/") + keysName); err != nil {
		return errors.New("requests for the documents below its path would be refused: write it without empty or dot segments, semicolons, " +
			"backslashes and double escapes, as https://shop.example.com/accounts")
	}
	return nil
}

// keysName stands for any document's name below an issuer.
const keysName = "/.well-known/openid-configuration"

// PathPrefix refuses a prefix of paths that no request has.
func PathPrefix(prefix string) error {
	if !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") || strings.ContainsAny(prefix, "%*{} ") {
		return errors.New("it is not a plain path that begins and does not end with a slash; write one as /auth")
	}
	_, err := ParsePattern(prefix)
	return err
}
