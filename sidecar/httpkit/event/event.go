// Package event is the stream of security events: who did what, from where, and with what result. Each event is
// emitted once, as an Event. Metrics and the access log are sinks of the stream, and each sink receives the kinds
// that it wants.
//
// Stages emit through request.Info, which adds what is known about the request. Code that also runs outside of
// requests (the login service, the app's API, back-channel logout, the end of sessions in the background) has its own
// Stream and emits with request.Emit. Outside of requests, the fields of a request are empty.
//
// An event never contains a secret: no token, password, cookie or header, and only those claims that it has fields
// for. Its texts are bounded. They may contain anything that a client or an issuer wrote, including control
// characters, so a sink must escape what it writes.
package event

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// Actor is the subject of an event; unknown fields are empty.
type Actor struct {
	// Provider is the policy's name of the token's provider, and Issuer its iss. For sessions of the sidecar, Issuer
	// may be empty.
	Provider, Issuer string
	Subject          string
	// Session is the id of the sidecar's session or of the external session, or else the token's sid.
	Session string
	// TokenID is the token's jti.
	TokenID string
}

// Event is one event. It is passed by value; only Served is shared.
type Event struct {
	Kind    Kind
	Outcome Outcome
	// Reason is a stable name of the reason, if the event is not a plain success; empty for none. It never contains
	// input.
	Reason string
	// Claim is the claim or header parameter because of which a token was refused, by its registered or the policy's name; empty for
	// none. The number of names is bounded.
	Claim string
	// Time and Policy ("namespace/name") are set by the Stream.
	Time   time.Time
	Policy string
	Actor
	// KeyID is the id of the revoked key.
	KeyID string
	// Account is the account that a client named at a login or a reset, in its canonical form; empty for none. Nobody has verified it: it is
	// not the subject.
	Account string
	// PerformedBy is who acted, if that is not the Subject: an administrator, or a person at the command line.
	PerformedBy string
	// Resource is what an event of the kind Lifecycle changed, and Changes is how; empty and nil for other kinds.
	Resource Resource
	Changes  *Changes
	// RequestID and TraceID are the ids of the request and of its trace, and UserAgent is its header field; empty for none. ClientAddr is
	// not valid outside of requests.
	RequestID, TraceID, UserAgent string
	ClientAddr                    netip.Addr
	// Sampled says that the trace is exported.
	Sampled bool
	// Stage and Rule name what refused a request.
	Stage, Rule string
	// Cached says that the result of an earlier verification of the token was used.
	Cached bool
	// Served is set only for the kind Request. A sink must not use it after Record has returned.
	Served *Served
}

// Result returns Reason, or "ok" if there is none: the label of the event in metrics.
func (e Event) Result() string {
	if e.Reason == "" {
		return "ok"
	}
	return e.Reason
}

// SampledTrace returns the id of the event's trace if that is exported, and otherwise "": the label trace_id of an exemplar.
func (e *Event) SampledTrace() string {
	if !e.Sampled {
		return ""
	}
	return e.TraceID
}

// Served is a completed request.
type Served struct {
	Method, Path, Protocol string
	// Target and Routes give the Route.
	Target route.Target
	Routes *route.Declared
	// Port is the app's port that the client connected to.
	Port   uint16
	Status int
	// Bytes is the length of the response's body; Elapsed is the time since the request's header was read.
	Bytes   int64
	Elapsed time.Duration
	// InApp is the part of Elapsed that was spent waiting for the app, and Overhead what the sidecar itself took of it; see request.Timing.
	// AskedApp says that the app was asked. Neither part has a meaning for an aborted response or an upgraded connection.
	InApp, Overhead time.Duration
	AskedApp        bool
	// Aborted says that the response was cut short, and ClientGone that the client had disconnected.
	Aborted, ClientGone bool
	// Authenticated says that the request had an identity at its end.
	Authenticated bool
	// Unlogged says that the request is not in the access log.
	Unlogged bool
	// Decisions are the refusals in order, enforced or in shadow mode.
	Decisions []Decision
	// Err is the error that was written as the response. The client received its public part.
	Err error
}

// Route returns the most specific path pattern of the policy that the request's path matches; empty for none.
func (s *Served) Route() string { return s.Routes.Of(&s.Target) }

// Decision is a refusal of a request by one rule.
type Decision struct {
	// Stage is the name of the package that decided: "authn", "authz", "ratelimit" …
	Stage string
	// Rule is the policy's name of the rule, or empty if the stage has only one rule.
	Rule string
	// Condition is the kind of the rule's condition that does not hold, or empty.
	Condition string
	// Shadow is true if the refusal was not enforced.
	Shadow bool
	// Err is what the client received, or would have received in enforce mode.
	Err *httperr.Error
}

// Event returns the decision as an event.
func (d Decision) Event() Event {
	e := Event{Kind: RequestRefused, Outcome: Refused, Stage: d.Stage, Rule: d.Rule}
	switch d.Stage {
	case "password-policy":
		e.Kind = PasswordRefused
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

// Sink receives events. The request's goroutine calls Record, so Record must not block and must be safe for
// concurrent use. A sink that does I/O needs its own bounded queue and counts what it drops.
type Sink interface {
	// Kinds returns the kinds that the sink wants. It is called once.
	Kinds() Kinds
	Record(e Event)
}

// Stream passes a policy's events to sinks. It is safe for concurrent use, has no queue, and does not allocate. A nil
// Stream has no sinks.
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

// Wants reports whether a sink wants events of the kind. Callers use it if an event is expensive to build.
func (s *Stream) Wants(k Kind) bool { return s != nil && k < kinds && len(s.sinks[k]) > 0 }

// Emit passes e to every sink that wants it. It returns after they have recorded it.
func (s *Stream) Emit(e Event) {
	if !s.Wants(e.Kind) {
		return
	}
	if e.Policy = s.policy; e.Time.IsZero() {
		e.Time = s.now()
	}
	for _, text := range []*string{
		&e.Subject, &e.Session, &e.TokenID, &e.Issuer, &e.KeyID, &e.Account, &e.PerformedBy, &e.Resource.ID, &e.RequestID, &e.TraceID, &e.UserAgent,
	} {
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

// MaxText bounds each text of an event that a client or an issuer wrote, in bytes. Longer texts are cut.
const MaxText = 512
