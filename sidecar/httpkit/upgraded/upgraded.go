// Package upgraded lets an accepted upgrade outlive the handlers that have accepted it. An open WebSocket would otherwise keep the stack of
// all of them, which is most of what it needs.
//
// The proxy gives its tunnel to Outlive, and returns. A handler that holds something for as long as the request lasts, such as a place, gives
// it back by End. The server runs the tunnel after the handlers have returned, and then what they gave to End. Nothing of this is for several
// goroutines at a time.
package upgraded

import "context"

// Key is the key of an *Exchange in the context of a request whose server runs what outlives its handlers.
type Key struct{}

// Exchange is a request and what remains of it after its handlers.
type Exchange struct {
	run  func()
	ends []func()
}

// From returns the exchange of a request's context, or nil if the server has none.
func From(ctx context.Context) *Exchange {
	e, _ := ctx.Value(Key{}).(*Exchange)
	return e
}

// Outlive gives run to the server, which calls it after the handlers have returned. It reports whether the server does.
func (e *Exchange) Outlive(run func()) bool {
	if e == nil {
		return false
	}
	e.run = run
	return true
}

// Outlives reports whether something was given to Outlive.
func (e *Exchange) Outlives() bool { return e != nil && e.run != nil }

// End calls end when the request of ctx ends: immediately, or after what outlives the handlers. It takes the place of a call in a defer
// statement, and the order is that of those.
func End(ctx context.Context, end func()) {
	if e := From(ctx); e.Outlives() {
		e.ends = append(e.ends, end)
		return
	}
	end()
}

// Run calls what was given to Outlive, and then what was given to End, also after a panic.
func (e *Exchange) Run() {
	defer e.end()
	e.run()
}

func (e *Exchange) end() {
	if len(e.ends) == 0 {
		return
	}
	next := e.ends[0]
	e.ends = e.ends[1:]
	defer e.end()
	next()
}
