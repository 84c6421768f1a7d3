package resources

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
	"github.com/posterndev/postern/test/servertest"
)

// secrets are mounted Secrets, and a clock.
type secrets struct {
	*Resources
	dir       string
	authority *servertest.Authority
	ahead     atomic.Int64
}

func newSecrets(t *testing.T) *secrets {
	t.Helper()
	a, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s := &secrets{dir: t.TempDir(), authority: a}
	s.Resources, err = New(Config{
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: s.dir, CloseDelay: time.Millisecond,
		Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *secrets) write(t *testing.T, file string, content []byte, err error) {
	t.Helper()
	path := filepath.Join(s.dir, file)
	if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *secrets) writePair(t *testing.T, change func(*x509.Certificate)) {
	t.Helper()
	chain, key, err := s.authority.Issue("orders", change)
	s.write(t, "orders-tls/tls.crt", chain, err)
	s.write(t, "orders-tls/tls.key", key, err)
}

// problems returns the problems with certificates as "reason: a part of the message".
func (s *secrets) problems(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, p := range s.Problems() {
		if p.Kind != compiled.ProblemCertificate {
			t.Errorf("%+v", p)
		}
		out = append(out, p.Reason)
	}
	return out
}

func tlsPolicy(change func(*compiled.Policy)) *compiled.Policy {
	p := &compiled.Policy{Namespace: "shop", Name: "orders", TLS: &compiled.TLS{Mode: compiled.TLSRequire, MinVersion: compiled.TLS13, Certificates: []compiled.Certificate{{
		Chain: &compiled.SecretRef{Name: "orders-tls", Key: "tls.crt"}, Key: &compiled.SecretRef{Name: "orders-tls", Key: "tls.key"},
	}}}}
	if change != nil {
		change(p)
	}
	return p
}

// tls acquires the TLS of a policy until the end of the test.
func (s *secrets) tls(t *testing.T, change func(*compiled.Policy)) *TLS {
	t.Helper()
	a, err := s.Acquire(tlsPolicy(change))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	got, err := a.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestCertificateProblems: what is missing, and what is out of date, is reported with a reason, and a sidecar without it is not ready.
func TestCertificateProblems(t *testing.T) {
	clients := func(p *compiled.Policy) {
		p.TLS.ClientCertificates = &compiled.ClientCertificates{CA: &compiled.SecretRef{Name: "ca", Key: "ca.crt"}, CRL: &compiled.SecretRef{Name: "ca", Key: "crl"}}
	}
	year := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now(), time.Now().AddDate(1, 0, 0) }
	tests := map[string]struct {
		policy func(*compiled.Policy)
		// prepare writes Secrets.
		prepare     func(*testing.T, *secrets)
		after       time.Duration
		want        []string
		wantUnready string
	}{
		"good":           {prepare: func(t *testing.T, s *secrets) { s.writePair(t, year) }},
		"no Secret":      {prepare: func(*testing.T, *secrets) {}, want: []string{"Unavailable"}, wantUnready: "the certificate secret/orders-tls is not available yet"},
		"about to end":   {prepare: func(t *testing.T, s *secrets) { s.writePair(t, year) }, after: 300 * 24 * time.Hour, want: []string{"Expiring"}},
		"it has expired": {prepare: func(t *testing.T, s *secrets) { s.writePair(t, year) }, after: 400 * 24 * time.Hour, want: []string{"Expired"}},
		"no CA, no list": {policy: clients, prepare: func(t *testing.T, s *secrets) { s.writePair(t, year) }, want: []string{"Unavailable", "Unavailable"}, wantUnready: "the revocation lists are not available yet"},
		"an old list": {policy: clients, prepare: func(t *testing.T, s *secrets) {
			s.writePair(t, year)
			s.write(t, "ca/ca.crt", s.authority.Certificate, nil)
			list, err := s.authority.Revoke(time.Now().Add(time.Hour), big.NewInt(1))
			s.write(t, "ca/crl", list, err)
		}, after: 2 * time.Hour, want: []string{"ListOutdated"}},
		"a list of another CA": {policy: clients, prepare: func(t *testing.T, s *secrets) {
			s.writePair(t, year)
			s.write(t, "ca/ca.crt", s.authority.Certificate, nil)
			other, err := servertest.NewNamedAuthority("other")
			if err != nil {
				t.Fatal(err)
			}
			list, err := other.Revoke(time.Now().Add(time.Hour), big.NewInt(1))
			s.write(t, "ca/crl", list, err)
		}, want: []string{"Unavailable"}, wantUnready: "the revocation lists are not available yet"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSecrets(t)
			tt.prepare(t, s)
			a, err := s.Acquire(tlsPolicy(tt.policy))
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			got, err := a.TLS()
			if err != nil || len(got.Certificates) != 1 || got.Scope != "shop/orders" || got.MinVersion == 0 || (got.Clients != nil) != (tt.policy != nil) {
				t.Fatalf("%+v, %v", got, err)
			}
			s.ahead.Store(int64(tt.after))
			if reasons := s.problems(t); !slices.Equal(reasons, tt.want) {
				t.Errorf("problems %q; want %q", reasons, tt.want)
			}
			if unready := s.Unready(); unready != tt.wantUnready {
				t.Errorf("unready: %q; want %q", unready, tt.wantUnready)
			}
		})
	}
}

// TestExpiringSaysWhy: the problem of a certificate that is about to expire has the error that keeps it from being replaced. A new certificate that has
// expired already does not replace it.
func TestExpiringSaysWhy(t *testing.T) {
	s := newSecrets(t)
	s.writePair(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(100*time.Hour) })
	got := s.tls(t, nil)
	first, err := got.Certificates[0].Current()
	if err != nil || !s.CertificatesExpire().Equal(first.NotAfter()) {
		t.Fatalf("%s is the first expiry, not %s: %v", s.CertificatesExpire(), first.NotAfter(), err)
	}
	s.ahead.Store(int64(90 * time.Hour))
	s.writePair(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(time.Hour) })
	vaulttest.Eventually(t, "the reason", func() bool {
		p := s.Problems()
		return len(p) == 1 && p[0].Reason == "Expiring" && strings.Contains(p[0].Message, "expires at "+first.NotAfter().UTC().Format(time.RFC3339)) &&
			strings.Contains(p[0].Message, "the new one expired at")
	})
	if now, _ := got.Certificates[0].Current(); now != first {
		t.Error("a certificate that has expired replaced another one")
	}
}

// TestNotYetValid: a certificate that is not valid yet replaces another one when it is.
func TestNotYetValid(t *testing.T) {
	s := newSecrets(t)
	s.writePair(t, nil)
	got := s.tls(t, nil)
	first, err := got.Certificates[0].Current()
	if err != nil {
		t.Fatal(err)
	}
	s.writePair(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(100*time.Hour)
	})
	vaulttest.Eventually(t, "the reason", func() bool {
		err := got.Certificates[0].Err()
		return err != nil && strings.Contains(err.Error(), "the new one is valid from")
	})
	if now, _ := got.Certificates[0].Current(); now != first {
		t.Error("a certificate that is not valid yet replaced another one")
	}
	s.ahead.Store(int64(2 * time.Hour))
	vaulttest.Eventually(t, "the new certificate", func() bool { now, _ := got.Certificates[0].Current(); return now != first })
}

// TestWrongListLiftsNothing: a list that none of the CAs has signed does not replace the last good one.
func TestWrongListLiftsNothing(t *testing.T) {
	s := newSecrets(t)
	s.writePair(t, nil)
	s.write(t, "ca/ca.crt", s.authority.Certificate, nil)
	list, err := s.authority.Revoke(time.Now().Add(time.Hour), big.NewInt(7))
	s.write(t, "ca/crl", list, err)
	got := s.tls(t, func(p *compiled.Policy) {
		p.TLS.ClientCertificates = &compiled.ClientCertificates{CA: &compiled.SecretRef{Name: "ca", Key: "ca.crt"}, CRL: &compiled.SecretRef{Name: "ca", Key: "crl"}}
	})
	lists := got.Clients.Lists.(*certificate.ListStore)
	first, err := lists.File()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"servertest", "other"} { // the first has the name of the CA
		other, err := servertest.NewNamedAuthority(name)
		if err != nil {
			t.Fatal(err)
		}
		list, err := other.Revoke(time.Now().Add(time.Hour))
		s.write(t, "ca/crl", list, err)
		vaulttest.Eventually(t, "the problem", func() bool { return lists.Err() != nil && slices.Equal(s.problems(t), []string{"RefreshFails"}) })
		if now, _ := lists.File(); now != first {
			t.Errorf("a list of %q replaced that of the CA", name)
		}
		s.write(t, "ca/crl", list[:0], nil)
	}
	list, err = s.authority.Revoke(time.Now().Add(time.Hour), big.NewInt(7), big.NewInt(8))
	s.write(t, "ca/crl", list, err)
	vaulttest.Eventually(t, "the CA's new list", func() bool { now, err := lists.File(); return err == nil && now.Len() == 2 })
}

// TestDocumentsShareCertificates: a reload reads no certificate again, and the last user closes it. A deleted policy keeps its certificates, and asks clients for none.
func TestDocumentsShareCertificates(t *testing.T) {
	s := newSecrets(t)
	s.writePair(t, nil)
	s.write(t, "ca/ca.crt", s.authority.Certificate, nil)
	clients := func(p *compiled.Policy) {
		p.TLS.ClientCertificates = &compiled.ClientCertificates{CA: &compiled.SecretRef{Name: "ca", Key: "ca.crt"}}
		p.UpstreamTLS = &compiled.UpstreamTLS{CA: &compiled.SecretRef{Name: "ca", Key: "ca.crt"}, ServerName: "orders"}
	}
	acquire := func(change func(*compiled.Policy)) (*Acquirer, *TLS) {
		t.Helper()
		a, err := s.Acquire(tlsPolicy(change))
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.TLS()
		if err != nil {
			t.Fatal(err)
		}
		return a, got
	}
	a, one := acquire(clients)
	b, two := acquire(clients)
	upstream, err := b.UpstreamTLS()
	if err != nil || upstream.Authorities != one.Clients.Authorities {
		t.Errorf("the CAs of clients and of the app are read twice: %v", err)
	}
	c, deleted := acquire(func(p *compiled.Policy) { clients(p); p.Deleted = true })
	if one.Certificates[0] != two.Certificates[0] || one.Certificates[0] != deleted.Certificates[0] || deleted.Clients != nil || one.VerifiesClients() == nil {
		t.Error("documents do not share their certificates")
	}
	for _, acquirer := range []*Acquirer{a, b, c} {
		acquirer.Close()
	}
	if n := len(s.certificates.InUse()) + len(s.authorities.InUse()); n != 0 {
		t.Errorf("%d in use after all were closed", n)
	}
}

// TestCertificatesOfVault: a certificate of KV, and one that a real Vault issues, are available when the document is active.
func TestCertificatesOfVault(t *testing.T) {
	server, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	s := newSecrets(t)
	chain, key, err := s.authority.Issue("orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	server.Put(t, "tls", map[string]any{"tls.crt": string(chain), "tls.key": string(key)})
	if err := server.Root().Sys().Mount("pki", &api.MountInput{Type: "pki"}); err != nil {
		t.Fatal(err)
	}
	server.Write(t, "pki/root/generate/internal", map[string]any{"common_name": "root", "key_type": "ec"})
	server.Write(t, "pki/roles/shop", map[string]any{"allow_any_name": true, "max_ttl": "24h"})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(server.Root().Token()), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := s.Acquire(tlsPolicy(func(p *compiled.Policy) {
		p.Vault = &compiled.Vault{
			Address: server.Address, CABundle: string(server.CABundle), TokenFile: token,
			Timeout: compiled.Duration(10 * time.Second), PollInterval: compiled.Duration(time.Second), MaxStale: compiled.Duration(time.Hour),
		}
		p.TLS.Certificates = []compiled.Certificate{
			{Chain: &compiled.SecretRef{VaultPath: "secret/tls", Key: "tls.crt"}, Key: &compiled.SecretRef{VaultPath: "secret/tls", Key: "tls.key"}},
			{PKI: &compiled.VaultPKI{Mount: "pki", Role: "shop", CommonName: "orders.shop.svc", AltNames: []string{"orders"}, TTL: compiled.Duration(time.Hour)}},
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	got, err := a.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"vault/secret/tls", "pki/pki/shop/orders.shop.svc"} {
		held := got.Certificates[i]
		vaulttest.Eventually(t, want, func() bool { c, err := held.Current(); return err == nil && c.Len() > 0 })
		if held.Name() != want || held.Shared() != (i == 0) {
			t.Errorf("%s, shared %t", held.Name(), held.Shared())
		}
	}
	if unready := s.Unready(); strings.Contains(unready, "certificate") {
		t.Error(unready)
	}
	server.Put(t, "tls", map[string]any{"tls.crt": "x", "tls.key": string(key)})
	vaulttest.Eventually(t, "the broken version", func() bool { return len(s.problems(t)) == 1 })
	if _, err := got.Certificates[0].Current(); err != nil {
		t.Errorf("the last good certificate is not kept: %v", err)
	}
}
