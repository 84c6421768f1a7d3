package capacity

import (
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
)

// source is what MaxPerAddress counts.
type source struct {
	network netip.Prefix
	trusted bool
}

// sourceOf returns the source of an address. A trusted address is a source of its own, also beside others in its /64.
func (l *Limiter) sourceOf(peer netip.Addr) source {
	for _, p := range l.limits.Trusted {
		if p.Contains(peer) {
			return source{netip.PrefixFrom(peer, peer.BitLen()), true}
		}
	}
	return source{clientnet.Of(peer), false} // invalid addresses are one source, the zero prefix
}

// account has the connections of one source, by state and in the order in which they came to it.
type account struct {
	source source
	places [states]list[Place]
	// items are the account's items in the rankings.
	items [states]item[account]
}

// victim returns the connection of this source that closes first, or nil.
func (a *account) victim(now time.Time, rounds []round) *Place {
	for _, r := range rounds {
		for state := r.first; state < r.end; state++ {
			if p := a.places[state].first(); p != nil && now.Sub(p.since) >= r.age {
				return p
			}
		}
	}
	return nil
}

// ranking has the accounts by the number of their connections in one state. Each change is a step of one, so finding
// the account with the most takes no search.
type ranking struct {
	byCount []list[account]
	// top is the highest count that an account has.
	top int
	// total is the number of connections.
	total int
}

// move places an account whose count was before and is now after; one of them may be 0.
func (r *ranking) move(i *item[account], before, after int) {
	r.total += after - before
	if before > 0 {
		r.byCount[before].remove(i)
	}
	if after > 0 {
		for len(r.byCount) <= after {
			r.byCount = append(r.byCount, list[account]{})
		}
		r.byCount[after].add(i)
	}
	r.top = max(r.top, after)
	for r.top > 0 && r.byCount[r.top].n == 0 {
		r.top--
	}
}

// oldest returns the oldest connection of an account with the most; nil if there is none.
func (r *ranking) oldest(state State) *Place {
	if r.top == 0 {
		return nil
	}
	return r.byCount[r.top].first().places[state].first()
}

// enter adds p to its source, in p.state since now.
func (l *Limiter) enter(p *Place, now time.Time) {
	key := l.sourceOf(p.peer)
	a := l.sources[key]
	if a == nil {
		a = &account{source: key}
		for i := range a.items {
			a.items[i].value = a
		}
		l.sources[key] = a
	}
	p.account = a
	l.shares.Add(key)
	l.add(p, now)
}

// leave removes p from its source.
func (l *Limiter) leave(p *Place) {
	l.drop(p)
	if key := p.account.source; l.shares.Remove(key) == 0 {
		delete(l.sources, key)
	}
}

// add adds p to its account, in p.state since now.
func (l *Limiter) add(p *Place, now time.Time) {
	p.since = now
	a := p.account
	places := &a.places[p.state]
	places.add(&p.item)
	l.rank(a, p.state).move(&a.items[p.state], places.n-1, places.n)
}

// drop removes p from its account.
func (l *Limiter) drop(p *Place) {
	a := p.account
	places := &a.places[p.state]
	places.remove(&p.item)
	l.rank(a, p.state).move(&a.items[p.state], places.n+1, places.n)
}

func (l *Limiter) rank(a *account, state State) *ranking {
	if a.source.trusted {
		return &l.ranks[1][state]
	}
	return &l.ranks[0][state]
}
