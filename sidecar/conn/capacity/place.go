package capacity

import (
	"net/netip"
	"time"
)

// State is what a connection does.
type State uint8

// The states, in the order in which connections close.
const (
	// Waiting is a connection that has not sent a complete request yet.
	Waiting State = iota
	// Unused is a connection between requests.
	Unused
	// Finishing is a connection whose requests were handled, but whose last response may not be sent yet: the client
	// does not read it, or owes the rest of a body that nobody wants.
	Finishing
	// Busy is a connection with a request in progress, or one that carries no requests, such as an upgraded one.
	Busy

	states
)

// String returns the state as a metric's label.
func (s State) String() string {
	return [states]string{"waiting", "idle", "finishing", "busy"}[s]
}

// Place is one connection's place. Its methods may be called concurrently, also after the place was lost.
type Place struct {
	limiter *Limiter
	peer    netip.Addr
	shut    func()

	// The limiter's mutex protects the rest.
	account *account
	item    item[Place]
	state   State
	// since is when the state began.
	since time.Time
	// open is the number of requests in progress.
	open int
	// begun says that there was a request, and unfinished that the last response may not be sent yet.
	begun, unfinished bool
	// farewell tells the peer that the connection will close; nil if the protocol has no such message. bidden is when
	// it was called.
	farewell func()
	bidden   time.Time
	gone     bool
}

// Begin records that a complete request has arrived. End must follow.
func (p *Place) Begin() {
	p.change(func() { p.open, p.begun, p.unfinished = p.open+1, true, true })
}

// End records that a request was handled. Its response may still be buffered.
func (p *Place) End() { p.change(func() { p.open-- }) }

// Unused records that every response was sent.
func (p *Place) Unused() { p.change(func() { p.unfinished = false }) }

// Farewell sets what tells the peer that the connection will close. It is called before the connection is closed. Only
// the first call has an effect.
func (p *Place) Farewell(bid func()) {
	p.limiter.mu.Lock()
	defer p.limiter.mu.Unlock()
	if p.farewell == nil {
		p.farewell = bid
	}
}

// Done records that the connection was closed. More calls have no effect.
func (p *Place) Done() {
	p.limiter.mu.Lock()
	defer p.limiter.mu.Unlock()
	if !p.gone {
		p.limiter.remove(p)
	}
}

// change applies a change, and moves the place to its new state.
func (p *Place) change(apply func()) {
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if apply(); p.gone {
		return
	}
	state := Unused
	switch {
	case p.open > 0:
		state = Busy
	case p.unfinished:
		state = Finishing
	case !p.begun:
		state = Waiting
	}
	if state == p.state {
		return
	}
	l.drop(p)
	p.state = state
	l.add(p, l.config.Now())
	if state < Finishing {
		l.wake()
	}
}

// close bids farewell unless that was done, and closes the connection. The place is gone, so nothing else changes.
func (p *Place) close() {
	p.limiter.mu.Lock()
	bid := p.farewell
	if !p.bidden.IsZero() {
		bid = nil
	}
	p.limiter.mu.Unlock()
	if bid != nil {
		bid()
	}
	p.shut()
}
