package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// attacks returns tokens that must give no identity, with the expected reason.
func attacks(t testing.TB, w *world) map[string]struct{ token, want string } {
	rs, hs := jwt.SigningMethodRS256, jwt.SigningMethodHS256
	claimsOK := good().json(t)
	valid := w.token(t, good())
	parts := strings.Split(valid, ".")
	der, err := x509.MarshalPKIXPublicKey(&w.corp.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	none := b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	rsaAs := func(header, claims string) string { return raw(t, header, claims, rs, w.corp) }
	nested := func(n int) string {
		return strings.TrimSuffix(claimsOK, "}") + `,"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}"
	}
	return map[string]struct{ token, want string }{
		"alg none":                         {none, "wrong_algorithm"},
		"alg none with a signature":        {b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + "." + parts[2], "wrong_algorithm"},
		"alg nOnE":                         {b64([]byte(`{"alg":"nOnE"}`)) + "." + parts[1] + ".", "wrong_algorithm"},
		"alg empty":                        {rsaAs(`{"alg":""}`, claimsOK), "malformed"},
		"alg missing":                      {rsaAs(`{"kid":"r"}`, claimsOK), "malformed"},
		"alg not a string":                 {rsaAs(`{"alg":["RS256"]}`, claimsOK), "claim_type"},
		"alg in lower case":                {rsaAs(`{"alg":"rs256","kid":"r"}`, claimsOK), "wrong_algorithm"},
		"alg named ALG":                    {rsaAs(`{"ALG":"RS256","kid":"r"}`, claimsOK), "malformed"},
		"public key as HMAC secret, PEM":   {raw(t, `{"alg":"HS256","kid":"r"}`, claimsOK, hs, publicPEM), "wrong_algorithm"},
		"public key as HMAC secret, DER":   {raw(t, `{"alg":"HS256","kid":"r"}`, claimsOK, hs, der), "wrong_algorithm"},
		"HMAC signature under RS256":       {raw(t, headerRS256, claimsOK, hs, publicPEM), "bad_signature"},
		"RS256 key used for PS256":         {raw(t, `{"alg":"PS256","kid":"r"}`, claimsOK, jwt.SigningMethodPS256, w.corp), "wrong_algorithm"},
		"PS256 key used for RS256":         {rsaAs(`{"alg":"RS256","kid":"p"}`, claimsOK), "wrong_algorithm"},
		"algorithm the provider lacks":     {raw(t, `{"alg":"RS512","kid":"r"}`, claimsOK, jwt.SigningMethodRS512, w.corp), "wrong_algorithm"},
		"another issuer's key":             {raw(t, headerRS256, claimsOK, rs, w.partner), "bad_signature"},
		"own key, another issuer's name":   {raw(t, headerRS256, good().with("iss", partner).json(t), rs, w.corp), "bad_signature"},
		"issuer in another case":           {rsaAs(headerRS256, good().with("iss", "https://ID.example.com").json(t)), "unknown_issuer"},
		"issuer with a slash added":        {rsaAs(headerRS256, good().with("iss", corp+"/").json(t)), "unknown_issuer"},
		"issuer missing":                   {rsaAs(headerRS256, good().without("iss").json(t)), "unknown_issuer"},
		"issuer a list":                    {rsaAs(headerRS256, good().with("iss", []string{corp}).json(t)), "unknown_issuer"},
		"kid injection, path":              {rsaAs(`{"alg":"RS256","kid":"../../dev/null"}`, claimsOK), "unknown_key"},
		"kid injection, SQL":               {rsaAs(`{"alg":"RS256","kid":"x' UNION SELECT 'a"}`, claimsOK), "unknown_key"},
		"kid not a string":                 {rsaAs(`{"alg":"RS256","kid":{"a":1}}`, claimsOK), "claim_type"},
		"kid too long":                     {rsaAs(`{"alg":"RS256","kid":"`+strings.Repeat("k", 256+1)+`"}`, claimsOK), "malformed"},
		"key in the header (jwk)":          {raw(t, jwkHeader(w.partner), claimsOK, rs, w.partner), "bad_signature"},
		"key at an address (jku, x5u)":     {raw(t, `{"alg":"RS256","kid":"r","jku":"https://evil.example/","x5u":"https://evil.example/"}`, claimsOK, rs, w.partner), "bad_signature"},
		"crit":                             {rsaAs(`{"alg":"RS256","kid":"r","crit":["exp"],"exp":1}`, claimsOK), "critical_header"},
		"crit empty":                       {rsaAs(`{"alg":"RS256","kid":"r","crit":[]}`, claimsOK), "critical_header"},
		"unencoded payload (b64)":          {rsaAs(`{"alg":"RS256","kid":"r","b64":false}`, claimsOK), "critical_header"},
		"duplicate alg":                    {rsaAs(`{"alg":"none","alg":"RS256","kid":"r"}`, claimsOK), "malformed"},
		"duplicate claim":                  {rsaAs(headerRS256, strings.Replace(claimsOK, "{", `{"sub":"admin",`, 1)), "malformed"},
		"duplicate claim by escape":        {rsaAs(headerRS256, strings.Replace(claimsOK, "{", `{"\u0073ub":"admin",`, 1)), "malformed"},
		"duplicate claim, nested":          {rsaAs(headerRS256, strings.Replace(claimsOK, "{", `{"a":{"b":1,"b":2},`, 1)), "malformed"},
		"PSS salt of zero":                 {pssToken(t, w, 0), "bad_signature"},
		"PSS salt of the greatest length":  {pssToken(t, w, 2048/8-2-sha256.Size), "bad_signature"},
		"PSS salt of 20 bytes":             {pssToken(t, w, 20), "bad_signature"},
		"ES256 signature in DER":           {esToken(t, w, esDER), "bad_signature"},
		"ES256 signature cut short":        {esToken(t, w, func(r, s []byte) []byte { return append(r, s[:31]...) }), "bad_signature"},
		"ES256 signature too long":         {esToken(t, w, func(r, s []byte) []byte { return append(append(r, s...), 0) }), "bad_signature"},
		"ES256 signature of zeros":         {esToken(t, w, func(_, _ []byte) []byte { return make([]byte, 64) }), "bad_signature"},
		"signature empty":                  {parts[0] + "." + parts[1] + ".", "bad_signature"},
		"signature missing":                {parts[0] + "." + parts[1], "malformed"},
		"signature of another token":       {parts[0] + "." + b64([]byte(good().with("sub", "admin").json(t))) + "." + parts[2], "bad_signature"},
		"trailing dot":                     {valid + ".", "malformed"},
		"trailing garbage":                 {valid + "!", "malformed"},
		"trailing zero bytes":              {valid + "AAAA", "bad_signature"},
		"padding":                          {valid + "==", "malformed"},
		"space inside":                     {parts[0] + " ." + parts[1] + "." + parts[2], "malformed"},
		"line break inside":                {parts[0] + "\n." + parts[1] + "." + parts[2], "malformed"},
		"standard alphabet":                {strings.NewReplacer("-", "+", "_", "/").Replace(parts[0]+"."+parts[1]) + "." + "+/" + parts[2][2:], "malformed"},
		"non-canonical base64":             {nonCanonical(valid), "malformed"},
		"encrypted token":                  {"eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..b.c.d", "encrypted"},
		"too large":                        {valid + strings.Repeat("A", 16<<10), "too_large"},
		"only dots":                        {"..", "malformed"},
		"opaque token":                     {"0123456789abcdef", "malformed"},
		"second token after a comma":       {valid + ", " + valid, "several_tokens"},
		"header not an object":             {rsaAs(`[]`, claimsOK), "malformed"},
		"claims not an object":             {rsaAs(headerRS256, `"a"`), "malformed"},
		"claims nested token":              {rsaAs(headerRS256, valid), "malformed"},
		"claims with trailing data":        {rsaAs(headerRS256, claimsOK+"{}"), "malformed"},
		"claims not UTF-8":                 {rsaAs(headerRS256, strings.Replace(claimsOK, "alice", "\xff", 1)), "malformed"},
		"nested too deeply":                {rsaAs(headerRS256, nested(16)), "malformed"},
		"nested bomb":                      {rsaAs(headerRS256, nested(4000)), "malformed"},
		"type of a logout token":           {rsaAs(`{"alg":"RS256","kid":"r","typ":"logout+jwt"}`, claimsOK), "wrong_type"},
		"type of a DPoP proof":             {rsaAs(`{"alg":"RS256","kid":"r","typ":"dpop+jwt"}`, claimsOK), "wrong_type"},
		"type not a string":                {rsaAs(`{"alg":"RS256","kid":"r","typ":1}`, claimsOK), "claim_type"},
		"audience of another app":          {w.token(t, good().with("aud", "billing")), "wrong_audience"},
		"audience missing":                 {w.token(t, good().without("aud")), "wrong_audience"},
		"audience empty list":              {w.token(t, good().with("aud", []string{})), "wrong_audience"},
		"audience that contains ours":      {w.token(t, good().with("aud", "orders2")), "wrong_audience"},
		"audience with a number":           {w.token(t, good().with("aud", []any{"orders", 1})), "claim_type"},
		"audience an object":               {w.token(t, good().with("aud", map[string]any{"orders": true})), "claim_type"},
		"expired":                          {w.token(t, good().with("exp", now.Unix()-30)), "expired"},
		"exp missing":                      {w.token(t, good().without("exp")), "missing_claim"},
		"exp null":                         {w.token(t, good().with("exp", nil)), "claim_type"},
		"exp a string":                     {w.token(t, good().with("exp", "2000000000")), "claim_type"},
		"exp negative":                     {w.token(t, good().with("exp", -1)), "claim_range"},
		"exp huge":                         {rsaAs(headerRS256, replaceExp(claimsOK, "1e300")), "claim_range"},
		"exp beyond a float":               {rsaAs(headerRS256, replaceExp(claimsOK, "1e999999999")), "claim_range"},
		"exp NaN":                          {rsaAs(headerRS256, replaceExp(claimsOK, "NaN")), "malformed"},
		"exp just beyond a 64-bit integer": {rsaAs(headerRS256, replaceExp(claimsOK, "9223372036854775808")), "claim_range"},
		"exp after the year 9999":          {rsaAs(headerRS256, replaceExp(claimsOK, "253402300800")), "claim_range"},
		"not yet valid":                    {w.token(t, good().with("nbf", now.Unix()+31)), "not_yet_valid"},
		"nbf not a number":                 {w.token(t, good().with("nbf", true)), "claim_type"},
		"issued in the future":             {w.token(t, good().with("iat", now.Unix()+31)), "not_yet_valid"},
		"subject not a string":             {w.token(t, good().with("sub", 1)), "claim_type"},
		"token ID not a string":            {w.token(t, good().with("jti", []int{1})), "claim_type"},
	}
}

func TestAttacks(t *testing.T) {
	w := newWorld(t)
	s := w.stage(t)
	for name, tt := range attacks(t, w) {
		t.Run(name, func(t *testing.T) {
			header := bearer(tt.token)
			header.Set("X-Auth-Subject", "admin")
			o := send(s, header, false)
			if o.err != nil || !o.passed || o.info.Identity != nil || o.reason() != tt.want {
				t.Fatalf("err %v, identity %v, AuthnErr %v; want %s", o.err, o.info.Identity, o.info.AuthnErr, tt.want)
			}
			if len(o.header) != 0 {
				t.Errorf("the app sees %v", o.header)
			}
			challenge := o.info.AuthnErr.Header.Get("WWW-Authenticate")
			if o.info.AuthnErr.Status != 401 || !strings.HasPrefix(challenge, `Bearer realm="postern", error="invalid_token", error_description="`) {
				t.Errorf("%d %s", o.info.AuthnErr.Status, challenge)
			}
			if len(tt.token) > 20 && strings.Contains(fmt.Sprint(o.info.AuthnErr), tt.token[:20]) {
				t.Errorf("the error shows the token: %v", o.info.AuthnErr)
			}
		})
	}
}

func replaceExp(claims, exp string) string {
	return strings.Replace(claims, fmt.Sprintf(`"exp":%d`, now.Unix()+600), `"exp":`+exp, 1)
}

func jwkHeader(key *rsa.PrivateKey) string {
	return fmt.Sprintf(`{"alg":"RS256","kid":"r","jwk":{"kty":"RSA","n":"%s","e":"AQAB"}}`, b64(key.N.Bytes()))
}

// nonCanonical sets a bit of the last character that no byte of the signature has: 256 bytes leave four such bits.
func nonCanonical(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func pssToken(t testing.TB, w *world, salt int) string {
	t.Helper()
	signed := b64([]byte(`{"alg":"PS256","kid":"p"}`)) + "." + b64([]byte(good().json(t)))
	sum := sha256.Sum256([]byte(signed))
	if salt == 0 {
		return signed + "." + b64(pssWithoutSalt(t, w.corp, sum[:]))
	}
	sig, err := rsa.SignPSS(rand.Reader, w.corp, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(sig)
}

// pssWithoutSalt signs by RFC 8017 §9.1.1 with an empty salt. crypto/rsa cannot do that: a length of 0 means automatic.
func pssWithoutSalt(t testing.TB, key *rsa.PrivateKey, sum []byte) []byte {
	t.Helper()
	hash := sha256.Sum256(append(make([]byte, 8), sum...))
	em := make([]byte, key.Size())
	db := em[:len(em)-sha256.Size-1]
	db[len(db)-1] = 1
	var mask []byte
	for i := 0; len(mask) < len(db); i++ {
		block := sha256.Sum256(append(hash[:], 0, 0, 0, byte(i)))
		mask = append(mask, block[:]...)
	}
	for i := range db {
		db[i] ^= mask[i]
	}
	db[0] &= 0x7f
	copy(em[len(db):], hash[:])
	em[len(em)-1] = 0xbc
	sig := new(big.Int).Exp(new(big.Int).SetBytes(em), key.D, key.N).FillBytes(make([]byte, key.Size()))
	if err := rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, sum, sig, nil); err != nil {
		t.Fatalf("the attack's own signature is wrong: %v", err)
	}
	return sig
}

func esToken(t testing.TB, w *world, encode func(r, s []byte) []byte) string {
	t.Helper()
	signed := b64([]byte(`{"alg":"ES256","kid":"e"}`)) + "." + b64([]byte(good().json(t)))
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, w.ec, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(encode(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))))
}

func esDER(r, s []byte) []byte {
	part := func(b []byte) []byte {
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(part(r), part(s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

func TestEmptySaltAttackIsReal(t *testing.T) {
	w := newWorld(t)
	token := pssToken(t, w, 0)
	_, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return &w.corp.PublicKey, nil }, jwt.WithoutClaimsValidation())
	if err != nil {
		t.Fatalf("the library refuses it as well: %v; then pss in api/check/keyset is no longer needed", err)
	}
}
