package chain

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// vaultStand is a Vault that one role may use.
type vaultStand struct {
	server *vaulttest.Server
	link   *vaulttest.Link
	role   string
}

const vaultRules = `path "secret/data/*" { capabilities = ["read"] }
path "transit/sign/orders/*" { capabilities = ["update"] }
path "transit/sign/orders" { capabilities = ["update"] }
path "transit/keys/orders" { capabilities = ["read"] }`

func newVaultStand(t *testing.T) *vaultStand {
	t.Helper()
	server, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	v := &vaultStand{server: server, link: vaulttest.NewLink(t, server)}
	server.Write(t, "transit/keys/orders", map[string]any{"type": "ecdsa-p256"})
	server.Put(t, "signing", map[string]any{"key": string(ecPEM(t))})
	server.Policy(t, "sidecar", vaultRules)
	if err := server.Root().Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
		t.Fatal(err)
	}
	server.Write(t, "auth/approle/role/orders", map[string]any{
		"token_policies": "sidecar", "token_ttl": "1h", "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8",
	})
	role, err := server.Root().Logical().Read("auth/approle/role/orders/role-id")
	if err != nil {
		t.Fatal(err)
	}
	v.role, _ = role.Data["role_id"].(string)
	return v
}

// policy makes p read its signing key and the provider's keys from this Vault, with maxStale.
func (v *vaultStand) policy(t *testing.T, p *compiled.Policy, key compiled.SigningKey, maxStale time.Duration) {
	t.Helper()
	if key != (compiled.SigningKey{}) {
		p.Tokens.SigningKey = key
	}
	if inline := p.Providers[0].Keys.Inline; inline != nil {
		v.server.Put(t, "provider", map[string]any{"key": string(inline)})
		p.Providers[0].Keys = compiled.Keys{Secret: &compiled.SecretRef{VaultPath: "secret/provider", Key: "key"}}
	}
	p.Vault = &compiled.Vault{
		Address: v.link.Address, CABundle: string(v.server.CABundle), AppRole: &compiled.VaultAppRole{Mount: "approle", RoleID: v.role},
		Timeout: compiled.Duration(time.Second), PollInterval: compiled.Duration(time.Second), MaxStale: compiled.Duration(maxStale),
	}
}

// TestVaultOutages covers the table of docs/outages.md about Vault: by the source of the signing key and by the failure of
// Vault. The provider's keys are in Vault, too.
func TestVaultOutages(t *testing.T) {
	t.Parallel()
	transit := compiled.SigningKey{Transit: &compiled.TransitKey{Mount: "transit", Key: "orders"}}
	kv := compiled.SigningKey{Secret: &compiled.SecretRef{VaultPath: "secret/signing", Key: "key"}}
	mounted := compiled.SigningKey{}
	noKey := map[string]string{login: "503 tokens-unavailable", refresh: "503 temporarily_unavailable", apiIssue: "503 unavailable"}
	// Beyond maxStale the provider's keys are not used either.
	noKeys := but(noKey, map[string]string{
		provided: "503 keys-unavailable", revoked: "503 keys-unavailable", revokedHere: "503 keys-unavailable", backChannel: "503 temporarily_unavailable",
	})
	unavailable := vaultOutage{func(v *vaultStand, _ *testing.T) { v.link.Cut() }, func(v *vaultStand, _ *testing.T) { v.link.Mend() }}
	sealed := vaultOutage{func(v *vaultStand, t *testing.T) { v.server.Seal(t) }, func(v *vaultStand, t *testing.T) { v.server.Unseal(t) }}
	denies := vaultOutage{
		func(v *vaultStand, t *testing.T) {
			v.server.Policy(t, "sidecar", `path "nothing" { capabilities = ["read"] }`)
		},
		func(v *vaultStand, t *testing.T) { v.server.Policy(t, "sidecar", vaultRules) },
	}
	tests := map[string]struct {
		key    compiled.SigningKey
		outage vaultOutage
		// tooOld means that the requests come after maxStale.
		tooOld bool
		// differs are the responses that differ from those with an available Vault.
		differs map[string]string
	}{
		"Transit is unavailable":                {key: transit, outage: unavailable, differs: noKey},
		"Transit is sealed":                     {key: transit, outage: sealed, differs: noKey},
		"Transit denies":                        {key: transit, outage: denies, differs: noKey},
		"KV is unavailable, within maxStale":    {key: kv, outage: unavailable},
		"KV denies, within maxStale":            {key: kv, outage: denies},
		"KV is unavailable, beyond maxStale":    {key: kv, outage: unavailable, tooOld: true, differs: noKeys},
		"KV is sealed, beyond maxStale":         {key: kv, outage: sealed, tooOld: true, differs: noKeys},
		"KV denies, beyond maxStale":            {key: kv, outage: denies, tooOld: true, differs: noKeys},
		"Vault is unavailable, key in a Secret": {key: mounted, outage: unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVaultStand(t)
			maxStale := time.Hour
			if tt.tooOld { // long enough for a login after the outage was noticed, also on a busy machine
				maxStale = 12 * time.Second
			}
			d := newStand(t, outage{
				all:    func(p *compiled.Policy) { v.policy(t, p, tt.key, time.Hour) },
				before: func(p *compiled.Policy) { v.policy(t, p, tt.key, maxStale) },
			}, compiled.Deny)
			vaulttest.Eventually(t, "the provider's keys", func() bool { return d.s.use(d.of("paul")).status == 200 })
			want := but(healthy(), tt.differs)
			tt.outage.begin(v, t)
			vaulttest.Eventually(t, "the outage to be noticed", func() bool { return len(d.s.shared.Problems()) > 0 })
			if got := d.request(login); tt.tooOld && got != "200" {
				t.Errorf("a login within maxStale: %s", got)
			}
			vaulttest.Eventually(t, "the expected response of logins", func() bool { return d.request(login) == want[login] })
			vaulttest.Eventually(t, "the expected response to the provider's token", func() bool { return d.request(provided) == want[provided] })
			for _, kind := range kinds() {
				if got := d.request(kind); got != want[kind] {
					t.Errorf("%-16s %s; want %s", kind, got, want[kind])
				}
			}
			tt.outage.end(v, t)
			// The same refresh token works later.
			vaulttest.Eventually(t, "refreshing when Vault is back", func() bool { return d.request(refresh) == "200" })
			vaulttest.Eventually(t, "logging in when Vault is back", func() bool { return d.request(login) == "200" })
		})
	}
}

// vaultOutage is a failure of Vault, and its end.
type vaultOutage struct{ begin, end func(*vaultStand, *testing.T) }

// TestRedissPasswordInVault: the password is needed only for new connections, and can be too old for them.
func TestRedissPasswordInVault(t *testing.T) {
	t.Parallel()
	const maxStale = 4 * time.Second
	v, redis := newVaultStand(t), redistest.Start(t, redistest.Options{Password: "s3cret"})
	v.server.Put(t, "redis", map[string]any{"password": "s3cret"})
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
		onRedis(p, redis.Addr)
		p.Providers = policy(i).Providers
		v.policy(t, p, compiled.SigningKey{}, maxStale)
		p.Redis.Password = &compiled.SecretRef{VaultPath: "secret/redis", Key: "password"}
	})).ready()
	logins := func() string { return s.send(sent{method: "POST", path: "/login?as=ada"}).word() }
	disconnect := func() { redis.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }
	disconnect()
	redistest.Eventually(t, "new connections while Vault is available", func() bool { return logins() == "200" })
	v.link.Cut()
	time.Sleep(maxStale + time.Second) // now the password is too old
	if got := logins(); got != "200" {
		t.Errorf("with an existing connection: %s", got)
	}
	disconnect()
	redistest.Eventually(t, "logins to fail", func() bool { return logins() == "503 tokens-unavailable" })
	time.Sleep(time.Second)
	if got := logins(); got != "503 tokens-unavailable" {
		t.Errorf("with a password that is too old: %s", got)
	}
	v.link.Mend()
	redistest.Eventually(t, "new connections when Vault is back", func() bool { return logins() == "200" })
}

// TestAProvidersKeysEndWithMaxStale: keys from Vault are used no longer than any other value from Vault.
func TestAProvidersKeysEndWithMaxStale(t *testing.T) {
	t.Parallel()
	v := newVaultStand(t)
	d := newStand(t, outage{
		all:    func(p *compiled.Policy) { v.policy(t, p, compiled.SigningKey{}, time.Hour) },
		before: func(p *compiled.Policy) { v.policy(t, p, compiled.SigningKey{}, 4*time.Second) },
	}, compiled.Deny)
	redistest.Eventually(t, "the provider's keys", func() bool { return d.s.use(d.of("paul")).status == 200 })
	v.link.Cut()
	for deadline := time.Now().Add(2 * time.Minute); d.s.use(d.of("paul")).word() != "503 keys-unavailable"; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("two minutes after Vault became unavailable, with a maxStale of 4 s: %s", d.s.use(d.of("paul")).word())
		}
	}
}

// TestAShortMaxStale: a key with a maxStale of less than half a minute is read again in time.
func TestAShortMaxStale(t *testing.T) {
	t.Parallel()
	v := newVaultStand(t)
	kv := compiled.SigningKey{Secret: &compiled.SecretRef{VaultPath: "secret/signing", Key: "key"}}
	d := newStand(t, outage{
		all:    func(p *compiled.Policy) { v.policy(t, p, kv, time.Hour) },
		before: func(p *compiled.Policy) { v.policy(t, p, kv, 6*time.Second) },
	}, compiled.Deny)
	redistest.Eventually(t, "the first login", func() bool { return d.request(login) == "200" })
	for range 20 {
		time.Sleep(500 * time.Millisecond)
		if got := d.request(login); got != "200" {
			t.Fatalf("a login with a healthy Vault: %s", got)
		}
	}
}

// awayVault returns a Vault that is unavailable.
func awayVault() *compiled.Vault {
	return &compiled.Vault{
		Address: "http://127.0.0.1:1", TokenFile: "/nowhere", Timeout: compiled.Duration(time.Second),
		PollInterval: compiled.Duration(time.Second), MaxStale: compiled.Duration(time.Hour),
	}
}
