package chain

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// holder is a client with a DPoP key.
type holder struct {
	key issuer
	jwk map[string]any
	jkt string
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	h := &holder{key: newIssuer(t)}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(h.key.jwks, &set); err != nil {
		t.Fatal(err)
	}
	all := set.Keys[0]
	h.jwk = map[string]any{"crv": all["crv"], "kty": all["kty"], "x": all["x"], "y": all["y"]}
	b, err := json.Marshal(h.jwk) // with sorted names, as RFC 7638 has them
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	h.jkt = base64.RawURLEncoding.EncodeToString(sum[:])
	return h
}

func (h *holder) prove(t *testing.T, id, uri, token string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	proof := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"jti": id, "htm": "GET", "htu": uri, "iat": time.Now().Unix(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	})
	proof.Header["typ"], proof.Header["jwk"] = "dpop+jwt", h.jwk
	text, err := proof.SignedString(h.key.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// boundToken returns a token of i that is bound to a DPoP key.
func boundToken(t *testing.T, i issuer, jkt string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "orders", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "cnf": map[string]any{"jkt": jkt},
	})
	token.Header["kid"] = "k"
	text, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestProofsAreShared: a DPoP proof that one pod has accepted is refused by the others, by a pod whose policy has changed, and by what onFailure says while Redis is
// unavailable.
func TestProofsAreShared(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, i, alice := newWorld(t), newIssuer(t), newHolder(t)
	document := func(onFailure compiled.FailureMode) *compiled.Policy {
		p := policy(i)
		onRedis(p, server.Addr)
		p.RateLimits, p.Headers, p.CORS, p.Compression = nil, nil, nil, nil
		p.Providers[0].ProofOfPossession = &compiled.ProofOfPossession{
			Mode: compiled.ProofRequire, Methods: []string{compiled.ProofDPoP}, DPoP: &compiled.DPoP{MaxAge: compiled.Duration(time.Minute), OnFailure: onFailure},
		}
		return p
	}
	a, b, allow := w.sidecar(document(compiled.Deny)).ready(), w.sidecar(document(compiled.Deny)).ready(), w.sidecar(document(compiled.Allow)).ready()
	token := boundToken(t, i, alice.jkt)
	call := func(s *sidecar, id string) got {
		t.Helper()
		h := http.Header{"Authorization": {"DPoP " + token}, "Dpop": {alice.prove(t, id, "https://orders.example.com/x", token)}}
		return s.send(sent{method: "GET", path: "/x", header: h, host: "orders.example.com"})
	}
	want := func(g got, status int, code string) {
		t.Helper()
		if g.status != status || g.code() != code {
			t.Errorf("%d %s; want %d %s: %s", g.status, g.code(), status, code, g.text)
		}
	}
	if g := call(a, "1"); g.status != 200 {
		t.Fatalf("%d %s", g.status, g.text)
	}
	want(call(a, "1"), 401, "invalid-dpop-proof")
	want(call(b, "1"), 401, "invalid-dpop-proof")
	want(call(allow, "1"), 401, "invalid-dpop-proof")
	b.apply(document(compiled.Deny))
	want(call(b, "1"), 401, "invalid-dpop-proof")
	want(b.send(sent{method: "GET", path: "/x", bearer: token}), 401, "invalid-token")

	server.Stop()
	want(call(a, "2"), 503, "dpop-unavailable")
	if g := call(allow, "2"); g.status != 200 {
		t.Errorf("Allow: %d %s", g.status, g.text)
	}
	want(call(allow, "2"), 401, "invalid-dpop-proof")
}

// TestProofsByDefault: a policy that says nothing about proofs checks those that the sidecar can, and asks for none.
func TestProofsByDefault(t *testing.T) {
	t.Parallel()
	w, i, alice := newWorld(t), newIssuer(t), newHolder(t)
	p := policy(i)
	p.RateLimits = nil
	s := w.sidecar(p)
	token := boundToken(t, i, alice.jkt)
	proven := http.Header{"Authorization": {"DPoP " + token}, "Dpop": {alice.prove(t, "1", "https://orders.example.com/x", token)}}
	for name, tt := range map[string]struct {
		sent   sent
		status int
	}{
		"an unbound token":          {sent{path: "/x", bearer: i.token(t, "alice")}, 200},
		"a bound token":             {sent{path: "/x", bearer: token}, 401},
		"a bound token, and proven": {sent{path: "/x", header: proven, host: "orders.example.com"}, 200},
	} {
		tt.sent.method = "GET"
		if g := s.send(tt.sent); g.status != tt.status {
			t.Errorf("%s: %d %s", name, g.status, g.text)
		}
	}
	g := s.send(sent{method: "GET", path: "/x"})
	if challenges := strings.Join(g.header["Www-Authenticate"], ", "); g.status != 401 || strings.Contains(challenges, "DPoP") {
		t.Errorf("no token: %d, %q", g.status, challenges)
	}
	p = policy(i)
	p.RateLimits, p.Revision = nil, 2
	p.Providers[0].ProofOfPossession = &compiled.ProofOfPossession{Mode: compiled.ProofNone}
	s.apply(p)
	if g := s.send(sent{method: "GET", path: "/x", bearer: token}); g.status != 200 {
		t.Errorf("mode None: %d %s", g.status, g.text)
	}
}
