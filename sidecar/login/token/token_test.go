package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/session"
)

func TestNewIssuerRefuses(t *testing.T) {
	ring := newRing(t, time.Now)
	tests := map[string]struct {
		change func(*IssuerConfig)
		want   string
	}{
		"http":             {func(c *IssuerConfig) { c.Issuer = "http://shop.example.com" }, "https"},
		"query":            {func(c *IssuerConfig) { c.Issuer = "https://shop.example.com?x" }, "https"},
		"fragment":         {func(c *IssuerConfig) { c.Issuer = "https://shop.example.com#x" }, "https"},
		"a pattern":        {func(c *IssuerConfig) { c.Issuer = "https://shop.example.com/*" }, "https"},
		"user":             {func(c *IssuerConfig) { c.Issuer = "https://me@shop.example.com" }, "https"},
		"no host":          {func(c *IssuerConfig) { c.Issuer = "https:///x" }, "https"},
		"no keys":          {func(c *IssuerConfig) { c.Keys = nil }, "keys"},
		"no audience":      {func(c *IssuerConfig) { c.Audiences = nil }, "audiences"},
		"no client":        {func(c *IssuerConfig) { c.ClientID = "" }, "client"},
		"no lifetime":      {func(c *IssuerConfig) { c.Lifetime = 0 }, "lifetime"},
		"long lifetime":    {func(c *IssuerConfig) { c.Lifetime = 25 * time.Hour }, "lifetime"},
		"half a second":    {func(c *IssuerConfig) { c.Lifetime = 1500 * time.Millisecond }, "lifetime"},
		"reserved claim":   {func(c *IssuerConfig) { c.Claims = []string{"sub"} }, "sub"},
		"claim of no name": {func(c *IssuerConfig) { c.Claims = []string{""} }, "empty"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := IssuerConfig{Issuer: issuer, Audiences: []string{"a"}, ClientID: "c", Lifetime: time.Minute, Keys: ring}
			tt.change(&c)
			if _, err := NewIssuer(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want one with %q", err, tt.want)
			}
		})
	}
}

// decode reads a token's header and claims.
func decode(t testing.TB, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	for i, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func TestIssue(t *testing.T) {
	w := newWorld(t, options{})
	end := w.now().Add(time.Hour)
	a, err := w.issuer.Issue(t.Context(), Grant{
		Subject: "user-42", Session: "s", NotAfter: end,
		Claims: json.RawMessage(`{"roles":["admin"],"sub":"eve","iss":"x","exp":1,"other":1}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	header, claims := decode(t, a.Token)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] != w.ring.Status().Current || len(header) != 3 {
		t.Errorf("header = %v", header)
	}
	want := map[string]any{"iss": issuer, "sub": "user-42", "aud": "orders", "client_id": "shop/orders", "sid": "s", "jti": a.ID}
	for name, v := range want {
		if claims[name] != v {
			t.Errorf("%s = %v; want %v", name, claims[name], v)
		}
	}
	if _, ok := claims["other"]; ok || claims["roles"] == nil {
		t.Errorf("claims = %v; want roles copied and other not", claims)
	}
	if claims["exp"].(float64)-claims["iat"].(float64) != 900 {
		t.Errorf("exp %v, iat %v; want 15 minutes", claims["exp"], claims["iat"])
	}
	second, err := w.issuer.Issue(t.Context(), Grant{Subject: "user-42", Session: "s", NotAfter: w.now().Add(30 * time.Second)})
	if err != nil || second.ID == a.ID || second.Expires.Sub(second.Issued) > 30*time.Second {
		t.Errorf("near the session's end: %v, %v", second.Expires.Sub(second.Issued), err)
	}
}

func TestIssueFails(t *testing.T) {
	w := newWorld(t, options{})
	later := w.now().Add(time.Hour)
	tests := map[string]struct {
		grant Grant
		away  error
		want  error
	}{
		"no key":          {Grant{Subject: "a", NotAfter: later}, signing.ErrNoKey, signing.ErrNoKey},
		"large claims":    {Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":"` + strings.Repeat("x", 3900) + `"}`)}, nil, ErrTooLarge},
		"too many claims": {Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":"` + strings.Repeat("x", session.MaxClaims) + `"}`)}, nil, errClaims},
		"no object":       {Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`[]`)}, nil, errClaims},
		"repeated member": {Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":1,"name":2}`)}, nil, errClaims},
		"deep":            {Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`)}, nil, errClaims},
		"session over":    {Grant{Subject: "a", NotAfter: w.now()}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.signers.err = tt.away
			_, err := w.issuer.Issue(t.Context(), tt.grant)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error = %v; want %v", err, tt.want)
			}
		})
	}
}

// FuzzClaims checks that whatever an app sends as claims, no claim of ours is changed and nothing unnamed is copied.
func FuzzClaims(f *testing.F) {
	w := newWorld(f, options{})
	f.Add([]byte(`{"roles":["admin"],"name":"ä"}`))
	f.Add([]byte(`{"sub":"eve"}`))
	f.Add([]byte(`{"name":"<&\u2028"}`))
	f.Fuzz(func(t *testing.T, object []byte) {
		selected, err := w.issuer.Select(object)
		if err != nil {
			return
		}
		for name := range selected {
			if name != "roles" && name != "name" {
				t.Errorf("%q was copied", name)
			}
		}
		if kept, err := encodeClaims(selected); err == nil && kept != nil && !json.Valid(kept) {
			t.Errorf("kept %q", kept)
		}
	})
}
