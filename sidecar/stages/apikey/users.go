package apikey

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/htpasswd"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// Users gives the current file of users and verifies them; htpasswd.Store is one.
type Users interface {
	File() (*htpasswd.File, error)
	// Verify returns the name of the user, or "" if the password is wrong. Errors match password.ErrBusy.
	Verify(ctx context.Context, file *htpasswd.File, a htpasswd.Attempt) (string, error)
}

// UserSource gives users the identities of a provider. All fields are required.
type UserSource struct {
	Provider, Issuer string
	Users
}

// verifyUser hashes the password, also if the user does not exist, so that the time does not tell who does.
func (a *authenticator) verifyUser(r *http.Request, c *credential) verified {
	v := verified{provider: a.Users.Provider, issuer: a.Users.Issuer}
	refused := func(reason Reason, cause error) verified {
		v.reason, v.refusal = reason, a.refuseUser(reason, cause)
		return v
	}
	if c.malformed || strings.ContainsFunc(c.user+c.key, isControl) {
		return refused(MalformedUser, nil)
	}
	file, err := a.Users.File()
	if err != nil {
		return refused(UsersUnavailable, err)
	}
	name, err := a.Users.Verify(r.Context(), file, htpasswd.Attempt{Name: c.user, Secret: c.key, Client: clientnet.Of(request.From(r).ClientAddr)})
	switch {
	case err != nil:
		return refused(Busy, err)
	case name == "":
		return refused(WrongUser, nil)
	}
	v.id = &identity.Identity{Provider: v.provider, Issuer: v.issuer, Subject: name, Claims: map[string]any{"sub": name}}
	v.watch = func() *httperr.Error { return a.userEnded(file, name) }
	return v
}

// isControl reports whether neither a name nor a password may have the character (RFC 7617 §2).
func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// userEnded returns a refusal if a user is no longer in the file of the active policy, or has another password. There is none while there
// is no file.
func (a *authenticator) userEnded(verified *htpasswd.File, name string) *httperr.Error {
	now := a.judging()
	if now == nil {
		return nil
	}
	if now.Users != nil {
		file, err := now.Users.File()
		if err != nil || file.Unchanged(verified, name) {
			return nil
		}
	}
	return a.refuseUser(WrongUser, nil)
}

func (a *authenticator) refuseUser(reason Reason, cause error) *httperr.Error {
	switch reason {
	case UsersUnavailable, Busy:
		e := &httperr.Error{
			Status: http.StatusServiceUnavailable, Code: "users-unavailable", Detail: "Users cannot be verified at the moment.", Cause: cause,
		}
		after := retryAfter
		if errors.Is(cause, password.ErrBusy) {
			after = strconv.Itoa(int(password.RetryAfter(cause) / time.Second))
		}
		return e.With("Retry-After", after)
	}
	return a.challenged(&httperr.Error{
		Status: http.StatusUnauthorized, Code: "invalid-user", Detail: "The user name or the password is not valid.", Cause: cause,
	})
}
