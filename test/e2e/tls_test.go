//go:build e2e

package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// secured is a policy with TLS: a certificate of Vault's PKI, and one of a Secret. Its clients may have certificates, and tokens may be bound to a key.
// SPACE and MODE are placeholders.
const secured = ofCorp + `      proofOfPossession: {mode: Optional, methods: [mTLS, DPoP], dpop: {algorithms: [ES256], maxAge: 1m, onFailure: Deny}}
  sidecarClassName: SPACE
  tls:
    mode: Require
    certificates:
    - vault: {pki: {mount: pki, role: SPACE, commonName: orders.SPACE.svc}}
    - secretRef: {name: public-tls}
    minVersion: "1.2"
    clientCertificates:
      mode: MODE
      caRef: {secretKeyRef: {name: clients-ca, key: ca.crt}}
      identity: URISAN
      trustDomains: [cluster.example.org]
      claimsToHeaders: [{claim: sub, header: X-Client}]
  authorization:
    default: Authenticated
    rules:
    - {name: public, match: [{paths: [/public/**]}], require: Anonymous}
    - name: invoices
      match: [{paths: [/invoices/**]}]
      providers: [client-certificates]
      claims: [{claim: sub, any: ['` + ordersID + `']}]
  forwardClientCert:
    fromProxies: Use
    toApp: [Hash, Subject, URI]
  headers: {preset: API}
`

const (
	// ordersID is the SPIFFE ID that may read invoices.
	ordersID = "spiffe://cluster.example.org/ns/shop/sa/orders"
	// publicName is the name of the certificate in the Secret public-tls.
	publicName = "orders.example.com"
	publicTLS  = "public-tls"
)

// tlsShop is a Deployment of two pods with the policy secured.
type tlsShop struct {
	*space
	vault *vaultServer
	// root is the CA of Vault's PKI.
	root []byte
	id   *issuer
	// servers issues the certificates of the Secret, and clients those of clients.
	servers, clients *authority
	// ownName is the name of the certificates of PKI.
	ownName string
	// names and readySince are the pods' names, and since when they are ready.
	names      [2]string
	readySince [2]time.Time
	// addresses are those of the pods, with their port.
	addresses [2]string
}

// newTLSShop deploys the app. lifetime is that of the certificates of PKI, which is added to the 30 seconds before they are issued.
func newTLSShop(t *testing.T, lifetime time.Duration) *tlsShop {
	t.Helper()
	s := &tlsShop{space: newSpace(t), vault: newVault(t), id: newIssuer(t), servers: newAuthority(t), clients: newAuthority(t)}
	s.ownName = "orders." + s.name + ".svc"
	s.vault.write(t, "pki/roles/"+s.name, map[string]any{
		"allowed_domains": s.name + ".svc", "allow_subdomains": true, "key_type": "ec", "key_bits": 256, "ttl": fmt.Sprint(lifetime), "no_store": true,
	})
	read, err := s.vault.Logical().ReadWithContext(t.Context(), "pki/cert/ca")
	if err != nil || read == nil {
		t.Fatalf("reading the CA of PKI: %v, %v", read, err)
	}
	root, _ := read.Data["certificate"].(string)
	s.root = []byte(root)
	redis := map[string]any{
		"addresses": []any{"postern-redis." + systemNamespace + ".svc:6379"}, "timeout": "500ms",
		"passwordRef": map[string]any{"secretKeyRef": map[string]any{"name": "postern-redis", "key": "password"}},
	}
	s.class(s.name, map[string]any{"redis": redis, "vault": s.vault.class("")["vault"]})
	s.create(tlsSecret(s.space, publicTLS, s.servers, pair(s.servers.issue(t, publicName, named(publicName)))))
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "clients-ca"}, Data: map[string][]byte{"ca.crt": s.clients.Certificate}})
	s.require(v1alpha1.ClientCertificatesOptional)
	s.deploy("orders", 2, func(spec *corev1.PodSpec) {
		spec.Containers[0].LivenessProbe = spec.Containers[0].ReadinessProbe.DeepCopy()
	})
	s.rolledOut("orders")
	s.enforced("orders", 2)
	for i, p := range s.pods("orders") {
		s.names[i], s.readySince[i], s.addresses[i] = p.Name, readySince(&p), strings.TrimPrefix(podURL(&p, appPort), "http://")
	}
	return s
}

// require applies the policy with that mode of client certificates.
func (s *tlsShop) require(mode v1alpha1.ClientCertificateMode) {
	s.apply(secured, "SPACE", s.name, "MODE", string(mode), "JWKS", s.id.jwks())
}

// of returns the same shop for a subtest.
func (s *tlsShop) of(t *testing.T) *tlsShop {
	shop := *s
	shop.space = s.in(t)
	return &shop
}

// settings are those of a client that trusts Vault's PKI and the CA of the Secret.
func (s *tlsShop) settings(serverName string, own ...tls.Certificate) *tls.Config {
	roots := s.servers.pool()
	roots.AppendCertsFromPEM(s.root)
	return &tls.Config{RootCAs: roots, ServerName: serverName, Certificates: own}
}

// testTLS: a workload whose sidecars serve TLS, each part of the policy on both pods.
func testTLS(t *testing.T) {
	s := newTLSShop(t, 5*time.Minute)
	for _, part := range []struct {
		name string
		test func(*tlsShop)
	}{
		{"handshakes", (*tlsShop).testHandshakes},
		{"plainRefused", (*tlsShop).testPlainRefused},
		{"certificates", (*tlsShop).testCertificates},
		{"clients", (*tlsShop).testClients},
		{"boundToCertificates", (*tlsShop).testBoundToCertificates},
		{"boundByDPoP", (*tlsShop).testBoundByDPoP},
		{"rotation", (*tlsShop).testRotation},
		{"badCertificates", (*tlsShop).testBadCertificates},
		{"missingSecret", (*tlsShop).testMissingSecret},
		{"clientsRequired", (*tlsShop).testClientsRequired}, // changes the policy, so it is the last
		{"probes", (*tlsShop).testStayedReady},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(s.of(t)) })
	}
}

// testPlainRefused: a plain request gets 400 in both versions of HTTP, from another pod too, and never reaches the app.
func (s *tlsShop) testPlainRefused() {
	got := get(s.t, s.serviceURL("orders")+"/public/x").wantStatus(s.t, http.StatusBadRequest)
	if !problemIs(got, "tls-required") || got.header.Get("Strict-Transport-Security") != "" {
		s.t.Errorf("a plain request got %v %s", got.header, got.body)
	}
	other := s.client()
	for _, flags := range [][]string{nil, {"-http2"}} {
		out, err := s.ask(other, append(flags, "http://"+s.addresses[0]+"/public/x")...)
		if err != nil || !strings.Contains(out, " 400 ") || !strings.Contains(out, "tls-required") {
			s.t.Errorf("%v: another pod got %v: %s", flags, err, out)
		}
	}
	for _, http2 := range []bool{false, true} {
		c := tlsClient(s.addresses[1], s.settings(publicName), http2)
		got, err := sendBy(s.t, c, http.MethodGet, "https://"+publicName+"/public/x", "")
		if err != nil || got.status != http.StatusOK || got.seen(s.t).Headers.Get("X-Forwarded-Proto") != "https" || got.header.Get("Strict-Transport-Security") == "" {
			s.t.Errorf("by TLS, HTTP/2 %t: %v: %d %v %s", http2, err, got.status, got.header, got.body)
		}
	}
}

// testStayedReady: the kubelet's probes passed all the time.
func (s *tlsShop) testStayedReady() {
	for i, p := range s.pods("orders") {
		if at := readySince(&p); p.Name != s.names[i] || !ready(&p) || at != s.readySince[i] {
			s.t.Errorf("pod %s is ready since %s, and was since %s: %s", p.Name, at, s.readySince[i], describe(&p))
		}
	}
}

// readySince returns when the kubelet last changed its mind about whether the pod is ready.
func readySince(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}
