package secure

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/certificate"
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

// parseLists reads lists of the authority.
func (w *world) parseLists(data []byte) (*certificate.Lists, error) {
	return certificate.ParseLists(data, parsed(w.t, certificate.ParseAuthorities, w.authority.Certificate, nil))
}

// clients verifies by the authority. Its identity is a SPIFFE ID.
func (w *world) clients(change func(*certificate.Clients)) *certificate.Clients {
	w.t.Helper()
	c := &certificate.Clients{
		Authorities: &file[certificate.Authorities]{f: parsed(w.t, certificate.ParseAuthorities, w.authority.Certificate, nil)},
		Identity:    certificate.URISAN, Now: time.Now,
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
		clients func(*certificate.Clients)
		change  func(*x509.Certificate)
		// none is a client without a certificate; stranger is one of another CA.
		none, stranger bool
		wantReason     Reason
	}{
		"good":                          {},
		"none, optional":                {none: true},
		"none, required":                {none: true, clients: func(c *certificate.Clients) { c.Required = true }, wantReason: NoCertificate},
		"good, required":                {clients: func(c *certificate.Clients) { c.Required = true }},
		"expired":                       {change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, wantReason: Expired},
		"not valid yet":                 {change: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, wantReason: Expired},
		"another CA":                    {stranger: true, wantReason: Untrusted},
		"another CA, required":          {stranger: true, clients: func(c *certificate.Clients) { c.Required = true }, wantReason: Untrusted},
		"for servers only":              {change: usage(x509.ExtKeyUsageServerAuth), wantReason: Unsuitable},
		"for any purpose":               {change: usage(x509.ExtKeyUsageAny)},
		"without a purpose":             {change: usage()},
		"revoked":                       {change: func(c *x509.Certificate) { c.SerialNumber = revoked }, wantReason: Revoked},
		"no URI":                        {change: named(), wantReason: Unsuitable},
		"two URIs":                      {change: named(spiffe, "spiffe://example.org/other"), wantReason: Unsuitable},
		"a SPIFFE ID without a path":    {change: named("spiffe://example.org"), wantReason: Unsuitable},
		"a SPIFFE ID with a query":      {change: named("spiffe://example.org/a?b"), wantReason: Unsuitable},
		"another URI":                   {change: named("https://example.org/a")},
		"another URI, of a domain":      {change: named("https://example.org/a"), clients: func(c *certificate.Clients) { c.TrustDomains = []string{"example.org"} }, wantReason: Unsuitable},
		"the trust domain":              {clients: func(c *certificate.Clients) { c.TrustDomains = []string{"example.com", "example.org"} }},
		"another trust domain":          {clients: func(c *certificate.Clients) { c.TrustDomains = []string{"example.com"} }, wantReason: Unsuitable},
		"no DNS name":                   {clients: func(c *certificate.Clients) { c.Identity = certificate.DNSSAN }, wantReason: Unsuitable},
		"no URI, and nobody":            {change: named(), clients: func(c *certificate.Clients) { c.Identity = "" }},
		"no distinguished name":         {change: func(c *x509.Certificate) { c.Subject = pkix.Name{} }, clients: func(c *certificate.Clients) { c.Identity = certificate.Subject }, wantReason: Unsuitable},
		"lists that are not available":  {clients: func(c *certificate.Clients) { c.Lists = &file[certificate.Lists]{} }, wantReason: Unavailable},
		"CAs that are not available":    {clients: func(c *certificate.Clients) { c.Authorities = &file[certificate.Authorities]{} }, wantReason: Unavailable},
		"none, CAs are not available":   {none: true, clients: func(c *certificate.Clients) { c.Authorities = &file[certificate.Authorities]{} }, wantReason: Unavailable},
		"a large certificate":           {change: func(c *x509.Certificate) { c.DNSNames = manyNames(400) }},
		"a certificate that is too big": {change: func(c *x509.Certificate) { c.DNSNames = manyNames(4000) }, wantReason: Malformed},
	}
	for name, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				list, err := w.authority.Revoke(time.Now().Add(time.Hour), revoked)
				lists := &file[certificate.Lists]{f: parsed(t, w.parseLists, list, err)}
				e := w.serve(Config{Clients: w.clients(func(c *certificate.Clients) {
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

// TestAlertArrives: a client that sends its request when its handshake has failed can send it, and reads the alert.
func TestAlertArrives(t *testing.T) {
	w := newWorld(t)
	e := w.serve(Config{Clients: w.clients(nil)})
	settings := with(w.settings(), newWorld(t).client(nil))
	for i := range 30 {
		conn, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(waitLimit))
		c := tls.Client(conn, settings)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		e.refused(t, Untrusted, i+1)
		for range 2 {
			if _, err := c.Write(make([]byte, 8<<10)); err != nil {
				t.Fatalf("sending: %v", err)
			}
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "bad certificate") {
			t.Fatalf("%v; want the alert", err)
		}
		_ = conn.Close()
	}
}
