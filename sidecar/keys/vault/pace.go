package vault

import (
	"context"
	"math/rand/v2"
	"time"
)

// pace is how long is waited for what.
type pace struct {
	// first and last bound the wait between failed attempts.
	first, last time.Duration
	// watch lies between two looks at a token file.
	watch time.Duration
	// doubt is how long a token that Vault has confirmed is not doubted again.
	doubt time.Duration
	// refresh is the age from which on a token is replaced where a request was forbidden: its role may have got policies
	// since.
	refresh time.Duration
	// revoke bounds the revocation of the token at Close.
	revoke time.Duration
}

func defaultPace() pace {
	return pace{first: time.Second, last: 30 * time.Second, watch: 10 * time.Second, doubt: 5 * time.Second,
		refresh: 5 * time.Minute, revoke: 2 * time.Second}
}

// backoff doubles from first to last, and spreads over half of it, so that the sidecars of a cluster do not come back to
// a restarted Vault at the same moment.
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

// within is d, or up to a fifth less: sidecars that began together do not go on asking together.
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
