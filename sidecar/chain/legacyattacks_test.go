package chain

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

// forged is a token of the former code with a header of its own, and an HMAC SHA-256 with a key; without a key its signature is empty.
func forged(header, key string) string {
	part := base64.RawURLEncoding.EncodeToString
	signed := part([]byte(header)) + "." + part(fmt.Appendf(nil, `{"user":{"id":42},"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	if key == "" {
		return signed + "."
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + part(mac.Sum(nil))
}

// TestLegacyTokensOfOtherAlgorithms: the algorithm is that of the provider, whatever the header says (RFC 8725 §3.1). The secret is no key of
// another one.
func TestLegacyTokensOfOtherAlgorithms(t *testing.T) {
	t.Parallel()
	w, i := newWorld(t), newIssuer(t)
	w.writeSecret("legacy", "secret", []byte(legacySecret))
	s := w.sidecar(legacyPolicy(i, time.Now().Add(24*time.Hour), nil)).ready()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		token string
		want  int
	}{
		"HS256":                           {forged(`{"alg":"HS256"}`, legacySecret), 200},
		"HS256, with a type":              {forged(`{"alg":"HS256","typ":"JWT"}`, legacySecret), 200},
		"RS256, signed with the secret":   {forged(`{"alg":"RS256"}`, legacySecret), 401},
		"ES256, signed with the secret":   {forged(`{"alg":"ES256"}`, legacySecret), 401},
		"HS384, signed as HS256":          {forged(`{"alg":"HS384"}`, legacySecret), 401},
		"RS256, of a key of an attacker":  {former(t, jwt.SigningMethodRS256, private, nil), 401},
		"HS384, with the secret":          {former(t, jwt.SigningMethodHS384, []byte(legacySecret), nil), 401},
		"none":                            {forged(`{"alg":"none"}`, ""), 401},
		"none, in another case":           {forged(`{"alg":"nOnE"}`, ""), 401},
		"none, signed with the secret":    {forged(`{"alg":"none"}`, legacySecret), 401},
		"HS256, not signed":               {forged(`{"alg":"HS256"}`, ""), 401},
		"no algorithm":                    {forged(`{}`, legacySecret), 401},
		"an algorithm in lower case":      {forged(`{"alg":"hs256"}`, legacySecret), 401},
		"two algorithms":                  {forged(`{"alg":"none","alg":"HS256"}`, legacySecret), 401},
		"with the key in the header":      {forged(`{"alg":"HS256","jwk":{"kty":"oct","k":"ZXZpbA"}}`, "evil"), 401},
		"with the URL of an attacker":     {forged(`{"alg":"HS256","jku":"https://evil.example/keys"}`, "evil"), 401},
		"with an extension that it needs": {forged(`{"alg":"HS256","crit":["b64"],"b64":false}`, legacySecret), 401},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if g := s.in(t).use(tokens{access: tt.token}); g.status != tt.want {
				t.Errorf("%d %s; want %d", g.status, g.text, tt.want)
			}
		})
	}
}

// TestLegacyTokensAndTheEnd: whatever exp a token has, and also if it has none, it is not accepted from until on; and a token of its own far end
// is not accepted longer than that. A far until makes no token outlive its exp.
func TestLegacyTokensAndTheEnd(t *testing.T) {
	t.Parallel()
	start := time.Now()
	const year = 365 * 24 * time.Hour
	type when struct {
		// until is that of the policy, exp that of the token, and now the time of the request, after start. An exp of 0 is none.
		until, exp, now time.Duration
		want            int
	}
	tests := map[string]when{
		"long over, when the sidecar starts": {-year, time.Hour, 0, 401},
		"before the end":                     {time.Hour, 2 * time.Hour, time.Hour - time.Minute, 200},
		"at the end":                         {time.Hour, 2 * time.Hour, time.Hour + time.Second, 401},
		"no leeway at the end":               {time.Hour, 2 * time.Hour, time.Hour + 5*time.Second, 401},
		"exp in a century":                   {time.Hour, 100 * year, 30 * time.Minute, 200},
		"exp in a century, after the end":    {time.Hour, 100 * year, 2 * time.Hour, 401},
		"no exp, before the end":             {time.Hour, 0, 0, 401},
		"no exp, after the end":              {time.Hour, 0, 2 * time.Hour, 401},
		"a far end":                          {200 * year, time.Hour, 0, 200},
		"a far end, exp is over":             {200 * year, time.Hour, 2 * time.Hour, 401},
		"a far end, no exp":                  {200 * year, 0, 0, 401},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, i := newWorld(t), newIssuer(t)
			w.now = func() time.Time { return start.Add(tt.now) }
			w.writeSecret("legacy", "secret", []byte(legacySecret))
			s := w.sidecar(legacyPolicy(i, start.Add(tt.until), func(p *compiled.Provider) { p.Leeway = compiled.Duration(30 * time.Second) })).ready()
			token := former(t, jwt.SigningMethodHS256, []byte(legacySecret), func(c jwt.MapClaims) {
				if c["exp"] = start.Add(tt.exp).Unix(); tt.exp == 0 {
					delete(c, "exp")
				}
			})
			if g := s.use(tokens{access: token}); g.status != tt.want {
				t.Errorf("%d %s; want %d", g.status, g.text, tt.want)
			}
		})
	}
}
