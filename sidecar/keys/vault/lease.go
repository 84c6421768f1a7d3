package vault

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/vault/api"
)

// lease is a token in use. It is immutable; a renewal makes another one with the same client.
type lease struct {
	grant
	client *api.Client
	// since is when the login was, at when the token was granted or last renewed.
	since, at time.Time
	// full is the ttl that the login gave.
	full time.Duration
	// blind says that the token may not look itself up, so that a refusal does not tell whether it was revoked.
	blind bool
}

// forever stands in for the time to the end of a token that has none.
const forever = 24 * time.Hour

// left is the time until the token ends.
func (l *lease) left(now time.Time) time.Duration {
	if l.endless() {
		return forever
	}
	return l.at.Add(l.ttl).Sub(now)
}

// due is the time until the token should be renewed or replaced: about two thirds of what is left, so that there is time
// to try again, and never at once, so that a short life makes no storm of requests.
func (l *lease) due(now time.Time, least time.Duration) time.Duration {
	left := l.left(now)
	if left <= 0 {
		return 0
	}
	d := left * 6 / 10
	return min(left, max(least, d+rand.N(left/8+1)))
}

// spent reports whether renewals are near their end: the method's maximum lifetime cuts them short.
func (l *lease) spent() bool { return l.ttl < l.full/2 }

// endless reports whether the token never ends.
func (l *lease) endless() bool { return l.ttl == 0 }
