package vault

import (
	"cmp"
	"slices"
	"time"
)

// Status is how things stand with Vault.
type Status struct {
	State State
	// Since is when State last changed.
	Since time.Time
	// Message says what to mend; empty for OK and Starting.
	Message string
	// TokenExpires is when the token in use ends; zero where there is none, or it does not end.
	TokenExpires time.Time
	// Secrets are those in use, by path and version.
	Secrets []SecretStatus
}

// Status returns the present one.
func (c *Client) Status() Status {
	state, since, cause := c.health.report()
	st := Status{State: state, Since: since, TokenExpires: c.session.expires()}
	if cause != nil {
		st.Message = cause.Error() + advice(cause.State)
	}
	for _, d := range c.documents.InUse() {
		st.Secrets = append(st.Secrets, d.status())
	}
	slices.SortFunc(st.Secrets, func(a, b SecretStatus) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Version, b.Version))
	})
	return st
}

// advice is what to change, after the cause.
func advice(s State) string {
	switch s {
	case Sealed:
		return "; unseal Vault"
	case Unreachable:
		return "; check the address, the network policies and that Vault runs"
	case Untrusted:
		return "; set the class's CA bundle to the authority of Vault's certificate"
	case PermissionDenied:
		return "; let the role's policy read this path, and check that the engine is mounted there"
	case WrongRole:
		return "; check the role's name and what it is bound to: service account, namespace, audience, secret ID"
	case LoginRefused:
		return "; check the mount of the auth method and what Vault logs about the login"
	}
	return ""
}
