//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/test/servertest"
)

// authority is a CA of a test.
type authority struct{ *servertest.Authority }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	addKey(a.Key)
	return &authority{a}
}

// addKey registers each line of a private key in PEM as a secret.
func addKey(key []byte) {
	for line := range bytes.Lines(key) {
		if line = bytes.TrimSpace(line); !bytes.HasPrefix(line, []byte("-----")) {
			secrets.add("a private key", string(line))
		}
	}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Certificate)
	return pool
}

// issue returns a certificate and its key, as PEM.
func (a *authority) issue(t *testing.T, name string, change func(*x509.Certificate)) (certificate, key []byte) {
	t.Helper()
	certificate, key, err := a.Issue(name, change)
	if err != nil {
		t.Fatal(err)
	}
	addKey(key)
	return certificate, key
}

// client returns a client's certificate with that URI.
func (a *authority) client(t *testing.T, uri string) tls.Certificate {
	t.Helper()
	id, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.X509KeyPair(a.issue(t, "client", func(c *x509.Certificate) { c.URIs = []*url.URL{id} }))
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// named returns a change to a certificate for those DNS names.
func named(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// keyPair is a certificate with its key, as PEM.
type keyPair struct{ certificate, key []byte }

func pair(certificate, key []byte) keyPair { return keyPair{certificate, key} }

// tlsSecret is a Secret as cert-manager writes it.
func tlsSecret(s *space, name string, ca *authority, p keyPair) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name, Annotations: map[string]string{"cert-manager.io/certificate-name": name}},
		Type:       corev1.SecretTypeTLS, Data: map[string][]byte{"ca.crt": ca.Certificate, "tls.crt": p.certificate, "tls.key": p.key},
	}
}

// tlsClient returns a client of one version of HTTP that connects to address, whatever the URL says.
func tlsClient(address string, settings *tls.Config, http2 bool) *http.Client {
	c := newHTTPClient(true)
	transport := c.Transport.(watched).Transport
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	transport.TLSClientConfig = settings
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return c
}

// request sends a GET on its own connection by TLS to one of the pods.
func (s *tlsShop) request(pod int, path string, own []tls.Certificate, fields ...string) (response, error) {
	c := tlsClient(s.addresses[pod], s.settings(publicName, own...), pod == 1)
	defer c.CloseIdleConnections()
	return sendBy(s.t, c, http.MethodGet, "https://"+publicName+path, "", fields...)
}

// testClients: certificates of clients are their credentials. One that is not valid is refused in the handshake, and counted.
func (s *tlsShop) testClients() {
	other := newAuthority(s.t)
	for name, tt := range map[string]struct {
		own  []tls.Certificate
		path string
		// want is the status, or 0 for a refused handshake, which is counted with the reason.
		want       int
		wantReason string
	}{
		"none, public":         {nil, "/public/x", 200, ""},
		"none":                 {nil, "/x", 401, ""},
		"the identity":         {[]tls.Certificate{s.clients.client(s.t, ordersID)}, "/invoices/1", 200, ""},
		"another identity":     {[]tls.Certificate{s.clients.client(s.t, "spiffe://cluster.example.org/ns/shop/sa/mail")}, "/invoices/1", 403, ""},
		"another, elsewhere":   {[]tls.Certificate{s.clients.client(s.t, "spiffe://cluster.example.org/ns/shop/sa/mail")}, "/x", 200, ""},
		"another trust domain": {[]tls.Certificate{s.clients.client(s.t, "spiffe://evil.example.org/ns/shop/sa/orders")}, "/public/x", 0, "client_certificate_unsuitable"},
		"another CA":           {[]tls.Certificate{other.client(s.t, ordersID)}, "/public/x", 0, "client_certificate_untrusted"},
	} {
		s.t.Run(name, func(t *testing.T) {
			s := s.of(t)
			for pod := range s.addresses {
				before := 0.0
				if tt.want == 0 {
					before = s.refused(pod, tt.wantReason)
				}
				got, err := s.request(pod, tt.path, tt.own, "X-Client: root", "X-Forwarded-Client-Cert: Hash=forged")
				if tt.want == 0 {
					if err == nil {
						t.Errorf("it is accepted: %d %s", got.status, got.body)
					}
					s.refusals(pod, tt.wantReason, before+1)
					continue
				}
				if err != nil || got.status != tt.want {
					t.Errorf("%v: %d %s; want %d", err, got.status, got.body, tt.want)
				}
				if name == "the identity" {
					s.sawCertificate(got.seen(t).Headers, tt.own[0])
				}
			}
		})
	}
}

// sawCertificate: the app gets what the policy tells it about the client's certificate, and nothing that the client says.
func (s *tlsShop) sawCertificate(saw http.Header, own tls.Certificate) {
	s.t.Helper()
	sum := sha256.Sum256(own.Certificate[0])
	details := strings.Join(saw.Values("X-Forwarded-Client-Cert"), ", ")
	for _, want := range []string{"Hash=" + hex.EncodeToString(sum[:]), `Subject="CN=client"`, "URI=" + ordersID} {
		if !strings.Contains(details, want) {
			s.t.Errorf("%s is not in %s", want, details)
		}
	}
	if strings.Contains(details, "forged") || saw.Get("X-Client") != ordersID {
		s.t.Errorf("the app saw %v", saw)
	}
}

// refused returns how many handshakes a pod has refused with the reason.
func (s *tlsShop) refused(pod int, reason string) float64 {
	s.t.Helper()
	return s.metric(pod, `postern_tls_handshakes_refused_total{reason="`+reason+`"}`)
}

// refusals waits until a pod has refused that many handshakes with the reason. It counts them after it has told the client.
func (s *tlsShop) refusals(pod int, reason string, want float64) {
	s.t.Helper()
	eventually(s.t, "waiting for refusals with the reason "+reason, func() error {
		if got := s.refused(pod, reason); got != want {
			return fmt.Errorf("%v were counted; want %v", got, want)
		}
		return nil
	})
}

// testClientsRequired: when certificates become necessary, clients without are refused: in the handshake, and on connections that are older than the policy.
func (s *tlsShop) testClientsRequired() {
	own := []tls.Certificate{s.clients.client(s.t, ordersID)}
	old := tlsClient(s.addresses[0], s.settings(publicName), false)
	defer old.CloseIdleConnections()
	ask := func() (response, error) {
		return sendBy(s.t, old, http.MethodGet, "https://"+publicName+"/public/x", "")
	}
	if got, err := ask(); err != nil || got.status != http.StatusOK {
		s.t.Fatalf("%v: %d %s", err, got.status, got.body)
	}
	s.require(v1alpha1.ClientCertificatesRequire)
	s.enforced("orders", 2)
	if got, err := ask(); err != nil || got.status != http.StatusUnauthorized || !problemIs(got, "client-certificate") {
		s.t.Errorf("an open connection without a certificate: %v: %d %s", err, got.status, got.body)
	}
	for pod := range s.addresses {
		before := s.refused(pod, "no_client_certificate")
		if got, err := s.request(pod, "/public/x", nil); err == nil {
			s.t.Errorf("without a certificate: %d %s", got.status, got.body)
		}
		s.refusals(pod, "no_client_certificate", before+1)
		if got, err := s.request(pod, "/public/x", own); err != nil || got.status != http.StatusOK {
			s.t.Errorf("with a certificate: %v: %d %s", err, got.status, got.body)
		}
	}
}
