// Package session keeps who is logged in: sessions with an idle and an absolute timeout, a cap for each subject, and a
// family of refresh tokens that rotates. Its stage holds requests to their sessions; its stores are session/redis, shared
// by every replica, and session/memory, for one process.
//
// # Refresh tokens
//
// A session has one current refresh token. Rotating it makes its successor current, and every earlier one must never be
// seen again, except by a client that did not receive the answer. What a presented token brings about:
//
//	token                                    within grace of its rotation   outcome   session
//	current                                  -                              Rotated   slides; the token becomes an earlier one
//	one of the last 8 that were rotated      yes                            Retried   slides; the answer is the current token
//	one of the last 8 that were rotated      no                             Reused    ended, with every token (RFC 9700 §4.14.2)
//	of this family, older or never issued    -                              Reused    ended
//	current or in grace, another device      -                              Bound     unchanged; the caller decides
//	of no family (its proof is wrong)        -                              Unknown   unchanged: to know a sid is not enough to end it
//	of a session that idled or aged out      -                              Expired   ended; after Linger it is Unknown
//	of no session                            -                              Unknown   -
//
// A retry gets the very token that the lost answer held, however many tabs ask at once: a successor is computed from its
// predecessor, which the client alone holds, and a random salt, which the store alone holds. So a family never forks within
// grace, and one fork after it, a stolen token, is seen at the next rotation of either side. Grace counts from a token's own
// rotation, and no retry extends it. Tokens are stored as SHA-256 of 256 random bits; a salt is forgotten at the first
// rotation after its grace.
//
// # Expiry
//
// Idle expiry slides with each rotation and each touch; a touch that is coalesced may leave it up to Coalesce behind.
// Absolute expiry is fixed at the login, and idle expiry never passes it. Both are judged by the store's clock.
package session

import (
	"crypto/subtle"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Owner is whose session it is.
type Owner struct {
	// Issuer is the provider that vouches for Subject; empty for the subjects of our own tokens.
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
	// IdleExpiry is when the session ends unless it is seen; it is never after AbsoluteExpiry.
	IdleExpiry, AbsoluteExpiry time.Time
	// IdleTimeout is by how much IdleExpiry slides.
	IdleTimeout time.Duration
	// Proof is what the family's refresh tokens have in common; zero for External.
	Proof Hash
	// Claims is a JSON object for the tokens of the session; nil for none. Store.List leaves it out.
	Claims json.RawMessage
	// External says that another issuer keeps the session's tokens: it has no refresh token.
	External bool
}

// Actor is whose session it is, for events.
func (s Session) Actor() event.Actor {
	return event.Actor{Issuer: s.Issuer, Subject: s.Subject, Session: s.ID}
}

// Owns reports whether a refresh token is of the session's family, an old one or the present one.
func (s Session) Owns(r Refresh) bool {
	proof := r.Proof()
	return !s.External && s.ID == r.ID && subtle.ConstantTimeCompare(s.Proof[:], proof[:]) == 1
}

// SortBySeen sorts sessions, the last seen first.
func SortBySeen(sessions []Session) {
	slices.SortFunc(sessions, func(a, b Session) int {
		if c := b.LastSeen.Compare(a.LastSeen); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}
