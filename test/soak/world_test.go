package soak

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/test/freeport"
	"github.com/posterndev/postern/test/podtest"
	"github.com/posterndev/postern/test/servertest"
)

// podAddress is the address of the pod. Its app is on 127.0.0.1.
const podAddress = "127.0.0.9"

// world is a sidecar with all that it depends on.
type world struct {
	seed      uint64
	ledger    *ledger
	redis     *redistest.Server
	app       *app
	operator  *operator
	issuer    *issuer
	keys      json.RawMessage
	authority *servertest.Authority
	secrets   string
	port      uint16
	sidecar   *sidecar

	// revision is the highest that the sidecar has reported, and version the number of the certificate.
	revision atomic.Int64
	version  int
	// overLimit counts requests that were refused because of their number.
	overLimit atomic.Int64
	// h2, h2c and calls are shared: their requests are streams of the same connections.
	h2, h2c *http.Client
	calls   []*grpc.ClientConn
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{seed: seed, ledger: newLedger(), redis: redistest.Start(t, redistest.Options{}), operator: newOperator(t), issuer: newIssuer(t), secrets: t.TempDir()}
	w.keys = w.issuer.keys(t)
	var err error
	if w.authority, err = servertest.NewAuthority(); err != nil {
		t.Fatal(err)
	}
	w.issue(t)
	port := freeport.Port(t)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	w.port = uint16(number)
	w.app = newApp(t, net.JoinHostPort("127.0.0.1", port))
	w.revision.Store(1)
	pod := podtest.Pod{Address: podAddress, Port: w.port, Secrets: w.secrets, Dir: t.TempDir(), Operator: w.operator.server, Key: w.operator.key}
	w.sidecar = startSidecar(t, pod, policy(1, w.port, w.redis.Addr, w.keys), w.ledger)
	return w
}

// connect opens what the clients share.
func (w *world) connect(t *testing.T) {
	t.Helper()
	w.h2 = &http.Client{Timeout: waitLimit, Transport: &http.Transport{
		Protocols: protocols(func(p *http.Protocols) { p.SetHTTP2(true) }), TLSClientConfig: w.tlsConfig(),
	}}
	w.h2c = &http.Client{Timeout: waitLimit, Transport: &http.Transport{
		Protocols: protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }),
	}}
	w.calls = nil
	for _, by := range []credentials.TransportCredentials{insecure.NewCredentials(), credentials.NewTLS(w.tlsConfig())} {
		conn, err := grpc.NewClient("passthrough:///"+w.sidecar.address, grpc.WithTransportCredentials(by))
		if err != nil {
			t.Fatal(err)
		}
		w.calls = append(w.calls, conn)
	}
}

func (w *world) disconnect() {
	w.h2.CloseIdleConnections()
	w.h2c.CloseIdleConnections()
	for _, conn := range w.calls {
		_ = conn.Close()
	}
}

// tlsConfig are the settings of a client that trusts the authority.
func (w *world) tlsConfig() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.authority.Certificate)
	return &tls.Config{RootCAs: pool, ServerName: hostName, MinVersion: tls.VersionTLS12}
}

// issue replaces the certificate in the Secret, at once for both files, as the kubelet does.
func (w *world) issue(t *testing.T) {
	t.Helper()
	w.version++
	certificate, key, err := w.authority.Issue(fmt.Sprintf("version %d", w.version), func(c *x509.Certificate) { c.DNSNames = []string{hostName} })
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("..%s-%d", certificateSecret, w.version)
	dir := filepath.Join(w.secrets, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(name, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"-link", filepath.Join(w.secrets, certificateSecret)); err != nil {
		t.Fatal(err)
	}
}
