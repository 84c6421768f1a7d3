package vault

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// loginStatement makes an account that can only log in.
const loginStatement = `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`

// database is a PostgreSQL with an engine of the shared Vault, for all tests of accounts.
var database = sync.OnceValues(func() (db *postgrestest.Server, err error) {
	databaseServer, err = postgrestest.New(postgrestest.Options{})
	return databaseServer, err
})

// databaseServer is that of database, if a test has used it.
var databaseServer *postgrestest.Server

// newEngine makes an engine of server for the shared PostgreSQL, with the role "audit", and the policy that an account needs. It
// returns the path of the accounts.
func newEngine(t *testing.T, server *vaulttest.Server, ttl, most time.Duration) (db *postgrestest.Server, path, policy string) {
	t.Helper()
	db, err := database()
	if err != nil {
		t.Fatal(err)
	}
	mount := unique("database")
	server.ConnectDatabase(t, mount, db.Addr, postgrestest.Superuser, db.Password)
	server.DatabaseRole(t, mount+"/roles/audit", ttl, most, loginStatement)
	server.Policy(t, mount, `path "`+mount+`/creds/audit" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }`)
	return db, mount + "/creds/audit", mount
}

// userExists reports whether PostgreSQL has a user.
func userExists(t *testing.T, db *postgrestest.Server, user string) bool {
	t.Helper()
	var n int
	if err := db.Connect(t, "postgres").QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname = $1", user).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func holdAccount(t *testing.T, h *harness, path string) (*Account, func()) {
	t.Helper()
	a, release, err := h.Account(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return a, release
}

// present returns the user of an account, and proves that it can log in.
func present(t *testing.T, a *Account, db *postgrestest.Server) (user string, valid time.Time) {
	t.Helper()
	user, password, valid, err := a.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db.ConnectAs(t, user, string(password.Reveal()), "postgres")
	return user, valid
}

// TestAccountIsRenewedAndReplaced: leases of 3 s are renewed, and end after 8 s.
func TestAccountIsRenewedAndReplaced(t *testing.T) {
	t.Parallel()
	db, path, policy := newEngine(t, server, 3*time.Second, 8*time.Second)
	h := open(t, tokenFile(t, policy), nil)
	a, release := holdAccount(t, h, path)
	first, valid := present(t, a, db)
	replaced := a.Changes()
	vaulttest.Eventually(t, "a renewal", func() bool {
		user, _, later, err := a.Credentials(t.Context())
		return err == nil && user == first && later.After(valid.Add(time.Second))
	})
	if h.gauge(t, "postern_vault_lease_renewals_total", "ok") == 0 {
		t.Error("the renewal is not counted")
	}
	select {
	case <-replaced:
	case <-time.After(callTime):
		t.Fatal("the account was not replaced")
	}
	second, _ := present(t, a, db)
	if second == first {
		t.Error("the account is the same")
	}
	vaulttest.Eventually(t, "the first account to be revoked", func() bool { return !userExists(t, db, first) })
	if st := h.Status(); len(st.Secrets) != 1 || !st.Secrets[0].Ready || st.Secrets[0].Path != path || st.Secrets[0].Current < 2 {
		t.Errorf("Status = %+v", st)
	}
	release()
	last, _, _, _ := a.Credentials(t.Context())
	vaulttest.Eventually(t, "the account to be revoked when it is released", func() bool { return !userExists(t, db, last) })
}

// callTime bounds a wait for a channel.
const callTime = time.Minute

// TestRejectedAccount: somebody revokes the lease of an hour, and the server rejects the login.
func TestRejectedAccount(t *testing.T) {
	t.Parallel()
	db, path, policy := newEngine(t, server, time.Hour, time.Hour)
	h := open(t, tokenFile(t, policy), nil)
	a, _ := holdAccount(t, h, path)
	first, _ := present(t, a, db)
	changed := a.Changes()
	a.Rejected("another")
	a.Rejected(first)
	vaulttest.Eventually(t, "a renewal", func() bool { return h.gauge(t, "postern_vault_lease_renewals_total", "ok") == 1 })
	if user, _ := present(t, a, db); user != first {
		t.Error("an account that Vault renews was replaced")
	}
	server.Write(t, "sys/leases/revoke-prefix/"+path, map[string]any{})
	vaulttest.Eventually(t, "the account to be revoked", func() bool { return !userExists(t, db, first) })
	a.Rejected(first)
	select {
	case <-changed:
	case <-time.After(callTime):
		t.Fatal("the account was not replaced")
	}
	if user, _ := present(t, a, db); user == first {
		t.Error("the account is the same")
	}
}

// TestAccountIsRevokedAtClose: also without the right to revoke a lease, because it ends with the token.
func TestAccountIsRevokedAtClose(t *testing.T) {
	t.Parallel()
	db, path, policy := newEngine(t, server, time.Hour, time.Hour)
	server.Policy(t, policy, `path "`+path+`" { capabilities = ["read"] }`)
	h := open(t, appRole(t, map[string]any{"token_policies": policy}), nil)
	a, _ := holdAccount(t, h, path)
	user, _ := present(t, a, db)
	h.Close()
	vaulttest.Eventually(t, "the account to be revoked", func() bool { return !userExists(t, db, user) })
}

// TestAccountFollowsTheToken: Vault revokes an account with the token that made it.
func TestAccountFollowsTheToken(t *testing.T) {
	t.Parallel()
	db, path, policy := newEngine(t, server, time.Hour, time.Hour)
	h := open(t, appRole(t, map[string]any{"token_policies": policy, "token_ttl": "4s", "token_max_ttl": "8s"}), nil)
	a, _ := holdAccount(t, h, path)
	first, _ := present(t, a, db)
	replaced := a.Changes()
	select {
	case <-replaced:
	case <-time.After(callTime):
		t.Fatal("the account was not replaced with the token")
	}
	if second, _ := present(t, a, db); second == first {
		t.Error("the account is the same")
	}
}

// TestAccountOutlivesAnOutage uses its own server.
func TestAccountOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	own, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Stop()
	db, path, _ := newEngine(t, own, 10*time.Second, time.Hour)
	created := own.Write(t, "auth/token/create", map[string]any{"policies": []string{"root"}})
	h := open(t, TokenFile(file(t, created.Auth.ClientToken)), func(c *Config) { c.Address, c.CABundle = own.Address, own.CABundle })
	a, _ := holdAccount(t, h, path)
	first, _ := present(t, a, db)
	own.Seal(t)
	h.await(t, Sealed)
	if user, _, _, err := a.Credentials(t.Context()); err != nil || user != first {
		t.Errorf("while Vault is sealed: %s, %v", user, err)
	}
	vaulttest.Eventually(t, "the account to expire", func() bool {
		_, _, _, err := a.Credentials(t.Context())
		return errors.Is(err, ErrExpired)
	})
	if st := h.Status(); len(st.Secrets) != 1 || st.Secrets[0].Ready || st.Secrets[0].Err == "" {
		t.Errorf("Status = %+v", st)
	}
	own.Unseal(t)
	vaulttest.Eventually(t, "another account", func() bool {
		user, _, _, err := a.Credentials(t.Context())
		return err == nil && user != first
	})
	h.await(t, OK)
	present(t, a, db)
}

// TestAccountFailures: the state names the cause, and no error has a secret.
func TestAccountFailures(t *testing.T) {
	t.Parallel()
	_, path, policy := newEngine(t, server, time.Hour, time.Hour)
	mount, _, _ := strings.Cut(path, "/")
	server.DatabaseRole(t, mount+"/roles/broken", time.Hour, time.Hour, `CREATE ROLE "{{name}}" NONSENSE`)
	server.Policy(t, policy, `path "`+mount+`/creds/*" { capabilities = ["read"] }`)
	tests := map[string]struct {
		path string
		want State
	}{
		"no permission":                   {"database/creds/audit", PermissionDenied},
		"no such role":                    {mount + "/creds/absent", Refused},
		"the database refuses":            {mount + "/creds/broken", Refused},
		"the path is not of an account":   {"secret/data/" + unique("account"), PermissionDenied},
		"the path has no user name in it": {mount + "/creds/" + unique("absent"), Refused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := open(t, tokenFile(t, policy), nil)
			a, release := holdAccount(t, h, tt.path)
			_, _, _, err := a.Credentials(t.Context())
			var failure *Error
			if !errors.As(err, &failure) || failure.State != tt.want {
				t.Errorf("err = %v; want state %s", err, tt.want)
			}
			h.await(t, tt.want)
			release()
			h.await(t, OK) // a path that is no longer used does not matter
		})
	}
}

func TestAccountPaths(t *testing.T) {
	t.Parallel()
	h := open(t, tokenFile(t), nil)
	for _, path := range []string{"", "database", "../sys/x", "/database/creds/x", "database//x"} {
		if _, _, err := h.Account(path); err == nil {
			t.Errorf("path %q is accepted", path)
		}
	}
	h.Close()
	if _, _, err := h.Account("database/creds/x"); err == nil {
		t.Error("a closed client gives accounts")
	}
}

// TestAccountWithoutLease: the static roles of the database engine have no lease. They are read again, as a secret.
func TestAccountWithoutLease(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	password := "first-s3cret"
	h := open(t, TokenFile(file(t, "hvs.mine000000000000")), fake(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "lookup-self") {
			answering(http.StatusOK, `{"data":{"ttl":0,"renewable":false}}`)(w, r)
			return
		}
		answering(http.StatusOK, `{"data":{"username":"app","password":"`+password+`","ttl":60}}`)(w, r)
	}))
	a, _ := holdAccount(t, h, "database/static-creds/audit")
	user, got, _, err := a.Credentials(t.Context())
	if err != nil || user != "app" || string(got.Reveal()) != "first-s3cret" {
		t.Fatalf("%s, %v", user, err)
	}
	changed := a.Changes()
	mu.Lock()
	password = "second-s3cret"
	mu.Unlock()
	select {
	case <-changed:
	case <-time.After(callTime):
		t.Fatal("the new password was not noticed")
	}
	if _, got, _, err = a.Credentials(t.Context()); err != nil || string(got.Reveal()) != "second-s3cret" {
		t.Error("the password is not the new one", err)
	}
}

func TestParseIssued(t *testing.T) {
	data := func(user, password any) map[string]any { return map[string]any{"username": user, "password": password} }
	tests := map[string]struct {
		secret  *api.Secret
		wantErr string
	}{
		"good":                {secret: &api.Secret{LeaseID: "x", LeaseDuration: 30, Data: data("app", "s3cret")}},
		"without a lease":     {secret: &api.Secret{Data: data("app", "s3cret")}},
		"nothing":             {wantErr: errNotFound.Error()},
		"no data":             {secret: &api.Secret{LeaseID: "x", LeaseDuration: 30}, wantErr: "no user name"},
		"no password":         {secret: &api.Secret{Data: data("app", nil)}, wantErr: "no user name"},
		"a number":            {secret: &api.Secret{Data: data(7, "s3cret")}, wantErr: "no user name"},
		"a zero byte":         {secret: &api.Secret{Data: data("app\x00options", "s3cret")}, wantErr: "no user name"},
		"a long name":         {secret: &api.Secret{Data: data(strings.Repeat("a", 64), "s3cret")}, wantErr: "no user name"},
		"a long password":     {secret: &api.Secret{Data: data("app", strings.Repeat("a", 1025))}, wantErr: "no user name"},
		"a lease of no time":  {secret: &api.Secret{LeaseID: "x", Data: data("app", "s3cret")}, wantErr: "implausible"},
		"a lease of all time": {secret: &api.Secret{LeaseID: "x", LeaseDuration: maxTTL + 1, Data: data("app", "s3cret")}, wantErr: "implausible"},
		"a negative lease":    {secret: &api.Secret{LeaseID: "x", LeaseDuration: -1, Data: data("app", "s3cret")}, wantErr: "implausible"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseIssued(tt.secret, time.Now())
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("err = %v; want %q", err, tt.wantErr)
			}
		})
	}
}

func FuzzParseIssued(f *testing.F) {
	f.Add(`{"lease_id":"x","lease_duration":30,"renewable":true,"data":{"username":"app","password":"p"}}`)
	f.Add(`{"data":{"username":"a\u0000b","password":1}}`)
	f.Fuzz(func(t *testing.T, body string) {
		s, err := api.ParseSecret(strings.NewReader(body))
		if err != nil {
			return
		}
		i, err := parseIssued(s, time.Now())
		if err == nil && (i.user == "" || strings.ContainsRune(i.user, 0) || i.password.IsZero() || i.term.ttl < 0) {
			t.Errorf("%q gave user %q for %s", body, i.user, i.term.ttl)
		}
	})
}

// TestAccountWaitsForTheFirst: the caller's context bounds the wait.
func TestAccountWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	h := open(t, TokenFile(file(t, "hvs.mine000000000000")), fake(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	defer close(block)
	a, _ := holdAccount(t, h, "database/creds/audit")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := a.Credentials(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}
