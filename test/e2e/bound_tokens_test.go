//go:build e2e

package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// thumbprint is that of RFC 8705 §3.1.
func thumbprint(own tls.Certificate) string {
	sum := sha256.Sum256(own.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// testBoundToCertificates: a token with cnf.x5t#S256 is accepted over the connection with that certificate only.
func (s *tlsShop) testBoundToCertificates() {
	right, wrong := s.clients.client(s.t, ordersID), s.clients.client(s.t, ordersID)
	token := bearer(s.id.token("ann", jwt.MapClaims{"cnf": map[string]any{"x5t#S256": thumbprint(right)}}))
	for name, tt := range map[string]struct {
		own  []tls.Certificate
		want int
	}{
		"the certificate":     {[]tls.Certificate{right}, http.StatusOK},
		"another certificate": {[]tls.Certificate{wrong}, http.StatusUnauthorized},
		"no certificate":      {nil, http.StatusUnauthorized},
	} {
		for pod := range s.addresses {
			got, err := s.request(pod, "/x", tt.own, token)
			if err != nil || got.status != tt.want || tt.want != 200 && !problemIs(got, "invalid-token") {
				s.t.Errorf("%s: %v: %d %s; want %d", name, err, got.status, got.body, tt.want)
			}
		}
	}
}

// holder is a client with a key for DPoP proofs.
type holder struct {
	*issuer
	jwk map[string]string
}

func (s *tlsShop) newHolder() *holder {
	s.t.Helper()
	h := &holder{issuer: newIssuer(s.t)}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(h.jwks()), &set); err != nil {
		s.t.Fatal(err)
	}
	h.jwk = map[string]string{}
	for _, member := range []string{"kty", "crv", "x", "y"} { // what RFC 7638 hashes
		h.jwk[member] = set.Keys[0][member]
	}
	return h
}

// thumbprint is that of RFC 7638; encoding/json sorts the names.
func (h *holder) thumbprint() string {
	b, err := json.Marshal(h.jwk)
	if err != nil {
		h.t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// prove returns the header with a proof for a GET of uri with the token.
func (h *holder) prove(uri, token string) string {
	h.t.Helper()
	sum := sha256.Sum256([]byte(token))
	proof := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"jti": rand.Text(), "htm": http.MethodGet, "htu": uri, "iat": time.Now().Unix(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	})
	proof.Header["typ"], proof.Header["jwk"] = "dpop+jwt", h.jwk
	text, err := proof.SignedString(h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	return "DPoP: " + text
}

// testBoundByDPoP: a token with cnf.jkt needs a new proof for each request. A proof that one pod has seen is refused by the other.
func (s *tlsShop) testBoundByDPoP() {
	h, thief := s.newHolder(), s.newHolder()
	token := s.id.token("ann", jwt.MapClaims{"cnf": map[string]any{"jkt": h.thumbprint()}})
	const uri = "https://" + publicName + "/x"
	ask := func(pod int, fields ...string) response {
		s.t.Helper()
		got, err := s.request(pod, "/x", nil, fields...)
		if err != nil {
			s.t.Fatal(err)
		}
		return got
	}
	scheme := "Authorization: DPoP " + token
	proof := h.prove(uri, token)
	saw := ask(0, scheme, proof).wantStatus(s.t, http.StatusOK).seen(s.t)
	if saw.Headers.Get("Dpop") != "" || saw.Headers.Get("Authorization") != "" {
		s.t.Errorf("the app saw %v", saw.Headers)
	}
	ask(1, scheme, h.prove(uri, token)).wantStatus(s.t, http.StatusOK)
	const proofRefused = `error="invalid_dpop_proof"`
	for name, tt := range map[string]struct {
		got       response
		code      string
		challenge string
	}{
		"a replay at the other pod": {ask(1, scheme, proof), "invalid-dpop-proof", proofRefused},
		"a replay at the same pod":  {ask(0, scheme, proof), "invalid-dpop-proof", proofRefused},
		"no proof":                  {ask(0, scheme), "invalid-dpop-proof", proofRefused + `, error_description="The DPoP proof is not valid: the header DPoP is missing`},
		"another key":               {ask(0, scheme, thief.prove(uri, token)), "invalid-token", `DPoP realm="orders", error="invalid_token"`},
		"another path":              {ask(1, scheme, h.prove(uri+"/y", token)), "invalid-dpop-proof", proofRefused},
		"another host":              {ask(1, scheme, h.prove("https://evil.example.com/x", token)), "invalid-dpop-proof", proofRefused},
		"as a bearer token":         {ask(1, bearer(token), h.prove(uri, token)), "invalid-token", `DPoP algs="ES256"`},
	} {
		challenges := strings.Join(tt.got.header.Values("WWW-Authenticate"), ", ")
		if tt.got.status != http.StatusUnauthorized || !problemIs(tt.got, tt.code) || !strings.Contains(challenges, tt.challenge) {
			s.t.Errorf("%s: %d %s %s", name, tt.got.status, challenges, tt.got.body)
		}
	}
}
