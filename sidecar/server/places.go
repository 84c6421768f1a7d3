package server

import (
	"context"
	"net/http"
	"sync"

	"github.com/posterndev/postern/sidecar/conn/budget"
	"github.com/posterndev/postern/sidecar/httpkit/upgraded"
)

// places are the places that one exchange holds. They are used by its goroutine, and at the end of an HTTP/2 stream by another.
type places struct {
	mu    sync.Mutex
	claim budget.Claim
	held  [4]*budget.Budget
	n     int
	// ended says that the exchange has ended, so that it holds no more places: a client may reset a stream before it has any.
	ended bool
}

// take takes a place of the named budget, or counts and returns the refusal. An exchange that has ended keeps none.
func (b *budgets) take(p *places, name string, of *budget.Budget) budget.Refusal {
	why := of.Take(p.claim)
	if why != "" {
		b.overload.refused(name, why, p.claim.Address)
		return why
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		of.Release(p.claim)
		return ""
	}
	p.held[p.n] = of
	p.n++
	return ""
}

// end gives back all places, also those that are taken after it.
func (p *places) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.release(nil)
}

// release gives back the places except one of the budget kept.
func (p *places) release(kept *budget.Budget) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, of := range p.held[:p.n] {
		if of == kept {
			p.held[n] = of
			n++
			continue
		}
		of.Release(p.claim)
	}
	p.n = n
}

// atEnd returns a function that the handler calls when it returns; release is called when the response is complete. After the
// handler, an HTTP/2 response may still wait for the client's flow control, and its context ends with the stream. An accepted upgrade outlives
// its handler.
func atEnd(r *http.Request, release func()) (returned func()) {
	if r.ProtoMajor == 2 {
		context.AfterFunc(r.Context(), release)
		return func() {}
	}
	return func() { upgraded.End(r.Context(), release) }
}
