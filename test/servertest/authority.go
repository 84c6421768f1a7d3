// Package servertest has what the packages share that run real servers for tests: certificates, links that can be slowed down and cut,
// and waiting.
package servertest

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
	"net"
	"time"
)

// Authority is a self-signed server certificate for "localhost" and 127.0.0.1 that is its own authority. It also signs client
// certificates.
type Authority struct {
	// Certificate and Key are PEM.
	Certificate, Key []byte

	template *x509.Certificate
	key      *ecdsa.PrivateKey
}

// NewAuthority returns an authority that is valid for an hour. Its certificate is also for further addresses.
func NewAuthority(addresses ...net.IP) (*Authority, error) {
	return NewNamedAuthority("servertest", addresses...)
}

// NewNamedAuthority is NewAuthority with a common name.
func NewNamedAuthority(name string, addresses ...net.IP) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	t := template(name)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	t.DNSNames, t.IPAddresses = []string{"localhost"}, append([]net.IP{net.IPv4(127, 0, 0, 1)}, addresses...)
	a := &Authority{template: t, key: key}
	if a.Certificate, err = a.sign(t, key); err != nil {
		return nil, err
	}
	a.Key, err = encodeKey(key)
	return a, err
}

// Client returns a client certificate and its key, as PEM.
func (a *Authority) Client() (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key: %w", err)
	}
	if certificate, err = a.sign(template("client"), private); err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(private)
	return certificate, key, err
}

// ClientTLS returns the settings of a client that trusts the authority and has a certificate of it.
func (a *Authority) ClientTLS() (*tls.Config, error) {
	certificate, key, err := a.Client()
	if err != nil {
		return nil, err
	}
	own, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("loading a client certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Certificate)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}, nil
}

// template is a certificate for servers and clients.
func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func (a *Authority) sign(t *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, a.template, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
