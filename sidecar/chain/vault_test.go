package chain

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

const hmacSecret = "0123456789abcdefghijklmnopqrstuvwxyz"

// TestVault: the signing key, the password of Redis and a provider's HMAC secret are in a real Vault. It becomes unavailable and
// available again, and its settings change while requests arrive.
func TestVault(t *testing.T) {
	server, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	redis := redistest.Start(t, redistest.Options{Password: "s3cret"})
	server.Write(t, "transit/keys/orders", map[string]any{"type": "ecdsa-p256"})
	server.Put(t, "redis", map[string]any{"password": "s3cret"})
	server.Put(t, "provider", map[string]any{"key": hmacSecret})
	server.Policy(t, "sidecar", `path "secret/data/*" { capabilities = ["read"] }
path "transit/sign/orders" { capabilities = ["update"] }
path "transit/sign/orders/*" { capabilities = ["update"] }
path "transit/keys/orders" { capabilities = ["read"] }`)
	if err := server.Root().Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
		t.Fatal(err)
	}
	server.Write(t, "auth/approle/role/orders", map[string]any{"token_policies": "sidecar", "token_ttl": "1h", "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8"})
	role, err := server.Root().Logical().Read("auth/approle/role/orders/role-id")
	if err != nil {
		t.Fatal(err)
	}
	link := vaulttest.NewLink(t, server)
	document := func(change func(*compiled.Policy)) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, redis.Addr)
			p.Redis.Password = &compiled.SecretRef{VaultPath: "secret/redis", Key: "password"}
			p.Tokens.SigningKey = compiled.SigningKey{Transit: &compiled.TransitKey{Mount: "transit", Key: "orders"}}
			p.Vault = &compiled.Vault{
				Address: link.Address, CABundle: string(server.CABundle), AppRole: &compiled.VaultAppRole{Mount: "approle", RoleID: role.Data["role_id"].(string)},
				Timeout: compiled.Duration(time.Second), PollInterval: compiled.Duration(time.Second), MaxStale: compiled.Duration(time.Hour),
			}
			p.Providers = []compiled.Provider{{
				Name: "corp", Issuer: "https://id.example.com", Audiences: []string{"orders"}, Algorithms: []string{"HS256"},
				Keys: compiled.Keys{Secret: &compiled.SecretRef{VaultPath: "secret/provider", Key: "key"}},
			}}
			if change != nil {
				change(p)
			}
		})
	}
	w := newWorld(t)
	s := w.sidecarOf(w.sharedBy(resources.Config{CloseDelay: 10 * time.Millisecond}), document(nil)).ready()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "https://id.example.com", "aud": "orders", "sub": "paul", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(hmacSecret))
	if err != nil {
		t.Fatal(err)
	}
	paul := tokens{access: signed}
	redistest.Eventually(t, "the provider's secret", func() bool { return s.use(paul).status == 200 })
	ada := s.login("ada")
	if g := s.use(ada); g.status != 200 {
		t.Fatalf("a token signed in Vault: %d %s", g.status, g.text)
	}

	t.Run("unavailable", func(t *testing.T) {
		s := s.in(t)
		link.Cut()
		s.apply(document(func(p *compiled.Policy) { p.Tokens.AccessLifetime = compiled.Duration(time.Minute) }))
		for who, tokens := range map[string]tokens{"ada": ada, "paul": paul} {
			if g := s.use(tokens); g.status != 200 {
				t.Errorf("%s's token: %d %s", who, g.status, g.text)
			}
		}
		began := time.Now()
		for name, g := range map[string]got{"login": s.send(sent{method: "POST", path: "/login?as=bob"}), "refresh": s.refresh(ada)} {
			if g.status != 503 || g.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", name, g.status, g.text)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("they took %s", took)
		}
		if g := s.send(sent{method: "GET", path: "/.well-known/jwks.json"}); g.status != 200 || !strings.Contains(g.text, `"kid"`) {
			t.Errorf("the key set: %d %s", g.status, g.text)
		}
		redistest.Eventually(t, "the problem to be reported", func() bool {
			for _, p := range s.shared.Problems() {
				if p.Kind == compiled.ProblemVault && p.Reason == "Unreachable" {
					return true
				}
			}
			return false
		})
		link.Mend()
		redistest.Eventually(t, "recovery", func() bool { return s.refresh(ada).status == 200 })
		redistest.Eventually(t, "the problem to be cleared", func() bool { return len(s.shared.Problems()) == 0 })
	})

	t.Run("rotated", func(t *testing.T) {
		s := s.in(t)
		redis.Do("CONFIG", "SET", "requirepass", "another")
		redis.Password = "another"
		server.Put(t, "redis", map[string]any{"password": "another"})
		redis.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		redistest.Eventually(t, "the new password to be used", func() bool {
			g, err := s.try(sent{method: "POST", path: "/login?as=ada"})
			return err == nil && g.status == 200
		})
	})

	// Each client of Vault logs in, and revokes its token when it is closed.
	t.Run("reloads", func(t *testing.T) {
		s := s.in(t)
		logins := func() int {
			list, err := server.Root().Logical().List("auth/token/accessors")
			if err != nil {
				t.Fatal(err)
			}
			b, _ := json.Marshal(list.Data["keys"])
			return strings.Count(string(b), ",")
		}
		before, goroutines := logins(), runtime.NumGoroutine()
		for n := range 40 {
			s.apply(document(func(p *compiled.Policy) {
				p.Vault.Timeout = compiled.Duration(time.Second + time.Duration(n%8)*time.Millisecond)
				p.Tokens.AccessLifetime = compiled.Duration(time.Minute + time.Duration(n%3)*time.Second)
			}))
			if n%10 == 0 {
				redistest.Eventually(t, "a login", func() bool {
					g, err := s.try(sent{method: "POST", path: "/login?as=ada"})
					return err == nil && g.status == 200
				})
			}
		}
		redistest.Eventually(t, "the tokens of replaced clients to be revoked, and their goroutines to end", func() bool {
			return logins() <= before && runtime.NumGoroutine() <= goroutines+30
		})
	})

	t.Run("from a Secret to Vault", func(t *testing.T) {
		w := w.in(t)
		key, err := os.ReadFile(filepath.Join(w.secrets, "signing", "key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		server.Put(t, "signing", map[string]any{"key": string(key)})
		s := w.sidecar(document(func(p *compiled.Policy) { p.Tokens.SigningKey = loginPolicy(nil).Tokens.SigningKey })).ready()
		ada := s.login("ada")
		s.apply(document(func(p *compiled.Policy) {
			p.Tokens.SigningKey = compiled.SigningKey{Secret: &compiled.SecretRef{VaultPath: "secret/signing", Key: "key"}}
		}))
		for _, tokens := range []tokens{ada, s.login("bob")} {
			if g := s.use(tokens); g.status != 200 {
				t.Errorf("%d %s", g.status, g.text)
			}
		}
	})
}
