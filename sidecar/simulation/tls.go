package simulation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
)

// ClientCertificate is a certificate that is made for the run, by a CA that the policy then trusts.
type ClientCertificate struct {
	// URI, DNS and CommonName are names of the certificate; empty for none.
	URI, DNS, CommonName string
}

// authority is the CA of the run.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// The validity of certificates, which covers every time of a case.
var (
	validFrom  = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: runSecret}, NotBefore: validFrom, NotAfter: validUntil,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w", err)
	}
	a := &authority{key: key}
	a.certificate, err = x509.ParseCertificate(der)
	return a, err
}

func (a *authority) issue(c ClientCertificate) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: c.CommonName}, NotBefore: validFrom, NotAfter: validUntil,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if c.DNS != "" {
		template.DNSNames = []string{c.DNS}
	}
	if c.URI != "" {
		u, err := url.Parse(c.URI)
		if err != nil {
			return nil, fmt.Errorf("making a client certificate: %w", err)
		}
		template.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("making a client certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// replaceTLS replaces the certificates of p, because no handshake takes place, and the CAs and revocation lists of clients, unless they verify certificates
// that exist. The app gets plain HTTP.
func (s *Simulation) replaceTLS(p *compiled.Policy, verifyClients bool) (err error) {
	p.UpstreamTLS = nil
	if p.TLS == nil {
		return nil
	}
	if s.authority, err = newAuthority(); err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(s.authority.key)
	if err != nil {
		return fmt.Errorf("encoding key: %w", err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.authority.certificate.Raw})
	for name, content := range map[string][]byte{"ca.crt": ca, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := writeSecret(s.secrets, name, content); err != nil {
			return err
		}
	}
	p.TLS.Certificates = []compiled.Certificate{{Chain: &compiled.SecretRef{Name: runSecret, Key: "ca.crt"}, Key: &compiled.SecretRef{Name: runSecret, Key: "tls.key"}}}
	switch c := p.TLS.ClientCertificates; {
	case c == nil:
	case verifyClients:
		c.CA, c.CRL = mounted(c.CA), mounted(c.CRL)
	default:
		c.CA, c.CRL = &compiled.SecretRef{Name: runSecret, Key: "ca.crt"}, nil
	}
	return nil
}

// session returns the TLS session of a request; nil if it comes without TLS, or the policy serves none.
func (s *Simulation) session(r Request) (*secured.Session, error) {
	if s.authority == nil || r.Plain {
		return nil, nil
	}
	session := &secured.Session{ConnectionState: tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.Host}}
	switch {
	case s.document.TLS.ClientCertificates == nil:
		return session, nil
	case len(r.Sent) > 0:
		session.PeerCertificates = r.Sent
		return session, nil
	case r.Certificate == nil:
		return session, nil
	}
	leaf, err := s.authority.issue(*r.Certificate)
	if err != nil {
		return nil, err
	}
	session.PeerCertificates = []*x509.Certificate{leaf}
	return session, nil
}

type tlsKey struct{}
