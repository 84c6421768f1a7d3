package authn

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	tests := map[string]struct {
		change  func(*Config)
		wantErr string
	}{
		"no provider":          {func(c *Config) { c.Providers = nil }, "no provider"},
		"no name":              {func(c *Config) { c.Providers[0].Name = "" }, "name or issuer"},
		"no issuer":            {func(c *Config) { c.Providers[0].Issuer = "" }, "name or issuer"},
		"no keys":              {func(c *Config) { c.Providers[0].Keys = nil }, "no keys"},
		"name twice":           {func(c *Config) { c.Providers[1].Name = "corp" }, "used twice"},
		"issuer twice":         {func(c *Config) { c.Providers[1].Issuer = corp }, "same issuer"},
		"HMAC and RSA":         {func(c *Config) { c.Providers[0].Algorithms = []string{"RS256", "HS256"} }, "together"},
		"alg none":             {func(c *Config) { c.Providers[0].Algorithms = []string{"none"} }, "not a known algorithm"},
		"negative leeway":      {func(c *Config) { c.Providers[0].Leeway = -1 }, "leeway"},
		"leeway of a day":      {func(c *Config) { c.Providers[0].Leeway = 24 * time.Hour }, "leeway"},
		"negative lifetime":    {func(c *Config) { c.Providers[0].MaxLifetime = -1 }, "negative"},
		"empty audience":       {func(c *Config) { c.Providers[0].Audiences = []string{""} }, "provider.audiences[0]"},
		"empty type":           {func(c *Config) { c.Providers[0].TokenTypes = []string{""} }, "provider.tokenTypes[0]"},
		"empty required claim": {func(c *Config) { c.Providers[0].RequiredClaims = []RequiredClaim{{}} }, "name is empty"},
		"claim without name":   {mapTo("", "X-A"), "name is empty"},
		"header not valid":     {mapTo("sub", "X A"), "not a header name"},
		"header smuggled":      {mapTo("sub", "X-A\r\nX-B"), "not a header name"},
		"header reserved":      {mapTo("sub", "cookie"), "defined meaning"},
		"header twice": {func(c *Config) {
			c.Providers[0].ClaimsToHeaders = []ClaimHeader{{Claim: "a", Header: "X-A"}, {Claim: "b", Header: "x-a"}}
		}, "already carries another claim"},
		"empty location":      {from(Location{}), "exactly one of header and cookie"},
		"header and cookie":   {from(Location{Header: "A", Cookie: "b"}), "exactly one of header and cookie"},
		"prefix of a cookie":  {from(Location{Cookie: "a", Prefix: "b"}), "a prefix is for headers only"},
		"cookie not valid":    {from(Location{Cookie: "a;b"}), "not the name of a cookie"},
		"header not a token":  {from(Location{Header: "a b"}), "not a header name"},
		"the cookie header":   {from(Location{Header: "cookie"}), "name the cookie"},
		"realm not printable": {func(c *Config) { c.Realm = "a\n" }, "realm"},
		"negative cache":      {func(c *Config) { c.CacheSize = -1 }, "token cache"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(&w.config)
			if _, err := New(w.config); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("New = %v, want %q", err, tt.wantErr)
			}
		})
	}
}

func mapTo(claim, header string) func(*Config) {
	return func(c *Config) { c.Providers[0].ClaimsToHeaders = []ClaimHeader{{Claim: claim, Header: header}} }
}

func from(l Location) func(*Config) {
	return func(c *Config) { c.Providers[0].From = []Location{l} }
}

func TestIdentityHeaders(t *testing.T) {
	got := IdentityHeaders(newWorld(t).config.Providers)
	if want := []string{"X-Auth-Email", "X-Auth-Roles", "X-Auth-Subject"}; !slices.Equal(got, want) {
		t.Fatalf("IdentityHeaders = %q, want %q", got, want)
	}
}
