package passwordpolicy

import (
	"crypto/sha256"
	"encoding/hex"

	"golang.org/x/text/unicode/norm"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

// change is a new password of an account that may be accepted.
type change struct {
	password string
	// field is the name of the password's field.
	field string
	// account is canonical; "" if it is not known whose password it is.
	account string
	// own says that the caller's token is the account's.
	own bool
}

func (c *change) same(other *change) bool {
	return c.account == other.account && c.password == other.password
}

// changeOf returns the change that a request asks for, or nil. An anonymous request changes the password of the account in its body, if
// the app accepts it. With a token the account must be that of the token: an app may ignore the field, and the caller could write any.
func (h *History) changeOf(f fields, who *identity.Identity) *change {
	if h == nil || f.password == "" {
		return nil
	}
	c := &change{password: canonicalPassword(f.password), field: f.passwordName, account: h.Canonical(f.account)}
	if who == nil {
		return c
	}
	name, _ := who.Claim(h.AccountClaim)
	text, _ := name.(string)
	own := h.Canonical(text)
	c.own = own != "" && (c.account == "" || c.account == own)
	if c.account = own; !c.own {
		c.account = ""
	}
	return c
}

// canonicalPassword returns the form in which passwords are compared. One that is too long for a hash has a digest.
func canonicalPassword(text string) string {
	text = norm.NFKC.String(text)
	if len(text) <= passwordrules.MaxBytes {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
