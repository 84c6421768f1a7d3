package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Keys of the certificate Secret. The first three are those of cert-manager.
const (
	keyCA         = "ca.crt"  // the CAs that clients trust, the current one first
	keyServing    = "tls.crt" // the serving certificate, and the bridge from an earlier CA
	keyServingKey = "tls.key"
	keyCAKey      = "ca.key"
	keyBridge     = "bridge.crt" // the current CA, certified by the previous one
	keyIdentity   = "identity"   // that of the first CA of which the current one is a bridged successor
)

// Lifetimes of certificates. A CA is replaced a year before it expires. Pods that were injected earlier trust only the old CA,
// so the new one is also certified by the old one (RFC 4210 §4.4, "new with old") until that expires.
const (
	caLife       = 10 * 365 * 24 * time.Hour
	caMargin     = 365 * 24 * time.Hour
	servingLife  = 90 * 24 * time.Hour
	renewServing = 30 * 24 * time.Hour
	backdate     = time.Hour // for clocks that differ
)

// authority is a CA and its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// renew returns the Secret's data as it should be at now for these DNS names, and whether it differs from data.
func renew(data map[string][]byte, names []string, now time.Time) (map[string][]byte, bool, error) {
	ca, err := parseAuthority(data[keyCA], data[keyCAKey])
	usable := err == nil && now.Before(ca.cert.NotAfter)
	if usable && now.Before(ca.cert.NotAfter.Add(-caMargin)) && servingFits(data, names, now) {
		return data, false, nil
	}
	next := map[string][]byte{}
	for k, v := range data {
		next[k] = v
	}
	if !usable || !now.Before(ca.cert.NotAfter.Add(-caMargin)) {
		fresh, err := newAuthority(now)
		if err != nil {
			return nil, false, err
		}
		if err := replaceAuthority(next, ca, fresh, usable); err != nil {
			return nil, false, err
		}
		ca = fresh
	}
	if err := issueServing(next, ca, names, now); err != nil {
		return nil, false, err
	}
	return next, true, nil
}

// replaceAuthority puts fresh into data. An old CA that is still valid stays in the bundle and certifies the new one.
func replaceAuthority(data map[string][]byte, old, fresh authority, usable bool) error {
	key, err := encodeKey(fresh.key)
	if err != nil {
		return err
	}
	bundle := encodeCert(fresh.cert.Raw)
	delete(data, keyBridge)
	if usable {
		bridge := *fresh.cert
		bridge.NotAfter = old.cert.NotAfter
		der, err := x509.CreateCertificate(rand.Reader, &bridge, old.cert, fresh.key.Public(), old.key)
		if err != nil {
			return fmt.Errorf("certifying the new CA: %w", err)
		}
		data[keyBridge] = encodeCert(der)
		bundle = append(bundle, encodeCert(old.cert.Raw)...)
	}
	identity := fingerprint(fresh.cert)
	if usable {
		if identity, err = identityOf(data); err != nil {
			return err
		}
	}
	data[keyCA], data[keyCAKey], data[keyIdentity] = bundle, key, []byte(identity)
	return nil
}

// identityOf returns the identity of the CA in data: that of the first CA whose clients still trust certificates, if data has it (the
// operator's own does), and that of the CA's public key otherwise.
func identityOf(data map[string][]byte) (string, error) {
	ca, err := firstCert(data[keyCA])
	if err != nil {
		return "", err
	}
	if identity := data[keyIdentity]; len(identity) > 0 {
		return string(identity), nil
	}
	return fingerprint(ca), nil
}

// fingerprint identifies a CA by its public key: a CA that is issued again with the same key is trusted by clients of either.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:16])
}

func newAuthority(now time.Time) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("generating CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return authority{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		// Each CA has another name, so that they cannot be confused.
		Subject:  pkix.Name{CommonName: fmt.Sprintf("postern CA %x", serial.Bytes()[:4])},
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		MaxPathLenZero: false, MaxPathLen: 1,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, fmt.Errorf("creating CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("parsing CA certificate: %w", err)
	}
	return authority{cert, key}, nil
}

// issueServing puts a new serving certificate into data, followed by the bridge if that is still valid.
func issueServing(data map[string][]byte, ca authority, names []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generating serving key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: now.Add(servingLife),
		Subject: pkix.Name{CommonName: "postern operator"}, DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return fmt.Errorf("creating serving certificate: %w", err)
	}
	chain := encodeCert(der)
	if bridge, err := firstCert(data[keyBridge]); err == nil && now.Before(bridge.NotAfter) {
		chain = append(chain, data[keyBridge]...)
	}
	data[keyServing] = chain
	data[keyServingKey], err = encodeKey(key)
	return err
}

// servingFits reports whether the serving certificate is complete, for these names, from the current CA, and not about to expire.
func servingFits(data map[string][]byte, names []string, now time.Time) bool {
	pair, err := tls.X509KeyPair(data[keyServing], data[keyServingKey])
	if err != nil || !now.Before(pair.Leaf.NotAfter.Add(-renewServing)) {
		return false
	}
	ca, err := firstCert(data[keyCA])
	if err != nil {
		return false
	}
	return pair.Leaf.CheckSignatureFrom(ca) == nil && slices.Equal(pair.Leaf.DNSNames, names)
}

func parseAuthority(certPEM, keyPEM []byte) (authority, error) {
	cert, err := firstCert(certPEM)
	if err != nil {
		return authority{}, err
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return authority{}, errors.New("parsing CA key: it is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return authority{}, fmt.Errorf("parsing CA key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return authority{}, errors.New("parsing CA key: it is not the certificate's")
	}
	return authority{cert, key}, nil
}

func firstCert(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("parsing certificate: it is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing certificate: %w", err)
	}
	return cert, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
