package pki

import (
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

var server *vaulttest.Server

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.fuzzworker"); f != nil && f.Value.String() == "true" {
		os.Exit(m.Run()) // the fuzz workers need no server
	}
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	if server, err = vaulttest.Start(); err != nil {
		return 0, err
	}
	defer server.Stop()
	return m.Run(), nil
}

// engine mounts a PKI engine with a root, an intermediate and the role shop, and returns a client that may issue certificates.
func engine(t *testing.T, mount string) (*vault.Client, *logtest.Buffer) {
	t.Helper()
	root := server.Root()
	for _, path := range []string{mount + "-root", mount} {
		if err := root.Sys().Mount(path, &api.MountInput{Type: "pki", Config: api.MountConfigInput{MaxLeaseTTL: "87600h"}}); err != nil {
			t.Fatal(err)
		}
	}
	server.Write(t, mount+"-root/root/generate/internal", map[string]any{"common_name": "root", "ttl": "87600h", "key_type": "ec"})
	csr := server.Write(t, mount+"/intermediate/generate/internal", map[string]any{"common_name": "intermediate", "key_type": "ec"})
	signed := server.Write(t, mount+"-root/root/sign-intermediate", map[string]any{"csr": csr.Data["csr"], "common_name": "intermediate", "ttl": "43800h"})
	server.Write(t, mount+"/intermediate/set-signed", map[string]any{"certificate": signed.Data["certificate"].(string) + "\n" + signed.Data["issuing_ca"].(string)})
	server.Write(t, mount+"/roles/shop", map[string]any{"allowed_domains": "shop.svc", "allow_subdomains": true, "max_ttl": "48h", "ttl": "12h"})
	server.Policy(t, mount, `path "`+mount+`/issue/shop" { capabilities = ["update"] }`)
	token, err := root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{mount}, TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.Auth.ClientToken), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &logtest.Buffer{}
	client, err := vault.New(vault.Config{
		Address: server.Address, CABundle: server.CABundle, Auth: vault.TokenFile(file), PollInterval: vault.MinPollInterval, Logger: slog.New(slog.NewJSONHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, log
}

func TestIssue(t *testing.T) {
	client, log := engine(t, "pki")
	for name, tt := range map[string]struct {
		request Request
		wantTTL time.Duration
		// wantErr is a part of the error; empty if there is none.
		wantErr string
	}{
		"the role's lifetime":  {request: Request{Role: "shop", CommonName: "orders.shop.svc"}, wantTTL: 12 * time.Hour},
		"names and a lifetime": {request: Request{Mount: "pki", Role: "shop", CommonName: "orders.shop.svc", AltNames: []string{"a.shop.svc", "b.shop.svc"}, TTL: time.Hour}, wantTTL: time.Hour},
		"a lifetime beyond":    {request: Request{Role: "shop", CommonName: "orders.shop.svc", TTL: 100 * time.Hour}, wantTTL: 48 * time.Hour},
		"another domain":       {request: Request{Role: "shop", CommonName: "example.com"}, wantErr: "not allowed by this role"},
		"another role":         {request: Request{Role: "admin", CommonName: "orders.shop.svc"}, wantErr: "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, err := New(client, tt.request)
			if err != nil {
				t.Fatal(err)
			}
			pair, err := issuer.Issue(t.Context())
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("%v; want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			leaf := pair.Leaf
			if got := leaf.NotAfter.Sub(leaf.NotBefore); (got - tt.wantTTL).Abs() > 5*time.Minute {
				t.Errorf("it is valid for %s; want %s", got, tt.wantTTL)
			}
			for _, name := range append([]string{tt.request.CommonName}, tt.request.AltNames...) {
				if err := leaf.VerifyHostname(name); err != nil {
					t.Error(err)
				}
			}
			if len(pair.Certificate) != 2 {
				t.Errorf("the chain has %d certificates; want the leaf and the intermediate", len(pair.Certificate))
			}
		})
	}
	if strings.Contains(log.String(), "PRIVATE KEY") {
		t.Error("the log has a private key")
	}
}

// TestHandshake: a client that has the root trusts what is served, and the issuer recovers from a sealed Vault.
func TestHandshake(t *testing.T) {
	client, _ := engine(t, "pki-two")
	issuer, err := New(client, Request{Mount: "pki-two", Role: "shop", CommonName: "orders.shop.svc"})
	if err != nil {
		t.Fatal(err)
	}
	server.Seal(t)
	held := certificate.Issue("pki/shop", issuer, certificate.Options{Logger: slog.New(slog.DiscardHandler)})
	defer held.Close()
	vaulttest.Eventually(t, "a failed attempt", func() bool { _, err := held.Current(); return err != nil && strings.Contains(err.Error(), "sealed") })
	server.Unseal(t)
	vaulttest.Eventually(t, "a certificate", func() bool { c, _ := held.Current(); return c != nil })
	c, err := held.Current()
	if err != nil {
		t.Fatal(err)
	}
	root, err := server.Root().Logical().Read("pki-two-root/cert/ca")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root.Data["certificate"].(string)))
	intermediates := x509.NewCertPool()
	for _, der := range c.Certificate.Certificate[1:] {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		intermediates.AddCert(ca)
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: intermediates, DNSName: "orders.shop.svc"}); err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	for name, r := range map[string]Request{
		"a role with a slash": {Role: "a/../../sys", CommonName: "a"}, "no role": {CommonName: "a"}, "no name": {Role: "a"}, "a name with a comma": {Role: "a", CommonName: "a", AltNames: []string{"b,c"}},
		"a mount above": {Mount: "..", Role: "a", CommonName: "a"},
	} {
		if _, err := New(nil, r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a", "b", "c")
	f.Fuzz(func(t *testing.T, leaf, key, ca string) {
		chain, private, err := parse(map[string]any{"certificate": leaf, "private_key": key, "ca_chain": []any{ca, 7}})
		if err == nil && (len(chain) == 0 || len(private) == 0) {
			t.Error("an empty response is accepted")
		}
	})
}
