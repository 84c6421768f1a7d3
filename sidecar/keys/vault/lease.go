package vault

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/vault/api"
)

// lease is a token in use. It is immutable: a renewal creates another lease with the same client.
type lease struct {
	grant
	client *api.Client
	// since is the time of the login, and at the time when the token was issued or last renewed.
	since, at time.Time
	// full is the ttl at the login.
	full time.Duration
	// blind says that the token may not look itself up, so that it cannot be checked whether it was revoked.
	blind bool
}

// forever is the remaining time of a token that does not expire.
const forever = 24 * time.Hour

// left returns the time until the token expires.
func (l *lease) left(now time.Time) time.Duration {
	if l.endless() {
		return forever
	}
	return l.at.Add(l.ttl).Sub(now)
}

// due returns the time until the token should be renewed or replaced: about two thirds of the remaining time, so that there is time
// for retries, and at least least, so that short lifetimes do not cause a flood of requests.
func (l *lease) due(now time.Time, least time.Duration) time.Duration {
	left := l.left(now)
	if left <= 0 {
		return 0
	}
	d := left * 6 / 10
	return min(left, max(least, d+rand.N(left/8+1)))
}

// spent reports whether the maximum lifetime of the auth method limits the renewals.
func (l *lease) spent() bool { return l.ttl < l.full/2 }

// endless reports whether the token does not expire.
func (l *lease) endless() bool { return l.ttl == 0 }
