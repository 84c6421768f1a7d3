package vault

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// loginTarget names logins in errors and in the health of the client.
const loginTarget = "login"

// maxTTL is the longest lifetime of a token that is believed, in seconds: a hundred years.
const maxTTL = 100 * 365 * 24 * 3600

// Auth is a way to get a token: Kubernetes, AppRole or TokenFile.
type Auth interface {
	check() error
	// login returns a token; its errors are of type *Error.
	login(ctx context.Context, t *transport) (grant, error)
}

// grant is a token and what Vault says of it.
type grant struct {
	token string
	// ttl is zero for a token that does not expire.
	ttl       time.Duration
	renewable bool
	// own says that the login made the token, so that it is revoked at the end.
	own bool
}

// Kubernetes logs in with a projected service-account token, whose audience is the one that the role asks for.
type Kubernetes struct {
	// Mount is where the method is mounted; empty for "kubernetes".
	Mount, Role string
	// TokenFile is read for each login, since the kubelet renews it.
	TokenFile string
}

func (k Kubernetes) check() error {
	if k.Role == "" || k.TokenFile == "" {
		return errors.New("logging in by Kubernetes needs a role and a token file")
	}
	return checkMount(k.Mount)
}

func (k Kubernetes) login(ctx context.Context, t *transport) (grant, error) {
	token, err := credential(ctx, secret.File(k.TokenFile))
	if err != nil {
		return grant{}, err
	}
	return trade(ctx, t, mounted(k.Mount, "kubernetes"), map[string]any{"role": k.Role, "jwt": token}, token)
}

// AppRole logs in with a role ID and, where the role asks for one, a secret ID.
type AppRole struct {
	// Mount is where the method is mounted; empty for "approle".
	Mount, RoleID string
	// SecretID is read for each login; nil where the role binds none.
	SecretID secret.Source
}

func (a AppRole) check() error {
	if a.RoleID == "" {
		return errors.New("logging in by AppRole needs a role ID")
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
	return trade(ctx, t, mounted(a.Mount, "approle"), body, id, a.RoleID)
}

// TokenFile is the path of a file with a token that something else keeps fresh, as a Vault Agent's sink. The token must be
// allowed to look itself up, as Vault's default policy lets it.
type TokenFile string

func (f TokenFile) check() error {
	if f == "" {
		return errors.New("logging in with a token file needs its path")
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
		return grant{}, &Error{State: LoginRefused, Target: loginTarget, Detail: "Vault knows nothing of the token in the file"}
	}
	g := grant{token: token}
	if g.ttl, err = s.TokenTTL(); err == nil {
		g.renewable, err = s.TokenIsRenewable()
	}
	if err != nil {
		return grant{}, &Error{State: Unreachable, Target: loginTarget, Detail: "the answer is not Vault's"}
	}
	return g, nil
}

func (f TokenFile) read(ctx context.Context) (string, error) { return credential(ctx, secret.File(f)) }

// replaced reports whether the file has another token by now; one that cannot be read has none.
func (f TokenFile) replaced(ctx context.Context, token string) bool {
	now, err := f.read(ctx)
	return err == nil && now != token
}

// credential reads what to log in with. It ends up in JSON or in a header, so it must be text.
func credential(ctx context.Context, from secret.Source) (string, error) {
	v, err := from.Read(ctx)
	if err != nil {
		return "", &Error{State: NoCredentials, Target: loginTarget, Detail: scrub(err.Error(), nil)}
	}
	text := strings.TrimSpace(string(v.Reveal()))
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &Error{State: NoCredentials, Target: loginTarget, Detail: "what is to log in with is not one line of printable text"}
	}
	return text, nil
}

// trade asks an auth method for a token.
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
		return grant{}, &Error{State: LoginRefused, Target: loginTarget, Detail: "Vault answers without a token; a role that asks for MFA does not work"}
	}
	if s.Auth.LeaseDuration < 0 || s.Auth.LeaseDuration > maxTTL {
		return grant{}, &Error{State: Unreachable, Target: loginTarget, Detail: "the token's lifetime makes no sense"}
	}
	return grant{token: s.Auth.ClientToken, ttl: time.Duration(s.Auth.LeaseDuration) * time.Second, renewable: s.Auth.Renewable, own: true}, nil
}

func checkMount(mount string) error {
	if mount == "" {
		return nil
	}
	return check.VaultPath(mount)
}

func mounted(mount, usual string) string {
	if mount == "" {
		return usual
	}
	return mount
}
