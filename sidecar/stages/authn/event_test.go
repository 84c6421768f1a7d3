package authn

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// TestTokenEvents: the event of a verified token has its actor. The event of a refused token has only the provider whose rules it
// does not meet.
func TestTokenEvents(t *testing.T) {
	w := newWorld(t)
	actor := event.Actor{Provider: "corp", Issuer: corp, Subject: "alice", Session: "s1", TokenID: "t1"}
	provider := event.Actor{Provider: "corp", Issuer: corp}
	good := w.token(t, good().with("sid", "s1"))
	tests := []struct {
		name, token string
		want        event.Event
	}{
		{"verified", good, event.Event{Kind: event.TokenVerified, Outcome: event.Success, Actor: actor}},
		{"cached", good, event.Event{Kind: event.TokenVerified, Outcome: event.Success, Actor: actor, Cached: true}},
		{"expired", w.token(t, claims{"iss": corp, "sub": "mallory", "aud": "orders", "exp": 1}), event.Event{Kind: event.TokenRefused, Outcome: event.Refused, Reason: "expired", Claim: "exp", Actor: provider}},
		{"not a token", "aaaa.bbbb.cccc", event.Event{Kind: event.TokenRefused, Outcome: event.Refused, Reason: "malformed"}},
	}
	s := w.stage(t)
	for _, tt := range tests {
		w.events = nil
		o := w.send(s, bearer(tt.token), false)
		tt.want.ClientAddr, tt.want.Policy = client, "shop/orders"
		if len(w.events) != 1 {
			t.Fatalf("%s: events %+v", tt.name, w.events)
		}
		got := w.events[0]
		if tt.want.Time = got.Time; got != tt.want {
			t.Errorf("%s: event %+v; want %+v", tt.name, got, tt.want)
		}
		if (o.info.Actor == actor) != (tt.want.Kind == event.TokenVerified) {
			t.Errorf("%s: later events have the actor %+v", tt.name, o.info.Actor)
		}
		if text := fmt.Sprintf("%+v", got); strings.Contains(text, tt.token) || strings.Contains(text, strings.Split(tt.token, ".")[1]) {
			t.Errorf("%s: the event holds the token", tt.name)
		}
	}
	w.config.Providers[0].Keys = &rotating{Source: w.config.Providers[0].Keys.(jwks.Source), err: jwks.ErrUnavailable}
	w.events = nil
	w.send(w.stage(t), bearer(good), false)
	if len(w.events) != 1 || w.events[0].Outcome != event.Failed || w.events[0].Reason != "keys_unavailable" {
		t.Errorf("keys unavailable: events %+v", w.events)
	}
}

func TestMetricsAreASink(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
	s := event.NewStream("shop/orders", m)
	s.Emit(event.Event{Kind: event.TokenVerified, Actor: event.Actor{Provider: "corp"}, Cached: true})
	s.Emit(event.Event{Kind: event.TokenRefused, Reason: "expired", Claim: "exp", Actor: event.Actor{Provider: "corp"}})
	s.Emit(event.Event{Kind: event.TokenRefused, Reason: "malformed"})
	want := `# HELP postern_tokens_verified_total Bearer tokens by provider (empty if the token names none), result (ok, or the reason of the refusal), claim (the claim or header parameter that was refused, by its registered or the policy's name, or empty), and whether the verification was cached.
# TYPE postern_tokens_verified_total counter
postern_tokens_verified_total{cached="false",claim="",provider="",result="malformed"} 1
postern_tokens_verified_total{cached="false",claim="exp",provider="corp",result="expired"} 1
postern_tokens_verified_total{cached="true",claim="",provider="corp",result="ok"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestEventsAllocateNothing: a cached token costs the one allocation of its hash, whether or not a sink counts it.
func TestEventsAllocateNothing(t *testing.T) {
	w := newWorld(t)
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	a, c := direct(t, w), credential{token: w.token(t, good()), header: "Authorization", prefix: "bearer "}
	for name, events := range map[string]*event.Stream{"no stream": nil, "no sink": event.NewStream("shop/orders"), "metrics": event.NewStream("shop/orders", m)} {
		info := &request.Info{Events: events}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		if _, err := a.verify(r, info, c); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(1000, func() { _, _ = a.verify(r, info, c) }); n > 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestEveryReasonHasAText: every reason has its own text for the client, which fits in a quoted string.
func TestEveryReasonHasAText(t *testing.T) {
	seen := map[string]jwt.Reason{}
	for _, r := range []jwt.Reason{
		jwt.Malformed, jwt.TooLarge, jwt.Encrypted, jwt.SeveralTokens, jwt.ClaimType, jwt.ClaimRange, jwt.Critical, jwt.UnknownIssuer, jwt.WrongType, jwt.WrongAlgorithm, jwt.WrongAudience,
		jwt.Expired, jwt.NotYetValid, jwt.LifetimeTooLong, jwt.UnknownKey, jwt.BadSignature, reasonPlace, jwt.MissingClaim, reasonClaimSize, reasonFormat,
		reasonUnbound, reasonScheme, reasonNoCertificate, reasonOtherCertificate, reasonReplayed, dpop.Invalid, dpop.OtherKey,
	} {
		text := describe(r)
		if other, taken := seen[text]; taken || text == "" || strings.ContainsAny(text, "\"\\") {
			t.Errorf("%s: %q, the text of %q", r, text, other)
		}
		seen[text] = r
	}
}

// TestRefusedClaims: the log and the event name the claim. The client is told only what every verifier checks, not the policy's claims.
func TestRefusedClaims(t *testing.T) {
	w := newWorld(t)
	w.config.Providers[0].RequiredClaims = []RequiredClaim{{Claim: "tenant.id", Values: []string{"acme"}}}
	tenant := good().with("tenant", claims{"id": "acme"})
	tests := map[string]struct {
		claims                      claims
		wantClaim, wantLog, wantSay string
	}{
		"exp is a string":     {tenant.with("exp", "2000000000"), "exp", "claim_type: the claim exp is a string", `type: the claim exp is a string; it must be a number of seconds"`},
		"exp is absent":       {tenant.without("exp"), "exp", "missing_claim: the claim exp is absent", `required: the claim exp is absent; every token needs it"`},
		"sub is a number":     {tenant.with("sub", 7), "sub", "claim_type: the claim sub is a number", "the claim sub is a number"},
		"tenant is another":   {good().with("tenant", claims{"id": "s3cret"}), "tenant.id", "missing_claim: the claim tenant.id is a string with another value", `does not have a claim that is required"`},
		"tenant is absent":    {good(), "tenant.id", "missing_claim: the claim tenant.id is absent or null", `does not have a claim that is required"`},
		"roles are too large": {tenant.with("realm", claims{"roles": strings.Repeat("s3cret", maxHeaders/6+1)}), "realm.roles", "claims_too_large: the claim realm.roles", `are too large"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.events = nil
			o := w.send(w.stage(t), bearer(w.token(t, tt.claims)), false)
			if len(w.events) != 1 || w.events[0].Claim != tt.wantClaim {
				t.Errorf("events %+v; want the claim %q", w.events, tt.wantClaim)
			}
			logged, said := o.info.AuthnErr.Cause.Error(), o.info.AuthnErr.Header.Get("WWW-Authenticate")
			if !strings.Contains(logged, tt.wantLog) || strings.Contains(logged, "s3cret") {
				t.Errorf("logs %q; want %q", logged, tt.wantLog)
			}
			if !strings.Contains(said, tt.wantSay) || strings.Contains(said, "tenant") || strings.Count(said, `"`)%2 != 0 {
				t.Errorf("the client is told %s; want %q", said, tt.wantSay)
			}
		})
	}
}
