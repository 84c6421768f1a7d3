// Package request is what the stages know of one request: who sent it, what it asks for, and what was decided.
package request

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// Info is one request's record. It belongs to the request's goroutine: stages write it on the way in, the access log,
// metrics and audit read it after the answer.
type Info struct {
	// RequestID tells the request from others; empty for none.
	RequestID string
	// Start is when the request's header had been read.
	Start time.Time
	// Local is the pod's address and app port that the client connected to, before any redirect.
	Local netip.AddrPort
	// ClientAddr is the client's address after trusted proxies, unmapped (never ::ffff:a.b.c.d).
	ClientAddr netip.Addr
	// Scheme is "https" or "http" as the client spoke it, where a trusted proxy said so. It is empty where that is not known.
	Scheme string
	// Path is the normalised, decoded path that every rule matches; the app receives the same bytes.
	Path string
	// Identity is nil for an anonymous request.
	Identity *identity.Identity
	// Session is the id of the external session that the identity's token belongs to; empty for none.
	Session string
	// ByCookie says that the identity's token came in a cookie, which browsers add by themselves to what other pages send.
	ByCookie bool
	// Shadow is the policy's mode: every refusal of a rule is recorded and let pass.
	Shadow bool
	// AuthnErr says why the request's credential gave no identity; nil where none was sent. Authentication only records it:
	// authorization decides whether the route needs an identity, and then answers with it.
	AuthnErr *httperr.Error
	// Watches are asked now and then while the app's answer is under way.
	Watches []Watch
	// LimitsTaken says that the request's rate limits have been counted.
	LimitsTaken bool
	// AppFields are the fields reserved for the sidecar (Postern-*) of the app's final answer, by canonical name. The
	// upstream stage takes them out of the answer, so that none ever reaches a client; nil for none.
	AppFields http.Header
	// Sensitive says that the answer carries credentials, so that it is not compressed (BREACH).
	Sensitive bool
	// Public says that the answer is a document of the sidecar's own that caches are meant to keep, so that its Cache-Control
	// stays.
	Public bool
	// Decisions are the refusals, enforced or not, in order. Add to them by Refuse or Decide.
	Decisions []Decision
	// Events is the policy's stream of events; nil for none. Emit adds to them what is known of the request.
	Events *event.Stream
	// Actor is whom the request's verified token names, also where a later stage took the identity away. It is for events
	// alone and grants nothing.
	Actor event.Actor
}

// Decision is a refusal by one rule.
type Decision = event.Decision

// Rule names who refuses, for Refuse.
type Rule struct {
	Stage, Name string
	// Shadow is the rule's own mode; the policy's is in Info.
	Shadow bool
}

// Refuse records that rule refuses the request with err. It returns err where the refusal is enforced, and nil where it
// is shadowed, so that the caller goes on.
func (i *Info) Refuse(rule Rule, err *httperr.Error) error {
	shadow := rule.Shadow || i.Shadow
	i.Decide(Decision{Stage: rule.Stage, Rule: rule.Name, Shadow: shadow, Err: err})
	if shadow {
		return nil
	}
	return err
}

// Decide records a refusal, and emits it as an event.
func (i *Info) Decide(d Decision) {
	i.Decisions = append(i.Decisions, d)
	i.Emit(d.Event())
}

// Emit emits e with what is known of the request.
func (i *Info) Emit(e event.Event) {
	if i.Events.Wants(e.Kind) {
		i.complete(&e)
		i.Events.Emit(e)
	}
}

// complete adds the request to e, and what its token names where e names nothing.
func (i *Info) complete(e *event.Event) {
	e.RequestID = i.RequestID
	if !e.ClientAddr.IsValid() {
		e.ClientAddr = i.ClientAddr
	}
	if e.Actor == (event.Actor{}) {
		e.Actor = i.Actor
		if i.Session != "" {
			e.Session = i.Session
		}
	}
}

// Emit emits e on a stream for code that also works outside of requests: where ctx is a request's, e gets what is known of it.
func Emit(ctx context.Context, s *event.Stream, e event.Event) {
	if !s.Wants(e.Kind) {
		return
	}
	if info, ok := ctx.Value(key{}).(*Info); ok {
		info.complete(&e)
	}
	s.Emit(e)
}

// Watch judges an answer that is under way: a stream or a WebSocket may last for longer than the reason why its request was
// let in.
type Watch struct {
	// Rule is who refuses.
	Rule Rule
	// Judge returns why the answer must end, or nil. It is called by other goroutines than the request's.
	Judge func(ctx context.Context) *httperr.Error
}

type key struct{}

// With returns r carrying info.
func With(r *http.Request, info *Info) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), key{}, info))
}

// From returns the request's record. It is never nil: a request outside the chain gets an empty one of its own.
func From(r *http.Request) *Info {
	if info, ok := r.Context().Value(key{}).(*Info); ok {
		return info
	}
	return &Info{}
}
