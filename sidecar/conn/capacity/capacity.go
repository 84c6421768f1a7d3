// Package capacity decides which connections stay open when there are more than allowed. It knows addresses and the
// states that its caller reports, and neither HTTP nor net/http: the caller says when a request begins, and when the
// connection is between two requests.
//
// A new connection gets a place whenever another one can close: one that has not sent a complete request yet, or one
// that is between requests. Among these, the source that has the most loses the one that has been in that state for
// longest, so that a flood from few sources closes its own connections. A source is an IPv4 address, or the /64 of an
// IPv6 address. Trusted sources have no share of their own, and lose connections only after all others.
package capacity

import (
	"net/netip"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/conn/share"
)

// settled is how long a connection is in its state before it is among the first to close. A client that has just
// connected sends its request within this time, and a client that has just got a response may send the next.
const settled = time.Second

// farewellTime is how long a peer that was told that its connection will close may still send requests.
const farewellTime = time.Second

// Limits bound the connections. They may change at any time.
type Limits struct {
	// Max is the maximum number of connections; at least 1.
	Max int
	// MaxPerAddress is the maximum number of connections of one source that is not trusted; at least 1.
	MaxPerAddress int
	// IdleTimeout is how long a connection may have no request; 0 is no limit.
	IdleTimeout time.Duration
	// Trusted are the sources without MaxPerAddress.
	Trusted []netip.Prefix
}

// Reason says why a connection did not get a place, or lost it. It is a label of metrics.
type Reason string

const (
	// Full means Max: the connection made room for a new one.
	Full Reason = "max"
	// Share means MaxPerAddress: the source's own new connection was refused, or replaced an older one.
	Share Reason = "address"
	// Idle means IdleTimeout.
	Idle Reason = "idle"
	// Stopped means that the caller stopped waiting for a place.
	Stopped Reason = "stopped"
)

// Reasons returns every Reason, for a metric that has each of them from the start.
func Reasons() []Reason { return []Reason{Full, Share, Idle, Stopped} }

// Loss is a connection that lost its place, or did not get one.
type Loss struct {
	Peer   netip.Addr
	Reason Reason
	// State is that of the connection that was closed.
	State State
	// Refused says that the connection never had a place.
	Refused bool
}

// Config configures a Limiter.
type Config struct {
	Limits Limits
	// CloseBusy allows a new connection to close one with a request in progress, if there is no other. Otherwise the
	// new connection waits.
	CloseBusy bool
	// OnLoss is called for each Loss; it may be nil. It must not block or call the Limiter.
	OnLoss func(Loss)
	// Now is time.Now if nil.
	Now func() time.Time
}

// Limiter holds the places of the open connections.
type Limiter struct {
	config Config

	mu     sync.Mutex
	limits Limits
	total  int
	// shares counts the connections of each source.
	shares  share.Counter[source]
	sources map[source]*account
	// ranks has the accounts by the number of their connections in each state; those of trusted sources are separate.
	ranks [2][states]ranking
	// freed, if not nil, is closed when a connection ends or may be closed.
	freed chan struct{}
}

// New returns a Limiter without connections.
func New(config Config) *Limiter {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Limiter{config: config, limits: config.Limits.bounded(), sources: map[source]*account{}}
}

func (l Limits) bounded() Limits {
	l.Max, l.MaxPerAddress = max(l.Max, 1), max(l.MaxPerAddress, 1)
	return l
}

// Admit returns the place of a new connection from peer, or the reason why there is none. If no connection can close, it
// waits until one can, or until stop is closed. shut closes the connection; it is called once in its own goroutine, if
// the place is lost.
func (l *Limiter) Admit(stop <-chan struct{}, peer netip.Addr, shut func()) (*Place, Reason) {
	peer = peer.Unmap().WithZone("")
	for {
		place, reason, freed := l.admit(peer, shut)
		if freed == nil {
			return place, reason
		}
		select {
		case <-freed:
		case <-time.After(settled): // a connection may have been in its state for long enough by now
		case <-stop:
			return nil, Stopped
		}
	}
}

// admit is one attempt. It returns a channel to wait for if no connection can close.
func (l *Limiter) admit(peer netip.Addr, shut func()) (*Place, Reason, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.config.Now()
	key := l.sourceOf(peer)
	if !key.trusted {
		if l.shares.Of(key) >= l.limits.MaxPerAddress {
			victim := l.sources[key].victim(now, l.config.rounds())
			if victim == nil {
				l.report(Loss{Peer: peer, Reason: Share, Refused: true})
				return nil, Share, nil
			}
			l.evict(victim, Share)
		}
	}
	for l.total >= l.limits.Max {
		victim := l.victim(now)
		if victim == nil {
			if l.freed == nil {
				l.freed = make(chan struct{})
			}
			return nil, "", l.freed
		}
		l.evict(victim, Full)
	}
	p := &Place{limiter: l, peer: peer, shut: shut}
	p.item.value = p
	l.total++
	l.enter(p, now)
	return p, "", nil
}

// victim returns the connection that closes first, or nil.
func (l *Limiter) victim(now time.Time) *Place {
	for _, r := range l.config.rounds() {
		for trusted := range l.ranks {
			for state := r.first; state < r.end; state++ {
				if p := l.ranks[trusted][state].oldest(state); p != nil && now.Sub(p.since) >= r.age {
					return p
				}
			}
		}
	}
	return nil
}

// round is one round of the search for a connection that closes: of the states from first to before end, one that has
// been in its state for age.
type round struct {
	first, end State
	age        time.Duration
}

// rounds returns the rounds in their order. A response that is not sent is cut only after it had its time.
func (c *Config) rounds() []round {
	if c.CloseBusy {
		return everyRound
	}
	return everyRound[:2]
}

var everyRound = []round{{Waiting, Busy, settled}, {Waiting, Finishing, 0}, {Finishing, states, 0}}

// evict takes the place from p and closes its connection.
func (l *Limiter) evict(p *Place, reason Reason) {
	l.report(Loss{Peer: p.peer, Reason: reason, State: p.state})
	l.remove(p)
	go p.close()
}

func (l *Limiter) report(loss Loss) {
	if l.config.OnLoss != nil {
		l.config.OnLoss(loss)
	}
}

// remove takes the place from p.
func (l *Limiter) remove(p *Place) {
	l.leave(p)
	p.gone = true
	l.total--
	l.wake()
}

// wake tells those who wait in Admit to try again.
func (l *Limiter) wake() {
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}

// Counts returns the number of connections in each state.
func (l *Limiter) Counts() map[State]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[State]int{}
	for state := range states {
		counts[state] = l.ranks[0][state].total + l.ranks[1][state].total
	}
	return counts
}

// Limits returns the present limits.
func (l *Limiter) Limits() Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits
}
