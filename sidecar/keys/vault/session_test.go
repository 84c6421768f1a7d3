package vault

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	h := open(t, appRole(t, map[string]any{"token_ttl": "3s", "token_policies": "reader"}), nil)
	h.await(t, OK)
	first, expires := h.currentToken(), h.Status().TokenExpires
	vaulttest.Eventually(t, "renewal", func() bool { return h.Status().TokenExpires.After(expires.Add(2 * time.Second)) })
	if h.gauge(t, "postern_vault_renewals_total", "ok") < 1 || h.currentToken() != first {
		t.Error("the token was replaced instead of renewed")
	}
	if h.gauge(t, "postern_vault_token_expiry_seconds", "") <= 0 {
		t.Error("the metric of the token's expiry is not set")
	}
}

func TestTokenIsReplacedBeforeItsMaxTTL(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]any{
		"renewals end": {"token_ttl": "3s", "token_max_ttl": "4s", "token_policies": "reader"},
		"batch token":  {"token_ttl": "3s", "token_type": "batch", "token_policies": "reader"},
	}
	for name, settings := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, appRole(t, settings), nil)
			h.await(t, OK)
			first := h.currentToken()
			vaulttest.Eventually(t, "another token", func() bool {
				if st := h.Status(); st.State != OK {
					t.Fatalf("status = %+v", st)
				}
				return h.currentToken() != first
			})
		})
	}
}

func TestRevokedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	path := put(t, map[string]any{"key": "s3cret"})
	h := open(t, appRole(t, map[string]any{"token_policies": "reader"}), nil)
	s := hold(t, h, Ref{Path: path, Key: "key"})
	read(t, s)
	first := h.currentToken()
	self := server.Write(t, "auth/token/lookup", map[string]any{"token": first})
	server.Write(t, "auth/token/revoke-accessor", map[string]any{"accessor": self.Data["accessor"]})
	putNext(t, path, map[string]any{"key": "s3cret-2"})
	vaulttest.Eventually(t, "reading with another token", func() bool { return read(t, s) == "s3cret-2" })
	if h.currentToken() == first {
		t.Error("the client still has the revoked token")
	}
	if strings.Contains(h.log.String(), "permission_denied") {
		t.Errorf("a revoked token was reported as a denial: %s", h.log.String())
	}
}

func TestRevokedTokenWithDeletedRole(t *testing.T) {
	t.Parallel()
	role := unique("role")
	auth := appRoleOf(t, server, role, map[string]any{"token_policies": "reader"})
	path := put(t, map[string]any{"key": "s3cret"})
	h := open(t, auth, nil)
	s := hold(t, h, Ref{Path: path, Key: "key"})
	read(t, s)
	if _, err := server.Root().Logical().Delete("auth/approle/role/" + role); err != nil {
		t.Fatal(err)
	}
	self := server.Write(t, "auth/token/lookup", map[string]any{"token": h.currentToken()})
	server.Write(t, "auth/token/revoke-accessor", map[string]any{"accessor": self.Data["accessor"]})
	h.await(t, WrongRole)
	if read(t, s) != "s3cret" {
		t.Error("the last good value is lost")
	}
}

func TestDeniedRequestKeepsTheToken(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		settings  map[string]any
		refresh   time.Duration
		wantToken bool // the token is not replaced
	}{
		"good token":                {map[string]any{"token_policies": "default"}, time.Hour, true},
		"token without lookup-self": {map[string]any{"token_policies": "reader", "token_no_default_policy": true}, time.Hour, true},
		"old token":                 {map[string]any{"token_policies": "default"}, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := quick()
			p.refresh = tt.refresh
			c, err := newClient(Config{Address: server.Address, CABundle: server.CABundle, PollInterval: MinPollInterval,
				Auth: appRole(t, tt.settings)}, p)
			if err != nil {
				t.Fatal(err)
			}
			h := &harness{Client: c}
			defer c.Close()
			first := h.currentToken()
			vaulttest.Eventually(t, "the first login", func() bool { first = h.currentToken(); return first != "" })
			checkDenied(t, c)
			if tt.wantToken {
				if h.currentToken() != first {
					t.Error("the token was replaced")
				}
				return
			}
			vaulttest.Eventually(t, "another token", func() bool { return h.currentToken() != first })
		})
	}
}

// checkDenied reads a path that the token may not read.
func checkDenied(t *testing.T, c *Client) {
	t.Helper()
	for range 3 {
		var denied *Error
		if _, err := c.Read(t.Context(), "transit/keys/forbidden", "absent"); !errors.As(err, &denied) || denied.State != PermissionDenied {
			t.Fatalf("error = %v", err)
		}
	}
	if st := c.Status(); st.State != PermissionDenied || !strings.Contains(st.Message, "transit/keys/forbidden") {
		t.Errorf("status = %+v", st)
	}
}

func TestCloseRevokesTheToken(t *testing.T) {
	t.Parallel()
	h := open(t, appRole(t, map[string]any{"token_policies": "reader"}), nil)
	h.await(t, OK)
	held := h.currentToken()
	h.Close()
	if _, err := server.Root().Logical().Write("auth/token/lookup", map[string]any{"token": held}); err == nil {
		t.Error("the token is still valid")
	}
	if h.currentToken() != "" {
		t.Error("a closed client has a token")
	}
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	secretPath := put(t, map[string]any{"key": "s3cret"})
	first := token(t, nil, "reader")
	path := file(t, first+"\n")
	h := open(t, TokenFile(path), nil)
	h.await(t, OK)
	second := token(t, map[string]any{"renewable": false}, "reader")
	if err := os.WriteFile(path, []byte(second), 0o600); err != nil {
		t.Fatal(err)
	}
	vaulttest.Eventually(t, "the new token from the file", func() bool { return h.currentToken() == second })
	if err := server.Root().Auth().Token().RevokeTree(second); err != nil {
		t.Fatal(err)
	}
	s := hold(t, h, Ref{Path: secretPath, Key: "key"})
	if _, err := s.Read(t.Context()); err == nil {
		t.Error("reading with a revoked token succeeded")
	}
	h.await(t, LoginRefused)
	if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	h.await(t, OK)
	h.Close()
	if _, err := server.Root().Logical().Write("auth/token/lookup", map[string]any{"token": first}); err != nil {
		t.Errorf("a token that the client did not create was revoked: %v", err)
	}
}

func TestLoginFails(t *testing.T) {
	t.Parallel()
	good := appRole(t, map[string]any{"token_policies": "reader"})
	wrongRole, wrongSecret, wrongMount := good, good, good
	wrongRole.RoleID = "3f2b8a1c-0000-0000-0000-000000000000"
	wrongSecret.SecretID = secret.File(file(t, "3f2b8a1c-1111-1111-1111-111111111111"))
	wrongMount.Mount = "team/approle"
	tests := map[string]struct {
		auth Auth
		want State
	}{
		"unknown role":      {wrongRole, WrongRole},
		"unknown secret ID": {wrongSecret, WrongRole},
		"no such mount":     {wrongMount, LoginRefused},
		"unknown token":     {TokenFile(file(t, "hvs.unknownunknownunknown")), LoginRefused},
		"no token file":     {TokenFile("/absent/token"), NoCredentials},
		"binary token file": {TokenFile(file(t, "a\x00b")), NoCredentials},
		"two lines":         {TokenFile(file(t, "a\nb")), NoCredentials},
		"no service token":  {Kubernetes{Role: "r", TokenFile: "/absent/token"}, NoCredentials},
		"no Kubernetes":     {Kubernetes{Role: "r", TokenFile: file(t, "x.y.z")}, LoginRefused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, tt.auth, nil)
			st := h.await(t, tt.want)
			if st.Message == "" || strings.Contains(st.Message, "3f2b8a1c") || strings.Contains(st.Message, "hvs.") {
				t.Errorf("message = %q", st.Message)
			}
			if _, err := hold(t, h, Ref{Path: "secret/x", Key: "y"}).Read(t.Context()); stateOf(err) != tt.want {
				t.Errorf("reading: %v; want %s", err, tt.want)
			}
			if h.gauge(t, "postern_vault_logins_total", string(tt.want)) < 1 {
				t.Error("the failed login is not counted")
			}
		})
	}
}
