// Package budget bounds what may be open at the same time: in all, for each client address, and for each connection. It counts
// places. What a place is (a request, a WebSocket) is up to the caller.
//
// A client address may hold Limits.MaxPerAddress places while at least half of the budget is free. Below that, every address's share
// shrinks with the cube of what is free, so the last places are for addresses that hold few or none. A share in proportion to what
// is free would not do: addresses that come one after the other would each take half of the rest, and six would leave a hundredth.
// With the cube, 6 greedy addresses leave an eighth, and 40 leave a thirtieth.
package budget

import (
	"net/netip"
	"sync"

	"github.com/posterndev/postern/sidecar/conn/share"
)

// Limits are the numbers of places.
type Limits struct {
	// Max is the number of all places; at least 1.
	Max int
	// MaxPerAddress is the number of places that one address may hold; from 1 to Max.
	MaxPerAddress int
}

// perConn returns the number of places that one connection may hold.
func (l Limits) perConn(shared bool) int {
	if shared {
		return l.MaxPerAddress
	}
	return (l.MaxPerAddress + 1) / 2
}

// Claim says who wants a place. A claim without Address and Conn is bounded by Limits.Max alone.
type Claim struct {
	// Address is the client's network, from clientnet.Of. The zero Prefix is an unknown client: then the connection counts alone.
	Address netip.Prefix
	// Conn identifies the connection, for example by a pointer; nil for none. It must be comparable.
	Conn any
	// Shared says that the connection is that of a proxy and carries requests of several clients. Otherwise it may hold half of
	// what its address may hold.
	Shared bool
}

// Refusal says why there is no place. It is a label of metrics. The empty Refusal is none.
type Refusal string

const (
	// Full says that all places are taken.
	Full Refusal = "full"
	// Address says that the client's address holds its share.
	Address Refusal = "address"
	// Connection says that the connection holds its share.
	Connection Refusal = "connection"
)

// Budget counts places. It is safe for concurrent use. Its memory is bounded by Limits.Max.
type Budget struct {
	mu        sync.Mutex
	limits    Limits
	open      int
	addresses share.Counter[netip.Prefix]
	conns     share.Counter[any]
}

// New returns a budget of which nothing is taken.
func New(l Limits) *Budget {
	return &Budget{limits: l.bounded()}
}

// bounded returns l within its own bounds.
func (l Limits) bounded() Limits {
	l.Max = max(l.Max, 1)
	l.MaxPerAddress = min(max(l.MaxPerAddress, 1), l.Max)
	return l
}

// Set replaces the limits. Places that are taken stay taken.
func (b *Budget) Set(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limits = l.bounded()
}

// Limits returns the current limits.
func (b *Budget) Limits() Limits {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limits
}

// Open returns how many places are taken.
func (b *Budget) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// Take takes a place, or returns why there is none. Release must be called once with the same claim for each place taken.
func (b *Budget) Take(c Claim) Refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.open >= b.limits.Max:
		return Full
	case c.Address.IsValid() && !b.within(b.addresses.Of(c.Address), b.limits.MaxPerAddress):
		return Address
	case c.Conn != nil && !b.within(b.conns.Of(c.Conn), b.limits.perConn(c.Shared)):
		return Connection
	}
	b.open++
	if c.Address.IsValid() {
		b.addresses.Add(c.Address)
	}
	if c.Conn != nil {
		b.conns.Add(c.Conn)
	}
	return ""
}

// within reports whether a holder of held places may have another, with share places for it alone.
func (b *Budget) within(held, share int) bool {
	part := min(1, 2*float64(b.limits.Max-b.open)/float64(b.limits.Max))
	return float64(held) < float64(share)*part*part*part
}

// Release gives back a place of Take.
func (b *Budget) Release(c Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if c.Address.IsValid() {
		b.addresses.Remove(c.Address)
	}
	if c.Conn != nil {
		b.conns.Remove(c.Conn)
	}
}
