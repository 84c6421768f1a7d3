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

// keyServer serves an issuer's keys over TLS, from the machine that runs the tests to pods.
type keyServer struct {
	url, ca string

	mu sync.Mutex
	// jwks is what it answers; 503 if it is empty.
	jwks string
	// asked counts requests since the last change.
	asked int
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	ip := os.Getenv("POSTERN_HOST_IP")
	if ip == "" {
		t.Fatal("POSTERN_HOST_IP does not say where pods find this machine: run test/e2e/run.sh, or eval \"$(hack/cluster/env.sh)\"")
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

// certificate signs itself, and is what the policy's caBundle names.
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
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	fmt.Fprint(w, k.jwks)
}

// answer sets what is answered from now on; nothing for an outage.
func (k *keyServer) setKeys(jwks string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jwks, k.asked = jwks, 0
}

// wasAsked is an error until a sidecar asked so often since the last change.
func (k *keyServer) wasAsked(times int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked < times {
		return fmt.Errorf("the issuer was asked %d times, not yet %d", k.asked, times)
	}
	return nil
}

// testIssuer: keys are fetched from the issuer; before the first fetch the sidecar says 503 and why, new keys are taken and
// old ones forgotten, and an outage changes nothing.
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
		t.Errorf("strangers are told %s", unready.body)
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
	eventually(t, "waiting for sidecars to notice the outage", func() error { return keys.wasAsked(2) })
	get(t, url, bearer(second.token("bob"))).wantStatus(t, 200)
	// The key of this one was withdrawn: it may be that the issuer has one of that name again, and cannot be asked.
	if got := get(t, url, bearer(first.token("bob"))); got.status != 401 && got.status != 503 {
		t.Errorf("a token of a withdrawn key got status %d", got.status)
	}
}
