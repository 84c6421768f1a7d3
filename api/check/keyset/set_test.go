package keyset

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// every is each public-key algorithm.
func every() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func TestParseVerifies(t *testing.T) {
	rs := rsaJWK(t, "r")
	p256, k256 := ecJWK(t, "e", elliptic.P256())
	p384, k384 := ecJWK(t, "e", elliptic.P384())
	p521, k521 := ecJWK(t, "e", elliptic.P521())
	ed, kEd := edJWK(t, "d")
	secret := bytes.Repeat([]byte{7}, 64)
	oct := jwk{"kty": "oct", "kid": "s", "k": b64(secret)}
	tests := map[string]struct {
		key  jwk
		with any
		alg  string
	}{
		"RS256 by default": {rs, rsaKey(t), "RS256"},
		"RS512":            {rs.with("alg", "RS512"), rsaKey(t), "RS512"},
		"PS256":            {rs.with("alg", "PS256"), rsaKey(t), "PS256"},
		"PS384":            {rs.with("alg", "PS384"), rsaKey(t), "PS384"},
		"PS512":            {rs.with("alg", "PS512"), rsaKey(t), "PS512"},
		"ES256":            {p256, k256, "ES256"},
		"ES384":            {p384.with("alg", "ES384"), k384, "ES384"},
		"ES512":            {p521, k521, "ES512"},
		"EdDSA":            {ed.with("use", "sig").with("key_ops", []string{"sign", "verify"}), kEd, "EdDSA"},
		"HS256":            {oct.with("alg", "HS256"), secret, "HS256"},
		"HS384":            {oct.with("alg", "HS384"), secret, "HS384"},
		"HS512":            {oct.with("alg", "HS512"), secret, "HS512"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := Options{Algorithms: every()}
			if tt.key["kty"] == "oct" {
				o = Options{Algorithms: []string{"HS256", "HS384", "HS512"}, Secret: true}
			}
			set, err := Parse(keyset(t, tt.key), o)
			if err != nil {
				t.Fatal(err)
			}
			kid, _ := tt.key["kid"].(string)
			keys, err := set.Lookup(kid, tt.alg)
			if err != nil || len(keys) != 1 {
				t.Fatalf("lookup = %v, %v", keys, err)
			}
			sig := sign(t, tt.alg, "a.b", tt.with)
			if err := keys[0].Verify("a.b", sig); err != nil {
				t.Errorf("Verify: %v", err)
			}
			if err := keys[0].Verify("a.c", sig); err == nil {
				t.Error("Verify accepted another text")
			}
			if err := keys[0].Verify("a.b", nil); err == nil {
				t.Error("Verify accepted an empty signature")
			}
			if !set.Holds(keys[0]) {
				t.Error("the set does not hold its own key")
			}
		})
	}
}

func TestParseRefusesSet(t *testing.T) {
	rs := rsaJWK(t, "r")
	oct := jwk{"kty": "oct", "kid": "s", "alg": "HS256", "k": b64(make([]byte, 32))}
	one, _ := edJWK(t, "d")
	two, _ := edJWK(t, "d")
	many := make([]jwk, maxKeys+1)
	for i := range many {
		many[i] = rs.with("kid", fmt.Sprint(i))
	}
	tests := map[string]struct {
		data    []byte
		secret  bool
		wantErr string
	}{
		"empty":                   {data: nil, wantErr: "not one valid JSON"},
		"HTML":                    {data: []byte("<html>"), wantErr: "not one valid JSON"},
		"trailing data":           {data: append(keyset(t, rs), "{}"...), wantErr: "not one valid JSON"},
		"keys twice":              {data: []byte(`{"keys":[],"keys":[]}`), wantErr: "twice"},
		"member of a key twice":   {data: []byte(`{"keys":[{"kty":"RSA","kty":"oct"}]}`), wantErr: "twice"},
		"nested too deeply":       {data: []byte(`{"keys":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`), wantErr: "deeply"},
		"no keys":                 {data: []byte(`{}`), wantErr: `no "keys"`},
		"a key instead of a set":  {data: keyset(t, rs)[9 : len(keyset(t, rs))-2], wantErr: `no "keys"`},
		"no key is an object":     {data: []byte(`{"keys":["a",null]}`), wantErr: "not an object"},
		"empty set":               {data: keyset(t), wantErr: "the set is empty"},
		"too many":                {data: keyset(t, many...), wantErr: "more than 1000 keys"},
		"too large":               {data: bytes.Repeat([]byte(" "), MaxSize+1), wantErr: "larger than"},
		"name of different keys":  {data: keyset(t, one, two), wantErr: "kid and the algorithm of a different key"},
		"symmetric, published":    {data: keyset(t, oct), wantErr: "from a Secret only"},
		"private RSA":             {data: keyset(t, rs.with("d", "AQAB")), wantErr: "private members"},
		"private, not a string":   {data: keyset(t, rs.with("d", 1)), wantErr: "private members"},
		"private, of another use": {data: keyset(t, rs, rs.with("kid", "x").with("use", "enc").with("p", "AQAB")), wantErr: "private members"},
		"private, unknown type":   {data: keyset(t, rs, jwk{"kty": "AKP", "priv": "AQAB"}), wantErr: "private members"},
		"private, in a secret":    {data: keyset(t, rs.with("d", "AQAB")), secret: true, wantErr: "private members"},
		"none usable":             {data: keyset(t, rs.with("use", "enc")), wantErr: "for encryption (use: enc)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tt.data, Options{Algorithms: every(), Secret: tt.secret})
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("Parse = %v, want %q", err, tt.wantErr)
			}
		})
	}
}

func TestParseDropsKey(t *testing.T) {
	rs := rsaJWK(t, "bad")
	n, _ := rs["n"].(string)
	modulus, _ := base64.RawURLEncoding.DecodeString(n)
	even := bytes.Clone(modulus)
	even[len(even)-1] &^= 1
	ec, _ := ecJWK(t, "bad", elliptic.P256())
	ed, _ := edJWK(t, "bad")
	good, _ := edJWK(t, "good")
	tests := map[string]struct {
		key  jwk
		want string
	}{
		"unknown type":           {jwk{"kty": "XYZ"}, "no algorithm for its kty"},
		"no type":                {jwk{}, "no algorithm for its kty"},
		"unknown alg":            {rs.with("alg", "RS1"), "alg is not supported"},
		"alg none":               {rs.with("alg", "none"), "alg is not supported"},
		"alg in lower case":      {rs.with("alg", "rs256"), "alg is not supported"},
		"alg is not a string":    {rs.with("alg", 1), "alg is not a string"},
		"alg of another type":    {rs.with("alg", "ES256"), "does not fit"},
		"HMAC with a public key": {rs.with("alg", "HS256"), "does not fit"},
		"alg of another curve":   {ec.with("alg", "ES384"), "does not fit"},
		"alg not allowed":        {rs.with("alg", "RS384"), "not allowed"},
		"encryption":             {rs.with("use", "enc"), "it is for encryption (use: enc)"},
		"alg of encryption":      {rs.with("alg", "RSA-OAEP"), "it is for encryption (alg: RSA-OAEP)"},
		"use of another kind":    {rs.with("use", "tls"), "use is not sig"},
		"use is not a string":    {rs.with("use", []string{"sig"}), "use is not sig"},
		"ops without verify":     {rs.with("key_ops", []string{"sign"}), "key_ops"},
		"ops are not a list":     {rs.with("key_ops", "verify"), "key_ops"},
		"kid is not a string":    {rs.with("kid", 1), "kid is not a string"},
		"no modulus":             {rs.without("n"), "no n"},
		"no exponent":            {rs.without("e"), "no e"},
		"padding":                {rs.with("n", n+"=="), "not base64url"},
		"standard alphabet":      {rs.with("e", "+//+"), "not base64url"},
		"line break":             {rs.with("e", "AQ\nAB"), "not base64url"},
		"stray bits":             {ed.with("x", b64(make([]byte, 32))[:42]+"B"), "not base64url"},
		"1024 bits":              {rs.with("n", b64(modulus[:128])), "modulus is not between"},
		"16384 bits":             {rs.with("n", b64(bytes.Repeat([]byte{0xff}, 2048))), "modulus is not between"},
		"even modulus":           {rs.with("n", b64(even)), "modulus is even"},
		"exponent 1":             {rs.with("e", b64([]byte{1})), "exponent"},
		"even exponent":          {rs.with("e", b64([]byte{1, 0, 0})), "exponent"},
		"huge exponent":          {rs.with("e", b64(bytes.Repeat([]byte{0xff}, 100))), "exponent"},
		"off the curve":          {ec.with("y", ec["x"]), "not on the curve"},
		"point zero":             {ec.with("x", b64(make([]byte, 32))).with("y", b64(make([]byte, 32))), "not on the curve"},
		"short coordinate":       {ec.with("x", b64(make([]byte, 31))), "wrong length"},
		"long coordinate":        {ec.with("y", b64(make([]byte, 33))), "wrong length"},
		"unknown curve":          {ec.with("crv", "secp256k1"), "no algorithm for its kty"},
		"no curve":               {ec.without("crv"), "no algorithm for its kty"},
		"X25519":                 {ed.with("crv", "X25519"), "no algorithm for its kty"},
		"short Ed25519":          {ed.with("x", b64(make([]byte, 31))), "wrong length"},
		"only a certificate":     {jwk{"kty": "RSA", "x5c": []string{"MIIB"}, "x5u": "https://a.example"}, "no n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := Parse(keyset(t, good, tt.key), Options{Algorithms: []string{"RS256", "ES256", "ES384", "EdDSA"}})
			if err != nil {
				t.Fatal(err)
			}
			if set.Len() != 1 || len(set.Dropped()) != 1 || !strings.Contains(set.Dropped()[0].String(), tt.want) {
				t.Fatalf("%d keys, dropped %q; want %q", set.Len(), set.Dropped(), tt.want)
			}
		})
	}
}

func TestOneAlgorithmOfAnRSAKey(t *testing.T) {
	tests := map[string]struct {
		allowed []string
		alg     any
		want    string // empty if the key cannot be used
	}{
		"its own wins":            {[]string{"RS256", "PS256"}, "PS256", "PS256"},
		"its own is not allowed":  {[]string{"RS256"}, "PS256", ""},
		"the only one":            {[]string{"PS384", "ES256"}, nil, "PS384"},
		"RS256 among several":     {[]string{"PS256", "RS512", "RS256"}, nil, "RS256"},
		"several without RS256":   {[]string{"PS256", "RS512"}, nil, ""},
		"none for this key type":  {[]string{"ES256"}, nil, ""},
		"empty alg counts as one": {[]string{"PS256"}, "", "PS256"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			key := rsaJWK(t, "r")
			if tt.alg != nil {
				key["alg"] = tt.alg
			}
			set, err := Parse(keyset(t, key), Options{Algorithms: tt.allowed})
			got := ""
			if err == nil {
				got = set.keys[0].Algorithm()
			}
			if got != tt.want {
				t.Fatalf("algorithm %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	var keys []jwk
	for i := range maxUnnamed {
		key, _ := edJWK(t, fmt.Sprint("d", i))
		keys = append(keys, key)
	}
	unnamed, _ := ecJWK(t, "", elliptic.P256())
	keys = append(keys, rsaJWK(t, "r"), unnamed.without("kid"))
	set, err := Parse(keyset(t, keys...), Options{Algorithms: every()})
	if err != nil {
		t.Fatal(err)
	}
	extra, _ := edJWK(t, "more")
	crowded, err := Parse(keyset(t, append(keys, extra)...), Options{Algorithms: every()})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		set      *Set
		kid, alg string
		want     int
		wantErr  error
	}{
		"by kid":                          {set, "d1", "EdDSA", 1, nil},
		"kid of another algorithm":        {set, "r", "EdDSA", 0, ErrAlgorithm},
		"RSA key as PS256":                {set, "r", "PS256", 0, ErrAlgorithm},
		"RSA key as HS256":                {set, "r", "HS256", 0, ErrAlgorithm},
		"unknown kid":                     {set, "x", "EdDSA", 0, ErrUnknownKey},
		"unknown kid, key without a name": {set, "x", "ES256", 1, nil},
		"no kid":                          {set, "", "EdDSA", maxUnnamed, nil},
		"no kid, one key":                 {set, "", "RS256", 1, nil},
		"no kid, no such key":             {set, "", "ES512", 0, ErrUnknownKey},
		"no kid, too many":                {crowded, "", "EdDSA", 0, ErrAmbiguous},
		"kid that looks like a path":      {set, "../../r", "RS256", 0, ErrUnknownKey},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.set.Lookup(tt.kid, tt.alg)
			if len(got) != tt.want || !errors.Is(err, tt.wantErr) {
				t.Fatalf("lookup = %v, %v; want %d keys, %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestParseSecret(t *testing.T) {
	oct := jwk{"kty": "oct", "kid": "s", "k": b64(make([]byte, 48))}
	hs := []string{"HS256", "HS384", "HS512"}
	tests := map[string]struct {
		data       []byte
		algorithms []string
		want       string // algorithm of the first key
		wantErr    string
	}{
		"raw":                           {data: make([]byte, 32), algorithms: []string{"HS256"}, want: "HS256"},
		"raw, too short":                {data: make([]byte, 31), algorithms: []string{"HS256"}, wantErr: "31 bytes, but HS256 needs at least 32"},
		"raw, too short for HS512":      {data: make([]byte, 63), algorithms: []string{"HS512"}, wantErr: "needs at least 64"},
		"raw, several algorithms":       {data: make([]byte, 64), algorithms: hs, wantErr: "exactly one HS*"},
		"raw, too large":                {data: make([]byte, MaxSize+1), algorithms: []string{"HS256"}, wantErr: "larger than"},
		"raw that begins with {":        {data: append([]byte("{"), make([]byte, 40)...), algorithms: []string{"HS256"}, want: "HS256"},
		"set":                           {data: keyset(t, oct.with("alg", "HS384")), algorithms: hs, want: "HS384"},
		"set, several algorithms":       {data: keyset(t, oct), algorithms: hs, wantErr: "allows several"},
		"set, secret too short":         {data: keyset(t, oct.with("alg", "HS512")), algorithms: hs, wantErr: "48 bytes, but HS512 needs at least 64"},
		"truncated set is not a secret": {data: keyset(t, oct)[:50], algorithms: []string{"HS256"}, wantErr: "not one valid JSON"},
		"public set":                    {data: keyset(t, rsaJWK(t, "r")), algorithms: []string{"RS256"}, want: "RS256"},
		"raw with public algorithms":    {data: make([]byte, 64), algorithms: []string{"RS256"}, wantErr: "not one valid JSON"},
		"symmetric, public algorithm":   {data: keyset(t, oct), algorithms: []string{"RS256"}, wantErr: "no usable key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := ParseSecret(tt.data, Options{Algorithms: tt.algorithms})
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("ParseSecret = %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || set.keys[0].Algorithm() != tt.want {
				t.Fatalf("ParseSecret = %v, %v; want %s", set, err, tt.want)
			}
		})
	}
}

func TestKeyHidesItsMaterial(t *testing.T) {
	set, err := ParseSecret(bytes.Repeat([]byte("hunter2!"), 4), Options{Algorithms: []string{"HS256"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		got := fmt.Sprintf(verb, set.keys[0])
		if strings.Contains(got, "hunter2") || strings.Contains(got, "104 117") || strings.Contains(got, "68756e") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func TestCheckAlgorithms(t *testing.T) {
	tests := map[string]struct {
		names   []string
		wantErr string
	}{
		"all public":     {names: every()},
		"HMAC":           {names: []string{"HS256", "HS512"}},
		"empty list":     {wantErr: "the list is empty"},
		"none":           {names: []string{"none"}, wantErr: "not a known algorithm"},
		"lower case":     {names: []string{"rs256"}, wantErr: "not a known algorithm"},
		"twice":          {names: []string{"RS256", "RS256"}, wantErr: "twice"},
		"HMAC and RSA":   {names: []string{"RS256", "HS256"}, wantErr: "cannot be used together"},
		"for encryption": {names: []string{"RSA-OAEP"}, wantErr: "not a known algorithm"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := CheckAlgorithms(tt.names)
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("CheckAlgorithms = %v, want %q", err, tt.wantErr)
			}
		})
	}
}
