package keyset

import (
	"crypto"
	"crypto/elliptic"
	"fmt"
	"slices"
	"testing"
)

// TestShapesOfIssuers: sets that issuers publish. A repeated kid does not make the issuer unusable, and a token selects its key by kid
// and algorithm.
func TestShapesOfIssuers(t *testing.T) {
	rs := rsaJWK(t, "k").with("use", "sig")
	ec, ecKey := ecJWK(t, "k", elliptic.P256())
	ed, edKey := edJWK(t, "k")
	other, _ := edJWK(t, "k")
	p521, _ := ecJWK(t, "k", elliptic.P521())
	nulls := rs.with("alg", nil).with("use", nil).with("key_ops", nil).with("d", nil).with("p", nil).with("k", nil).with("x5c", nil).with("issuer", nil)
	many := make([]jwk, 0, maxKeys)
	for i := range maxKeys - 1 {
		many = append(many, rs.with("kid", fmt.Sprint("x", i)))
	}
	type signer struct {
		alg string
		key crypto.PrivateKey
	}
	tests := map[string]struct {
		keys        []any
		issuer      string
		algorithms  []string
		want        []signer
		wantDropped []Reason
	}{
		"Keycloak: signature and encryption": {
			keys: []any{rs.with("alg", "RSA-OAEP").with("use", "enc"), rs.with("alg", "RS256")}, algorithms: []string{"RS256"},
			want: []signer{{"RS256", rsaKey(t)}}, wantDropped: []Reason{OtherUse},
		},
		"encryption key of another size, same kid": {
			keys: []any{rs.with("alg", "RS256"), jwk{"kty": "RSA", "kid": "k", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"}},
			want: []signer{{"RS256", rsaKey(t)}}, wantDropped: []Reason{OtherUse},
		},
		"RS256 and PS256 of one key": {
			keys: []any{rs.with("alg", "RS256"), rs.with("alg", "PS256")}, want: []signer{{"RS256", rsaKey(t)}, {"PS256", rsaKey(t)}},
		},
		"RS256 and RS512 of one key": {
			keys: []any{rs.with("alg", "RS256"), rs.with("alg", "RS512")}, want: []signer{{"RS256", rsaKey(t)}, {"RS512", rsaKey(t)}},
		},
		"EC and RSA": {keys: []any{ec, rs}, want: []signer{{"ES256", ecKey}, {"RS256", rsaKey(t)}}},
		"unsupported curve": {
			keys: []any{ec.with("crv", "secp256k1"), ec}, want: []signer{{"ES256", ecKey}}, wantDropped: []Reason{OtherAlgorithm},
		},
		"curve that the provider does not allow": {
			keys: []any{p521, ec}, algorithms: []string{"ES256"}, want: []signer{{"ES256", ecKey}}, wantDropped: []Reason{OtherAlgorithm},
		},
		"too short beside": {
			keys: []any{rs.with("n", "AQAB"), rs}, want: []signer{{"RS256", rsaKey(t)}}, wantDropped: []Reason{Weak},
		},
		"null members":               {keys: []any{nulls}, want: []signer{{"RS256", rsaKey(t)}}},
		"null kid":                   {keys: []any{rs.with("kid", nil)}, want: []signer{{"RS256", rsaKey(t)}}},
		"null element":               {keys: []any{nil, rs, nil}, want: []signer{{"RS256", rsaKey(t)}}, wantDropped: []Reason{Malformed, Malformed}},
		"element that is a text":     {keys: []any{"key", rs}, want: []signer{{"RS256", rsaKey(t)}}, wantDropped: []Reason{Malformed}},
		"the same key twice":         {keys: []any{rs, rs}, want: []signer{{"RS256", rsaKey(t)}}},
		"the same key, alg once":     {keys: []any{rs, rs.with("alg", "RS256")}, want: []signer{{"RS256", rsaKey(t)}}},
		"the same key without a kid": {keys: []any{ed.with("kid", nil), ed.with("kid", nil)}, want: []signer{{"EdDSA", edKey}}},
		"symmetric beside": {
			keys: []any{jwk{"kty": "oct", "kid": "k", "k": b64(make([]byte, 32))}, rs}, want: []signer{{"RS256", rsaKey(t)}}, wantDropped: []Reason{SharedSecret},
		},
		"unknown type beside": {keys: []any{jwk{"kty": "AKP", "kid": "k", "pub": "AQAB"}, rs}, want: []signer{{"RS256", rsaKey(t)}}, wantDropped: []Reason{OtherAlgorithm}},
		"many keys":           {keys: toAny(append(slices.Clone(many), rs)), want: []signer{{"RS256", rsaKey(t)}}},

		"Ed25519, the algorithm":          {keys: []any{ed}, algorithms: []string{"Ed25519"}, want: []signer{{"Ed25519", edKey}}},
		"Ed25519 key for EdDSA":           {keys: []any{ed.with("alg", "Ed25519")}, algorithms: []string{"EdDSA"}, want: []signer{{"EdDSA", edKey}}},
		"EdDSA key for Ed25519":           {keys: []any{ed.with("alg", "EdDSA")}, algorithms: []string{"Ed25519"}, want: []signer{{"Ed25519", edKey}}},
		"both names":                      {keys: []any{ed.with("alg", "EdDSA")}, algorithms: []string{"EdDSA", "Ed25519"}, want: []signer{{"EdDSA", edKey}, {"Ed25519", edKey}}},
		"both names, listed twice":        {keys: []any{ed.with("alg", "EdDSA"), ed.with("alg", "Ed25519")}, algorithms: []string{"Ed25519", "EdDSA"}, want: []signer{{"EdDSA", edKey}, {"Ed25519", edKey}}},
		"Ed25519 is not for another type": {keys: []any{rs.with("alg", "Ed25519"), ed}, want: []signer{{"EdDSA", edKey}}, wantDropped: []Reason{OtherAlgorithm}},

		"key of another issuer, same kid": {
			keys: []any{other.with("issuer", "https://id.example/other"), ed.with("issuer", "https://id.example/own")}, issuer: "https://id.example/own",
			want: []signer{{"EdDSA", edKey}}, wantDropped: []Reason{OtherIssuer},
		},
		"key of any tenant": {
			keys:   []any{ed.with("issuer", "https://login.example/{tenantid}/v2.0"), other.with("issuer", "https://login.example/9188040d/v2.0")},
			issuer: "https://login.example/72f988bf/v2.0", want: []signer{{"EdDSA", edKey}}, wantDropped: []Reason{OtherIssuer},
		},
		"issuer that is not a text": {keys: []any{other.with("issuer", 1), ed}, issuer: "https://a.example", want: []signer{{"EdDSA", edKey}}, wantDropped: []Reason{OtherIssuer}},
		"tenant is one segment": {
			keys:   []any{other.with("issuer", "https://login.example/{tenantid}"), ed},
			issuer: "https://login.example/a/b", want: []signer{{"EdDSA", edKey}}, wantDropped: []Reason{OtherIssuer},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.algorithms == nil {
				tt.algorithms = every()
			}
			set, err := Parse(document(t, tt.keys...), Options{Algorithms: tt.algorithms, Issuer: tt.issuer})
			if err != nil {
				t.Fatal(err)
			}
			var reasons []Reason
			for _, d := range set.Dropped() {
				reasons = append(reasons, d.Reason)
			}
			if !slices.Equal(reasons, tt.wantDropped) {
				t.Errorf("dropped %v; want %v", set.Dropped(), tt.wantDropped)
			}
			for _, s := range tt.want {
				keys, err := set.Lookup("k", s.alg)
				if err != nil || len(keys) != 1 {
					t.Fatalf("lookup of %s = %v, %v", s.alg, keys, err)
				}
				if err := keys[0].Verify("a.b", sign(t, s.alg, "a.b", s.key)); err != nil {
					t.Errorf("a token of %s: %v", s.alg, err)
				}
			}
		})
	}
}

func toAny(keys []jwk) []any {
	list := make([]any, len(keys))
	for i, k := range keys {
		list[i] = k
	}
	return list
}

// TestLengthCountsKeys: a key with two algorithms, or listed twice, counts once.
func TestLengthCountsKeys(t *testing.T) {
	ed, _ := edJWK(t, "k")
	set, err := Parse(keyset(t, ed, ed), Options{Algorithms: []string{"EdDSA", "Ed25519"}})
	if err != nil || set.Len() != 1 {
		t.Fatalf("%d keys, %v; want 1", set.Len(), err)
	}
}
