// Package event is the stream of security events: who did what, from where, and how it went. Whatever happens is emitted once,
// as an Event; metrics and the access log are sinks of the stream, and each takes the kinds that it wants.
//
// Stages emit through request.Info, which adds what is known of the request. What may also work outside of requests (the login
// service, the app's API, back-channel logout, the end of sessions in the background) has a Stream of its own and emits with
// request.Emit; there, what only a request knows is empty.
//
// An event never holds a secret: no token, password, cookie or header, and no claim but those that it has fields for. Its texts
// are bounded. They may hold whatever a client or an issuer has written, control characters too: a sink escapes what it writes.
package event

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Actor is on whose behalf something happened; fields that are not known are empty.
type Actor struct {
	// Provider is the policy's name of the token's provider, and Issuer its iss. For our own sessions Issuer may be empty.
	Provider, Issuer string
	Subject          string
	// Session is the id of our session or of the external session, or else the token's sid.
	Session string
	// TokenID is the token's jti.
	TokenID string
}

// Event is one thing that happened. It is passed by value; only Served is shared.
type Event struct {
	Kind    Kind
	Outcome Outcome
	// Reason is a stable name of why, for whatever is not plain success; empty for none. It never holds input.
	Reason string
	// Time and Policy ("namespace/name") are set by the Stream.
	Time   time.Time
	Policy string
	Actor
	// KeyID is that of the key that was revoked.
	KeyID string
	// RequestID is the request's; empty until requests have one. ClientAddr is not valid outside of requests.
	RequestID  string
	ClientAddr netip.Addr
	// Stage and Rule name who refused a request.
	Stage, Rule string
	// Cached says that an earlier verification of the token was used.
	Cached bool
	// Served is for Request alone. It must not be used after Record has returned.
	Served *Served
}

// Result is Reason, or "ok" where there is none: how metrics label events.
func (e Event) Result() string {
	if e.Reason == "" {
		return "ok"
	}
	return e.Reason
}

// Served is a request that has been answered.
type Served struct {
	Method, Path, Protocol string
	// Port is the app's that the client connected to.
	Port   uint16
	Status int
	// Bytes is the length of the response's body; Elapsed is the time since the request's header had been read.
	Bytes   int64
	Elapsed time.Duration
	// Aborted says that the response broke off, and ClientGone that it did because the client had gone.
	Aborted, ClientGone bool
	// Authenticated says that the request had an identity to the end.
	Authenticated bool
	// Decisions are the refusals, enforced or not, in order.
	Decisions []Decision
	// Err is what was answered with an error; the client got its public part.
	Err error
}

// Decision is a refusal of a request by one rule.
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

// Event is the decision as an event.
func (d Decision) Event() Event {
	e := Event{Kind: RequestRefused, Outcome: Refused, Stage: d.Stage, Rule: d.Rule}
	switch d.Stage {
	case "authz":
		e.Kind = AuthorizationRefused
	case "ratelimit":
		e.Kind = LimitHit
	}
	if d.Shadow {
		e.Outcome = Shadow
	}
	if d.Err != nil {
		e.Reason = string(d.Err.Code)
	}
	return e
}

// Sink takes events. Record is called by the goroutine of the request: it must not block, and it must be safe for concurrent
// use. A sink that does I/O has a bounded queue of its own and counts what it drops.
type Sink interface {
	// Kinds are those that the sink wants; it is asked once.
	Kinds() Kinds
	Record(e Event)
}

// Stream passes a policy's events on to sinks. It is safe for concurrent use, has no queue, and allocates nothing. A nil Stream
// has no sinks.
type Stream struct {
	policy string
	now    func() time.Time
	sinks  [kinds][]Sink
}

// NewStream returns the stream of the policy "namespace/name".
func NewStream(policy string, sinks ...Sink) *Stream {
	s := &Stream{policy: policy, now: time.Now}
	for _, sink := range sinks {
		wanted := sink.Kinds()
		for k := range kinds {
			if wanted.Has(k) {
				s.sinks[k] = append(s.sinks[k], sink)
			}
		}
	}
	return s
}

// Wants reports whether a sink wants events of the kind, for a caller to whom the event would cost something.
func (s *Stream) Wants(k Kind) bool { return s != nil && k < kinds && len(s.sinks[k]) > 0 }

// Emit passes e on to every sink that wants it, and returns when they have it.
func (s *Stream) Emit(e Event) {
	if !s.Wants(e.Kind) {
		return
	}
	e.Time, e.Policy = s.now(), s.policy
	for _, text := range []*string{&e.Subject, &e.Session, &e.TokenID, &e.Issuer, &e.KeyID, &e.RequestID} {
		if len(*text) > MaxText {
			*text = strings.Clone(cut(*text))
		}
	}
	for _, sink := range s.sinks[e.Kind] {
		sink.Record(e)
	}
}

// cut returns the first MaxText bytes of text, or up to three less, so that no character is cut in two.
func cut(text string) string {
	end := MaxText
	for end > MaxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// MaxText bounds each text of an event that a client or an issuer has written, in bytes; the rest is cut off.
const MaxText = 512
