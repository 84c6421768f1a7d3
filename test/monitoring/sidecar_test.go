package monitoring

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/server"
	"github.com/posterndev/postern/test/freeport"
)

// keys is a provider of a key set, which has none while it is down.
type keys struct{ down atomic.Bool }

func (k *keys) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if k.down.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, `{"keys":[{"kty":"EC","kid":"a","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
}

// app knows the password "right", and has a broken page.
func app(w http.ResponseWriter, r *http.Request) {
	var given struct{ Email, Password string }
	_ = json.NewDecoder(r.Body).Decode(&given)
	switch {
	case r.URL.Path == "/login" && given.Password == "right":
		w.Header().Set("Postern-Subject", given.Email)
	case r.URL.Path == "/login":
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/public/broken":
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = io.WriteString(w, "{}")
}

func document(redis, jwks string) *compiled.Policy {
	seconds := func(n int) compiled.Duration { return compiled.Duration(time.Duration(n) * time.Second) }
	limit := func(n int) compiled.LoginLimit {
		return compiled.LoginLimit{Failures: n, Within: seconds(1), LockFor: seconds(1), MaxLock: seconds(1)}
	}
	return &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Providers: []compiled.Provider{{
			Name: "corp", Issuer: "https://corp.example.com", Audiences: []string{"orders"}, Algorithms: []string{"ES256"}, TokenTypes: []string{"JWT"},
			From: []compiled.TokenLocation{{Header: "Authorization", Prefix: "Bearer "}},
			Keys: compiled.Keys{URI: jwks, InsecureHTTP: true, RefreshInterval: seconds(10), MaxStale: seconds(30)},
		}},
		Authorization: compiled.Authorization{Default: compiled.RequireAuthenticated, Mode: compiled.Enforce, Rules: []compiled.AuthorizationRule{
			{Name: "public", Match: []compiled.Match{{Paths: []string{"/public/**", "/login", "/password/reset"}}}, Require: compiled.RequireAnonymous, Mode: compiled.Enforce},
		}},
		Tokens: &compiled.Tokens{
			Issuer: "https://shop.example.com", Audiences: []string{"orders"}, ClientID: "shop/orders", Algorithm: "ES256", AccessLifetime: seconds(900), Delivery: "Body",
			SameSite: "Lax", SigningKey: compiled.SigningKey{Secret: &compiled.SecretRef{Name: "signing", Key: "key.pem"}}, RotationOverlap: seconds(3600),
			Login: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}}, Prefix: "/auth", Leeway: seconds(1),
		},
		Sessions: &compiled.Sessions{
			IdleTimeout: seconds(3600), AbsoluteTimeout: seconds(7200), WhenFull: "EvictOldest", Bind: "None", OnFailure: compiled.Deny, Mode: compiled.Enforce,
		},
		Revocation: &compiled.Revocation{MaxStaleness: seconds(5), OnFailure: compiled.Deny, Mode: compiled.Enforce},
		LoginProtection: &compiled.LoginProtection{
			Routes: []compiled.LoginRoute{
				{Name: "login", Kind: "Login", Match: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}}, Account: compiled.RequestField{JSON: "email"}, FailureStatuses: []int{401}},
				{Name: "reset", Kind: "PasswordReset", Match: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/password/reset"}}}, Account: compiled.RequestField{JSON: "email"}},
			},
			PerAccount: limit(100), PerAddress: limit(100), Global: compiled.LoginLimit{Failures: 100, Within: seconds(1)},
			ResetsPerAccount: compiled.LoginLimit{Failures: 100, Within: seconds(1)}, ResetsPerAddress: compiled.LoginLimit{Failures: 100, Within: seconds(1)},
			Response: "TooManyRequests", OnFailure: compiled.Deny, Mode: compiled.Enforce,
		},
		Redis:   &compiled.Redis{Mode: "Standalone", Addresses: []string{redis}, Timeout: compiled.Duration(250 * time.Millisecond)},
		Sidecar: compiled.SidecarOptions{AccessLog: "None", LogLevel: "error"},
	}
}

// sidecar is a running sidecar.
type sidecar struct {
	t                *testing.T
	address, metrics string
}

// startSidecar runs a sidecar in this process, as postern run does.
func startSidecar(t *testing.T, p *compiled.Policy) *sidecar {
	t.Helper()
	s, secrets := &sidecar{t: t, metrics: freeport.Address(t)}, t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(secrets, "signing"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secrets, "signing", "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewServer(http.HandlerFunc(app))
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	started, ended := make(chan netip.AddrPort, 1), make(chan error, 1)
	go func() {
		ended <- server.Standalone{
			Document: p, Started: func(a netip.AddrPort) { started <- a }, Upstream: target, Listen: "127.0.0.1:0", Admin: s.metrics,
			SecretsDir: secrets, Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler),
		}.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	select {
	case a := <-started:
		s.address = a.String()
	case err := <-ended:
		ended <- err
		t.Fatalf("running the sidecar: %v", err)
	}
	return s
}

// send sends a request, and returns the status and the body as JSON. An error has the status 0.
func (s *sidecar) send(method, path, kind, body, token string) (int, map[string]any) {
	r, err := http.NewRequest(method, "http://"+s.address+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil
	}
	r.Header.Set("Content-Type", kind)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	var v map[string]any
	_ = json.NewDecoder(response.Body).Decode(&v)
	return response.StatusCode, v
}

// login returns the tokens of a user, or "".
func (s *sidecar) login(password string) (access, refresh string) {
	_, v := s.send("POST", "/login", "application/json", `{"email":"ada@example.com","password":"`+password+`"}`, "")
	access, _ = v["access_token"].(string)
	refresh, _ = v["refresh_token"].(string)
	return access, refresh
}

func (s *sidecar) refresh(token string) {
	s.send("POST", "/auth/refresh", "application/x-www-form-urlencoded", url.Values{"refresh_token": {token}}.Encode(), "")
}
