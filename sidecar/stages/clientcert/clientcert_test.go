package clientcert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/test/servertest"
)

// file is a bundle of CAs.
type file struct{ f *certificate.Authorities }

func (f *file) File() (*certificate.Authorities, error) { return f.f, nil }

// reasons records the results of events.
type reasons []string

func (r *reasons) Kinds() event.Kinds   { return event.Of(event.TokenVerified, event.TokenRefused) }
func (r *reasons) Record(e event.Event) { *r = append(*r, e.Result()) }

const spiffe = "spiffe://example.org/web"

// fixture is an authority with the session of a client.
type fixture struct {
	config  Config
	trusted *file
	session *secured.Session
	mu      sync.Mutex
	now     time.Time
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func bundle(t *testing.T) (*servertest.Authority, *certificate.Authorities) {
	t.Helper()
	a, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := certificate.ParseAuthorities(a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return a, authorities
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	a, authorities := bundle(t)
	chain, _, err := a.Issue("web", func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/web"}} })
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(chain)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{trusted: &file{authorities}, now: time.Now(), session: &secured.Session{ConnectionState: tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}}}
	f.config = Config{Provider: "client-certificates", Issuer: "urn:test", Clients: &certificate.Clients{Authorities: f.trusted, Identity: certificate.URISAN, Now: f.clock}}
	return f
}

// TestStage: which requests get the identity of the certificate, and which are refused.
func TestStage(t *testing.T) {
	other := &identity.Identity{Provider: "corp", Subject: "ada"}
	tests := map[string]struct {
		change func(*testing.T, *fixture, *request.Info)
		// wantSubject is that of the identity; empty for none.
		wantSubject string
		wantStatus  int
		wantEvents  []string
		// wantAuthnErr says that the request has no valid credential.
		wantAuthnErr bool
	}{
		"a certificate":        {wantSubject: spiffe, wantEvents: []string{"ok"}},
		"no TLS":               {change: func(_ *testing.T, f *fixture, i *request.Info) { i.TLS = nil }},
		"no certificate":       {change: func(_ *testing.T, f *fixture, i *request.Info) { i.TLS = &secured.Session{} }},
		"a token too":          {change: func(_ *testing.T, f *fixture, i *request.Info) { i.Identity = other }, wantSubject: "ada"},
		"an invalid token":     {change: func(_ *testing.T, f *fixture, i *request.Info) { i.AuthnErr = &httperr.Error{Status: 401} }, wantAuthnErr: true},
		"it identifies nobody": {change: func(_ *testing.T, f *fixture, i *request.Info) { f.config.Clients.Identity = "" }},
		"none, required": {change: func(_ *testing.T, f *fixture, i *request.Info) {
			f.config.Clients.Required, i.TLS = true, &secured.Session{}
		}, wantStatus: 401, wantEvents: []string{"client_certificate_missing"}, wantAuthnErr: true},
		"no TLS, required":      {change: func(_ *testing.T, f *fixture, i *request.Info) { f.config.Clients.Required, i.TLS = true, nil }},
		"expired":               {change: func(_ *testing.T, f *fixture, i *request.Info) { f.now = f.now.Add(2 * time.Hour) }, wantStatus: 401, wantEvents: []string{"client_certificate_expired"}, wantAuthnErr: true},
		"expired, with a token": {change: func(_ *testing.T, f *fixture, i *request.Info) { f.now, i.Identity = f.now.Add(2*time.Hour), other }, wantSubject: "ada", wantStatus: 401, wantEvents: []string{"client_certificate_expired"}},
		"its CA is removed":     {change: func(t *testing.T, f *fixture, i *request.Info) { _, f.trusted.f = bundle(t) }, wantStatus: 401, wantEvents: []string{"client_certificate_untrusted"}, wantAuthnErr: true},
		"expired, in shadow":    {change: func(_ *testing.T, f *fixture, i *request.Info) { f.now, i.Shadow = f.now.Add(2*time.Hour), true }, wantEvents: []string{"client_certificate_expired"}, wantAuthnErr: true},
		"claims that do not fit": {change: func(_ *testing.T, f *fixture, i *request.Info) {
			f.config.Headers = func(*identity.Identity) (http.Header, error) { return nil, errors.New("too large") }
		}, wantEvents: []string{"claim_headers"}, wantAuthnErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, events := newFixture(t), reasons{}
			f.config.Headers = func(id *identity.Identity) (http.Header, error) { return http.Header{"X-Client": {id.Subject}}, nil }
			info := &request.Info{TLS: f.session, Events: event.NewStream("shop/orders", &events)}
			if tt.change != nil {
				tt.change(t, f, info)
			}
			s, err := New(f.config)
			if err != nil {
				t.Fatal(err)
			}
			header, w := "", httptest.NewRecorder()
			r := request.With(httptest.NewRequest(http.MethodGet, "/", nil), info)
			err = s(stage.Func(func(_ http.ResponseWriter, r *http.Request) error { header = r.Header.Get("X-Client"); return nil })).ServeHTTP(w, r)
			status := 0
			if err != nil {
				status = httperr.From(err).Status
			}
			subject := ""
			if info.Identity != nil {
				subject = info.Identity.Subject
			}
			if status != tt.wantStatus || subject != tt.wantSubject || !slices.Equal(events, tt.wantEvents) || (info.AuthnErr != nil) != tt.wantAuthnErr {
				t.Errorf("%d, subject %q, events %q, %v", status, subject, events, info.AuthnErr)
			}
			if (header == spiffe) != (subject == spiffe) || (w.Header().Get("Connection") == "close") != (len(tt.wantEvents) > 0 && info.Decisions != nil) {
				t.Errorf("the app got %q; the response %v", header, w.Header())
			}
		})
	}
}

// TestWatch: a response in progress ends with the certificate, also if a token identifies its request.
func TestWatch(t *testing.T) {
	f := newFixture(t)
	s, err := New(f.config)
	if err != nil {
		t.Fatal(err)
	}
	info := &request.Info{TLS: f.session, Identity: &identity.Identity{Subject: "ada"}}
	r := request.With(httptest.NewRequest(http.MethodGet, "/", nil), info)
	if err := s(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil })).ServeHTTP(httptest.NewRecorder(), r); err != nil || len(info.Watches) != 1 {
		t.Fatalf("%v, %d watches", err, len(info.Watches))
	}
	if e := info.Watches[0].Ask(t.Context()); e != nil {
		t.Errorf("it ends at once: %v", e)
	}
	_, f.trusted.f = bundle(t)
	if e := info.Watches[0].Ask(t.Context()); e == nil || e.Code != "client-certificate" {
		t.Errorf("it does not end: %v", e)
	}
}

func TestNew(t *testing.T) {
	for name, c := range map[string]Config{"nothing": {}, "no issuer": {Clients: &certificate.Clients{}, Provider: "a"}, "no provider": {Clients: &certificate.Clients{}, Issuer: "a"}} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
