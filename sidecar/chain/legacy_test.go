package chain

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// legacySecret is the HMAC secret of the former code, which is too short for HS256.
const legacySecret = "a-secret-of-24-characters"

// legacyPolicy accepts tokens of i, and until then those of the app's former code.
func legacyPolicy(i issuer, until time.Time, change func(*compiled.Provider)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		legacy := compiled.Provider{
			Name: "legacy", Issuer: compiled.LegacyIssuer("legacy"), Algorithms: []string{"HS256"},
			Keys:            compiled.Keys{Secret: &compiled.SecretRef{Name: "legacy", Key: "secret"}},
			Legacy:          &compiled.Legacy{Until: until, Unnamed: true, SubjectClaim: "user.id", ShortSecret: true},
			ClaimsToHeaders: []compiled.ClaimToHeader{{Claim: "user.id", Header: "X-Auth-Subject"}},
		}
		if change != nil {
			change(&legacy)
		}
		p.Providers = append(policy(i).Providers, legacy)
	})
}

// former is a token as the former code issued it.
func former(t testing.TB, method jwt.SigningMethod, key any, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"user": map[string]any{"id": 42}, "sub": 42, "exp": time.Now().Add(time.Hour).Unix()}
	if change != nil {
		change(claims)
	}
	signed, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestLegacyTokens: which tokens of the former code are accepted, in addition to those of the new issuer.
func TestLegacyTokens(t *testing.T) {
	t.Parallel()
	w, i := newWorld(t), newIssuer(t)
	w.writeSecret("legacy", "secret", []byte(legacySecret))
	s := w.sidecar(legacyPolicy(i, time.Now().Add(24*time.Hour), nil)).ready()
	hmac := func(change func(jwt.MapClaims)) string {
		return former(t, jwt.SigningMethodHS256, []byte(legacySecret), change)
	}
	with := func(claims jwt.MapClaims) string {
		return hmac(func(c jwt.MapClaims) { maps.Copy(c, claims) })
	}
	public, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		token      string
		wantCaller string // "" for a refusal
	}{
		"a number as the subject":     {hmac(nil), "42"},
		"a text as the subject":       {with(jwt.MapClaims{"user": map[string]any{"id": "ada"}}), "ada"},
		"with an audience":            {with(jwt.MapClaims{"aud": "anything"}), "42"},
		"of the new issuer":           {i.token(t, "grace"), "grace"},
		"an issuer":                   {with(jwt.MapClaims{"iss": "https://old.example.com"}), ""},
		"the name for no issuer":      {with(jwt.MapClaims{"iss": compiled.LegacyIssuer("legacy")}), ""},
		"an empty issuer":             {with(jwt.MapClaims{"iss": ""}), ""},
		"an issuer that is null":      {with(jwt.MapClaims{"iss": nil}), ""},
		"the new issuer, old key":     {with(jwt.MapClaims{"iss": "https://id.example.com", "aud": "orders"}), ""},
		"no subject":                  {hmac(func(c jwt.MapClaims) { delete(c, "user") }), ""},
		"an empty subject":            {with(jwt.MapClaims{"user": map[string]any{"id": ""}}), ""},
		"a list as the subject":       {with(jwt.MapClaims{"user": map[string]any{"id": []int{42}}}), ""},
		"a long subject":              {with(jwt.MapClaims{"user": map[string]any{"id": strings.Repeat("x", 256)}}), ""},
		"expired":                     {with(jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}), ""},
		"no expiry":                   {hmac(func(c jwt.MapClaims) { delete(c, "exp") }), ""},
		"another secret":              {former(t, jwt.SigningMethodHS256, []byte("another-secret-of-this-length"), nil), ""},
		"another algorithm":           {former(t, jwt.SigningMethodHS512, []byte(legacySecret), nil), ""},
		"no signature":                {former(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), ""},
		"the public key as a secret":  {former(t, jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), nil), ""},
		"the new key, without issuer": {former(t, jwt.SigningMethodES256, i.key, nil), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := s.in(t).use(tokens{access: tt.token})
			caller := strings.Trim(g.field("caller"), `"`)
			if want := map[bool]int{true: 200, false: 401}[tt.wantCaller != ""]; g.status != want || caller != tt.wantCaller {
				t.Errorf("%d, caller %q, %s; want %d, %q", g.status, caller, g.text, want, tt.wantCaller)
			}
		})
	}
}

// TestLegacyTokensEnd: none is accepted after the stated time, and a revocation of the user ends them before.
func TestLegacyTokensEnd(t *testing.T) {
	t.Parallel()
	w, i := newWorld(t), newIssuer(t)
	w.writeSecret("legacy", "secret", []byte(legacySecret))
	token := tokens{access: former(t, jwt.SigningMethodHS256, []byte(legacySecret), nil)}
	s := w.sidecar(legacyPolicy(i, time.Now().Add(24*time.Hour), nil)).ready()
	if g := s.use(token); g.status != 200 {
		t.Fatalf("before: %d %s", g.status, g.text)
	}
	s.apply(legacyPolicy(i, time.Now().Add(-time.Second), nil))
	s.ready()
	if g := s.use(token); g.status != 401 || g.code() != "invalid-token" || !strings.Contains(g.text, "former") {
		t.Errorf("after the end: %d %s", g.status, g.text)
	}
	s.apply(legacyPolicy(i, time.Now().Add(time.Hour), nil))
	s.ready()
	if g := s.loopback("POST", "/v1/revocations", `{"subject":"42"}`); g.status/100 != 2 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the revocation", func() bool { return s.use(token).code() == "token-revoked" })
}

// TestShortSecret: without the option a short secret is not used.
func TestShortSecret(t *testing.T) {
	t.Parallel()
	w, i := newWorld(t), newIssuer(t)
	for name, tt := range map[string]struct {
		secret string
		allow  bool
		want   int
	}{
		"not allowed":    {legacySecret, false, 503},
		"allowed":        {legacySecret, true, 200},
		"much too short": {"fifteen bytes..", true, 503},
		"long enough":    {strings.Repeat("x", 32), false, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.writeSecret("legacy", "secret", []byte(tt.secret))
			s := w.sidecar(legacyPolicy(i, time.Now().Add(time.Hour), func(p *compiled.Provider) { p.Legacy.ShortSecret = tt.allow }))
			token := tokens{access: former(t, jwt.SigningMethodHS256, []byte(tt.secret), nil)}
			redistest.Eventually(t, "the response", func() bool { return s.use(token).status == tt.want })
		})
	}
}
