// Package request holds what the stages know about one request: who sent it, what it asks for, and what was decided.
package request

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// Info is the record of one request. It belongs to the request's goroutine: stages write it before the response; the
// access log, metrics and audit read it after the response. It ends with the request, because another request may get its memory:
// what outlives the request takes copies of fields, or the context of Detach. The texts, slices, identities and errors in it may be kept.
type Info struct {
	// RequestID identifies the request, and TraceID (32 hexadecimal digits) its trace; empty for none.
	RequestID, TraceID string
	// Sampled says that the trace is exported.
	Sampled bool
	// Start is the time when the request's header was read.
	Start time.Time
	// UserAgent is the header field of the client; empty for none.
	UserAgent string
	// Local is the pod's address and app port that the client connected to, before any redirect.
	Local netip.AddrPort
	// ClientAddr is the client's address after trusted proxies, unmapped (never ::ffff:a.b.c.d).
	ClientAddr netip.Addr
	// Proxied says that the peer is a trusted proxy.
	Proxied bool
	// Scheme is "https" or "http", the client's scheme as a trusted proxy reported it. It is empty if that is not
	// known.
	Scheme string
	// Path is the normalised, decoded path for logs and for the sidecar's own endpoints. Rules match Target. An encoded slash is
	// written %2F in it.
	Path string
	// Readings is Path in every way that an app may read it; the zero value stands for Path alone.
	Readings route.Target
	// Identity is nil for an anonymous request.
	Identity *identity.Identity
	// Session is the id of the external session that the identity's token belongs to; empty for none.
	Session string
	// ByCookie says that the identity's token came in a cookie, which browsers also add to requests that other sites
	// cause.
	ByCookie bool
	// Shadow says that the policy is in shadow mode: refusals of rules are recorded but not enforced.
	Shadow bool
	// AuthnErr says why the request's credential gave no identity; nil if none was sent. Authentication only records
	// it: authorization decides whether the route needs an identity, and then refuses with it.
	AuthnErr *httperr.Error
	// Watches are checked regularly while the response is in progress. Use Watch to add one.
	Watches []Watch
	// LimitsTaken says that the request's rate limits were counted.
	LimitsTaken bool
	// RateLimit and RateLimitPolicy are the values of the response's fields of those names; nil for none.
	RateLimit, RateLimitPolicy []string
	// UpstreamProtocol is the protocol in which the request is sent to the app; empty for Auto.
	UpstreamProtocol Protocol
	// AppFields are the fields reserved for the sidecar (Postern-*) in the app's final response, by canonical name;
	// nil for none. The upstream stage removes them from the response, so that none reaches a client.
	AppFields http.Header
	// Sensitive says that the response contains credentials, so that it is not compressed (BREACH).
	Sensitive bool
	// Public says that the response is one of the sidecar's own documents that caches may keep, so that its
	// Cache-Control is not changed.
	Public bool
	// Decisions are the refusals in order, enforced or in shadow mode. Use Refuse or Decide to add one.
	Decisions []Decision
	// Events is the policy's stream of events; nil for none. Emit adds what is known about the request.
	Events *event.Stream
	// Actor is the subject of the request's verified token, also if a later stage removed the identity. It is only
	// for events and grants nothing.
	Actor event.Actor
	// Timing is how long the request waited for the app and for the client; nil outside of the chain.
	Timing *Timing
	// Trace is nil unless the request is traced (postern test and postern explain).
	Trace *Trace

	// values are the room of Values.
	values *[valuesRoom]string
	used   int
}

// Target returns the path that rules match.
func (i *Info) Target() route.Target {
	if i.Readings.Path == "" {
		return route.Target{Path: i.Path}
	}
	return i.Readings
}

// Protocol is a protocol that an app speaks.
type Protocol string

// Values of Protocol. Auto is the client's protocol, if the app speaks it.
const (
	Auto  Protocol = "Auto"
	HTTP1 Protocol = "HTTP1"
	H2C   Protocol = "H2C"
)

// Decision is a refusal by one rule.
type Decision = event.Decision

// Rule names the rule that refuses, for Refuse.
type Rule struct {
	Stage, Name string
	// Condition is the kind of the rule's condition that does not hold, such as clientAddresses; empty for none. It is only for the log.
	Condition string
	// Shadow is the rule's own mode; Info has the policy's mode.
	Shadow bool
}

// Refuse records that rule refuses the request with err. It returns err if the refusal is enforced, and nil in shadow
// mode, so that the caller continues.
func (i *Info) Refuse(rule Rule, err *httperr.Error) error {
	shadow := rule.Shadow || i.Shadow
	i.Decide(Decision{Stage: rule.Stage, Rule: rule.Name, Condition: rule.Condition, Shadow: shadow, Err: err})
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

// Emit emits e with what is known about the request.
func (i *Info) Emit(e event.Event) {
	if i.Events.Wants(e.Kind) {
		i.complete(&e)
		i.Events.Emit(e)
	}
}

// complete adds the request to e, and the subject of the request's token if e has none, or only names its session.
func (i *Info) complete(e *event.Event) {
	e.RequestID, e.TraceID, e.Sampled, e.UserAgent = i.RequestID, i.TraceID, i.Sampled, i.UserAgent
	if !e.ClientAddr.IsValid() {
		e.ClientAddr = i.ClientAddr
	}
	if e.Actor == (event.Actor{}) || e.Subject == "" && e.Session != "" && e.Session == i.Actor.Session {
		e.Actor = i.Actor
		if i.Session != "" {
			e.Session = i.Session
		}
	}
}

// Emit emits e on a stream, for code that also runs outside of requests. If ctx is the context of a request, e gets
// what is known about the request.
func Emit(ctx context.Context, s *event.Stream, e event.Event) {
	if !s.Wants(e.Kind) {
		return
	}
	if info, ok := ctx.Value(key{}).(*Info); ok {
		info.complete(&e)
	}
	s.Emit(e)
}

type key struct{}

// With returns r with info in its context.
func With(r *http.Request, info *Info) *http.Request { return Set(r, key{}, info) }

// From returns the request's Info. It is never nil: a request outside of the chain gets its own empty Info.
func From(r *http.Request) *Info {
	if info, ok := r.Context().Value(key{}).(*Info); ok {
		return info
	}
	return &Info{}
}

// End removes the Info from the context of r, if that keeps it in place, before its memory is used for another request.
func End(r *http.Request) {
	if s, ok := r.Context().(setter); ok {
		s.SetValue(key{}, nil)
	}
}
