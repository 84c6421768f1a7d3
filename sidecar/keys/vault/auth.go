package vault

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// loginTarget is the target of logins in errors and in the health of the client.
const loginTarget = "login"

// maxTTL is the longest plausible lifetime of a token, in seconds: a hundred years.
const maxTTL = 100 * 365 * 24 * 3600

// Auth is an auth method: Kubernetes, AppRole or TokenFile.
type Auth interface {
	check() error
	// login returns a token; its errors are of type *Error.
	login(ctx context.Context, t *transport) (grant, error)
}

// grant is a token with its properties.
type grant struct {
	token string
	// ttl is zero for a token that does not expire.
	ttl       time.Duration
	renewable bool
	// own says that the login created the token, so that Close revokes it.
	own bool
}

// Kubernetes logs in with a projected service-account token. Its audience must be that of the role.
type Kubernetes struct {
	// Mount is where the method is mounted; it defaults to "kubernetes".
	Mount, Role string
	// TokenFile is read for each login, because the kubelet renews it.
	TokenFile string
}

func (k Kubernetes) check() error {
	if k.Role == "" || k.TokenFile == "" {
		return errors.New("logging in with Kubernetes requires a role and a token file")
	}
	return checkMount(k.Mount)
}

func (k Kubernetes) login(ctx context.Context, t *transport) (grant, error) {
	token, err := credential(ctx, secret.File(k.TokenFile))
	if err != nil {
		return grant{}, err
	}
	return trade(ctx, t, MountPath(k.Mount, "kubernetes"), map[string]any{"role": k.Role, "jwt": token}, token)
}

// AppRole logs in with a role ID and, if the role requires one, a secret ID.
type AppRole struct {
	// Mount is where the method is mounted; it defaults to "approle".
	Mount, RoleID string
	// SecretID is read for each login; nil if the role requires none.
	SecretID secret.Source
}

func (a AppRole) check() error {
	if a.RoleID == "" {
		return errors.New("logging in with AppRole requires a role ID")
	}
	return checkMount(a.Mount)
}

func (a AppRole) login(ctx context.Context, t *transport) (grant, error) {
	body := map[string]any{"role_id": a.RoleID}
	var id string
	if a.SecretID != nil {
		var err error
		if id, err = credential(ctx, a.SecretID); err != nil {
			return grant{}, err
		}
		body["secret_id"] = id
	}
	return trade(ctx, t, MountPath(a.Mount, "approle"), body, id, a.RoleID)
}

// TokenFile is the path of a file with a token that another program renews, such as the sink of a Vault Agent. The token must be
// allowed to look itself up, as Vault's default policy allows.
type TokenFile string

func (f TokenFile) check() error {
	if f == "" {
		return errors.New("logging in with a token file requires its path")
	}
	return nil
}

func (f TokenFile) login(ctx context.Context, t *transport) (grant, error) {
	token, err := f.read(ctx)
	if err != nil {
		return grant{}, err
	}
	c, err := t.client(token)
	if err != nil {
		return grant{}, newError(loginTarget, NoCredentials, err)
	}
	s, err := c.Logical().ReadWithDataWithContext(ctx, "auth/token/lookup-self", nil)
	if err != nil {
		return grant{}, newError(loginTarget, stateOfLogin(err), err, token)
	}
	if s == nil {
		return grant{}, &Error{State: LoginRefused, Target: loginTarget, Detail: "Vault does not know the token in the file"}
	}
	g := grant{token: token}
	if g.ttl, err = s.TokenTTL(); err == nil {
		g.renewable, err = s.TokenIsRenewable()
	}
	if err != nil {
		return grant{}, &Error{State: Unreachable, Target: loginTarget, Detail: "the response is not from Vault"}
	}
	return g, nil
}

func (f TokenFile) read(ctx context.Context) (string, error) { return credential(ctx, secret.File(f)) }

// replaced reports whether the file has another token now. It is false if the file cannot be read.
func (f TokenFile) replaced(ctx context.Context, token string) bool {
	now, err := f.read(ctx)
	return err == nil && now != token
}

// credential reads a credential. It becomes part of JSON or of a header, so it must be text.
func credential(ctx context.Context, from secret.Source) (string, error) {
	v, err := from.Read(ctx)
	if err != nil {
		return "", &Error{State: NoCredentials, Target: loginTarget, Detail: scrub(err.Error(), nil)}
	}
	text := strings.TrimSpace(string(v.Reveal()))
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &Error{State: NoCredentials, Target: loginTarget, Detail: "the credential is not one line of printable text"}
	}
	return text, nil
}

// trade exchanges credentials for a token.
func trade(ctx context.Context, t *transport, mount string, body map[string]any, known ...string) (grant, error) {
	c, err := t.client("")
	if err != nil {
		return grant{}, newError(loginTarget, NoCredentials, err)
	}
	s, err := c.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", body)
	if err != nil {
		return grant{}, newError(loginTarget, stateOfLogin(err), err, known...)
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return grant{}, &Error{State: LoginRefused, Target: loginTarget, Detail: "Vault returned no token; a role that requires MFA is not supported"}
	}
	if s.Auth.LeaseDuration < 0 || s.Auth.LeaseDuration > maxTTL {
		return grant{}, &Error{State: Unreachable, Target: loginTarget, Detail: "the lifetime of the token is implausible"}
	}
	return grant{token: s.Auth.ClientToken, ttl: time.Duration(s.Auth.LeaseDuration) * time.Second, renewable: s.Auth.Renewable, own: true}, nil
}

// checkMount accepts a path or nothing.
func checkMount(mount string) error {
	if mount == "" {
		return nil
	}
	return check.VaultPath(mount)
}

// MountPath returns mount, or usual if that is empty.
func MountPath(mount, usual string) string {
	if mount == "" {
		return usual
	}
	return mount
}
