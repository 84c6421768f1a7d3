package certificate

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/posterndev/postern/sidecar/keys/keyfile"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// maxAuthorities bounds the certificates of a bundle. A handshake that asks for a client's certificate names all of them.
const maxAuthorities = 256

// Authorities are the CAs that verify certificates. They are immutable.
type Authorities struct {
	pool         *x509.CertPool
	certificates []*x509.Certificate
	sum          [sha256.Size]byte
}

// ParseAuthorities reads certificates of CAs in PEM. A block of another type, or a certificate that is not of a CA, is an error: a
// certificate of a server or client in this place is a mistake.
func ParseAuthorities(data []byte) (*Authorities, error) {
	a := &Authorities{pool: x509.NewCertPool(), sum: sha256.Sum256(data)}
	err := blocks(data, "CERTIFICATE", func(der []byte) error {
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return err
		case !c.BasicConstraintsValid || !c.IsCA:
			return fmt.Errorf("the certificate of %.128q is not that of a CA", c.Subject.String())
		case len(a.certificates) == maxAuthorities:
			return fmt.Errorf("there are more than %d certificates", maxAuthorities)
		}
		a.certificates = append(a.certificates, c)
		a.pool.AddCert(c)
		return nil
	})
	if err == nil && len(a.certificates) == 0 {
		err = errors.New("there is no certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("parsing certificates of CAs: %w", err)
	}
	return a, nil
}

// blocks calls use with the content of each PEM block of data.
func blocks(data []byte, kind string, use func(der []byte) error) error {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			if bytes.Contains(data, []byte("-----BEGIN")) {
				return errors.New("a PEM block is malformed")
			}
			return nil
		}
		if block.Type != kind {
			return fmt.Errorf("there is a PEM block of the type %.40q in place of %s", block.Type, kind)
		}
		if err := use(block.Bytes); err != nil {
			return err
		}
	}
}

// Pool returns the CAs. It must not be changed.
func (a *Authorities) Pool() *x509.CertPool { return a.pool }

// Certificates returns the CAs. They must not be changed.
func (a *Authorities) Certificates() []*x509.Certificate { return a.certificates }

// Sum identifies the bundle.
func (a *Authorities) Sum() [sha256.Size]byte { return a.sum }

// Len returns the number of CAs.
func (a *Authorities) Len() int { return len(a.certificates) }

// AuthorityStore follows a bundle of CAs.
type AuthorityStore = keyfile.Store[*Authorities]

// OpenAuthorities follows a bundle of CAs. The caller calls Close.
func OpenAuthorities(name string, source secret.Source, options Options) *AuthorityStore {
	return keyfile.Open(
		keyfile.Source{Name: name, Source: source, Background: options.Slow, Logger: options.Logger, Interval: options.Interval},
		keyfile.Format[*Authorities]{Entries: "certificates of CAs", Parse: func(data []byte, _ *Authorities) (*Authorities, error) { return ParseAuthorities(data) }},
	)
}
