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
		"empty":                        {"", Malformed},
		"two parts":                    {"a.b", Malformed},
		"four parts":                   {good + ".x", Malformed},
		"encrypted":                    {"a.b.c.d.e", Encrypted},
		"too long":                     {strings.Repeat("a", MaxSize) + ".b.c", TooLarge},
		"padding":                      {strings.Replace(good, ".", "=.", 1), Malformed},
		"line break":                   {"\n" + good, Malformed},
		"header not JSON":              {sign(w.key, "x", goodClaims), Malformed},
		"claims not JSON":              {sign(w.key, goodHeader, "x"), Malformed},
		"claims too deep":              {claims(`"jti":"j"`, `"jti":"j","d":`+deep), Malformed},
		"header too deep":              {header(`{`, `{"d":`+strings.Repeat("[", maxHeaderDepth)+strings.Repeat("]", maxHeaderDepth)+`,`), Malformed},
		"repeated claim":               {claims(`"iss":"i"`, `"iss":"i","iss":"i"`), Malformed},
		"lone surrogate":               {claims(`"sub":"a"`, `"sub":"a\ud800"`), Malformed},
		"lone low surrogate":           {claims(`"sub":"a"`, `"sub":"\uDC00a"`), Malformed},
		"surrogates swapped":           {claims(`"sub":"a"`, `"sub":"\udc00\ud800"`), Malformed},
		"surrogate in a name":          {claims(`{`, `{"\ud800":1,`), Malformed},
		"crit":                         {header(`{`, `{"crit":["x"],`), Critical},
		"b64":                          {header(`{`, `{"b64":true,`), Critical},
		"type":                         {header("AT+JWT", "JWT"), WrongType},
		"no type":                      {header(`,"typ":"application/AT+JWT"`, ``), WrongType},
		"type is a number":             {header(`"application/AT+JWT"`, `1`), Malformed},
		"none":                         {header("EdDSA", "none"), WrongAlgorithm},
		"algorithm in lower case":      {header("EdDSA", "eddsa"), WrongAlgorithm},
		"no algorithm":                 {header(`"alg":"EdDSA",`, ``), Malformed},
		"kid is a number":              {header(`"k"`, `1`), Malformed},
		"kid too long":                 {header(`"k"`, `"`+strings.Repeat("k", maxKeyID+1)+`"`), Malformed},
		"unknown kid":                  {header(`"k"`, `"l"`), UnknownKey},
		"another issuer":               {claims(`"iss":"i"`, `"iss":"j"`), UnknownIssuer},
		"no issuer":                    {claims(`"iss":"i",`, ``), UnknownIssuer},
		"issuer is a number":           {claims(`"iss":"i"`, `"iss":1`), Malformed},
		"sub is a number":              {claims(`"sub":"a"`, `"sub":1`), Malformed},
		"jti is a list":                {claims(`"jti":"j"`, `"jti":["j"]`), Malformed},
		"audience":                     {claims(`["x","y"]`, `"x"`), WrongAudience},
		"audience array with a number": {claims(`["x","y"]`, `["y",1]`), Malformed},
		"audience is an object":        {claims(`["x","y"]`, `{"y":1}`), Malformed},
		"no audience":                  {claims(`"aud":["x","y"],`, ``), WrongAudience},
		"no exp":                       {claims(`,"exp":1800000060`, ``), Malformed},
		"exp is null":                  {claims(`1800000060`, `null`), Malformed},
		"exp is a string":              {claims(`1800000060`, `"1800000060"`), Malformed},
		"exp huge":                     {claims(`1800000060`, `1e99`), Malformed},
		"exp negative":                 {claims(`1800000060`, `-1`), Malformed},
		"expired":                      {claims(`1800000060`, `1800000000`), Expired},
		"iat in the future":            {claims(`1799999999.5`, `1800000001`), NotYetValid},
		"nbf in the future":            {claims(`{`, `{"nbf":1800000001,`), NotYetValid},
		"lifetime too long":            {claims(`1800000060`, `1800003600`), LifetimeTooLong},
		"lifetime without iat":         {claims(`"iat":1799999999.5,`, ``), LifetimeTooLong},
		"another issuer's key":         {sign(other.key, goodHeader, goodClaims), BadSignature},
		"truncated signature":          {good[:len(good)-2], BadSignature},
		"replaced claims":              {strings.Split(good, ".")[0] + "." + strings.Split(claims(`"a"`, `"b"`), ".")[1] + "." + strings.Split(good, ".")[2], BadSignature},
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
