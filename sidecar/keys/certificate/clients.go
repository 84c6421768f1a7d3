package certificate

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind is the part of a certificate that identifies its owner. The empty Kind is none.
type Kind string

// The kinds.
const (
	// URISAN is the only URI of the subject alternative name.
	URISAN Kind = "URISAN"
	// DNSSAN is the first DNS name of the subject alternative name.
	DNSSAN Kind = "DNSSAN"
	// Subject is the distinguished name.
	Subject Kind = "Subject"
)

// Clients verifies the certificates of clients. All fields but Lists, Identity and TrustDomains are required.
type Clients struct {
	// Required refuses clients without a certificate.
	Required bool
	// Authorities gives the CAs, and Lists their revocation lists; nil for none.
	Authorities interface {
		File() (*Authorities, error)
	}
	Lists interface {
		File() (*Lists, error)
	}
	// Identity is what identifies a client; empty if nothing does.
	Identity Kind
	// TrustDomains are the accepted SPIFFE trust domains; empty for all, and for URIs that are no SPIFFE IDs.
	TrustDomains []string
	// Now is time.Now if nil.
	Now func() time.Time
}

// Owner is what a certificate says about its owner. It is immutable.
type Owner struct {
	// Subject is the part of the certificate that Clients.Identity names.
	Subject string
	// Fingerprint is the SHA-256 of the certificate, in hexadecimal.
	Fingerprint         string
	NotBefore, NotAfter time.Time
	// Claims are for rules, limits and headers: sub, uris, dns, cn, o, ou and x5t#S256 (RFC 8705 §3.1).
	Claims map[string]any
}

// Trust is what certificates are verified with. Its fields are nil while they are not available. Two that are equal verify alike.
type Trust struct {
	authorities *Authorities
	lists       *Lists
}

// Trust returns what certificates are verified with now. That of the nil Clients is empty.
func (c *Clients) Trust() Trust {
	if c == nil {
		return Trust{}
	}
	var t Trust
	t.authorities, _ = c.Authorities.File()
	if c.Lists != nil {
		t.lists, _ = c.Lists.File()
	}
	return t
}

// ErrExpired is the error of a certificate that has expired since it was verified.
var ErrExpired = errors.New("the client's certificate has expired")

// The other errors of certificates. ErrNoTrust is that of all handshakes while the CAs or their lists are not available; ErrUnsuitable is that of a
// certificate without the part that identifies its owner.
var (
	ErrNoTrust    = errors.New("the CAs of clients, or their revocation lists, are not available")
	ErrUnsuitable = errors.New("the client's certificate has no suitable identity")
)

// maxSent bounds the certificates that a client sends, its own included.
const maxSent = 8

// ErrTooMany is the error of a client that sends more than maxSent certificates.
var ErrTooMany = errors.New("the client sent too many certificates")

// Apply makes the handshakes of config ask for certificates, and verify them by t. Nil changes nothing. crypto/tls itself verifies none: it would take all
// that a client sends for a chain, before anything can bound them.
func (c *Clients) Apply(config *tls.Config, t Trust) error {
	if c == nil {
		return nil
	}
	if !c.complete(t) {
		return ErrNoTrust
	}
	config.ClientCAs, config.ClientAuth = t.authorities.Pool(), tls.RequestClientCert
	if c.Required {
		config.ClientAuth = tls.RequireAnyClientCert
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil // RequireAnyClientCert has refused it where it is required
		}
		return c.judge(state.PeerCertificates, t).err
	}
	return nil
}

func (c *Clients) complete(t Trust) bool {
	return t.authorities != nil && (c.Lists == nil || t.lists != nil)
}

// verdict is the judgement of a certificate by one Clients and one trust. It is immutable.
type verdict struct {
	by    *Clients
	trust Trust
	// owner is nil if the certificate identifies nobody. err is nil if the certificate is good until the time until.
	owner *Owner
	until time.Time
	err   error
}

// Session is a connection with the certificates that its client sent.
type Session interface {
	// Judgement returns what Judge has stored; nil for nothing.
	Judgement() any
	Judge(any)
}

// Verify judges the certificates of a client again, by what is trusted now; sent begins with the client's own. It returns their owner, or nil if sent is empty or
// certificates identify nobody. The error says why they are no longer good. While the CAs are not available, the last judgement holds.
func (c *Clients) Verify(s Session, sent []*x509.Certificate) (*Owner, error) {
	if len(sent) == 0 {
		return nil, nil
	}
	v, _ := s.Judgement().(*verdict)
	now := c.Trust()
	if v == nil || v.by != c || v.trust != now && c.complete(now) {
		if !c.complete(now) {
			return nil, ErrNoTrust
		}
		v = c.judge(sent, now)
		s.Judge(v)
	}
	if v.err != nil {
		return nil, v.err
	}
	if !c.now().Before(v.until) {
		return nil, ErrExpired
	}
	return v.owner, nil
}

func (c *Clients) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// judge verifies a certificate with the certificates that the client sent after it.
func (c *Clients) judge(sent []*x509.Certificate, t Trust) *verdict {
	v := &verdict{by: c, trust: t}
	intermediates, err := intermediatesOf(sent)
	if err != nil {
		v.err = err
		return v
	}
	chains, err := sent[0].Verify(x509.VerifyOptions{
		Roots: t.authorities.Pool(), Intermediates: intermediates, CurrentTime: c.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		v.err = fmt.Errorf("verifying the client's certificate: %w", &tls.CertificateVerificationError{UnverifiedCertificates: sent, Err: err})
		return v
	}
	if v.until, err = c.longest(chains, t); err != nil {
		v.err = err
		return v
	}
	v.owner, v.err = c.identify(sent[0])
	return v
}

// intermediatesOf returns the certificates that the client sent after its own, one for each subject: the first. Each certificate then has one of them for its
// issuer, so that few signatures are verified. Certificates of one subject that have issued each other make package x509 verify a hundred signatures, which
// takes 50 ms for a client that is not known yet.
func intermediatesOf(sent []*x509.Certificate) (*x509.CertPool, error) {
	if len(sent) > maxSent {
		return nil, fmt.Errorf("%w: %d", ErrTooMany, len(sent))
	}
	pool, seen := x509.NewCertPool(), make(map[string]bool, maxSent)
	for _, ca := range sent[1:] {
		if subject := string(ca.RawSubject); !seen[subject] {
			seen[subject] = true
			pool.AddCert(ca)
		}
	}
	return pool, nil
}

// longest returns when the chain ends that is valid for the longest time, of those without a revoked certificate.
func (c *Clients) longest(chains [][]*x509.Certificate, t Trust) (until time.Time, err error) {
	for _, chain := range chains {
		if t.lists != nil {
			if revoked := t.lists.Check(chain); revoked != nil {
				err = revoked
				continue
			}
		}
		end := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
		if end.After(until) {
			until = end
		}
	}
	if until.IsZero() {
		return until, err
	}
	return until, nil
}

// identify returns the owner of a verified certificate; nil if certificates identify nobody.
func (c *Clients) identify(leaf *x509.Certificate) (*Owner, error) {
	if c.Identity == "" {
		return nil, nil
	}
	subject, err := c.subject(leaf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsuitable, err)
	}
	sum := sha256.Sum256(leaf.Raw)
	return &Owner{
		Subject: subject, Fingerprint: hex.EncodeToString(sum[:]), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Claims: claims(leaf, subject, sum),
	}, nil
}

func (c *Clients) subject(leaf *x509.Certificate) (string, error) {
	switch c.Identity {
	case URISAN:
		return c.uri(leaf)
	case DNSSAN:
		if len(leaf.DNSNames) == 0 || leaf.DNSNames[0] == "" {
			return "", errors.New("it has no DNS name")
		}
		return leaf.DNSNames[0], nil
	}
	if name := leaf.Subject.String(); name != "" {
		return name, nil
	}
	return "", errors.New("it has no distinguished name")
}

// uri returns the only URI of a certificate. One with several is refused, as SPIFFE requires (X.509-SVID §2): apps could disagree about which
// counts.
func (c *Clients) uri(leaf *x509.Certificate) (string, error) {
	if len(leaf.URIs) != 1 {
		return "", fmt.Errorf("it has %d URIs in place of one", len(leaf.URIs))
	}
	text := leaf.URIs[0].String()
	if leaf.URIs[0].Scheme != "spiffe" {
		if len(c.TrustDomains) > 0 {
			return "", errors.New("its URI is not a SPIFFE ID")
		}
		return text, nil
	}
	domain, err := ParseSPIFFE(text)
	if err != nil {
		return "", err
	}
	if len(c.TrustDomains) > 0 && !slices.Contains(c.TrustDomains, domain) {
		return "", errors.New("its trust domain is not accepted")
	}
	return text, nil
}

// claims are what rules, limits and headers can use. A name that has several values in the certificate is a list.
func claims(leaf *x509.Certificate, subject string, sum [sha256.Size]byte) map[string]any {
	out := map[string]any{"sub": subject, "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	if cn := leaf.Subject.CommonName; cn != "" {
		out["cn"] = cn
	}
	var uris []string
	for _, u := range leaf.URIs {
		uris = append(uris, u.String())
	}
	for name, values := range map[string][]string{"uris": uris, "dns": leaf.DNSNames, "o": leaf.Subject.Organization, "ou": leaf.Subject.OrganizationalUnit} {
		if len(values) == 0 {
			continue
		}
		list := make([]any, len(values))
		for i, value := range values {
			list[i] = value
		}
		out[name] = list
	}
	return out
}
