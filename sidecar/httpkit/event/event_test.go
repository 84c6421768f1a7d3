package event

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// recorder is a sink that records its events.
type recorder struct {
	kinds  Kinds
	events []Event
}

func (r *recorder) Kinds() Kinds   { return r.kinds }
func (r *recorder) Record(e Event) { r.events = append(r.events, e) }

func TestSinksGetWhatTheyWant(t *testing.T) {
	logins, refusals, both := &recorder{kinds: Of(Login)}, &recorder{kinds: Of(AuthorizationRefused, LimitHit)}, &recorder{kinds: Of(Login, LimitHit)}
	s := NewStream("shop/orders", logins, refusals, both)
	s.now = func() time.Time { return time.Unix(7, 0) }
	for _, k := range []Kind{Login, LimitHit, Logout, AuthorizationRefused, Kind(200)} {
		s.Emit(Event{Kind: k, Outcome: Refused, Reason: "why", Actor: Actor{Subject: "ada"}, ClientAddr: netip.MustParseAddr("192.0.2.1")})
	}
	for name, tt := range map[string]struct {
		sink *recorder
		want []Kind
	}{"logins": {logins, []Kind{Login}}, "refusals": {refusals, []Kind{LimitHit, AuthorizationRefused}}, "both": {both, []Kind{Login, LimitHit}}} {
		var got []Kind
		for _, e := range tt.sink.events {
			got = append(got, e.Kind)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s got %v; want %v", name, got, tt.want)
		}
	}
	want := Event{
		Kind: Login, Outcome: Refused, Reason: "why", Time: time.Unix(7, 0), Policy: "shop/orders", Actor: Actor{Subject: "ada"},
		ClientAddr: netip.MustParseAddr("192.0.2.1"),
	}
	if got := logins.events[0]; got != want {
		t.Errorf("event %+v; want %+v", got, want)
	}
	if !s.Wants(Login) || s.Wants(Logout) || s.Wants(Kind(200)) {
		t.Error("Wants returned a wrong result")
	}
}

func TestNilStream(t *testing.T) {
	var s *Stream
	s.Emit(Event{Kind: Login})
	if s.Wants(Login) {
		t.Error("a nil stream has a sink")
	}
}

func TestTextsAreBounded(t *testing.T) {
	sink := &recorder{kinds: Of(Login)}
	long := strings.Repeat("x", 16<<10)
	NewStream("shop/orders", sink).Emit(Event{
		Kind: Login, Actor: Actor{Issuer: long, Subject: long, Session: long, TokenID: long}, KeyID: long, RequestID: long,
	})
	e := sink.events[0]
	for name, text := range map[string]string{
		"issuer": e.Issuer, "subject": e.Subject, "session": e.Session, "token": e.TokenID, "key": e.KeyID, "request": e.RequestID,
	} {
		if len(text) != MaxText {
			t.Errorf("%s has %d bytes; want %d", name, len(text), MaxText)
		}
	}
}

// TestTextsAreCutBetweenCharacters: databases reject half a character.
func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for name, char := range map[string]string{"two bytes": "é", "three": "€", "four": "😀"} {
		sink := &recorder{kinds: Of(Login)}
		NewStream("shop/orders", sink).Emit(Event{Kind: Login, Actor: Actor{Subject: "x" + strings.Repeat(char, MaxText)}})
		if got := sink.events[0].Subject; !utf8.ValidString(got) || len(got) > MaxText || len(got) < MaxText-3 {
			t.Errorf("%s: %d bytes, valid: %t", name, len(got), utf8.ValidString(got))
		}
	}
}

// TestKindsHaveNames: every kind has its own name, because sinks store names and not numbers.
func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{"": true, "unknown": true}
	for k := range kinds {
		if seen[k.String()] {
			t.Errorf("kind %d has no unique name: %q", k, k)
		}
		seen[k.String()] = true
	}
	if kinds > 32 {
		t.Errorf("%d kinds do not fit into a set", kinds)
	}
	if got := kinds.String(); got != "unknown" {
		t.Errorf("an unknown kind has the name %q", got)
	}
}

func TestDecisionsAsEvents(t *testing.T) {
	refusal := &httperr.Error{Status: 403, Code: "access-denied"}
	tests := map[string]struct {
		decision Decision
		want     Event
	}{
		"authorization": {
			Decision{Stage: "authz", Rule: "admins", Err: refusal},
			Event{Kind: AuthorizationRefused, Outcome: Refused, Reason: "access-denied", Stage: "authz", Rule: "admins"},
		},
		"a limit in shadow": {
			Decision{Stage: "ratelimit", Rule: "login", Shadow: true, Err: refusal},
			Event{Kind: LimitHit, Outcome: Shadow, Reason: "access-denied", Stage: "ratelimit", Rule: "login"},
		},
		"a password": {
			Decision{Stage: "password-policy", Rule: "too-short", Err: refusal},
			Event{Kind: PasswordRefused, Outcome: Refused, Reason: "access-denied", Stage: "password-policy", Rule: "too-short"},
		},
		"another": {Decision{Stage: "guard"}, Event{Kind: RequestRefused, Outcome: Refused, Stage: "guard"}},
	}
	for name, tt := range tests {
		if got := tt.decision.Event(); got != tt.want {
			t.Errorf("%s: %+v; want %+v", name, got, tt.want)
		}
	}
}

// counter is a sink that only counts.
type counter struct{ n int }

func (c *counter) Kinds() Kinds { return Of(TokenVerified) }
func (c *counter) Record(Event) { c.n++ }

func TestEmitAllocatesNothing(t *testing.T) {
	s := NewStream("shop/orders", &counter{})
	for name, k := range map[string]Kind{"wanted by none": Logout, "wanted": TokenVerified} {
		e := Event{Kind: k, Outcome: Success, Actor: Actor{Provider: "corp", Subject: "ada", TokenID: "t"}}
		if n := testing.AllocsPerRun(1000, func() { s.Emit(e) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkEmit(b *testing.B) {
	for name, s := range map[string]*Stream{"no stream": nil, "no sink": NewStream("a/b"), "one sink": NewStream("a/b", &counter{})} {
		b.Run(name, func(b *testing.B) {
			e := Event{Kind: TokenVerified, Outcome: Success, Actor: Actor{Provider: "corp", Subject: "ada", TokenID: "t"}}
			b.ReportAllocs()
			for b.Loop() {
				s.Emit(e)
			}
		})
	}
}
