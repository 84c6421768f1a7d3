package capacity

import (
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/conn/share"
)

// Configure replaces the limits. Connections beyond the new ones close if they can; the others stay until they end.
func (l *Limiter) Configure(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits = limits.bounded()
	regroup := !slices.Equal(limits.Trusted, l.limits.Trusted)
	l.limits = limits
	if regroup {
		l.regroup()
	}
	now := l.config.Now()
	for l.total > limits.Max {
		victim := l.victim(now)
		if victim == nil {
			break
		}
		l.evict(victim, Full)
	}
	for _, a := range l.sources {
		for !a.source.trusted && l.shares.Of(a.source) > limits.MaxPerAddress {
			victim := a.victim(now, l.config.rounds())
			if victim == nil {
				break
			}
			l.evict(victim, Share)
		}
	}
	l.wake()
}

// regroup sorts the connections into sources again, because other sources are trusted.
func (l *Limiter) regroup() {
	var all []*Place
	for _, a := range l.sources {
		for state := range a.places {
			for i := a.places[state].head; i != nil; i = i.next {
				all = append(all, i.value)
			}
		}
	}
	l.shares, l.sources, l.ranks = share.Counter[source]{}, map[source]*account{}, [2][states]ranking{}
	slices.SortFunc(all, func(a, b *Place) int { return a.since.Compare(b.since) })
	for _, p := range all {
		l.enter(p, p.since)
	}
}

// Sweep closes connections that have had no request for the idle timeout. A peer whose protocol has a farewell is
// told first, and the connection is closed by a later call.
func (l *Limiter) Sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.IdleTimeout <= 0 {
		return
	}
	now := l.config.Now()
	for _, a := range l.sources {
		for state := range Finishing {
			l.sweep(&a.places[state], now)
		}
	}
}

// sweep closes the connections of one state of a source. They are in the order of their age.
func (l *Limiter) sweep(places *list[Place], now time.Time) {
	for i := places.head; i != nil; {
		p := i.value
		i = i.next
		idle := now.Sub(p.since)
		switch {
		case !p.bidden.IsZero():
			if idle >= farewellTime && now.Sub(p.bidden) >= farewellTime {
				l.evict(p, Idle)
			}
		case idle >= l.limits.IdleTimeout && p.farewell == nil:
			l.evict(p, Idle)
		case idle >= l.limits.IdleTimeout:
			p.bidden = now
			go p.farewell()
		case idle < farewellTime:
			return
		}
	}
}
