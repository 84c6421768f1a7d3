package session

import (
	"encoding/json"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// claim is what a token says of its session.
type claim struct {
	// id is empty where the token names none.
	id       string
	owner    Owner
	external bool
	// authenticated is when the person logged in, as far as an external issuer says.
	authenticated time.Time
}

// claimOf reports whether a token is to have a session, and which.
func (c *checker) claimOf(id *identity.Identity) (claim, bool) {
	sid, _ := id.Claims["sid"].(string)
	if c.Issuer != "" && id.Issuer == c.Issuer {
		if _, has := id.Claims["sid"]; !has {
			return claim{}, false
		}
		if !ValidID(sid) {
			sid = ""
		}
		return claim{id: sid, owner: Owner{Subject: id.Subject}}, true
	}
	if c.SubjectFrom == FromNone {
		return claim{}, false
	}
	out := claim{external: true, owner: Owner{Issuer: id.Issuer, Subject: id.Subject}, authenticated: dateOf(id.Claims["auth_time"])}
	if c.SubjectFrom == FromSub && out.authenticated.IsZero() { // a session of a subject has no other sign of a new login
		out.authenticated = id.IssuedAt
	}
	out.id = ExternalIDOf(id, c.SubjectFrom)
	return out, true
}

// ExternalIDOf is the id under which a session is kept for a verified token of an external issuer; empty for none.
func ExternalIDOf(id *identity.Identity, from SubjectFrom) string {
	value, _ := id.Claims["sid"].(string)
	if from == FromSub {
		value = id.Subject
	}
	if from == FromNone || value == "" {
		return ""
	}
	return ExternalID(id.Issuer, value)
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

// dateOf reads a NumericDate (RFC 7519 §2); zero for none.
func dateOf(v any) time.Time {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}
	}
	seconds, err := n.Float64()
	if err != nil || seconds <= 0 || seconds > maxDate {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
