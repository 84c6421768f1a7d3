package resources

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/sidecar/keys/certificate/pki"
	"github.com/posterndev/postern/sidecar/pool"
)

// certificateWait is how long a document waits for its certificates, so that the first handshakes do not fail if they are available.
const certificateWait = 2 * time.Second

// TLS is what the handshakes with clients need.
type TLS struct {
	// Certificates are in the order of preference. MinVersion is tls.VersionTLS12 or tls.VersionTLS13.
	Certificates []certificate.Held
	MinVersion   uint16
	// Clients is nil if clients are not asked for a certificate.
	Clients *certificate.Clients
	// Scope names the policy.
	Scope string
}

// VerifiesClients returns what verifies the certificates of clients; nil if they are not asked for one. The nil TLS asks for none.
func (t *TLS) VerifiesClients() *certificate.Clients {
	if t == nil {
		return nil
	}
	return t.Clients
}

// UpstreamTLS is what handshakes with the app need.
type UpstreamTLS struct {
	Authorities *certificate.AuthorityStore
	ServerName  string
}

// TLS returns what the handshakes with clients need; nil if the policy serves plain HTTP. A deleted policy still serves TLS, because its
// clients speak it, but verifies no certificates.
func (a *Acquirer) TLS() (*TLS, error) {
	t := a.policy.TLS
	if t == nil {
		return nil, nil
	}
	c := &TLS{Scope: a.scope(), MinVersion: tls.VersionTLS12}
	if t.MinVersion == compiled.TLS13 {
		c.MinVersion = tls.VersionTLS13
	}
	for i := range t.Certificates {
		held, err := a.certificate(&t.Certificates[i])
		if err != nil {
			return nil, fmt.Errorf("certificates[%d]: %w", i, err)
		}
		c.Certificates = append(c.Certificates, held)
	}
	var err error
	if t.ClientCertificates != nil && !a.policy.Deleted {
		if c.Clients, err = a.clients(t.ClientCertificates); err != nil {
			return nil, fmt.Errorf("clientCertificates: %w", err)
		}
	}
	a.awaitCertificates(c.Certificates)
	return c, nil
}

// awaitCertificates waits until each certificate was tried once, or certificateWait has passed.
func (a *Acquirer) awaitCertificates(all []certificate.Held) {
	late := time.After(certificateWait)
	for _, held := range all {
		select {
		case <-held.Tried():
		case <-late:
			a.shared.cfg.Logger.Warn("a certificate is not available yet; handshakes fail until one is", "certificate", held.Name())
			return
		}
	}
}

// held is a certificate that is closed with its last user.
type held interface {
	certificate.Held
	Close()
}

func (a *Acquirer) certificate(c *compiled.Certificate) (certificate.Held, error) {
	return shared(a, a.shared.certificates, []any{c, a.policy.Vault}, func(own *Acquirer) (held, error) {
		if c.PKI != nil {
			return own.issued(c)
		}
		return own.stored(c)
	})
}

func (a *Acquirer) stored(c *compiled.Certificate) (held, error) {
	chain, err := a.secret(c.Chain)
	if err != nil {
		return nil, err
	}
	key, err := a.secret(c.Key)
	if err != nil {
		return nil, err
	}
	return certificate.OpenStore(c.Name(), chain, key, a.certificateOptions(c.Chain)), nil
}

func (a *Acquirer) issued(c *compiled.Certificate) (held, error) {
	client, err := a.vault()
	if err != nil {
		return nil, err
	}
	issuer, err := pki.New(client, pki.Request{Mount: c.PKI.Mount, Role: c.PKI.Role, CommonName: c.PKI.CommonName, AltNames: c.PKI.AltNames, TTL: c.PKI.TTL.Std()})
	if err != nil {
		return nil, err
	}
	a.onClose(issuer.Forget)
	return certificate.Issue(c.Name(), issuer, a.certificateOptions(nil)), nil
}

func (a *Acquirer) certificateOptions(ref *compiled.SecretRef) certificate.Options {
	return certificate.Options{
		Logger: a.shared.cfg.Logger, Metrics: a.shared.metrics.certificates, Slow: ref != nil && ref.VaultPath != "", Now: a.shared.cfg.Now,
	}
}

func (a *Acquirer) clients(in *compiled.ClientCertificates) (*certificate.Clients, error) {
	c := &certificate.Clients{
		Required: in.Required, Identity: certificate.Kind(in.Identity), TrustDomains: in.TrustDomains, Now: a.shared.cfg.Now,
	}
	authorities, err := a.authorities(in.CA)
	if err != nil {
		return nil, err
	}
	c.Authorities = authorities
	if in.CRL != nil {
		lists, err := shared(a, a.shared.lists, []any{in.CRL, in.CA, a.policy.Vault}, func(own *Acquirer) (*certificate.ListStore, error) {
			source, err := own.secret(in.CRL)
			if err != nil {
				return nil, err
			}
			cas, err := own.secret(in.CA)
			if err != nil {
				return nil, err
			}
			options := own.certificateOptions(in.CRL)
			options.Slow = options.Slow || in.CA.VaultPath != ""
			return certificate.OpenLists(titleOf(in.CRL), source, cas, options), nil
		})
		if err != nil {
			return nil, err
		}
		c.Lists = lists
	}
	return c, nil
}

func (a *Acquirer) authorities(ref *compiled.SecretRef) (*certificate.AuthorityStore, error) {
	return shared(a, a.shared.authorities, []any{ref, a.policy.Vault}, func(own *Acquirer) (*certificate.AuthorityStore, error) {
		source, err := own.secret(ref)
		if err != nil {
			return nil, err
		}
		return certificate.OpenAuthorities(titleOf(ref), source, own.certificateOptions(ref)), nil
	})
}

// UpstreamTLS returns what handshakes with the app need; nil for plain HTTP.
func (a *Acquirer) UpstreamTLS() (*UpstreamTLS, error) {
	u := a.policy.UpstreamTLS
	if u == nil {
		return nil, nil
	}
	authorities, err := a.authorities(u.CA)
	if err != nil {
		return nil, err
	}
	return &UpstreamTLS{Authorities: authorities, ServerName: u.ServerName}, nil
}

// shared acquires a value whose name is made of parts. open gets an acquirer whose values live as long as the value.
func shared[S interface{ Close() }](a *Acquirer, values *pool.Pool[string, S], parts []any, open func(*Acquirer) (S, error)) (value S, err error) {
	name, err := named(parts...)
	if err != nil {
		return value, err
	}
	value, release, err := values.Acquire(name, a.user, func() (S, func(), error) {
		own := a.nested()
		s, err := open(own)
		if err != nil {
			own.Close()
			return s, nil, err
		}
		return s, func() { s.Close(); own.Close() }, nil
	})
	if err == nil {
		a.onClose(release)
	}
	return value, err
}

// titleOf names a secret in logs and the status.
func titleOf(ref *compiled.SecretRef) string {
	if ref.VaultPath != "" {
		return "vault " + ref.VaultPath
	}
	return ref.Name + "/" + ref.Key
}

// heldCertificates returns the certificates in use.
func heldCertificates(certificates *pool.Pool[string, held]) func() []certificate.Held {
	return func() []certificate.Held {
		var all []certificate.Held
		for _, h := range certificates.InUse() {
			all = append(all, h)
		}
		return all
	}
}

// missingCertificate says which certificate or CA the active policy waits for; empty if nothing is missing.
func (r *Resources) missingCertificate() string {
	available, missing := false, ""
	for _, h := range r.certificates.InUse() {
		if _, err := h.Current(); err != nil {
			missing = "the certificate " + h.Name() + " is not available yet"
			continue
		}
		available = true
	}
	if available {
		missing = ""
	}
	for _, s := range r.authorities.InUse() {
		if _, err := s.File(); err != nil {
			missing = "the certificates of CAs are not available yet"
		}
	}
	for _, s := range r.lists.InUse() {
		if _, err := s.File(); err != nil {
			missing = "the revocation lists are not available yet"
		}
	}
	return missing
}

// certificateProblems returns the problems with certificates, CAs and revocation lists, those that stop handshakes first.
func (r *Resources) certificateProblems() []compiled.Problem {
	var missing, stale []compiled.Problem
	now := r.now()
	add := func(err error, unavailable bool, prefix string) {
		if err == nil {
			return
		}
		p := compiled.Problem{Kind: compiled.ProblemCertificate, Reason: "RefreshFails", Message: short(prefix + err.Error())}
		if unavailable {
			p.Reason = "Unavailable"
			missing = append(missing, p)
			return
		}
		stale = append(stale, p)
	}
	for _, h := range r.certificates.InUse() {
		c, err := h.Current()
		if err == nil && certificate.Expiring(c, now) {
			stale = append(stale, expiring(h, c, now))
			continue
		}
		add(h.Err(), err != nil, h.Name()+": ")
	}
	for _, s := range r.authorities.InUse() {
		_, err := s.File()
		add(s.Err(), err != nil, "")
	}
	for _, s := range r.lists.InUse() {
		lists, err := s.File()
		add(s.Err(), err != nil, "")
		if err == nil && s.Err() == nil {
			if at, outdated := lists.Outdated(now); outdated {
				stale = append(stale, compiled.Problem{Kind: compiled.ProblemCertificate, Reason: "ListOutdated",
					Message: "a revocation list should have been replaced at " + at.UTC().Format(time.RFC3339)})
			}
		}
	}
	all := append(missing, stale...)
	return all[:min(len(all), compiled.MaxCertificateProblems)]
}

// CertificatesExpire returns when the first of the certificates in use expires; the zero time if there is none.
func (r *Resources) CertificatesExpire() (first time.Time) {
	for _, h := range r.certificates.InUse() {
		if c, err := h.Current(); err == nil && (first.IsZero() || c.NotAfter().Before(first)) {
			first = c.NotAfter()
		}
	}
	return first
}

// expiring is the problem of a certificate that should have been replaced. Its message says why it was not, if that is known.
func expiring(h certificate.Held, c *certificate.Certificate, now time.Time) compiled.Problem {
	reason, verb := "Expiring", "expires"
	if !now.Before(c.NotAfter()) {
		reason, verb = "Expired", "expired"
	}
	message := fmt.Sprintf("%.128s %s at %s", h.Name(), verb, c.NotAfter().UTC().Format(time.RFC3339))
	if err := h.Err(); err != nil {
		message += ": " + err.Error()
	}
	return compiled.Problem{Kind: compiled.ProblemCertificate, Reason: reason, Message: short(message)}
}

func (r *Resources) now() time.Time {
	if r.cfg.Now == nil {
		return time.Now()
	}
	return r.cfg.Now()
}
