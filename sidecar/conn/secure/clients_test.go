package secure

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/test/servertest"
)

func parsed[F any](t *testing.T, parse func([]byte) (F, error), data []byte, err error) F {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// clients verifies by the authority. Its identity is a SPIFFE ID.
func (w *world) clients(change func(*Clients)) *Clients {
	w.t.Helper()
	c := &Clients{
		Authorities: &file[certificate.Authorities]{f: parsed(w.t, certificate.ParseAuthorities, w.authority.Certificate, nil)},
		Identity:    URISAN, Provider: "client-certificates", Issuer: "urn:test", Now: time.Now,
	}
	if change != nil {
		change(c)
	}
	return c
}

// longLived returns a certificate that is valid for years.
func (w *world) longLived(name string) *certificate.Certificate {
	w.t.Helper()
	return w.parse(w.authority.Issue(name, func(c *x509.Certificate) {
		c.DNSNames, c.NotBefore, c.NotAfter = []string{name}, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0)
	}))
}

const spiffe = "spiffe://example.org/ns/shop/sa/orders"

// client returns a certificate with a SPIFFE ID; change may change it.
func (w *world) client(change func(*x509.Certificate)) *tls.Certificate {
	w.t.Helper()
	certificate, key, err := w.authority.Issue("client", func(c *x509.Certificate) {
		c.URIs = uris(w.t, spiffe)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if change != nil {
			change(c)
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &pair
}

func uris(t *testing.T, texts ...string) []*url.URL {
	t.Helper()
	var out []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

// with makes a client show a certificate, whatever CAs the server names.
func with(settings *tls.Config, c *tls.Certificate) *tls.Config {
	settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if c == nil {
			return &tls.Certificate{}, nil
		}
		return c, nil
	}
	return settings
}

// TestClientCertificates: which certificates are accepted in the handshake.
func TestClientCertificates(t *testing.T) {
	revoked := big.NewInt(4711)
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	named := func(texts ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.URIs = uris(t, texts...) }
	}
	tests := map[string]struct {
		clients func(*Clients)
		change  func(*x509.Certificate)
		// none is a client without a certificate; stranger is one of another CA.
		none, stranger bool
		wantReason     Reason
	}{
		"good":                          {},
		"none, optional":                {none: true},
		"none, required":                {none: true, clients: func(c *Clients) { c.Required = true }, wantReason: NoCertificate},
		"good, required":                {clients: func(c *Clients) { c.Required = true }},
		"expired":                       {change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, wantReason: Expired},
		"not valid yet":                 {change: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, wantReason: Expired},
		"another CA":                    {stranger: true, wantReason: Untrusted},
		"another CA, required":          {stranger: true, clients: func(c *Clients) { c.Required = true }, wantReason: Untrusted},
		"for servers only":              {change: usage(x509.ExtKeyUsageServerAuth), wantReason: Unsuitable},
		"for any purpose":               {change: usage(x509.ExtKeyUsageAny)},
		"without a purpose":             {change: usage()},
		"revoked":                       {change: func(c *x509.Certificate) { c.SerialNumber = revoked }, wantReason: Revoked},
		"no URI":                        {change: named(), wantReason: Unsuitable},
		"two URIs":                      {change: named(spiffe, "spiffe://example.org/other"), wantReason: Unsuitable},
		"a SPIFFE ID without a path":    {change: named("spiffe://example.org"), wantReason: Unsuitable},
		"a SPIFFE ID with a query":      {change: named("spiffe://example.org/a?b"), wantReason: Unsuitable},
		"another URI":                   {change: named("https://example.org/a")},
		"another URI, of a domain":      {change: named("https://example.org/a"), clients: func(c *Clients) { c.TrustDomains = []string{"example.org"} }, wantReason: Unsuitable},
		"the trust domain":              {clients: func(c *Clients) { c.TrustDomains = []string{"example.com", "example.org"} }},
		"another trust domain":          {clients: func(c *Clients) { c.TrustDomains = []string{"example.com"} }, wantReason: Unsuitable},
		"no DNS name":                   {clients: func(c *Clients) { c.Identity = DNSSAN }, wantReason: Unsuitable},
		"no URI, and nobody":            {change: named(), clients: func(c *Clients) { c.Identity = "" }},
		"no distinguished name":         {change: func(c *x509.Certificate) { c.Subject = pkix.Name{} }, clients: func(c *Clients) { c.Identity = Subject }, wantReason: Unsuitable},
		"lists that are not available":  {clients: func(c *Clients) { c.Lists = &file[certificate.Lists]{} }, wantReason: Unavailable},
		"CAs that are not available":    {clients: func(c *Clients) { c.Authorities = &file[certificate.Authorities]{} }, wantReason: Unavailable},
		"none, CAs are not available":   {none: true, clients: func(c *Clients) { c.Authorities = &file[certificate.Authorities]{} }, wantReason: Unavailable},
		"a large certificate":           {change: func(c *x509.Certificate) { c.DNSNames = manyNames(400) }},
		"a certificate that is too big": {change: func(c *x509.Certificate) { c.DNSNames = manyNames(4000) }, wantReason: Malformed},
	}
	for name, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				list, err := w.authority.Revoke(time.Now().Add(time.Hour), revoked)
				lists := &file[certificate.Lists]{f: parsed(t, certificate.ParseLists, list, err)}
				e := w.serve(Config{Clients: w.clients(func(c *Clients) {
					c.Lists = lists
					if tt.clients != nil {
						tt.clients(c)
					}
				})})
				issuer := w
				if tt.stranger {
					issuer = newWorld(t)
				}
				shown := issuer.client(tt.change)
				if tt.none {
					shown = nil
				}
				settings := with(w.settings(), shown)
				settings.MaxVersion = version
				if _, err := e.hello(t, settings); (err == nil) != (tt.wantReason == "") {
					t.Errorf("%v; want a refusal: %q", err, tt.wantReason)
				}
				if tt.wantReason != "" {
					e.refused(t, tt.wantReason, 1)
				}
			})
		}
	}
}

func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "a-long-name-to-make-the-certificate-large.example.com"
	}
	return names
}

// session returns the session of a client with the certificate.
func session(t *testing.T, c *tls.Certificate) *Session {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return &Session{ConnectionState: tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}}
}

// TestIdentity: what a certificate says about its owner.
func TestIdentity(t *testing.T) {
	w := newWorld(t)
	shown := session(t, w.client(func(c *x509.Certificate) {
		c.DNSNames = []string{"orders.shop.svc", "orders"}
		c.Subject = pkix.Name{CommonName: "orders", Organization: []string{"Shop, Inc."}, OrganizationalUnit: []string{"a", "b"}}
	}))
	for kind, want := range map[Kind]string{URISAN: spiffe, DNSSAN: "orders.shop.svc", Subject: `CN=orders,OU=a+OU=b,O=Shop\, Inc.`} {
		id, err := w.clients(func(c *Clients) { c.Identity = kind }).Verify(shown)
		if err != nil || id.Subject != want || id.Claims["sub"] != want || id.Provider != "client-certificates" || id.Issuer != "urn:test" || len(id.TokenID) != 64 {
			t.Errorf("%s: %+v, %v; want %s", kind, id, err, want)
		}
		if cn, _ := id.Claim("cn"); cn != "orders" {
			t.Errorf("%s: claims %v", kind, id.Claims)
		}
		if list, _ := id.Claims["ou"].([]any); len(list) != 2 || list[1] != "b" {
			t.Errorf("%s: claims %v", kind, id.Claims)
		}
	}
	if id, err := w.clients(func(c *Clients) { c.Identity = "" }).Verify(shown); id != nil || err != nil {
		t.Errorf("certificates identify nobody: %v, %v", id, err)
	}
	for name, s := range map[string]*Session{"no TLS": nil, "no certificate": {}} {
		if id, err := w.clients(nil).Verify(s); id != nil || err != nil {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
}

// TestVerifyAgain: a connection loses its identity when its certificate expires, when its CA is removed, and when it is revoked; and not while the files
// are not available.
func TestVerifyAgain(t *testing.T) {
	w, serial := newWorld(t), big.NewInt(7)
	other, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	empty, err := w.authority.Revoke(time.Now().Add(time.Hour))
	none := parsed(t, certificate.ParseLists, empty, err)
	with, err := w.authority.Revoke(time.Now().Add(time.Hour), big.NewInt(6), serial)
	listed := parsed(t, certificate.ParseLists, with, err)
	foreign, err := other.Revoke(time.Now().Add(time.Hour), serial)
	ofOther := parsed(t, certificate.ParseLists, foreign, err)
	mine, theirs := parsed(t, certificate.ParseAuthorities, w.authority.Certificate, nil), parsed(t, certificate.ParseAuthorities, other.Certificate, nil)
	both := parsed(t, certificate.ParseAuthorities, append(append([]byte(nil), w.authority.Certificate...), other.Certificate...), nil)
	tests := map[string]struct {
		authorities *certificate.Authorities
		lists       *certificate.Lists
		after       time.Duration
		want        error
	}{
		"nothing changes":       {mine, none, 0, nil},
		"it expires":            {mine, none, time.Hour, ErrExpired},
		"it is revoked":         {mine, listed, 0, certificate.ErrRevoked},
		"a list of another CA":  {mine, ofOther, 0, nil},
		"another CA is added":   {both, none, 0, nil},
		"the CA is removed":     {theirs, none, 0, errAny},
		"no CAs are available":  {nil, none, 0, nil},
		"no list is available":  {mine, nil, 0, nil},
		"expired, no CAs":       {nil, none, time.Hour, ErrExpired},
		"revoked under two CAs": {both, listed, 0, certificate.ErrRevoked},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			authorities, lists := &file[certificate.Authorities]{f: mine}, &file[certificate.Lists]{f: none}
			now := &clock{now: time.Now()}
			c := w.clients(func(c *Clients) { c.Authorities, c.Lists, c.Now = authorities, lists, now.Now })
			s := session(t, w.client(func(c *x509.Certificate) { c.SerialNumber = serial; c.NotAfter = time.Now().Add(50 * time.Minute) }))
			if id, err := c.Verify(s); err != nil || id.Subject != spiffe {
				t.Fatalf("at first: %v, %v", id, err)
			}
			authorities.set(tt.authorities)
			lists.set(tt.lists)
			now.set(time.Now().Add(tt.after))
			id, err := c.Verify(s)
			if (err == nil) != (tt.want == nil) || tt.want != errAny && !errors.Is(err, tt.want) || (id == nil) != (tt.want != nil) {
				t.Errorf("%v, %v; want %v", id, err, tt.want)
			}
		})
	}
}

var errAny = errors.New("any")

// TestOtherPolicy: a policy that reads another part of the certificate gets another identity from the same connection.
func TestOtherPolicy(t *testing.T) {
	w := newWorld(t)
	s := session(t, w.client(nil))
	for _, tt := range []struct {
		kind Kind
		want string
	}{{URISAN, spiffe}, {Subject, "CN=client"}, {URISAN, spiffe}} {
		if id, err := w.clients(func(c *Clients) { c.Identity = tt.kind }).Verify(s); err != nil || id.Subject != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.kind, id, err, tt.want)
		}
	}
}
