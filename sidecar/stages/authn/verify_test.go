package authn

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

func TestProviderChecks(t *testing.T) {
	w := newWorld(t)
	hour := now.Unix() + 3600
	tests := map[string]struct {
		change func(*Provider)
		claims claims
		want   string
	}{
		"lifetime within bounds":  {func(p *Provider) { p.MaxLifetime = time.Hour }, good().with("iat", now.Unix()).with("exp", hour), ""},
		"lifetime too long":       {func(p *Provider) { p.MaxLifetime = time.Hour }, good().with("iat", now.Unix()-1).with("exp", hour), "lifetime_too_long"},
		"lifetime without iat":    {func(p *Provider) { p.MaxLifetime = time.Hour }, good().without("iat"), "lifetime_too_long"},
		"lifetime of centuries":   {func(p *Provider) { p.MaxLifetime = time.Hour }, good().with("iat", 0).with("exp", 253402300799), "lifetime_too_long"},
		"access tokens only":      {func(p *Provider) { p.TokenTypes = []string{"at+jwt"} }, good(), "wrong_type"},
		"no leeway":               {func(p *Provider) { p.Leeway = 0 }, good().with("exp", now.Unix()), "expired"},
		"any audience":            {func(p *Provider) { p.Audiences = nil }, good().with("aud", "x"), ""},
		"claim has the value":     {require("tenant", "acme", "b"), good().with("tenant", "b"), ""},
		"claim in a list":         {require("realm.roles", "admin"), good().with("realm", claims{"roles": []string{"a", "admin"}}), ""},
		"claim is a number":       {require("level", "3"), good().with("level", 3), ""},
		"claim is a boolean":      {require("email_verified", "true"), good().with("email_verified", true), ""},
		"claim has another value": {require("tenant", "acme"), good().with("tenant", "Acme"), "missing_claim"},
		"claim is absent":         {require("tenant", "acme"), good(), "missing_claim"},
		"claim is an object":      {require("tenant", "acme"), good().with("tenant", claims{"acme": 1}), "missing_claim"},
		"claim not in the list":   {require("roles", "admin"), good().with("roles", []any{"administrator", []string{"admin"}}), "missing_claim"},
		"scope of several":        {requireMembers("scope", "orders:read"), good().with("scope", "openid orders:read"), ""},
		"scope lacks one":         {requireMembers("scope", "orders:read", "email"), good().with("scope", "openid orders:read"), "missing_claim"},
		"scope has a longer one":  {requireMembers("scope", "orders:read"), good().with("scope", "orders:read:own"), "missing_claim"},
		"permissions in a list":   {requireMembers("permissions", "a", "b"), good().with("permissions", []string{"b", "c", "a"}), ""},
		"claim must be present":   {require("tenant"), good().with("tenant", ""), ""},
		"claim must not be null":  {require("tenant"), good().with("tenant", nil), "missing_claim"},
		"headers too large": {
			func(*Provider) {}, good().with("realm", claims{"roles": strings.Repeat("r", maxHeaders)}), "claims_too_large",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := w.config
			c.Providers = slices.Clone(c.Providers)
			tt.change(&c.Providers[0])
			s, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if o := send(s, bearer(w.token(t, tt.claims)), false); o.reason() != tt.want || (o.info.Identity == nil) != (tt.want != "") {
				t.Fatalf("AuthnErr %v, want %q", o.info.AuthnErr, tt.want)
			}
		})
	}
}

func require(claim string, values ...string) func(*Provider) {
	return func(p *Provider) { p.RequiredClaims = []RequiredClaim{{Claim: claim, Values: values}} }
}

func requireMembers(claim string, all ...string) func(*Provider) {
	return func(p *Provider) {
		p.RequiredClaims = []RequiredClaim{{Claim: claim, Members: &identity.Members{All: all}}}
	}
}

func TestCachedTokenExpires(t *testing.T) {
	w := newWorld(t)
	at := now
	w.config.Now = func() time.Time { return at }
	s := w.stage(t)
	token := w.token(t, good())
	if o := send(s, bearer(token), false); o.info.Identity == nil {
		t.Fatal(o.info.AuthnErr)
	}
	at = now.Add(629 * time.Second)
	if o := send(s, bearer(token), false); o.info.Identity == nil {
		t.Fatalf("within the leeway: %v", o.info.AuthnErr)
	}
	at = now.Add(630 * time.Second)
	if o := send(s, bearer(token), false); o.reason() != "expired" {
		t.Fatalf("after it: %v", o.info.AuthnErr)
	}
	at = now.Add(-91 * time.Second) // the clock was set back: issued in the future
	if o := send(s, bearer(token), false); o.reason() != "not_yet_valid" {
		t.Fatalf("before iat: %v", o.info.AuthnErr)
	}
}

// TestCachedLegacyTokenEnds: the end holds for tokens that were verified before, at the second.
func TestCachedLegacyTokenEnds(t *testing.T) {
	w := newWorld(t)
	at := now
	w.config.Now = func() time.Time { return at }
	w.config.Providers[0].Legacy = &Legacy{Until: now.Add(time.Minute), SubjectClaim: "sub"}
	s := w.stage(t)
	token := w.token(t, good())
	for _, step := range []struct {
		after time.Duration
		want  jwt.Reason
	}{{0, ""}, {time.Minute - time.Second, ""}, {time.Minute, "legacy_ended"}, {0, ""}} {
		at = now.Add(step.after)
		if o := send(s, bearer(token), false); (o.info.Identity != nil) != (step.want == "") || step.want != "" && o.reason() != string(step.want) {
			t.Errorf("after %s: %v; want %q", step.after, o.info.AuthnErr, step.want)
		}
	}
}

// rotating is a key source whose results tests change.
type rotating struct {
	jwks.Source
	removed bool
	err     error
}

func (r *rotating) Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r.Source.Lookup(ctx, kid, alg)
}

func (r *rotating) Holds(key *jwks.Key) bool { return !r.removed && r.Source.Holds(key) }

func TestCachedTokenLosesItsKey(t *testing.T) {
	w := newWorld(t)
	source, ok := w.config.Providers[0].Keys.(jwks.Source)
	if !ok {
		t.Fatal("no source")
	}
	keys := &rotating{Source: source}
	w.config.Providers[0].Keys = keys
	s := w.stage(t)
	token := w.token(t, good())
	if o := send(s, bearer(token), false); o.info.Identity == nil {
		t.Fatal(o.info.AuthnErr)
	}
	keys.removed, keys.err = true, jwks.ErrUnknownKey
	if o := send(s, bearer(token), false); o.reason() != "unknown_key" {
		t.Fatalf("key removed: %v", o.info.AuthnErr)
	}
	keys.err = fmt.Errorf("%w: outage", jwks.ErrUnavailable)
	o := send(s, bearer(token), false)
	if e := o.info.AuthnErr; e == nil || e.Status != 503 || e.Code != "keys-unavailable" || e.Header.Get("Retry-After") == "" || o.err != nil || !o.passed {
		t.Fatalf("keys unavailable: %+v, %v", e, o.err)
	}
	keys.err = jwks.ErrAmbiguous
	if o := send(s, bearer(token), false); o.reason() != "unknown_key" {
		t.Fatalf("too many keys: %v", o.info.AuthnErr)
	}
}

func TestBadTokensAreNotCached(t *testing.T) {
	w := newWorld(t)
	w.config.CacheSize = 1
	s := w.stage(t)
	token := w.token(t, good())
	send(s, bearer(token), false)
	for i := range 100 {
		send(s, bearer(token+fmt.Sprint(i)), false)
	}
	w.observed = nil
	w.send(s, bearer(token), false)
	if !slices.Equal(w.observed, []string{"corp ok true"}) {
		t.Fatalf("bad tokens evicted a good one: %q", w.observed)
	}
}

// reason returns why there is no identity, or "" if there is one.
func (o outcome) reason() string {
	if o.info.AuthnErr == nil {
		return ""
	}
	return string(jwt.ReasonOf(o.info.AuthnErr))
}
