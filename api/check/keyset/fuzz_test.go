package keyset

import (
	"crypto/elliptic"
	"slices"
	"testing"
)

// FuzzParse checks that an accepted set is within the limits, that each key has an allowed algorithm and is found by its name, that no
// key is counted as both used and dropped, and that the same document gives the same set.
func FuzzParse(f *testing.F) {
	ec, _ := ecJWK(f, "e", elliptic.P256())
	ed, _ := edJWK(f, "d")
	rs := rsaJWK(f, "r")
	f.Add(keyset(f, rs, ec, ed), false, "")
	f.Add(keyset(f, rs.with("alg", "RS256"), rs.with("alg", "PS256"), ec.with("kid", "r"), rs.with("use", "enc")), false, "")
	f.Add(keyset(f, ed.with("alg", "Ed25519").with("use", nil), ed.with("alg", "EdDSA")), false, "")
	f.Add(keyset(f, ed.with("issuer", "https://a.example/{tenantid}/v2.0")), false, "https://a.example/1/v2.0")
	f.Add(keyset(f, jwk{"kty": "oct", "k": b64(make([]byte, 64)), "alg": "HS512"}), true, "")
	f.Add([]byte(`{"keys":[null,{"kty":"EC","crv":"P-521","x":"","y":null}]}`), false, "")
	f.Fuzz(func(t *testing.T, data []byte, secret bool, issuer string) {
		allowed := append(every(), "Ed25519")
		if secret {
			allowed = []string{"HS256", "HS384", "HS512"}
		}
		o := Options{Algorithms: allowed, Issuer: issuer, Secret: secret}
		set, err := Parse(data, o)
		if err != nil {
			return
		}
		if set.Len() == 0 || set.Len()+len(set.Dropped()) > maxKeys || len(set.keys) > 2*set.Len() {
			t.Fatalf("%d keys, %d dropped", set.Len(), len(set.Dropped()))
		}
		again, err := Parse(data, o)
		if err != nil || again.Len() != set.Len() || !slices.Equal(again.Dropped(), set.Dropped()) {
			t.Fatalf("parsed again: %v, %v", again, err)
		}
		for _, key := range set.keys {
			if !slices.Contains(allowed, key.Algorithm()) {
				t.Fatalf("key for %s", key.Algorithm())
			}
			if key.Verify("a.b", []byte("x")) == nil {
				t.Fatal("a wrong signature was accepted")
			}
			found, err := set.Lookup(key.ID(), key.Algorithm())
			if key.ID() != "" && (err != nil || len(found) != 1 || found[0] != key) {
				t.Fatalf("%v is not found by its name: %v", key, err)
			}
			if !again.Holds(key) {
				t.Fatalf("the same document does not hold %v", key)
			}
		}
	})
}
