// Package session stores who is logged in: sessions with an idle and an absolute timeout, a limit per subject, and a family of
// rotating refresh tokens. Its stage refuses requests whose session has ended. Its stores are sessionredis, shared by all
// replicas, and sessionmemory, for one process.
//
// # Refresh tokens
//
// A session has one current refresh token. A rotation makes its successor current. An earlier token must not be used again, except
// by a client that did not receive the response. The outcome for each token:
//
//	token                                    within grace of its rotation   outcome   session
//	current                                  -                              Rotated   slides; the token becomes an earlier one
//	one of the last 8 that were rotated      yes                            Retried   slides; the current token is returned
//	one of the last 8 that were rotated      no                             Reused    ended, with every token (RFC 9700 §4.14.2)
//	of this family, older or never issued    -                              Reused    ended
//	current or in grace, another device      -                              Bound     unchanged; the caller decides
//	of no family (its proof is wrong)        -                              Unknown   unchanged: knowing a sid is not enough to end it
//	of an expired session                    -                              Expired   ended; after Linger it is Unknown
//	of no session                            -                              Unknown   -
//
// A retry gets the same token as the lost response, with any number of concurrent requests: a successor is computed from its
// predecessor, which only the client holds, and a random salt, which only the store holds. So a family does not fork within the
// grace. A fork after it, which means a stolen token, is detected at the next rotation of either side. The grace counts from a
// token's own rotation, and a retry does not extend it. Tokens are stored as SHA-256 of 256 random bits. A salt is deleted at the
// first rotation after its grace.
//
// # Expiry
//
// The idle expiry slides with each rotation and each touch. A coalesced touch can leave it up to Coalesce behind. The absolute
// expiry is fixed at the login, and the idle expiry is never later. Both use the store's clock.
package session

import (
	"crypto/subtle"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Owner is the owner of a session.
type Owner struct {
	// Issuer is the external issuer of Subject; empty for subjects of own tokens.
	Issuer string
	// Subject is the claim sub.
	Subject string
}

// Session is a login.
type Session struct {
	// ID is 22 characters of base64url, 128 random bits: the claim sid, and the id of the family of refresh tokens.
	ID string
	Owner
	Device Device
	// Created and LastSeen are the store's times of the login and of the latest touch or rotation.
	Created, LastSeen time.Time
	// IdleExpiry is when the session ends if it is not used. It is never after AbsoluteExpiry.
	IdleExpiry, AbsoluteExpiry time.Time
	// IdleTimeout is the time from the latest use to IdleExpiry.
	IdleTimeout time.Duration
	// Proof is the hash of the proof that all refresh tokens of the family share; zero for External.
	Proof Hash
	// Claims is a JSON object for the tokens of the session; nil for none. Store.List omits it.
	Claims json.RawMessage
	// External marks a session of an external issuer. It has no refresh token.
	External bool
}

// Actor is whose session it is, for events.
func (s Session) Actor() event.Actor {
	return event.Actor{Issuer: s.Issuer, Subject: s.Subject, Session: s.ID}
}

// Owns reports whether a refresh token, current or old, belongs to the session's family.
func (s Session) Owns(r Refresh) bool {
	proof := r.Proof()
	return !s.External && s.ID == r.ID && subtle.ConstantTimeCompare(s.Proof[:], proof[:]) == 1
}

// SortBySeen sorts sessions, the most recently used first.
func SortBySeen(sessions []Session) {
	slices.SortFunc(sessions, func(a, b Session) int {
		if c := b.LastSeen.Compare(a.LastSeen); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}
