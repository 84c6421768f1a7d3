//go:build e2e

package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// migrating is a policy that accepts plain HTTP and TLS, in front of an app that serves TLS itself. NAME is the name that the app's certificate must have.
const migrating = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  tls: {mode: Permissive, certificates: [{secretRef: {name: public-tls}}]}
  upstreamTLS: {caRef: {secretKeyRef: {name: app-ca, key: ca.crt}}, serverName: NAME}
  headers: {preset: API}
`

// servesTLS gives the app a certificate, and its probe the scheme HTTPS.
func servesTLS(secret string) change {
	return func(spec *corev1.PodSpec) {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: secret, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}})
		app := &spec.Containers[0]
		app.VolumeMounts = append(app.VolumeMounts, corev1.VolumeMount{Name: secret, MountPath: "/tls", ReadOnly: true})
		app.Env = append(app.Env, corev1.EnvVar{Name: "TLS_CERT", Value: "/tls/tls.crt"}, corev1.EnvVar{Name: "TLS_KEY", Value: "/tls/tls.key"})
		app.ReadinessProbe.HTTPGet.Scheme = corev1.URISchemeHTTPS
	}
}

// testTLSMigration: plain HTTP and TLS on one port, and TLS to the app.
func testTLSMigration(t *testing.T) {
	s := &tlsShop{space: newSpace(t), servers: newAuthority(t)}
	apps := newAuthority(t)
	s.create(tlsSecret(s.space, publicTLS, s.servers, s.renewed(nil)))
	s.create(tlsSecret(s.space, "app-tls", apps, pair(apps.issue(t, "web", named("web.internal")))))
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "app-ca"}, Data: map[string][]byte{"ca.crt": apps.Certificate}})
	s.apply(migrating, "NAME", "web.internal")
	s.deploy("web", 2, servesTLS("app-tls"))
	s.rolledOut("web")
	s.enforced("web", 2)
	for i, p := range s.pods("web") {
		s.names[i], s.addresses[i] = p.Name, strings.TrimPrefix(podURL(&p, appPort), "http://")
	}
	t.Run("both", func(t *testing.T) { s.of(t).testBoth() })
	t.Run("tickets", func(t *testing.T) { s.of(t).testTickets() })
	t.Run("another name of the app", func(t *testing.T) {
		s := s.of(t)
		s.apply(migrating, "NAME", "other.internal")
		s.enforced("web", 2)
		eventually(t, "waiting for the app's certificate to be refused", func() error {
			got, err := s.request(0, "/x", nil)
			if err == nil && (got.status != http.StatusBadGateway || !problemIs(got, "app-bad-response")) {
				err = errStatus(got)
			}
			return err
		})
	})
}

// testBoth: each version of HTTP, with and without TLS, reaches the app by TLS. Only responses over TLS have Strict-Transport-Security.
func (s *tlsShop) testBoth() {
	for _, scheme := range []string{"http", "https"} {
		for _, http2 := range []bool{false, true} {
			c := tlsClient(s.addresses[0], s.settings(publicName), http2)
			c.Transport.(watched).Protocols.SetUnencryptedHTTP2(http2)
			got, err := sendBy(s.t, c, http.MethodPost, scheme+"://"+publicName+"/x", "12345")
			c.CloseIdleConnections()
			if err != nil || got.status != http.StatusOK {
				s.t.Errorf("%s, HTTP/2 %t: %v: %d %s", scheme, http2, err, got.status, got.body)
				continue
			}
			saw := got.seen(s.t)
			if !saw.TLS || saw.BodyBytes != 5 || saw.Headers.Get("X-Forwarded-Proto") != scheme || (got.header.Get("Strict-Transport-Security") != "") != (scheme == "https") {
				s.t.Errorf("%s, HTTP/2 %t: the app saw %+v, the client %v", scheme, http2, saw, got.header)
			}
		}
	}
	if n := s.metric(0, `postern_tls_connections_total{version="plain"}`); n < 2 {
		s.t.Errorf("%v plain connections were counted", n)
	}
}

// testTickets: a client with a session of one pod resumes it at the other one.
func (s *tlsShop) testTickets() {
	settings := s.settings(publicName)
	settings.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for pod, want := range []bool{false, true} {
		conn, err := tls.Dial("tcp", s.addresses[pod], settings)
		if err != nil {
			s.t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", publicName)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil) // the ticket comes before it
		if err != nil || response.StatusCode != http.StatusOK {
			s.t.Fatalf("%v, %v", response, err)
		}
		if resumed := conn.ConnectionState().DidResume; resumed != want {
			s.t.Errorf("at pod %d, the session is resumed: %t", pod, resumed)
		}
	}
}
