package vault

import (
	"cmp"
	"slices"
	"time"
)

// Status is the status of a Client.
type Status struct {
	State State
	// Since is when State last changed.
	Since time.Time
	// Message says what to fix; empty for OK and Starting.
	Message string
	// TokenExpires is when the current token expires; zero if there is none or it does not expire.
	TokenExpires time.Time
	// Secrets are the secrets and accounts in use, sorted by path and version.
	Secrets []SecretStatus
}

// Status returns the current status.
func (c *Client) Status() Status {
	state, since, cause := c.health.report()
	st := Status{State: state, Since: since, TokenExpires: c.session.expires()}
	if cause != nil {
		st.Message = cause.Error() + advice(cause.State)
	}
	for _, d := range c.documents.InUse() {
		st.Secrets = append(st.Secrets, d.status())
	}
	for _, a := range c.accounts.InUse() {
		st.Secrets = append(st.Secrets, a.status())
	}
	slices.SortFunc(st.Secrets, func(a, b SecretStatus) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Version, b.Version))
	})
	return st
}

// advice returns what to fix, as a suffix to the cause.
func advice(s State) string {
	switch s {
	case Sealed:
		return "; unseal Vault"
	case Unreachable:
		return "; check the address, the network policies and that Vault runs"
	case Untrusted:
		return "; set the class's caBundle to the CA of Vault's certificate"
	case PermissionDenied:
		return "; allow this path in the role's Vault policy, and check that the engine is mounted there"
	case WrongRole:
		return "; check the name of the role and its bindings: service account, namespace, audience, secret ID"
	case LoginRefused:
		return "; check the mount of the auth method, and Vault's log of the login"
	}
	return ""
}
