//go:build e2e

package e2e

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// bundle writes the CA of the Secret's certificates to a file.
func (s *tlsShop) bundle() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, s.servers.Certificate, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// replace replaces the content of the Secret, and makes the kubelet look at it now.
func (s *tlsShop) replace(p keyPair) {
	s.t.Helper()
	if err := s.c.Update(s.t.Context(), tlsSecret(s.space, publicTLS, s.servers, p)); err != nil {
		s.t.Fatal(err)
	}
	for _, p := range s.pods("orders") {
		s.refreshVolumes(&p)
	}
}

// renewed returns a new certificate of that name. change may be nil.
func (s *tlsShop) renewed(change func(*x509.Certificate)) keyPair {
	return pair(s.servers.issue(s.t, publicName, func(c *x509.Certificate) {
		c.DNSNames = []string{publicName}
		if change != nil {
			change(c)
		}
	}))
}

// testRotation: a new certificate in the Secret is used for new connections, while requests go on over those that are open.
func (s *tlsShop) testRotation() {
	var dials atomic.Int64
	var loads []*load
	for pod := range s.addresses {
		l := &load{t: s.t, client: func() *http.Client {
			c := tlsClient(s.addresses[pod], s.settings(publicName), pod == 1)
			c.Transport.(watched).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				dials.Add(1)
				return new(net.Dialer).DialContext(ctx, "tcp", s.addresses[pod])
			}
			return c
		}}
		l.start(50, "https://"+publicName+"/public/x", nil)
		loads = append(loads, l)
	}
	eventually(s.t, "waiting for all connections", func() error {
		if n := dials.Load(); n < 2*loadWorkers {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	old, rotations := s.leaf(0, publicName), s.metric(0, `postern_tls_certificate_rotations_total{certificate="secret/`+publicTLS+`"}`)
	began := time.Now()
	s.replace(s.renewed(nil))
	for pod := range s.addresses {
		eventually(s.t, "waiting for the new certificate", func() error {
			if s.leaf(pod, publicName).Equal(old) {
				return errors.New("the old one is in use")
			}
			return nil
		})
	}
	took, sent := since(began), 0
	for _, l := range loads {
		l.wait(50)
		sent += l.stop()
	}
	if n := dials.Load(); n != 2*loadWorkers {
		s.t.Errorf("there were %d connections; want %d, and none closed", n, 2*loadWorkers)
	}
	if now := s.metric(0, `postern_tls_certificate_rotations_total{certificate="secret/`+publicTLS+`"}`); now != rotations+1 {
		s.t.Errorf("%v rotations after %v", now, rotations)
	}
	measured(s.t, "a new certificate in a Secret, with the pods annotated: used by both pods after %v; %d requests over %d open connections, none failed", took, sent, dials.Load())
}

// testBadCertificates: what cannot be used does not replace the certificate in use. The condition and an event say why.
func (s *tlsShop) testBadCertificates() {
	good := s.leaf(0, publicName)
	for i, bad := range []struct {
		p    keyPair
		want string
	}{
		{pair(s.renewed(nil).certificate, s.renewed(nil).key), "private key does not match public key"},
		{s.renewed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "the new one expired at"},
	} {
		s.replace(bad.p)
		s.hasCondition("orders", v1alpha1.ConditionCertificateReady, metav1.ConditionFalse, v1alpha1.ReasonRefreshFails, "secret/"+publicTLS, bad.want)
		for pod := range s.addresses {
			if !s.leaf(pod, publicName).Equal(good) {
				s.t.Errorf("%s: it replaced the certificate in use", bad.want)
			}
			if got, err := s.request(pod, "/public/x", nil); err != nil || got.status != http.StatusOK {
				s.t.Errorf("%s: %v: %d %s", bad.want, err, got.status, got.body)
			}
		}
		if i == 0 {
			s.warned("orders", v1alpha1.ReasonRefreshFails)
		}
		s.replace(s.renewed(nil))
		s.hasCondition("orders", v1alpha1.ConditionCertificateReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		good = s.leaf(0, publicName)
	}
}

// warned waits for a warning event about the policy with the reason.
func (s *space) warned(policy, reason string) {
	s.t.Helper()
	eventually(s.t, "waiting for the event "+reason, func() error {
		out, err := kubectl("get", "events", "-n", s.name, "--field-selector", "type=Warning,reason="+reason+",involvedObject.name="+policy, "-o", "name")
		if err == nil && out == "" {
			err = errors.New("there is none")
		}
		return err
	})
}

// late is a policy whose only certificate does not exist yet.
const late = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: late}
spec:
  selector: {matchLabels: {app: late}}
  tls: {mode: Require, certificates: [{secretRef: {name: late-tls}}]}
`

// testMissingSecret: without its Secret a pod is not ready and refuses handshakes, until the Secret exists.
func (s *tlsShop) testMissingSecret() {
	s.apply(late)
	s.create(pod(s.name, "late"))
	s.hasCondition("late", v1alpha1.ConditionCertificateReady, metav1.ConditionFalse, v1alpha1.ReasonCertificateUnavailable, "secret/late-tls")
	s.warned("late", v1alpha1.ReasonCertificateUnavailable)
	p := s.pods("late")[0]
	shop := s.of(s.t)
	shop.addresses[0] = strings.TrimPrefix(podURL(&p, appPort), "http://")
	if _, err := shop.shown(0, s.settings(publicName)); err == nil {
		s.t.Error("a handshake without a certificate is accepted")
	}
	shop.refusals(0, "unavailable", 1)
	if ready(&p) {
		s.t.Error("the pod is ready without a certificate")
	}
	s.create(tlsSecret(s.space, "late-tls", s.servers, s.renewed(nil)))
	s.refreshVolumes(&p)
	s.ready("late")
	if got, err := shop.request(0, "/x", nil); err != nil || got.status != http.StatusOK {
		s.t.Errorf("%v: %d %s", err, got.status, got.body)
	}
	s.hasCondition("late", v1alpha1.ConditionCertificateReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
