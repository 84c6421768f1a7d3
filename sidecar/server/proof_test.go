package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

// signer has a key of an issuer or a client.
type signer struct {
	key *ecdsa.PrivateKey
	jwk map[string]any
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, map[string]any{"kty": "EC", "crv": "P-256", "x": base64URL(point[1:33]), "y": base64URL(point[33:])}}
}

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (s *signer) sign(t *testing.T, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// thumbprint is that of RFC 7638; encoding/json sorts the names.
func (s *signer) thumbprint(t *testing.T) string {
	t.Helper()
	b, err := json.Marshal(s.jwk)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return base64URL(sum[:])
}

// token returns a token of the issuer that is bound to what cnf says.
func (s *signer) token(t *testing.T, cnf map[string]any) string {
	t.Helper()
	return s.sign(t, map[string]any{"typ": "at+jwt"}, jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "orders", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "cnf": cnf,
	})
}

// prove returns a DPoP proof of the client's key.
func (s *signer) prove(t *testing.T, id, method, uri, token string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	return s.sign(t, map[string]any{"typ": "dpop+jwt", "jwk": s.jwk}, jwt.MapClaims{
		"jti": id, "htm": method, "htu": uri, "iat": time.Now().Unix(), "ath": base64URL(sum[:]),
	})
}

// bound is a policy whose provider wants proofs, for startPrepared.
func bound(issuer *signer, change func(*compiled.Policy)) func(*compiled.Policy) {
	return func(p *compiled.Policy) {
		keys, err := json.Marshal(map[string]any{"keys": []any{issuer.jwk}})
		if err != nil {
			panic(err) // of a test's own key
		}
		p.Providers = []compiled.Provider{{
			Name: "corp", Issuer: "https://id.example.com", Audiences: []string{"orders"}, Algorithms: []string{"ES256"}, Keys: compiled.Keys{Inline: keys},
			ProofOfPossession: &compiled.ProofOfPossession{
				Mode: compiled.ProofRequire, Methods: []string{compiled.ProofMTLS, compiled.ProofDPoP},
				DPoP: &compiled.DPoP{MaxAge: compiled.Duration(time.Minute), OnFailure: compiled.Deny},
			},
		}}
		p.TLS.ClientCertificates = &compiled.ClientCertificates{CA: &compiled.SecretRef{Name: "clients-ca", Key: "ca.crt"}}
		p.Authorization.Default = compiled.RequireAuthenticated
		if change != nil {
			change(p)
		}
	}
}

// startBound starts a sidecar with the policy of bound, in front of an app that responds with what it sees of the client.
func startBound(t *testing.T, issuer *signer, change func(*compiled.Policy)) *tlsSidecar {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "authorization=%q dpop=%q\nxfcc=%s\n", r.Header.Get("Authorization"), r.Header.Get("DPoP"), strings.Join(r.Header["X-Forwarded-Client-Cert"], "|"))
	}))
	t.Cleanup(app.Close)
	return startPrepared(t, app.URL, bound(issuer, change), func(s *tlsSidecar) { s.trust(t, s.authority.Certificate) })
}

// sumOf is the SHA-256 of the certificate in settings.
func sumOf(settings *tls.Config) [sha256.Size]byte {
	return sha256.Sum256(settings.Certificates[0].Certificate[0])
}

const target = "https://orders.example.com/orders"

func with(scheme, token string, header ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", scheme+" "+token)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
	}
}

// TestCertificateBoundTokens: RFC 8705. A token works on connections with the certificate that it is bound to, and on no others.
func TestCertificateBoundTokens(t *testing.T) {
	t.Parallel()
	issuer := newSigner(t)
	s := startBound(t, issuer, nil)
	alice, mallory := s.authenticated(t, nil), s.authenticated(t, nil)
	sum := sumOf(alice)
	token := issuer.token(t, map[string]any{"x5t#S256": base64URL(sum[:])})
	alice.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for _, http2 := range []bool{false, true} {
		for i := range 2 { // on two connections, the second with the token in the cache
			if g := fetch(t, s.client(t, http2, alice.Clone()), target, with("Bearer", token)); g.status != 200 || !strings.Contains(g.body, `authorization=""`) {
				t.Errorf("HTTP/2 %t, connection %d: %+v", http2, i, g)
			}
		}
		for name, settings := range map[string]*tls.Config{"another certificate": mallory, "no certificate": s.settings()} {
			g := fetch(t, s.client(t, http2, settings), target, with("Bearer", token))
			if g.status != 401 || !strings.HasPrefix(g.header.Get("WWW-Authenticate"), `Bearer realm="orders", error="invalid_token"`) || !strings.Contains(g.body, "client certificate") {
				t.Errorf("HTTP/2 %t, %s: %+v", http2, name, g)
			}
		}
	}
	unbound := issuer.token(t, nil)
	if g := fetch(t, s.client(t, false, alice), target, with("Bearer", unbound)); g.status != 401 {
		t.Errorf("a token without cnf: %+v", g)
	}
	_, metrics, err := s.ask("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`result="other_client_certificate"} 2`, `result="no_client_certificate"} 2`, `result="claim_type"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

// TestDPoP: RFC 9449, over real connections. The proof is for one request, and the token without it is worth nothing.
func TestDPoP(t *testing.T) {
	t.Parallel()
	issuer, alice, mallory := newSigner(t), newSigner(t), newSigner(t)
	s := startBound(t, issuer, nil)
	token := issuer.token(t, map[string]any{"jkt": alice.thumbprint(t)})
	for _, http2 := range []bool{false, true} {
		c := s.client(t, http2, s.settings())
		id := fmt.Sprint("j", http2)
		proof := alice.prove(t, id, "GET", target, token)
		for i, want := range []int{200, 401} {
			g := fetch(t, c, target+"?x=1", with("DPoP", token, "DPoP", proof))
			if g.status != want {
				t.Fatalf("HTTP/2 %t, use %d of a proof: %+v", http2, i+1, g)
			}
			if want == 200 && !strings.Contains(g.body, `authorization="" dpop=""`) {
				t.Errorf("the app got the token or the proof: %s", g.body)
			}
			if want == 401 && (!strings.HasPrefix(g.header.Get("WWW-Authenticate"), `DPoP realm="orders", error="invalid_dpop_proof"`) || !strings.Contains(g.body, "invalid-dpop-proof")) {
				t.Errorf("a replay: %+v", g)
			}
		}
		for name, change := range map[string]func(*http.Request){
			"as a bearer token":         with("Bearer", token),
			"without proof":             with("DPoP", token),
			"the proof of another key":  with("DPoP", token, "DPoP", mallory.prove(t, id+"2", "GET", target, token)),
			"the proof of another path": with("DPoP", token, "DPoP", alice.prove(t, id+"3", "GET", target+"/1", token)),
			"the proof of another host": with("DPoP", token, "DPoP", alice.prove(t, id+"4", "GET", "https://evil.example/orders", token)),
			"the proof of plain HTTP":   with("DPoP", token, "DPoP", alice.prove(t, id+"5", "GET", "http://orders.example.com/orders", token)),
			"a proof with a variant":    with("DPoP", token, "D_P_o_P", alice.prove(t, id+"6", "GET", target, token)),
			"two proofs":                with("DPoP", token, "DPoP", alice.prove(t, id+"7", "GET", target, token), "DPoP", alice.prove(t, id+"8", "GET", target, token)),
		} {
			if g := fetch(t, c, target, change); g.status != 401 || len(g.header["Www-Authenticate"]) == 0 {
				t.Errorf("HTTP/2 %t, %s: %+v", http2, name, g)
			}
		}
		g := fetch(t, c, target, nil)
		if challenges := g.header["Www-Authenticate"]; g.status != 401 || len(challenges) != 2 || !strings.HasPrefix(challenges[1], `DPoP algs="ES256 `) {
			t.Errorf("no credentials: %+v", g)
		}
	}
}

// TestForwardedCertificatesOfProxies: the header of a trusted proxy names the client's certificate, and nobody else's does.
func TestForwardedCertificatesOfProxies(t *testing.T) {
	t.Parallel()
	issuer := newSigner(t)
	for name, trusted := range map[string]bool{"trusted": true, "not trusted": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startBound(t, issuer, func(p *compiled.Policy) {
				p.ForwardClientCert = &compiled.ForwardClientCert{FromProxies: compiled.XFCCUse}
				if trusted {
					p.Sidecar.TrustedProxies = []string{"127.0.0.0/8"}
				}
			})
			client, proxy := s.authenticated(t, nil), s.authenticated(t, nil)
			sum, proxySum := sumOf(client), sumOf(proxy)
			hash := "Hash=" + hex.EncodeToString(sum[:])
			token, proxyToken := issuer.token(t, map[string]any{"x5t#S256": base64URL(sum[:])}), issuer.token(t, map[string]any{"x5t#S256": base64URL(proxySum[:])})
			c := s.client(t, true, proxy)
			for name, tt := range map[string]struct {
				change func(*http.Request)
				want   bool // behind a trusted proxy
				direct bool // for an untrusted peer
			}{
				"the client's":              {with("Bearer", token, "X-Forwarded-Client-Cert", "By=spiffe://a/b;"+hash), true, false},
				"another certificate":       {with("Bearer", token, "X-Forwarded-Client-Cert", "Hash="+strings.Repeat("ab", 32)), false, false},
				"several elements":          {with("Bearer", token, "X-Forwarded-Client-Cert", hash+",By=x"), false, false},
				"several lines":             {with("Bearer", token, "X-Forwarded-Client-Cert", hash, "X-Forwarded-Client-Cert", hash), false, false},
				"malformed":                 {with("Bearer", token, "X-Forwarded-Client-Cert", hash+`;Subject="`), false, false},
				"a variant":                 {with("Bearer", token, "X_Forwarded_Client_Cert", hash), false, false},
				"none":                      {with("Bearer", token), false, false},
				"the certificate of a peer": {with("Bearer", proxyToken), false, true},
			} {
				want := tt.direct
				if trusted {
					want = tt.want
				}
				if g := fetch(t, c, target, tt.change); (g.status == 200) != want || !want && g.status != 401 {
					t.Errorf("%s: %+v; want %t", name, g, want)
				}
			}
		})
	}
}

// TestCertificatesForTheApp: the app learns of the certificate of the connection, and of no other that a client claims.
func TestCertificatesForTheApp(t *testing.T) {
	t.Parallel()
	issuer := newSigner(t)
	const forged = "Hash=feed;URI=spiffe://example.org/admin"
	tests := map[string]struct {
		in       compiled.ForwardClientCert
		trusted  bool
		header   string
		noClient bool
		want     func(own string) string
	}{
		"direct":                                {compiled.ForwardClientCert{FromProxies: compiled.XFCCForward, ToApp: []string{"Hash", "URI"}}, false, "", false, func(own string) string { return own }},
		"forged":                                {compiled.ForwardClientCert{FromProxies: compiled.XFCCForward, ToApp: []string{"Hash", "URI"}}, false, forged, false, func(own string) string { return own }},
		"forged, without certificate":           {compiled.ForwardClientCert{FromProxies: compiled.XFCCForward, ToApp: []string{"Hash", "URI"}}, false, forged, true, func(string) string { return "" }},
		"forged, nothing for the app":           {compiled.ForwardClientCert{FromProxies: compiled.XFCCUse}, false, forged, false, func(string) string { return "" }},
		"by a proxy":                            {compiled.ForwardClientCert{FromProxies: compiled.XFCCForward, ToApp: []string{"Hash", "URI"}}, true, forged, false, func(own string) string { return forged + "," + own }},
		"by a proxy, read":                      {compiled.ForwardClientCert{FromProxies: compiled.XFCCUse}, true, forged, false, func(string) string { return forged }},
		"by a proxy, removed":                   {compiled.ForwardClientCert{FromProxies: compiled.XFCCRemove}, true, forged, false, func(string) string { return "" }},
		"by a proxy, removed, with its own":     {compiled.ForwardClientCert{FromProxies: compiled.XFCCRemove, ToApp: []string{"Hash", "URI"}}, true, forged, false, func(own string) string { return own }},
		"by a proxy without a certificate here": {compiled.ForwardClientCert{FromProxies: compiled.XFCCForward, ToApp: []string{"Hash"}}, true, forged, true, func(string) string { return forged }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startBound(t, issuer, func(p *compiled.Policy) {
				p.ForwardClientCert, p.Authorization.Default = &tt.in, compiled.RequireAnonymous
				if tt.trusted {
					p.Sidecar.TrustedProxies = []string{"127.0.0.0/8"}
				}
			})
			settings := s.authenticated(t, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/web"}} })
			sum := sumOf(settings)
			if tt.noClient {
				settings = s.settings()
			}
			c := s.client(t, false, settings)
			for range 2 { // the second request uses what the first has computed
				g := fetch(t, c, target, func(r *http.Request) {
					if tt.header != "" {
						r.Header.Set("X-Forwarded-Client-Cert", tt.header)
					}
				})
				want := "xfcc=" + tt.want("Hash="+hex.EncodeToString(sum[:])+";URI=spiffe://example.org/web") + "\n"
				if g.status != 200 || !strings.HasSuffix(g.body, want) {
					t.Errorf("%+v; want %s", g, want)
				}
			}
		})
	}
}
