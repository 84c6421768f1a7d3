package authn

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/dpop"
)

// holder is a client with a DPoP key.
type holder struct {
	key *ecdsa.PrivateKey
	jwk map[string]any
	jkt string
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{key: key, jwk: map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}}
	b, err := json.Marshal(h.jwk) // with sorted names, as RFC 7638 has them
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	h.jkt = b64(sum[:])
	return h
}

// prove returns a proof for a request of target (see call) with the token.
func (h *holder) prove(t testing.TB, token, id string, change func(claims)) string {
	t.Helper()
	header, err := json.Marshal(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": h.jwk})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(token))
	c := claims{"jti": id, "htm": "POST", "htu": "https://orders.example.com/orders", "iat": now.Unix(), "ath": b64(sum[:])}
	if change != nil {
		change(c)
	}
	return raw(t, string(header), c.json(t), jwt.SigningMethodES256, h.key)
}

// call is a request with a token. Its certificate is that of the client; nil for none.
type call struct {
	scheme, token string
	proofs        []string
	certificate   *[sha256.Size]byte
	certErr       error
	change        func(*http.Request, *request.Info)
	shadow        bool
}

// proven sends the call through a stage. The app's header is nil if the request did not pass.
func (c call) send(t testing.TB, s stage.Stage) outcome {
	t.Helper()
	o := outcome{info: &request.Info{Shadow: c.shadow, ClientAddr: client, Scheme: "https"}}
	h := s(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		o.passed, o.header = true, r.Header
		return nil
	}))
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), certificateKey{}, c), "POST", "https://orders.example.com/orders?x=1", bytes.NewReader(nil))
	r.RequestURI = "/orders?x=1"
	r.Header["Authorization"] = []string{c.scheme + " " + c.token}
	if c.proofs != nil {
		r.Header["Dpop"] = c.proofs
	}
	if c.change != nil {
		c.change(r, o.info)
	}
	o.err = h.ServeHTTP(httptest.NewRecorder(), request.With(r, o.info))
	return o
}

// certificateKey is the key of the call in the context of its request.
type certificateKey struct{}

// proofs are what a stage of the tests checks proofs with.
func proofs(used UsedProofs) Proofs {
	return Proofs{
		Certificate: func(r *http.Request) (sum [sha256.Size]byte, ok bool, err error) {
			c := r.Context().Value(certificateKey{}).(call)
			if c.certificate == nil {
				return sum, false, c.certErr
			}
			return *c.certificate, true, nil
		},
		Used: used, Local: dpop.NewMemory(func() time.Time { return now }),
	}
}

func dpopRules() dpop.Rules {
	return dpop.Rules{Algorithms: []string{"ES256", "RS256"}, MaxAge: time.Minute, Leeway: 5 * time.Second}
}

// provingStage is a stage that wants proofs from clients of corp.
func provingStage(t testing.TB, w *world, p Proof, used UsedProofs) stage.Stage {
	t.Helper()
	c := w.config
	c.Providers = slices.Clone(c.Providers)
	if p.Rules.Algorithms == nil {
		p.Rules = dpopRules()
	}
	if p.OnFailure == "" {
		p.OnFailure = Deny
	}
	c.Providers[0].Proof, c.Providers[0].ForwardToken = &p, false
	c.Proofs = proofs(used)
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func memory() UsedProofs { return dpop.NewMemory(func() time.Time { return now }) }

// TestProofs: each request twice, so that the second finds the token in the cache. What is refused is refused with the token in the cache as well.
func TestProofs(t *testing.T) {
	w, alice, mallory := newWorld(t), newHolder(t), newHolder(t)
	ours, theirs := sha256.Sum256([]byte("certificate of alice")), sha256.Sum256([]byte("certificate of mallory"))
	unbound := w.token(t, good())
	byKey := w.token(t, good().with("cnf", claims{"jkt": alice.jkt}))
	byCertificate := w.token(t, good().with("cnf", claims{"x5t#S256": b64(ours[:])}))
	byBoth := w.token(t, good().with("cnf", claims{"x5t#S256": b64(ours[:]), "jkt": alice.jkt}))
	foreign := w.token(t, good().with("cnf", claims{"kid": "k"}))
	all, optional, lenient := Proof{Certificates: true, DPoP: true, Required: true}, Proof{Certificates: true, DPoP: true}, Proof{DPoP: true, Lenient: true}
	n := 0
	proof := func(h *holder, token string, change func(claims)) []string {
		n++
		return []string{h.prove(t, token, fmt.Sprint("j", n), change)}
	}
	type verdict struct{ reason, challenge string }
	bound, invalid := `Bearer realm="postern", error="invalid_token"`, `DPoP realm="postern", error="invalid_dpop_proof"`
	tests := map[string]struct {
		proof Proof
		call  func() call
		want  verdict // zero if the request has an identity
	}{
		"a good proof":            {all, func() call { return call{scheme: "DPoP", token: byKey, proofs: proof(alice, byKey, nil)} }, verdict{}},
		"the scheme ignores case": {all, func() call { return call{scheme: "dpop", token: byKey, proofs: proof(alice, byKey, nil)} }, verdict{}},
		"a good certificate":      {all, func() call { return call{scheme: "Bearer", token: byCertificate, certificate: &ours} }, verdict{}},
		"both": {all, func() call {
			return call{scheme: "DPoP", token: byBoth, certificate: &ours, proofs: proof(alice, byBoth, nil)}
		}, verdict{}},
		"both, one of them accepted":        {Proof{Certificates: true, Required: true}, func() call { return call{scheme: "Bearer", token: byBoth, certificate: &ours} }, verdict{}},
		"unbound, optional":                 {optional, func() call { return call{scheme: "Bearer", token: unbound} }, verdict{}},
		"bound in an unknown way, optional": {optional, func() call { return call{scheme: "Bearer", token: foreign} }, verdict{}},
		"not checked, by default":           {lenient, func() call { return call{scheme: "Bearer", token: byCertificate} }, verdict{}},
		"checked by default":                {lenient, func() call { return call{scheme: "DPoP", token: byKey, proofs: proof(alice, byKey, nil)} }, verdict{}},
		"unbound, required":                 {all, func() call { return call{scheme: "Bearer", token: unbound} }, verdict{"not_bound", bound}},
		"bound in an unknown way, required": {all, func() call { return call{scheme: "Bearer", token: foreign} }, verdict{"not_bound", bound}},
		"method is not accepted":            {Proof{Certificates: true}, func() call { return call{scheme: "Bearer", token: byKey} }, verdict{"not_bound", bound}},
		"stolen, as Bearer":                 {optional, func() call { return call{scheme: "Bearer", token: byKey} }, verdict{"wrong_scheme", bound}},
		"stolen, as Bearer, by default":     {lenient, func() call { return call{scheme: "Bearer", token: byKey} }, verdict{"wrong_scheme", bound}},
		"as Bearer with a proof":            {optional, func() call { return call{scheme: "Bearer", token: byKey, proofs: proof(alice, byKey, nil)} }, verdict{"wrong_scheme", bound + `, error_description="The token is bound to a DPoP key, and needs the scheme DPoP"`}},
		"unbound as DPoP":                   {optional, func() call { return call{scheme: "DPoP", token: unbound, proofs: proof(alice, unbound, nil)} }, verdict{"wrong_scheme", `DPoP realm="postern", error="invalid_token", error_description="The token is bound to no DPoP key, and needs the scheme Bearer"`}},
		"bound to a certificate, as DPoP": {optional, func() call {
			return call{scheme: "DPoP", token: byCertificate, certificate: &ours, proofs: proof(alice, byCertificate, nil)}
		}, verdict{"wrong_scheme", `DPoP realm="postern", error="invalid_token"`}},
		"without proof": {all, func() call { return call{scheme: "DPoP", token: byKey} },
			verdict{"invalid_dpop_proof", invalid + `, error_description="The DPoP proof is not valid: the header DPoP is missing"`}},
		"two proofs": {all, func() call {
			return call{scheme: "DPoP", token: byKey, proofs: append(proof(alice, byKey, nil), proof(alice, byKey, nil)...)}
		}, verdict{"invalid_dpop_proof", invalid}},
		"two proofs in one field": {all, func() call {
			return call{scheme: "DPoP", token: byKey, proofs: []string{proof(alice, byKey, nil)[0] + ", " + proof(alice, byKey, nil)[0]}}
		}, verdict{"invalid_dpop_proof", invalid}},
		"stolen, with the proof of a thief": {all, func() call { return call{scheme: "DPoP", token: byKey, proofs: proof(mallory, byKey, nil)} }, verdict{"other_dpop_key", `DPoP realm="postern", error="invalid_token"`}},
		"the proof of another token":        {all, func() call { return call{scheme: "DPoP", token: byKey, proofs: proof(alice, byBoth, nil)} }, verdict{"invalid_dpop_proof", invalid}},
		"the proof of another method": {all, func() call {
			return call{scheme: "DPoP", token: byKey, proofs: proof(alice, byKey, func(c claims) { c["htm"] = "GET" })}
		}, verdict{"invalid_dpop_proof", invalid}},
		"the proof of another host": {all, func() call {
			return call{scheme: "DPoP", token: byKey, proofs: proof(alice, byKey, func(c claims) { c["htu"] = "https://evil.example/orders" })}
		}, verdict{"invalid_dpop_proof", invalid}},
		"an old proof": {all, func() call {
			return call{scheme: "DPoP", token: byKey, proofs: proof(alice, byKey, func(c claims) { c["iat"] = now.Unix() - 66 })}
		}, verdict{"invalid_dpop_proof", invalid}},
		"without certificate":              {all, func() call { return call{scheme: "Bearer", token: byCertificate} }, verdict{"no_client_certificate", bound}},
		"the certificate is ambiguous":     {all, func() call { return call{scheme: "Bearer", token: byCertificate, certErr: errors.New("several")} }, verdict{"no_client_certificate", bound}},
		"stolen, with another certificate": {all, func() call { return call{scheme: "Bearer", token: byCertificate, certificate: &theirs} }, verdict{"other_client_certificate", bound}},
		"both, without the certificate":    {all, func() call { return call{scheme: "DPoP", token: byBoth, proofs: proof(alice, byBoth, nil)} }, verdict{"no_client_certificate", `DPoP realm="postern", error="invalid_token"`}},
		"both, without the proof":          {all, func() call { return call{scheme: "Bearer", token: byBoth, certificate: &ours} }, verdict{"wrong_scheme", bound}},
		"both, with the proof of a thief": {all, func() call {
			return call{scheme: "DPoP", token: byBoth, certificate: &ours, proofs: proof(mallory, byBoth, nil)}
		}, verdict{"other_dpop_key", `DPoP realm="postern", error="invalid_token"`}},
		"both, with a certificate of a thief": {all, func() call {
			return call{scheme: "DPoP", token: byBoth, certificate: &theirs, proofs: proof(alice, byBoth, nil)}
		}, verdict{"other_client_certificate", `DPoP realm="postern", error="invalid_token"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := provingStage(t, w, tt.proof, memory())
			// A good request of the owner fills the cache, where there is one.
			for token, c := range map[string]call{
				byKey: {scheme: "DPoP", token: byKey, proofs: proof(alice, byKey, nil)}, byCertificate: {scheme: "Bearer", token: byCertificate, certificate: &ours},
				byBoth: {scheme: "DPoP", token: byBoth, certificate: &ours, proofs: proof(alice, byBoth, nil)},
			} {
				if tt.call().token == token {
					c.send(t, s)
				}
			}
			for range 2 {
				c := tt.call()
				o := c.send(t, s)
				if o.err != nil || !o.passed || o.reason() != tt.want.reason || (o.info.Identity == nil) != (tt.want.reason != "") {
					t.Fatalf("err %v, AuthnErr %v, identity %v; want %q", o.err, o.info.AuthnErr, o.info.Identity, tt.want.reason)
				}
				if o.header["Authorization"] != nil || c.scheme == "DPoP" && o.header["Dpop"] != nil {
					t.Errorf("the token or the proof reached the app: %v", o.header)
				}
				if e := o.info.AuthnErr; e != nil && (e.Status != 401 || !strings.HasPrefix(e.Header.Get("WWW-Authenticate"), tt.want.challenge)) {
					t.Errorf("%d, %q; want %q", e.Status, e.Header["Www-Authenticate"], tt.want.challenge)
				}
			}
		})
	}
}

// TestReplayedProofs: a proof is good once, for any request that it names, and a refused one is not used up.
func TestReplayedProofs(t *testing.T) {
	w, alice := newWorld(t), newHolder(t)
	token := w.token(t, good().with("cnf", claims{"jkt": alice.jkt}))
	s := provingStage(t, w, Proof{DPoP: true, Required: true}, memory())
	c := call{scheme: "DPoP", token: token, proofs: []string{alice.prove(t, token, "j1", nil)}}
	wrong := c
	wrong.change = func(r *http.Request, _ *request.Info) { r.Method = "GET" }
	for i, tt := range []struct {
		call
		want string
	}{{wrong, "invalid_dpop_proof"}, {c, ""}, {c, "replayed_dpop_proof"}, {c, "replayed_dpop_proof"}} {
		o := tt.send(t, s)
		if o.reason() != tt.want {
			t.Errorf("%d: %v; want %q", i, o.info.AuthnErr, tt.want)
		}
		if tt.want != "" && (o.info.AuthnErr.Code != "invalid-dpop-proof" || !strings.HasPrefix(o.info.AuthnErr.Header.Get("WWW-Authenticate"), `DPoP realm="postern", error="invalid_dpop_proof"`)) {
			t.Errorf("%d: %+v", i, o.info.AuthnErr)
		}
	}
}

// broken is a store that is not available.
type broken struct{}

func (broken) FirstProof(context.Context, dpop.Thumbprint, string, time.Duration) (bool, error) {
	return false, errors.New("connection refused")
}

func TestUsedProofsUnavailable(t *testing.T) {
	w, alice := newWorld(t), newHolder(t)
	token := w.token(t, good().with("cnf", claims{"jkt": alice.jkt}))
	send := func(s stage.Stage, id string) outcome {
		return call{scheme: "DPoP", token: token, proofs: []string{alice.prove(t, token, id, nil)}}.send(t, s)
	}
	deny := provingStage(t, w, Proof{DPoP: true, OnFailure: Deny}, broken{})
	if o := send(deny, "j1"); o.info.AuthnErr == nil || o.info.AuthnErr.Status != 503 || o.info.AuthnErr.Code != "dpop-unavailable" || o.info.AuthnErr.Header.Get("Retry-After") == "" {
		t.Errorf("Deny: %+v", o.info.AuthnErr)
	}
	allow := provingStage(t, w, Proof{DPoP: true, OnFailure: Allow}, broken{})
	if o := send(allow, "j1"); o.info.AuthnErr != nil {
		t.Errorf("Allow: %+v", o.info.AuthnErr)
	}
	if o := send(allow, "j1"); o.reason() != "replayed_dpop_proof" {
		t.Errorf("Allow, the same proof: %+v", o.info.AuthnErr)
	}
}

// TestTargetsOfProxies: the host and the scheme are those that a trusted proxy names, and no client's.
func TestTargetsOfProxies(t *testing.T) {
	w, alice := newWorld(t), newHolder(t)
	token := w.token(t, good().with("cnf", claims{"jkt": alice.jkt}))
	tests := map[string]struct {
		change func(*http.Request, *request.Info)
		want   string
	}{
		"direct":                       {func(*http.Request, *request.Info) {}, ""},
		"scheme unknown":               {func(_ *http.Request, i *request.Info) { i.Scheme = "" }, ""},
		"plain":                        {func(_ *http.Request, i *request.Info) { i.Scheme = "http" }, "invalid_dpop_proof"},
		"proxy names the host":         {proxied("internal:8080", "orders.example.com"), ""},
		"proxy names another":          {proxied("orders.example.com", "evil.example"), "invalid_dpop_proof"},
		"proxy appended to a client's": {proxied("orders.example.com", "orders.example.com, evil.example"), "invalid_dpop_proof"},
		"proxy says nothing":           {func(_ *http.Request, i *request.Info) { i.Proxied = true }, ""},
		"a client's field": {func(r *http.Request, _ *request.Info) {
			r.Host = "internal"
			r.Header.Set("X-Forwarded-Host", "orders.example.com")
		}, "invalid_dpop_proof"},
		"no RequestURI":        {func(r *http.Request, _ *request.Info) { r.RequestURI = "" }, ""},
		"absolute RequestURI":  {func(r *http.Request, _ *request.Info) { r.RequestURI = "http://orders.example.com/orders" }, ""},
		"another path as sent": {func(r *http.Request, _ *request.Info) { r.RequestURI = "//orders" }, "invalid_dpop_proof"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := provingStage(t, w, Proof{DPoP: true}, memory())
			o := call{scheme: "DPoP", token: token, proofs: []string{alice.prove(t, token, "j", nil)}, change: tt.change}.send(t, s)
			if o.reason() != tt.want {
				t.Errorf("%v; want %q", o.info.AuthnErr, tt.want)
			}
		})
	}
}

func proxied(host, forwarded string) func(*http.Request, *request.Info) {
	return func(r *http.Request, i *request.Info) {
		i.Proxied, r.Host = true, host
		r.Header.Set("X-Forwarded-Host", forwarded)
	}
}

func TestMalformedConfirmations(t *testing.T) {
	w := newWorld(t)
	s := provingStage(t, w, Proof{Certificates: true, DPoP: true}, memory())
	for name, cnf := range map[string]any{
		"a text": "x", "null": nil, "a list": []any{}, "short thumbprint": claims{"jkt": "AAAA"}, "a number": claims{"jkt": 1}, "certificate is a number": claims{"x5t#S256": 1},
		"padding": claims{"x5t#S256": strings.Repeat("A", 43) + "="}, "hexadecimal": claims{"x5t#S256": strings.Repeat("ab", 32)},
	} {
		o := call{scheme: "Bearer", token: w.token(t, good().with("cnf", cnf))}.send(t, s)
		if o.info.AuthnErr == nil || o.info.AuthnErr.Status != 401 || o.info.Identity != nil || !strings.Contains(o.info.AuthnErr.Detail, "claim cnf") {
			t.Errorf("%s: %+v", name, o.info.AuthnErr)
		}
	}
}

// TestProofsNotRequested: a provider without Proof accepts bound tokens as before, and only as Bearer.
func TestProofsNotRequested(t *testing.T) {
	w, alice := newWorld(t), newHolder(t)
	w.config.Providers[0].ForwardToken = true
	token := w.token(t, good().with("cnf", claims{"jkt": alice.jkt}))
	s := w.stage(t)
	proof := alice.prove(t, token, "j", nil)
	if o := (call{scheme: "Bearer", token: token, proofs: []string{proof}}).send(t, s); o.info.Identity == nil || o.header.Get("DPoP") != proof {
		t.Errorf("as Bearer: %v, %v", o.info.AuthnErr, o.header)
	}
	if o := (call{scheme: "DPoP", token: token, proofs: []string{proof}}).send(t, s); o.info.Identity != nil || o.info.AuthnErr != nil {
		t.Errorf("as DPoP: %v", o.info.AuthnErr)
	}
}

// TestShadow: in Shadow mode the token and the proof stay in the request, so that the app can verify them itself.
func TestProofsInShadowMode(t *testing.T) {
	w, alice := newWorld(t), newHolder(t)
	token := w.token(t, good().with("cnf", claims{"jkt": alice.jkt}))
	s := provingStage(t, w, Proof{DPoP: true}, memory())
	proof := alice.prove(t, token, "j", func(c claims) { c["htm"] = "GET" })
	o := call{scheme: "DPoP", token: token, proofs: []string{proof}, shadow: true}.send(t, s)
	if o.info.AuthnErr == nil || o.info.Identity != nil || o.header.Get("DPoP") != proof || o.header.Get("Authorization") == "" {
		t.Errorf("%v, %v", o.info.AuthnErr, o.header)
	}
}

// TestExpiredWithDPoP: a token that was sent with the scheme DPoP is refused with its challenge (RFC 9449 §7.1).
func TestExpiredWithDPoP(t *testing.T) {
	w, alice := newWorld(t), newHolder(t)
	s := provingStage(t, w, Proof{DPoP: true}, memory())
	token := w.token(t, good().with("cnf", claims{"jkt": alice.jkt}).with("exp", now.Unix()-60))
	o := call{scheme: "DPoP", token: token, proofs: []string{alice.prove(t, token, "j", nil)}}.send(t, s)
	want := `DPoP realm="postern", error="invalid_token", error_description="The token has expired", algs="ES256 RS256"`
	if got := o.info.AuthnErr.Header["Www-Authenticate"]; !slices.Equal(got, []string{want}) {
		t.Errorf("%q", got)
	}
	o = call{scheme: "Bearer", token: token}.send(t, s)
	if got := o.info.AuthnErr.Header["Www-Authenticate"]; len(got) != 2 || got[1] != `DPoP algs="ES256 RS256"` {
		t.Errorf("as Bearer: %q", got)
	}
}

func TestNewRefusesProofs(t *testing.T) {
	w := newWorld(t)
	good := Proof{DPoP: true, Rules: dpopRules(), OnFailure: Deny}
	tests := map[string]struct {
		proof  Proof
		proofs Proofs
		wantOK bool
	}{
		"good":                {good, proofs(memory()), true},
		"symmetric algorithm": {Proof{DPoP: true, Rules: dpop.Rules{Algorithms: []string{"HS256"}, MaxAge: time.Minute}, OnFailure: Deny}, proofs(memory()), false},
		"no algorithm":        {Proof{DPoP: true, Rules: dpop.Rules{MaxAge: time.Minute}, OnFailure: Deny}, proofs(memory()), false},
		"no age":              {Proof{DPoP: true, Rules: dpop.Rules{Algorithms: []string{"ES256"}}, OnFailure: Deny}, proofs(memory()), false},
		"no onFailure":        {Proof{DPoP: true, Rules: dpopRules()}, proofs(memory()), false},
		"nothing to check":    {good, Proofs{}, false},
	}
	for name, tt := range tests {
		c := w.config
		c.Providers = slices.Clone(c.Providers)
		c.Providers[0].Proof, c.Proofs = &tt.proof, tt.proofs
		if _, err := New(c); (err == nil) != tt.wantOK {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkProof(b *testing.B) {
	w, alice := newWorld(b), newHolder(b)
	token := w.token(b, good().with("cnf", claims{"jkt": alice.jkt}))
	s := provingStage(b, w, Proof{DPoP: true, Required: true}, always{})
	c := call{scheme: "DPoP", token: token, proofs: []string{alice.prove(b, token, "j", nil)}}
	b.ReportAllocs()
	for b.Loop() {
		if o := c.send(b, s); o.info.Identity == nil {
			b.Fatal(o.info.AuthnErr)
		}
	}
}

// always accepts a proof every time.
type always struct{}

func (always) FirstProof(context.Context, dpop.Thumbprint, string, time.Duration) (bool, error) {
	return true, nil
}
