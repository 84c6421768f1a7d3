package jwt

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

var now = time.Unix(1_800_000_000, 0)

const (
	goodHeader = `{"alg":"EdDSA","kid":"k","typ":"application/AT+JWT"}`
	goodClaims = `{"iss":"i","sub":"a","aud":["x","y"],"jti":"j","sid":"s","iat":1799999999.5,"exp":1800000060}`
)

// world is an issuer with its key.
type world struct {
	*Issuer
	key ed25519.PrivateKey
}

func newWorld(t testing.TB) world {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyset.Parse([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}]}`), keyset.Options{Algorithms: []string{"EdDSA"}})
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{Issuer: "i", Audiences: []string{"y"}, Algorithms: []string{"EdDSA"}, Types: []string{"at+jwt"}, Keys: jwks.Fixed(set)}
	return world{i, private}
}

func sign(key ed25519.PrivateKey, header, claims string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed)))
}

func (w world) verify(t testing.TB, raw string, at time.Time) (*Token, error) {
	t.Helper()
	u, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	return w.Verify(t.Context(), u, at)
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	raw := sign(w.key, goodHeader, goodClaims)
	got, err := w.verify(t, raw, now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Issuer != "i" || got.Subject != "a" || got.ID != "j" || got.Claims["sid"] != "s" || got.Key.ID() != "k" || got.Expires.Unix() != 1800000060 {
		t.Errorf("token = %+v", got)
	}
	if got.Issued.UnixMilli() != 1799999999500 {
		t.Errorf("issued at %s", got.Issued)
	}
	w.Audiences = nil
	if _, err := w.verify(t, sign(w.key, goodHeader, `{"iss":"i","exp":1800000060}`), now); err != nil {
		t.Errorf("for any audience: %v", err)
	}
	w.Types = []string{"jwt"}
	if _, err := w.verify(t, sign(w.key, `{"alg":"EdDSA"}`, `{"iss":"i","exp":1800000060}`), now); err != nil {
		t.Errorf("a token without typ, which counts as JWT: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	claims := func(old, new string) string { return sign(w.key, goodHeader, strings.Replace(goodClaims, old, new, 1)) }
	header := func(old, new string) string { return sign(w.key, strings.Replace(goodHeader, old, new, 1), goodClaims) }
	good := sign(w.key, goodHeader, goodClaims)
	deep := strings.Repeat(`{"x":`, maxClaimsDepth) + "1" + strings.Repeat("}", maxClaimsDepth)
	tests := map[string]struct {
		raw  string
		want Reason
	}{
		"empty":                         {"", Malformed},
		"two parts":                     {"a.b", Malformed},
		"four parts":                    {good + ".x", Malformed},
		"encrypted":                     {"eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..b.c.d", Encrypted},
		"five parts":                    {"a.b.c.d.e", Malformed},
		"two tokens, one after another": {good + good, Malformed},
		"two tokens and a comma":        {good + "," + good, SeveralTokens},
		"two tokens as a list":          {good + ", Bearer " + good, SeveralTokens},
		"two tokens and a space":        {good + " " + good, SeveralTokens},
		"a comma at the end":            {good + ",", Malformed},
		"too long":                      {strings.Repeat("a", MaxSize) + ".b.c", TooLarge},
		"padding":                       {strings.Replace(good, ".", "=.", 1), Malformed},
		"line break":                    {"\n" + good, Malformed},
		"header not JSON":               {sign(w.key, "x", goodClaims), Malformed},
		"claims not JSON":               {sign(w.key, goodHeader, "x"), Malformed},
		"claims too deep":               {claims(`"jti":"j"`, `"jti":"j","d":`+deep), Malformed},
		"header too deep":               {header(`{`, `{"d":`+strings.Repeat("[", maxHeaderDepth)+strings.Repeat("]", maxHeaderDepth)+`,`), Malformed},
		"repeated claim":                {claims(`"iss":"i"`, `"iss":"i","iss":"i"`), Malformed},
		"lone surrogate":                {claims(`"sub":"a"`, `"sub":"a\ud800"`), Malformed},
		"lone low surrogate":            {claims(`"sub":"a"`, `"sub":"\uDC00a"`), Malformed},
		"surrogates swapped":            {claims(`"sub":"a"`, `"sub":"\udc00\ud800"`), Malformed},
		"surrogate in a name":           {claims(`{`, `{"\ud800":1,`), Malformed},
		"crit":                          {header(`{`, `{"crit":["x"],`), Critical},
		"b64":                           {header(`{`, `{"b64":true,`), Critical},
		"type":                          {header("AT+JWT", "JWT"), WrongType},
		"no type":                       {header(`,"typ":"application/AT+JWT"`, ``), WrongType},
		"type is a number":              {header(`"application/AT+JWT"`, `1`), ClaimType},
		"none":                          {header("EdDSA", "none"), WrongAlgorithm},
		"algorithm in lower case":       {header("EdDSA", "eddsa"), WrongAlgorithm},
		"no algorithm":                  {header(`"alg":"EdDSA",`, ``), Malformed},
		"kid is a number":               {header(`"k"`, `1`), ClaimType},
		"kid too long":                  {header(`"k"`, `"`+strings.Repeat("k", maxKeyID+1)+`"`), Malformed},
		"unknown kid":                   {header(`"k"`, `"l"`), UnknownKey},
		"another issuer":                {claims(`"iss":"i"`, `"iss":"j"`), UnknownIssuer},
		"no issuer":                     {claims(`"iss":"i",`, ``), UnknownIssuer},
		"issuer is a number":            {claims(`"iss":"i"`, `"iss":1`), ClaimType},
		"sub is a number":               {claims(`"sub":"a"`, `"sub":1`), ClaimType},
		"jti is a list":                 {claims(`"jti":"j"`, `"jti":["j"]`), ClaimType},
		"audience":                      {claims(`["x","y"]`, `"x"`), WrongAudience},
		"audience array with a number":  {claims(`["x","y"]`, `["y",1]`), ClaimType},
		"audience is an object":         {claims(`["x","y"]`, `{"y":1}`), ClaimType},
		"no audience":                   {claims(`"aud":["x","y"],`, ``), WrongAudience},
		"no exp":                        {claims(`,"exp":1800000060`, ``), MissingClaim},
		"exp is null":                   {claims(`1800000060`, `null`), ClaimType},
		"exp is a string":               {claims(`1800000060`, `"1800000060"`), ClaimType},
		"exp huge":                      {claims(`1800000060`, `1e99`), ClaimRange},
		"exp negative":                  {claims(`1800000060`, `-1`), ClaimRange},
		"expired":                       {claims(`1800000060`, `1800000000`), Expired},
		"iat in the future":             {claims(`1799999999.5`, `1800000001`), NotYetValid},
		"nbf in the future":             {claims(`{`, `{"nbf":1800000001,`), NotYetValid},
		"lifetime too long":             {claims(`1800000060`, `1800003600`), LifetimeTooLong},
		"lifetime without iat":          {claims(`"iat":1799999999.5,`, ``), LifetimeTooLong},
		"another issuer's key":          {sign(other.key, goodHeader, goodClaims), BadSignature},
		"truncated signature":           {good[:len(good)-2], BadSignature},
		"replaced claims":               {strings.Split(good, ".")[0] + "." + strings.Split(claims(`"a"`, `"b"`), ".")[1] + "." + strings.Split(good, ".")[2], BadSignature},
	}
	w.MaxLifetime = time.Hour
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token, err := w.verify(t, tt.raw, now)
			if err == nil || token != nil || ReasonOf(err) != tt.want {
				t.Errorf("Verify = %v, %v; want %s", token, err, tt.want)
			}
		})
	}
}

// TestSurrogatePairs: characters beyond the basic plane, and escapes that only look like surrogates, are accepted.
func TestSurrogatePairs(t *testing.T) {
	w := newWorld(t)
	for escaped, want := range map[string]string{`\ud83d\ude00`: "😀", `\\ud800`: `\ud800`, `\"\u0041\n`: "\"A\n", `😀`: "😀"} {
		got, err := w.verify(t, sign(w.key, goodHeader, strings.Replace(goodClaims, `"sub":"a"`, `"sub":"`+escaped+`"`, 1)), now)
		if err != nil || got.Subject != want {
			t.Errorf("%s: %v, %v; want %q", escaped, got, err, want)
		}
	}
}

// unavailable is a key set that was never loaded.
type unavailable struct{}

func (unavailable) Lookup(context.Context, string, string) ([]*jwks.Key, error) {
	return nil, jwks.ErrUnavailable
}

func TestKeysUnavailable(t *testing.T) {
	w := newWorld(t)
	w.Keys = unavailable{}
	if _, err := w.verify(t, sign(w.key, goodHeader, goodClaims), now); ReasonOf(err) != Unavailable || !errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
}

func TestLeeway(t *testing.T) {
	w := newWorld(t)
	w.Leeway = time.Minute
	raw := sign(w.key, goodHeader, goodClaims)
	for at, want := range map[time.Duration]bool{119 * time.Second: true, 120 * time.Second: false, -60 * time.Second: true, -62 * time.Second: false} {
		if _, err := w.verify(t, raw, now.Add(at)); (err == nil) != want {
			t.Errorf("at %s: %v; want valid %v", at, err, want)
		}
	}
}

// FuzzParse checks that an accepted token has only one encoding: encoding it again gives the same text.
func FuzzParse(f *testing.F) {
	w := newWorld(f)
	f.Add(sign(w.key, goodHeader, goodClaims))
	f.Add(sign(w.key, `{"alg":"none"}`, `{"sub":"\ud800"}`))
	f.Add(strings.Repeat(".", 4))
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := Parse(raw)
		if err != nil {
			if u != nil {
				t.Fatalf("%q has both a token and an error", raw)
			}
			return
		}
		if again := u.signed + "." + base64.RawURLEncoding.EncodeToString(u.signature); again != raw {
			t.Fatalf("%q reads as %q", raw, again)
		}
		if u.Algorithm == "" || len(u.KeyID) > maxKeyID || len(raw) > MaxSize {
			t.Fatalf("over the bounds: %+v", u)
		}
	})
}

// FuzzVerify checks that only tokens signed by the key are valid.
func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	good := sign(w.key, goodHeader, goodClaims)
	f.Add(good)
	f.Add(sign(w.key, `{"alg":"none"}`, goodClaims))
	f.Add(strings.Repeat(".", 5))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := w.verify(t, raw, now); err == nil && raw != good {
			t.Errorf("%q is valid", raw)
		}
	})
}

// FuzzClaims checks that the claims of an accepted token have the documented form, whatever the issuer signs.
func FuzzClaims(f *testing.F) {
	w := newWorld(f)
	f.Add(goodHeader, goodClaims)
	f.Add(goodHeader, `{"iss":"i","aud":["y",1],"exp":1e999}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		token, err := w.verify(t, sign(w.key, header, claims), now)
		if err != nil {
			return
		}
		if token.Issuer != "i" || !token.Expires.After(now) || token.Expires.Unix() > maxDate || token.Issued.After(now) || token.NotBefore.After(now) {
			t.Errorf("%s is valid: %+v", claims, token)
		}
	})
}

// TestDefects checks that a refusal names the claim, and says what is wrong with it, without anything of the token.
func TestDefects(t *testing.T) {
	w := newWorld(t)
	w.MaxLifetime = time.Hour
	claims := func(old, new string) string { return sign(w.key, goodHeader, strings.Replace(goodClaims, old, new, 1)) }
	header := func(old, new string) string { return sign(w.key, strings.Replace(goodHeader, old, new, 1), goodClaims) }
	tests := map[string]struct{ raw, claim, want string }{
		"exp is a string":     {claims(`1800000060`, `"s3cret"`), "exp", "claim_type: the claim exp is a string; it must be a number of seconds"},
		"exp is an object":    {claims(`1800000060`, `{"s3cret":1}`), "exp", "claim_type: the claim exp is an object;"},
		"nbf is a boolean":    {claims(`"exp":`, `"nbf":true,"exp":`), "nbf", "claim_type: the claim nbf is a boolean;"},
		"exp is out of range": {claims(`1800000060`, `1e99`), "exp", "claim_range: the claim exp is not between 0 and 253402300799"},
		"no exp":              {claims(`,"exp":1800000060`, ``), "exp", "missing_claim: the claim exp is absent"},
		"iss is null":         {claims(`"iss":"i"`, `"iss":null`), "iss", "claim_type: the claim iss is null; it must be a string"},
		"aud has a number":    {claims(`["x","y"]`, `["y",1]`), "aud", "claim_type: the claim aud has a member that is a number;"},
		"aud of another":      {claims(`["x","y"]`, `"s3cret"`), "aud", "wrong_audience: the claim aud names none"},
		"no aud":              {claims(`"aud":["x","y"],`, ``), "aud", "wrong_audience: the claim aud names no audience"},
		"expired":             {claims(`1800000060`, `1`), "exp", "expired: the claim exp is in the past"},
		"nbf in the future":   {claims(`"exp":`, `"nbf":1800000059,"exp":`), "nbf", "not_yet_valid: the claim nbf is in the future"},
		"iat in the future":   {claims(`1799999999.5`, `1800000059`), "iat", "not_yet_valid: the claim iat is in the future"},
		"no iat":              {claims(`"iat":1799999999.5,`, ``), "iat", "lifetime_too_long: the claim iat is absent"},
		"too long a life":     {claims(`1800000060`, `1900000000`), "exp", "lifetime_too_long: the claim exp is later than iat"},
		"kid is a list":       {header(`"k"`, `["s3cret"]`), "kid", "claim_type: the header parameter kid is an array; it must be a string"},
		"no alg":              {header(`"alg":"EdDSA",`, ``), "alg", "malformed: the header parameter alg is absent"},
		"crit":                {header(`{`, `{"crit":["s3cret"],`), "crit", "critical_header: the header parameter crit is present"},
		"another key":         {header(`"k"`, `"s3cret"`), "", "unknown_key"},
		"no JSON":             {sign(w.key, goodHeader, "s3cret"), "", "malformed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := w.verify(t, tt.raw, now)
			if err == nil || !strings.Contains(err.Error(), tt.want) || ClaimOf(err) != tt.claim || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v, because of %q; want %q, %q", err, ClaimOf(err), tt.want, tt.claim)
			}
		})
	}
}
