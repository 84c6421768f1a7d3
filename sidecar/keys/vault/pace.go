package vault

import (
	"context"
	"math/rand/v2"
	"time"
)

// pace holds the waiting times.
type pace struct {
	// first and last bound the wait between failed attempts.
	first, last time.Duration
	// watch is the interval between two reads of a token file.
	watch time.Duration
	// doubt is how long a confirmed token is not checked again.
	doubt time.Duration
	// refresh is the age from which a token is replaced after a forbidden request: its role may have got more policies.
	refresh time.Duration
	// revoke bounds the revocation of the token or an account.
	revoke time.Duration
	// drain is how long a replaced account is kept for connections that use it.
	drain time.Duration
}

func defaultPace() pace {
	return pace{first: time.Second, last: 30 * time.Second, watch: 10 * time.Second, doubt: 5 * time.Second,
		refresh: 5 * time.Minute, revoke: 2 * time.Second, drain: time.Minute}
}

// backoff doubles from first to last, with a jitter of half, so that the sidecars of a cluster do not all retry at the same time after
// Vault restarts.
type backoff struct {
	pace pace
	next time.Duration
}

func (b *backoff) wait() time.Duration {
	d := max(b.next, b.pace.first)
	b.next = min(2*d, b.pace.last)
	return d/2 + rand.N(d/2+1)
}

func (b *backoff) reset() { b.next = 0 }

// within returns d minus a jitter of up to a fifth, so that sidecars that started together do not poll together.
func within(d time.Duration) time.Duration { return d - rand.N(d/5+1) }

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
