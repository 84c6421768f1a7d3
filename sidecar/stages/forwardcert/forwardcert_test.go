package forwardcert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/httpkit/xfcc"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/test/servertest"
)

// cas are the CAs of clients, or why there are none.
type cas struct {
	*certificate.Authorities
	err error
}

func (c cas) File() (*certificate.Authorities, error) { return c.Authorities, c.err }

// issued returns a certificate of a new CA, and what verifies it.
func issued(t *testing.T) ([]*x509.Certificate, *certificate.Authorities) {
	t.Helper()
	authority, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := authority.Issue("client", nil)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := certificate.ParseAuthorities(authority.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{leaf}, trusted
}

// TestOnlyGoodCertificates: a certificate that is no longer good is not forwarded, also if nothing refuses its request.
func TestOnlyGoodCertificates(t *testing.T) {
	sent, trusted := issued(t)
	_, others := issued(t)
	own := xfcc.Element(sent, []xfcc.Detail{xfcc.Hash})
	tests := map[string]struct {
		cas     cas
		sent    []*x509.Certificate
		proxied bool
		header  []string
		want    []string
	}{
		"good":                     {cas: cas{trusted, nil}, sent: sent, want: []string{own}},
		"the CA is not trusted":    {cas: cas{others, nil}, sent: sent},
		"the CAs are not known":    {cas: cas{nil, errors.New("no file")}, sent: sent},
		"no certificate":           {cas: cas{trusted, nil}},
		"forged":                   {cas: cas{trusted, nil}, header: []string{"Hash=1"}},
		"forged, untrusted":        {cas: cas{others, nil}, sent: sent, header: []string{"Hash=1"}},
		"of proxies, on two lines": {cas: cas{trusted, nil}, sent: sent, proxied: true, header: []string{"Hash=1", "Hash=2"}, want: []string{"Hash=1,Hash=2," + own}},
		"of a proxy, and empty":    {cas: cas{trusted, nil}, sent: sent, proxied: true, header: []string{""}, want: []string{own}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{Details: []xfcc.Detail{xfcc.Hash}, Clients: &certificate.Clients{Authorities: tt.cas}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			h := s(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
				got = r.Header[xfcc.Header]
				return nil
			}))
			info := &request.Info{Proxied: tt.proxied, TLS: &secured.Session{ConnectionState: tls.ConnectionState{PeerCertificates: tt.sent}}}
			r := httptest.NewRequest("GET", "/", nil)
			if tt.header != nil {
				r.Header[xfcc.Header] = tt.header
			}
			if err := h.ServeHTTP(httptest.NewRecorder(), request.With(r, info)); err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		config Config
		want   string
	}{
		"unknown detail": {Config{Details: []xfcc.Detail{"By"}, Clients: &certificate.Clients{}}, "not a detail"},
		"no Clients":     {Config{Details: []xfcc.Detail{xfcc.Hash}}, "Clients is required"},
	} {
		if _, err := New(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
