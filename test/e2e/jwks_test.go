//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// keyServer serves an issuer's keys over TLS, from the test machine to the pods.
type keyServer struct {
	url, ca string

	mu sync.Mutex
	// jwks is the body of its responses. If it is empty, the status is 503.
	jwks string
	// asked counts the requests since the last change.
	asked int
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	ip := os.Getenv("POSTERN_HOST_IP")
	if ip == "" {
		t.Fatal("POSTERN_HOST_IP is not set to the address of this machine for pods: run test/e2e/run.sh, or eval \"$(hack/cluster/env.sh)\"")
	}
	k := &keyServer{}
	certificate := k.certificate(t, net.ParseIP(ip))
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(k.serve))
	server.Listener.Close()
	server.Listener = listener
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	k.url = server.URL + "/jwks.json"
	return k
}

// certificate returns a self-signed certificate, which is also the policy's caBundle.
func (k *keyServer) certificate(t *testing.T, ip net.IP) tls.Certificate {
	t.Helper()
	key := newIssuer(t).key
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{ip}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	k.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (k *keyServer) serve(w http.ResponseWriter, _ *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	if k.jwks == "" {
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	fmt.Fprint(w, k.jwks)
}

// setKeys sets the keys that are served from now on. "" is an outage.
func (k *keyServer) setKeys(jwks string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jwks, k.asked = jwks, 0
}

// wasAsked returns an error until there were so many requests since the last change.
func (k *keyServer) wasAsked(times int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked < times {
		return fmt.Errorf("the issuer got %d requests; want %d", k.asked, times)
	}
	return nil
}

// testIssuer: keys are fetched from the issuer. Before the first fetch the sidecar responds 503 with the reason, new keys are
// used and old ones removed, and an outage changes nothing.
func testIssuer(t *testing.T) {
	keys := newKeyServer(t)
	s, first, second := newSpace(t), newIssuer(t), newIssuer(t)
	s.apply(strings.Replace(guarded, "{inline: 'JWKS'}", "{uri: 'URI', refreshInterval: 10s, caBundle: CA}", 1),
		"URI", keys.url, "CA", strconv.Quote(keys.ca))
	s.create(pod(s.name, "orders"))
	address, asked := "", corev1.Pod{}
	eventually(t, "waiting for the pod's address", func() error {
		for _, p := range s.pods("orders") {
			address, asked = p.Status.PodIP, p
		}
		if address == "" {
			return fmt.Errorf("it has none")
		}
		return nil
	})
	url := "http://" + net.JoinHostPort(address, "8080") + "/"

	unready := eventuallyStatus(t, http.StatusServiceUnavailable, "http://"+net.JoinHostPort(address, "15991")+"/readyz")
	if unready.body != "{\"ready\":false}\n" {
		t.Errorf("/readyz from outside of the pod says %s", unready.body)
	}
	eventually(t, "waiting for readiness to say why", func() error {
		out, err := s.ask(&asked, "http://127.0.0.1:15991/readyz")
		if err == nil && !strings.Contains(out, `keys of provider \"corp\"`) {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	})
	got := eventuallyStatus(t, http.StatusServiceUnavailable, url, bearer(first.token("ann")))
	if !strings.Contains(got.body, "keys-unavailable") {
		t.Errorf("without keys a token got %s", got.body)
	}
	keys.setKeys(first.jwks())
	eventuallyStatus(t, http.StatusOK, url, bearer(first.token("ann")))
	s.ready("orders")
	s.enforced("orders", 1)
	get(t, url, bearer(second.token("ann"))).wantStatus(t, 401)

	kept := first.token("ann")
	get(t, url, bearer(kept)).wantStatus(t, 200)
	keys.setKeys(second.jwks())
	eventuallyStatus(t, http.StatusOK, url, bearer(second.token("ann")))
	eventuallyStatus(t, http.StatusUnauthorized, url, bearer(kept))

	keys.setKeys("")
	eventually(t, "waiting for requests during the outage", func() error { return keys.wasAsked(2) })
	get(t, url, bearer(second.token("bob"))).wantStatus(t, 200)
	// The key of this token was withdrawn. It is unknown whether the issuer has added a key with that kid again.
	if got := get(t, url, bearer(first.token("bob"))); got.status != 401 && got.status != 503 {
		t.Errorf("a token of a withdrawn key got status %d", got.status)
	}
}
