package ratelimit

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

func builder(t testing.TB, parts ...KeyPart) keyBuilder {
	t.Helper()
	b, err := newKeyBuilder(keyspace.New("ratelimit", "shop/orders"), &Rule{Name: "rule", KeyBy: parts})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// client holds the values of a key.
type client struct {
	addr   string
	header http.Header
	host   string
	id     *identity.Identity
}

func (c client) key(t testing.TB, b keyBuilder) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = c.host
	if c.header != nil {
		r.Header = c.header
	}
	addr := "192.0.2.1"
	if c.addr != "" {
		addr = c.addr
	}
	return b.key(r, &request.Info{ClientAddr: netip.MustParseAddr(addr), Identity: c.id}, "")
}

func claims(issuer string, tenant any) *identity.Identity {
	return &identity.Identity{Issuer: issuer, Subject: "ada", Claims: map[string]any{"tenant": tenant}}
}

func TestKeyEquality(t *testing.T) {
	tests := map[string]struct {
		part KeyPart
		a, b client
		want bool // same key
	}{
		"one IPv4 address":              {part: KeyPart{Type: ClientAddress}, want: true},
		"neighbours in IPv4":            {part: KeyPart{Type: ClientAddress}, a: client{addr: "192.0.2.1"}, b: client{addr: "192.0.2.2"}},
		"a mapped address":              {part: KeyPart{Type: ClientAddress}, a: client{addr: "192.0.2.1"}, b: client{addr: "::ffff:192.0.2.1"}, want: true},
		"one IPv6 network":              {part: KeyPart{Type: ClientAddress}, a: client{addr: "2001:db8::1"}, b: client{addr: "2001:db8::ffff:ffff:ffff:2"}, want: true},
		"two IPv6 networks":             {part: KeyPart{Type: ClientAddress}, a: client{addr: "2001:db8::1"}, b: client{addr: "2001:db8:0:1::1"}},
		"an address in a zone":          {part: KeyPart{Type: ClientAddress}, a: client{addr: "fe80::1%eth0"}, b: client{addr: "fe80::1"}, want: true},
		"one subject, two addresses":    {part: KeyPart{Type: Subject}, a: client{id: claims("x", nil)}, b: client{addr: "192.0.2.2", id: claims("x", nil)}, want: true},
		"one subject of two issuers":    {part: KeyPart{Type: Subject}, a: client{id: claims("x", nil)}, b: client{id: claims("y", nil)}},
		"issuer and subject joined":     {part: KeyPart{Type: Subject}, a: client{id: &identity.Identity{Issuer: "xa", Subject: "b"}}, b: client{id: &identity.Identity{Issuer: "x", Subject: "ab"}}},
		"anonymous, two addresses":      {part: KeyPart{Type: Subject}, b: client{addr: "192.0.2.2"}},
		"anonymous, one address":        {part: KeyPart{Type: Subject}, want: true},
		"no subject":                    {part: KeyPart{Type: Subject}, a: client{id: &identity.Identity{Issuer: "x"}}, want: true},
		"subject named as an address":   {part: KeyPart{Type: Subject}, b: client{id: &identity.Identity{Subject: "192.0.2.1"}}},
		"one tenant":                    {part: KeyPart{Type: Claim, Name: "tenant"}, a: client{id: claims("x", "acme")}, b: client{addr: "192.0.2.2", id: claims("x", "acme")}, want: true},
		"two tenants":                   {part: KeyPart{Type: Claim, Name: "tenant"}, a: client{id: claims("x", "acme")}, b: client{id: claims("x", "other")}},
		"a tenant of two issuers":       {part: KeyPart{Type: Claim, Name: "tenant"}, a: client{id: claims("x", "acme")}, b: client{id: claims("y", "acme")}},
		"a number and a text":           {part: KeyPart{Type: Claim, Name: "tenant"}, a: client{id: claims("x", json.Number("1"))}, b: client{id: claims("x", "1")}},
		"null and no claim":             {part: KeyPart{Type: Claim, Name: "tenant"}, a: client{id: claims("x", nil)}, want: true},
		"an empty claim, two addresses": {part: KeyPart{Type: Claim, Name: "tenant"}, a: client{id: claims("x", "")}, b: client{addr: "192.0.2.2", id: claims("x", "")}},
		"objects in any order":          {part: KeyPart{Type: Claim, Name: "tenant"}, a: client{id: claims("x", map[string]any{"a": "1", "b": "2"})}, b: client{id: claims("x", map[string]any{"b": "2", "a": "1"})}, want: true},
		"one header":                    {part: KeyPart{Type: Header, Name: "x-api-key"}, a: client{header: http.Header{"X-Api-Key": {"k"}}}, b: client{addr: "192.0.2.2", header: http.Header{"X-Api-Key": {"k"}}}, want: true},
		"header lines joined":           {part: KeyPart{Type: Header, Name: "X-Api-Key"}, a: client{header: http.Header{"X-Api-Key": {"ab", "c"}}}, b: client{header: http.Header{"X-Api-Key": {"a", "bc"}}}},
		"no header, two addresses":      {part: KeyPart{Type: Header, Name: "X-Api-Key"}, b: client{addr: "192.0.2.2"}},
		"an empty header is none":       {part: KeyPart{Type: Header, Name: "X-Api-Key"}, b: client{header: http.Header{"X-Api-Key": {""}}}, want: true},
		"header named as an address":    {part: KeyPart{Type: Header, Name: "X-Api-Key"}, b: client{header: http.Header{"X-Api-Key": {"192.0.2.1"}}}},
		"two hosts":                     {part: KeyPart{Type: Header, Name: "host"}, a: client{host: "a.example.com"}, b: client{host: "b.example.com"}},
		"all clients on a route":        {part: KeyPart{Type: Route}, a: client{id: claims("x", "acme")}, b: client{addr: "2001:db8::1"}, want: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := builder(t, tt.part)
			if a, other := tt.a.key(t, b), tt.b.key(t, b); (a == other) != tt.want {
				t.Errorf("same key: %v; want %v\n%s\n%s", a == other, tt.want, a, other)
			}
		})
	}
}

func TestKeysHideWhatClientsSend(t *testing.T) {
	b := builder(t, KeyPart{Type: Header, Name: "X-Api-Key"}, KeyPart{Type: Subject}, KeyPart{Type: Claim, Name: "tenant"})
	key := client{header: http.Header{"X-Api-Key": {"hunter2"}}, id: claims("x", "acme")}.key(t, b)
	for _, word := range []string{"hunter2", "ada", "acme"} {
		if strings.Contains(key, word) {
			t.Errorf("%q is in the key %s", word, key)
		}
	}
	long := client{header: http.Header{"X-Api-Key": {strings.Repeat("k", 1<<20)}}}.key(t, b)
	if len(long) > 600 {
		t.Errorf("a header of 1 MiB makes a key of %d bytes", len(long))
	}
}

// FuzzKeysOfTwoClients: two clients have one key only if every part is the same for both.
func FuzzKeysOfTwoClients(f *testing.F) {
	f.Add("key", "sub", "tenant", "key", "sub", "tenant")
	f.Add("", "", "", "192.0.2.1", "no Subject:", "")
	f.Add("a", "bc", "", "ab", "c", "")
	f.Fuzz(func(t *testing.T, headerA, subjectA, tenantA, headerB, subjectB, tenantB string) {
		if !utf8.ValidString(tenantA) || !utf8.ValidString(tenantB) {
			return // claims are decoded from JSON
		}
		b := builder(t, KeyPart{Type: Header, Name: "X-Api-Key"}, KeyPart{Type: Subject}, KeyPart{Type: Claim, Name: "tenant"})
		of := func(header, subject, tenant string) client {
			return client{header: http.Header{"X-Api-Key": {header}}, id: &identity.Identity{Subject: subject, Claims: map[string]any{"tenant": tenant}}}
		}
		same := headerA == headerB && subjectA == subjectB && tenantA == tenantB
		a, other := of(headerA, subjectA, tenantA).key(t, b), of(headerB, subjectB, tenantB).key(t, b)
		if same != (a == other) {
			t.Errorf("the same client: %v\n%s\n%s", same, a, other)
		}
		if len(a) > 600 {
			t.Errorf("%d bytes", len(a))
		}
	})
}
