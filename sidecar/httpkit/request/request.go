// Package request is what the stages know of one request: who sent it, what it asks for, and what was decided.
package request

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// Info is one request's record. It belongs to the request's goroutine: stages write it on the way in, the access log,
// metrics and audit read it after the answer.
type Info struct {
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
	// Decisions are the refusals, enforced or not, in order.
	Decisions []Decision
}

// Decision is a refusal by one rule.
type Decision struct {
	// Stage is the deciding package's name: "authn", "authz", "ratelimit" …
	Stage string
	// Rule is the policy's own name of the rule, or empty where the stage has just one.
	Rule string
	// Shadow is true where the refusal was let pass.
	Shadow bool
	// Err is what the client was told, or would have been.
	Err *httperr.Error
}

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
	i.Decisions = append(i.Decisions, Decision{Stage: rule.Stage, Rule: rule.Name, Shadow: shadow, Err: err})
	if shadow {
		return nil
	}
	return err
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
