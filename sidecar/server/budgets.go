package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/budget"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// The budgets' names, which are labels of metrics.
const (
	budgetRequests = "requests"
	budgetStreams  = "streams"
	budgetUpgrades = "upgrades"
	// budgetHandshakes are the upgrades that the app has not accepted yet.
	budgetHandshakes = "handshakes"
)

// budgets bound what is open at the same time. A stream takes a place of both requests and streams, so streams cannot take the last
// quarter of the requests. An upgraded connection has a place of upgrades alone: it needs less memory than a request. Until the app
// accepts the upgrade it is a request too, and all of those take at most a quarter of the requests: many WebSockets connect at once
// after each restart of an app.
type budgets struct {
	requests, streams, upgrades *budget.Budget
	handshakes                  *budget.Budget
	// refusing counts the refusals in progress.
	refusing *budget.Budget
	overload *overload
	// client returns the client's address, and whether the peer is a trusted proxy. An invalid address is an unknown client.
	client func(*http.Request) (addr netip.Addr, proxied bool)
	// respond writes a refusal.
	respond refuser
	// unused has *places of requests that have ended.
	unused sync.Pool
}

// refuser writes the response to a refused request.
type refuser func(w http.ResponseWriter, r *http.Request, why *httperr.Error)

// newBudgets returns the budgets that the memory allows.
func newBudgets(memory limits, o *overload, client func(*http.Request) (netip.Addr, bool), respond refuser) *budgets {
	b := &budgets{
		overload: o, client: client, respond: respond, handshakes: budget.New(budget.Limits{Max: 1}), refusing: budget.New(budget.Limits{Max: maxRefusing}),
		requests: budget.New(budget.Limits{Max: 1}), streams: budget.New(budget.Limits{Max: 1}), upgrades: budget.New(budget.Limits{Max: 1}),
	}
	b.apply(memory, &compiled.SidecarOptions{})
	return b
}

// apply sets the limits of a class. None is higher than the memory allows.
func (b *budgets) apply(memory limits, o *compiled.SidecarOptions) {
	var requests compiled.RequestLimits
	var upgrades compiled.UpgradeLimits
	if o.Requests != nil {
		requests = *o.Requests
	}
	if o.Upgrades != nil {
		upgrades = *o.Upgrades
	}
	l := within(memory.requests, requests.Max, requests.MaxPerAddress)
	b.requests.Set(l)
	b.streams.Set(budget.Limits{Max: max(l.Max*3/4, 1), MaxPerAddress: l.MaxPerAddress})
	b.handshakes.Set(budget.Limits{Max: max(l.Max/4, 1), MaxPerAddress: l.MaxPerAddress})
	b.upgrades.Set(within(memory.upgrades, upgrades.Max, upgrades.MaxPerAddress))
}

// bounded refuses the requests for which there is no place. They do not reach next, and no body is read.
func (b *budgets) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || isUpgrade(r) {
			b.boundLonger(w, r, next)
			return
		}
		p := b.reused()
		p.claim = b.claim(r)
		defer b.reuse(p)
		if why := b.admit(p, r); why != "" {
			p.release(nil)
			b.refuse(w, r, why)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// boundLonger is bounded for what may hold places after the handler has returned, or until the app accepts an upgrade.
func (b *budgets) boundLonger(w http.ResponseWriter, r *http.Request, next http.Handler) {
	p := &places{claim: b.claim(r)}
	defer atEnd(r, p.end)()
	if why := b.admit(p, r); why != "" {
		p.release(nil)
		b.refuse(w, r, why)
		return
	}
	if isUpgrade(r) {
		w = &acceptedWriter{Writer: response.Writer{ResponseWriter: w}, accepted: func() { p.release(b.upgrades) }}
	}
	next.ServeHTTP(w, r)
}

// reused returns places without any, and reuse gives them back.
func (b *budgets) reused() *places {
	if p, ok := b.unused.Get().(*places); ok {
		return p
	}
	return &places{}
}

func (b *budgets) reuse(p *places) {
	p.release(nil)
	p.claim, p.held = budget.Claim{}, [len(p.held)]*budget.Budget{}
	b.unused.Put(p)
}

// admit takes the places that r needs.
func (b *budgets) admit(p *places, r *http.Request) budget.Refusal {
	why := b.take(p, budgetRequests, b.requests)
	if why == "" && isStream(r) {
		why = b.take(p, budgetStreams, b.streams)
	}
	if why == "" && isUpgrade(r) {
		why = b.take(p, budgetHandshakes, b.handshakes)
	}
	if why == "" && isUpgrade(r) {
		why = b.take(p, budgetUpgrades, b.upgrades)
	}
	return why
}

// isUpgrade reports whether r may become a WebSocket. Other upgrades are ignored (package hopbyhop), so these are requests: the client
// of the JDK offers h2c in each.
func isUpgrade(r *http.Request) bool {
	return slices.ContainsFunc(r.Header["Upgrade"], func(value string) bool { return strings.EqualFold(strings.TrimSpace(value), "websocket") })
}

// maxRefusing is how many refusals may be in progress: beyond that, streams are reset and connections closed without a response. A
// client that does not read its refusals holds them open.
const maxRefusing = 256

// refuse responds to a request that has no place.
func (b *budgets) refuse(w http.ResponseWriter, r *http.Request, why budget.Refusal) {
	if b.refusing.Take(budget.Claim{}) != "" {
		panic(http.ErrAbortHandler)
	}
	defer atEnd(r, func() { b.refusing.Release(budget.Claim{}) })()
	b.respond(w, r, refusal(why))
}

// claim says who sends r. A trusted proxy is not a client: if it does not say whose request it passes on, its connection counts.
func (b *budgets) claim(r *http.Request) budget.Claim {
	addr, proxied := b.client(r)
	c := budget.Claim{Address: clientnet.Of(addr), Shared: proxied}
	if conn := http1.From(r.Context()); conn != nil {
		c.Conn = conn
	}
	return c
}

// refusal is what the client is told.
func refusal(why budget.Refusal) *httperr.Error {
	if why == budget.Full {
		return (&httperr.Error{
			Status: http.StatusServiceUnavailable, Code: "overloaded", Detail: "Too many requests are in progress. Try again in a moment.",
		}).With("Retry-After", "1")
	}
	return (&httperr.Error{
		Status: http.StatusTooManyRequests, Code: "too-many-open-requests",
		Detail: "Too many requests of this client are in progress. Wait until some of them are complete.",
	}).With("Retry-After", "1")
}

// clientOf returns the client's address by the rules of the active policy. Without a policy it is the peer.
func (e *enforcer) clientOf(r *http.Request) (netip.Addr, bool) {
	if active := e.active.Load(); active != nil {
		return active.Client(r)
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return peer.Addr().Unmap(), false
}

// minBodyRate returns the minimum rate of request bodies by the active policy, in bytes per second.
func (e *enforcer) minBodyRate() int {
	if active := e.active.Load(); active != nil {
		if r := active.Policy().Sidecar.Requests; r != nil && r.MinBodyRate != nil {
			return *r.MinBodyRate
		}
	}
	return compiled.DefaultMinBodyRate
}
