package token_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

func TestNewIssuerRefuses(t *testing.T) {
	ring := logintest.NewRing(t, time.Now)
	tests := map[string]struct {
		change func(*token.IssuerConfig)
		want   string
	}{
		"http":                 {func(c *token.IssuerConfig) { c.Issuer = "http://shop.example.com" }, "https"},
		"query":                {func(c *token.IssuerConfig) { c.Issuer = "https://shop.example.com?x" }, "https"},
		"fragment":             {func(c *token.IssuerConfig) { c.Issuer = "https://shop.example.com#x" }, "https"},
		"a pattern":            {func(c *token.IssuerConfig) { c.Issuer = "https://shop.example.com/*" }, "https"},
		"user":                 {func(c *token.IssuerConfig) { c.Issuer = "https://me@shop.example.com" }, "https"},
		"no host":              {func(c *token.IssuerConfig) { c.Issuer = "https:///x" }, "https"},
		"no keys":              {func(c *token.IssuerConfig) { c.Keys = nil }, "Keys"},
		"no audience":          {func(c *token.IssuerConfig) { c.Audiences = nil }, "audiences"},
		"no client":            {func(c *token.IssuerConfig) { c.ClientID = "" }, "client"},
		"no lifetime":          {func(c *token.IssuerConfig) { c.Lifetime = 0 }, "lifetime"},
		"long lifetime":        {func(c *token.IssuerConfig) { c.Lifetime = 25 * time.Hour }, "lifetime"},
		"half a second":        {func(c *token.IssuerConfig) { c.Lifetime = 1500 * time.Millisecond }, "lifetime"},
		"reserved claim":       {func(c *token.IssuerConfig) { c.Claims = []string{"sub"} }, "sub"},
		"claim without a name": {func(c *token.IssuerConfig) { c.Claims = []string{""} }, "empty"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := token.IssuerConfig{Issuer: logintest.Issuer, Audiences: []string{"a"}, ClientID: "c", Lifetime: time.Minute, Keys: ring}
			tt.change(&c)
			if _, err := token.NewIssuer(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want one with %q", err, tt.want)
			}
		})
	}
}

func TestIssue(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	end := w.Now().Add(time.Hour)
	a, err := w.TokenIssuer.Issue(t.Context(), token.Grant{
		Subject: "user-42", Session: "s", NotAfter: end,
		Claims: json.RawMessage(`{"roles":["admin"],"sub":"eve","iss":"x","exp":1,"other":1}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	header, claims := logintest.Decode(t, a.Token)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] != w.Ring.Status().Current || len(header) != 3 {
		t.Errorf("header = %v", header)
	}
	want := map[string]any{"iss": logintest.Issuer, "sub": "user-42", "aud": "orders", "client_id": "shop/orders", "sid": "s", "jti": a.ID}
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
	second, err := w.TokenIssuer.Issue(t.Context(), token.Grant{Subject: "user-42", Session: "s", NotAfter: w.Now().Add(30 * time.Second)})
	if err != nil || second.ID == a.ID || second.Expires.Sub(second.Issued) > 30*time.Second {
		t.Errorf("close to the session's end: %v, %v", second.Expires.Sub(second.Issued), err)
	}
}

func TestIssueFails(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	later := w.Now().Add(time.Hour)
	tests := map[string]struct {
		grant       token.Grant
		unavailable error
		want        error
	}{
		"no key":          {token.Grant{Subject: "a", NotAfter: later}, signing.ErrNoKey, signing.ErrNoKey},
		"large claims":    {token.Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":"` + strings.Repeat("x", 3900) + `"}`)}, nil, token.ErrTooLarge},
		"too many claims": {token.Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":"` + strings.Repeat("x", session.MaxClaims) + `"}`)}, nil, token.ErrClaims},
		"not an object":   {token.Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`[]`)}, nil, token.ErrClaims},
		"repeated member": {token.Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":1,"name":2}`)}, nil, token.ErrClaims},
		"deep":            {token.Grant{Subject: "a", NotAfter: later, Claims: json.RawMessage(`{"name":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`)}, nil, token.ErrClaims},
		"session ended":   {token.Grant{Subject: "a", NotAfter: w.Now()}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.Signers.Err = tt.unavailable
			_, err := w.TokenIssuer.Issue(t.Context(), tt.grant)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error = %v; want %v", err, tt.want)
			}
		})
	}
}

// FuzzClaims checks that claims from the app never change our own claims, and that only configured claims are copied.
func FuzzClaims(f *testing.F) {
	w := logintest.New(f, logintest.Options{})
	f.Add([]byte(`{"roles":["admin"],"name":"ä"}`))
	f.Add([]byte(`{"sub":"eve"}`))
	f.Add([]byte(`{"name":"<&\u2028"}`))
	f.Fuzz(func(t *testing.T, object []byte) {
		selected, err := w.TokenIssuer.Select(object)
		if err != nil {
			return
		}
		for name := range selected {
			if name != "roles" && name != "name" {
				t.Errorf("%q was copied", name)
			}
		}
		if kept, err := token.EncodeClaims(selected); err == nil && kept != nil && !json.Valid(kept) {
			t.Errorf("kept %q", kept)
		}
	})
}
