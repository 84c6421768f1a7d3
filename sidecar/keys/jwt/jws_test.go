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

func newIssuer(t testing.TB) (Issuer, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyset.Parse([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}]}`), keyset.Options{Algorithms: []string{"EdDSA"}})
	if err != nil {
		t.Fatal(err)
	}
	return Issuer{Issuer: "i", Audiences: []string{"y"}, Algorithms: []string{"EdDSA"}, Types: []string{"at+jwt"}, Keys: jwks.Fixed(set)}, private
}

func sign(key ed25519.PrivateKey, header, claims string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed)))
}

func TestVerify(t *testing.T) {
	i, key := newIssuer(t)
	raw := sign(key, goodHeader, goodClaims)
	got, err := i.Verify(t.Context(), raw, now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Issuer != "i" || got.Subject != "a" || got.ID != "j" || got.Session != "s" || got.KeyID != "k" || got.Expires.Unix() != 1800000060 || got.Issued.Unix() != 1799999999 {
		t.Errorf("token = %+v", got)
	}
	if issuer, err := IssuerOf(raw); err != nil || issuer != "i" {
		t.Errorf("IssuerOf = %q, %v", issuer, err)
	}
	i.Audiences = nil
	if _, err := i.Verify(t.Context(), sign(key, goodHeader, `{"iss":"i"}`), now); err != nil {
		t.Errorf("for any audience, without dates: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	i, key := newIssuer(t)
	_, other := newIssuer(t)
	claims := func(old, new string) string { return sign(key, goodHeader, strings.Replace(goodClaims, old, new, 1)) }
	header := func(old, new string) string { return sign(key, strings.Replace(goodHeader, old, new, 1), goodClaims) }
	good := sign(key, goodHeader, goodClaims)
	tests := map[string]string{
		"empty":              "",
		"two parts":          "a.b",
		"four parts":         good + ".x",
		"too long":           strings.Repeat("a", maxToken) + ".b.c",
		"padding":            strings.Replace(good, ".", "=.", 1),
		"line break":         "\n" + good,
		"header no JSON":     sign(key, "x", goodClaims),
		"claims no JSON":     sign(key, goodHeader, "x"),
		"repeated claim":     claims(`"iss":"i"`, `"iss":"i","iss":"i"`),
		"crit":               header(`{`, `{"crit":["x"],`),
		"b64":                header(`{`, `{"b64":true,`),
		"type":               header("AT+JWT", "JWT"),
		"no type":            header(`,"typ":"application/AT+JWT"`, ``),
		"none":               header("EdDSA", "none"),
		"algorithm's case":   header("EdDSA", "eddsa"),
		"kid a number":       header(`"k"`, `1`),
		"unknown kid":        header(`"k"`, `"l"`),
		"another issuer":     claims(`"iss":"i"`, `"iss":"j"`),
		"no issuer":          claims(`"iss":"i",`, ``),
		"sub a number":       claims(`"sub":"a"`, `"sub":1`),
		"audience":           claims(`["x","y"]`, `"x"`),
		"no audience":        claims(`"aud":["x","y"],`, ``),
		"exp text":           claims(`1800000060`, `"1800000060"`),
		"exp huge":           claims(`1800000060`, `1e99`),
		"exp negative":       claims(`1800000060`, `-1`),
		"expired":            claims(`1800000060`, `1800000000`),
		"iat of the future":  claims(`1799999999.5`, `1800000001`),
		"nbf of the future":  claims(`{`, `{"nbf":1800000001,`),
		"another's key":      sign(other, goodHeader, goodClaims),
		"signature cut":      good[:len(good)-2],
		"claims are swapped": strings.Split(good, ".")[0] + "." + strings.Split(claims(`"a"`, `"b"`), ".")[1] + "." + strings.Split(good, ".")[2],
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			if token, err := i.Verify(t.Context(), raw, now); !errors.Is(err, ErrInvalid) || token != nil {
				t.Errorf("Verify = %v, %v; want ErrInvalid", token, err)
			}
		})
	}
	if _, err := IssuerOf(claims(`"iss":"i"`, `"iss":1`)); !errors.Is(err, ErrInvalid) {
		t.Errorf("IssuerOf = %v", err)
	}
	if _, err := IssuerOf("x"); !errors.Is(err, ErrInvalid) {
		t.Errorf("IssuerOf = %v", err)
	}
}

// away has no keys at present.
type away struct{}

func (away) Lookup(context.Context, string, string) ([]*jwks.Key, error) {
	return nil, jwks.ErrUnavailable
}

func TestKeysAway(t *testing.T) {
	i, key := newIssuer(t)
	i.Keys = away{}
	if _, err := i.Verify(t.Context(), sign(key, goodHeader, goodClaims), now); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		t.Errorf("error = %v", err)
	}
}

func TestLeeway(t *testing.T) {
	i, key := newIssuer(t)
	i.Leeway = time.Minute
	raw := sign(key, goodHeader, goodClaims)
	for at, want := range map[time.Duration]bool{119 * time.Second: true, 120 * time.Second: false, -60 * time.Second: true, -62 * time.Second: false} {
		if _, err := i.Verify(t.Context(), raw, now.Add(at)); (err == nil) != want {
			t.Errorf("at %s: %v; want good %v", at, err, want)
		}
	}
}

// FuzzVerify checks that nothing but what the key signed is good.
func FuzzVerify(f *testing.F) {
	i, key := newIssuer(f)
	good := sign(key, goodHeader, goodClaims)
	f.Add(good)
	f.Add(sign(key, `{"alg":"none"}`, goodClaims))
	f.Add(strings.Repeat(".", 5))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := i.Verify(t.Context(), raw, now); err == nil && raw != good {
			t.Errorf("%q is good", raw)
		}
	})
}
