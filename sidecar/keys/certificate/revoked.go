package certificate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/keys/keyfile"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// maxLists bounds the revocation lists of one file. A file has at most a mebibyte, and so some ten thousand entries.
const maxLists = 256

// Lists are the revocation lists of CAs (RFC 5280 §5). They are immutable.
type Lists struct {
	lists []list
	// entries is the number of certificates that are listed.
	entries int
	next    time.Time
}

// list is a revocation list with its entries by serial number, as bytes.
type list struct {
	*x509.RevocationList
	serials map[string]bool
}

// ParseLists reads revocation lists in PEM. One at least must be signed by one of the CAs, and none may have the name of a CA and the signature of
// another: a wrong file must not lift revocations. Other lists are those of intermediate CAs, which clients send: their signatures are verified when a
// certificate of their CA is looked up. A list with a critical extension that is not known, such as one of a part of the certificates, is an error: it
// would be misread.
func ParseLists(data []byte, cas *Authorities) (*Lists, error) {
	l, signed := &Lists{}, false
	err := blocks(data, "X509 CRL", func(der []byte) error {
		parsed, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		for _, e := range parsed.Extensions {
			if e.Critical {
				return fmt.Errorf("the list of %.128q has the critical extension %s, which is not supported", parsed.Issuer.String(), e.Id)
			}
		}
		if len(l.lists) == maxLists {
			return fmt.Errorf("there are more than %d lists", maxLists)
		}
		known, err := cas.signed(parsed)
		if err != nil {
			return err
		}
		signed = signed || known
		l.add(parsed)
		return nil
	})
	switch {
	case err != nil:
	case len(l.lists) == 0:
		err = errors.New("there is no list") // an empty file must not lift revocations
	case !signed:
		err = errors.New("none of the CAs has signed one of the lists")
	}
	if err != nil {
		return nil, fmt.Errorf("parsing revocation lists: %w", err)
	}
	return l, nil
}

func (l *Lists) add(parsed *x509.RevocationList) {
	serials := make(map[string]bool, len(parsed.RevokedCertificateEntries))
	for _, e := range parsed.RevokedCertificateEntries {
		serials[string(e.SerialNumber.Bytes())] = e.ReasonCode != removeFromCRL
	}
	l.entries += len(serials)
	l.lists = append(l.lists, list{parsed, serials})
	if next := parsed.NextUpdate; !next.IsZero() && (l.next.IsZero() || next.Before(l.next)) {
		l.next = next
	}
}

// signed reports whether one of the CAs has signed a list. A list with the name of a CA that has not signed it is an error.
func (a *Authorities) signed(l *x509.RevocationList) (bool, error) {
	named := false
	for _, ca := range a.certificates {
		if string(ca.RawSubject) != string(l.RawIssuer) {
			continue
		}
		if l.CheckSignatureFrom(ca) == nil {
			return true, nil
		}
		named = true
	}
	if named {
		return false, fmt.Errorf("the list of %.128q is not signed by the CA of this name", l.Issuer.String())
	}
	return false, nil
}

// removeFromCRL is a reason that lifts a revocation (RFC 5280 §5.3.1).
const removeFromCRL = 8

// Len returns the number of certificates that are listed.
func (l *Lists) Len() int { return l.entries }

// Outdated returns when the first of the lists should have been replaced, and whether that time has passed.
func (l *Lists) Outdated(now time.Time) (time.Time, bool) {
	return l.next, !l.next.IsZero() && now.After(l.next)
}

// ErrRevoked is the error of a certificate that is listed.
var ErrRevoked = errors.New("the certificate was revoked by its CA")

// Check returns ErrRevoked if a certificate of a verified chain is listed by the CA that issued it. chain begins with the client's
// certificate.
func (l *Lists) Check(chain []*x509.Certificate) error {
	for i := 0; i+1 < len(chain); i++ {
		for _, list := range l.lists {
			if list.serials[string(chain[i].SerialNumber.Bytes())] && list.of(chain[i+1]) {
				return ErrRevoked
			}
		}
	}
	return nil
}

// of reports whether the list is signed by ca.
func (l list) of(ca *x509.Certificate) bool {
	return string(l.RawIssuer) == string(ca.RawSubject) && l.CheckSignatureFrom(ca) == nil
}

// ListStore follows revocation lists.
type ListStore = keyfile.Store[*Lists]

// OpenLists follows revocation lists, and the CAs whose lists they are. The caller calls Close.
func OpenLists(name string, lists, cas secret.Source, options Options) *ListStore {
	return keyfile.Open(
		keyfile.Source{Name: name, Source: joined{lists, cas}, Background: options.Slow, Logger: options.Logger, Interval: options.Interval},
		keyfile.Format[*Lists]{Entries: "revocation lists", Parse: func(data []byte, _ *Lists) (*Lists, error) {
			lists, bundle, err := split(data)
			if err != nil {
				return nil, fmt.Errorf("parsing revocation lists: %w", err)
			}
			authorities, err := ParseAuthorities(bundle)
			if err != nil {
				return nil, err
			}
			return ParseLists(lists, authorities)
		}},
	)
}
