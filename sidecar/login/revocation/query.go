package revocation

import (
	"math"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// Query holds the properties of a token by which it can be revoked. Empty strings are not looked up.
type Query struct {
	Issuer, TokenID, Session, Subject, KeyID string
	// IssuedAt is zero for a token without iat, which counts as issued before any time.
	IssuedAt time.Time
}

// QueryOf returns the Query of a verified token.
func QueryOf(id *identity.Identity) Query {
	q := Query{Issuer: id.Issuer, TokenID: id.TokenID, Subject: id.Subject, KeyID: id.KeyID, IssuedAt: id.IssuedAt}
	q.Session, _ = id.Claims["sid"].(string)
	return q
}

func (q *Query) issued() int64 {
	if q.IssuedAt.IsZero() {
		return math.MinInt64
	}
	return q.IssuedAt.UnixMicro()
}

// entries returns the entries that would revoke the token.
func (q *Query) entries() (entries []Entry) {
	for _, e := range []Entry{
		{Kind: Token, Value: q.TokenID}, {Kind: Session, Value: q.Session}, {Kind: Key, Value: q.KeyID}, {Kind: Subject, Value: q.Subject},
	} {
		if e.Value != "" {
			e.Issuer = q.Issuer
			entries = append(entries, e)
		}
	}
	return entries
}

// revokedBy reports whether an entry that was found for the query revokes the token.
func (q *Query) revokedBy(e Entry, now time.Time) bool {
	return e.Expires.After(now) && (e.Kind != Subject || q.issued() < e.Before.UnixMicro())
}
