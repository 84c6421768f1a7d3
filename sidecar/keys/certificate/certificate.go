// Package certificate follows the certificates that the sidecar shows to clients, and the CAs and revocation lists with which it verifies
// theirs. A certificate comes from a Secret or a secret of Vault (Store), or is issued for this sidecar (Issued). The last good one stays in
// use until another one replaces it.
package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/keys/keyfile"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Bounds of what is accepted.
const (
	// maxChain is the number of certificates of a chain. Every handshake sends them.
	maxChain = 16
	// minRSA is the size of an RSA key in bits (NIST SP 800-131A).
	minRSA = 2048
)

// Certificate is a certificate with its key. It is immutable.
type Certificate struct {
	tls.Certificate
	// tickets is derived from the key. It keeps no part of it.
	tickets secret.Value
	// loaded is when it was read or issued.
	loaded time.Time
}

// Parse reads a chain, the server's certificate first, and its key, in PEM. Errors contain no part of the key.
func Parse(chain, key []byte) (*Certificate, error) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("parsing certificate: %w", err)
	}
	return newCertificate(pair)
}

func newCertificate(pair tls.Certificate) (*Certificate, error) {
	if n := len(pair.Certificate); n > maxChain {
		return nil, fmt.Errorf("parsing certificate: the chain has %d certificates, and at most %d are sent", n, maxChain)
	}
	if err := checkKey(pair.Leaf); err != nil {
		return nil, fmt.Errorf("parsing certificate: %w", err)
	}
	for i, der := range pair.Certificate[1:] {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("parsing certificate %d of the chain: %w", i+2, err)
		}
	}
	seed, err := ticketSeed(pair.PrivateKey)
	if err != nil {
		return nil, err
	}
	return &Certificate{Certificate: pair, tickets: seed, loaded: time.Now()}, nil
}

// curves are those of ECDSA keys in handshakes.
var curves = []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}

// checkKey refuses a key that is too weak, or that crypto/tls signs no handshake with.
func checkKey(leaf *x509.Certificate) error {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return fmt.Errorf("its RSA key has %d bits, and at least %d are needed", key.N.BitLen(), minRSA)
		}
	case *ecdsa.PublicKey:
		if !slices.Contains(curves, key.Curve) {
			return fmt.Errorf("its ECDSA key is on the curve %.32s, and handshakes have P-256, P-384 and P-521 alone (RFC 8446 §4.2.3)", key.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return errors.New("its key is neither RSA, ECDSA nor Ed25519")
	}
	return nil
}

// ticketSeed derives the secret of session tickets from a key, so that all replicas with the certificate have the same.
func ticketSeed(key crypto.PrivateKey) (secret.Value, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return secret.Value{}, fmt.Errorf("parsing certificate: %w", err)
	}
	defer clear(der)
	seed, err := hkdf.Extract(sha256.New, der, []byte("postern.dev session tickets 1"))
	if err != nil {
		return secret.Value{}, fmt.Errorf("deriving the secret of session tickets: %w", err)
	}
	return secret.New(seed), nil
}

// TicketSeed returns a secret that everyone who has the certificate's key can derive, for session tickets that all replicas read.
func (c *Certificate) TicketSeed() secret.Value { return c.tickets }

// NotAfter returns when the certificate expires.
func (c *Certificate) NotAfter() time.Time { return c.Leaf.NotAfter }

func (c *Certificate) expired(now time.Time) bool { return !now.Before(c.NotAfter()) }

// usable returns why no client accepts the certificate now, or nil.
func (c *Certificate) usable(now time.Time) error {
	switch {
	case c.expired(now):
		return fmt.Errorf("the new one expired at %s", c.NotAfter().UTC().Format(time.RFC3339))
	case now.Before(c.Leaf.NotBefore):
		return fmt.Errorf("%w: the new one is valid from %s on", keyfile.ErrLater, c.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Len returns the number of certificates of the chain.
func (c *Certificate) Len() int { return len(c.Certificate.Certificate) }

// Same reports whether both are the same certificate. Neither may be nil.
func (c *Certificate) Same(other *Certificate) bool { return bytes.Equal(c.Leaf.Raw, other.Leaf.Raw) }

// left returns which part of the lifetime is left, from 1 to 0.
func (c *Certificate) left(now time.Time) float64 {
	whole := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)
	if whole <= 0 {
		return 0
	}
	return max(0, min(1, float64(c.Leaf.NotAfter.Sub(now))/float64(whole)))
}
