package authn

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

const (
	corp    = "https://id.example.com"
	partner = "https://partner.example.com"
)

// testKeys are generated once, because generating RSA keys is slow.
var testKeys = sync.OnceValues(func() (keys struct{ corp, partner *rsa.PrivateKey }, err error) {
	if keys.corp, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return keys, err
	}
	keys.partner, err = rsa.GenerateKey(rand.Reader, 2048)
	return keys, err
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func rsaJWK(kid, alg string, key *rsa.PrivateKey) map[string]any {
	return map[string]any{"kty": "RSA", "kid": kid, "alg": alg, "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
}

// world is two issuers, their keys, and a stage that accepts both.
type world struct {
	corp, partner *rsa.PrivateKey
	ec            *ecdsa.PrivateKey
	manager       *jwks.Manager
	config        Config
	observed      []string
	events        []event.Event
}

// now is the time in every test that does not change it.
var (
	now    = time.Unix(1_800_000_000, 0)
	client = netip.MustParseAddr("192.0.2.1")
)

func newWorld(t testing.TB) *world {
	t.Helper()
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jwks.NewManager(jwks.ManagerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{corp: keys.corp, partner: keys.partner, ec: ec, manager: m}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	w.config = Config{
		Now: func() time.Time { return now },
		Providers: []Provider{{
			Name: "corp", Issuer: corp, Audiences: []string{"orders", "api"}, Algorithms: []string{"RS256", "PS256", "ES256"},
			Leeway: 30 * time.Second,
			Keys: w.inline(t, []string{"RS256", "PS256", "ES256"}, rsaJWK("r", "RS256", keys.corp), rsaJWK("p", "PS256", keys.corp),
				map[string]any{"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}),
			ClaimsToHeaders: []ClaimHeader{{Claim: "sub", Header: "X-Auth-Subject"}, {Claim: "realm.roles", Header: "x-auth-roles"}},
			ForwardToken:    true,
		}, {
			Name: "partner", Issuer: partner, Algorithms: []string{"RS256"}, Keys: w.inline(t, []string{"RS256"}, rsaJWK("r", "RS256", keys.partner)),
			From:            []Location{{Header: "Authorization", Prefix: "Bearer "}, {Cookie: "access_token"}},
			ClaimsToHeaders: []ClaimHeader{{Claim: "email", Header: "X-Auth-Email"}},
		}},
	}
	return w
}

// Kinds implements event.Sink.
func (w *world) Kinds() event.Kinds { return event.Of(event.TokenVerified, event.TokenRefused) }

// Record implements event.Sink.
func (w *world) Record(e event.Event) {
	w.observed = append(w.observed, fmt.Sprint(e.Provider, " ", e.Result(), " ", e.Cached))
	w.events = append(w.events, e)
}

func (w *world) acquire(t testing.TB, spec jwks.Spec) jwks.Source {
	t.Helper()
	source, release, err := w.manager.Acquire(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return source
}

func (w *world) inline(t testing.TB, algorithms []string, keys ...map[string]any) jwks.Source {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return w.acquire(t, jwks.Spec{Provider: "inline", Algorithms: algorithms, Inline: b})
}

// hmac is a source for one raw secret.
func (w *world) hmac(t testing.TB, alg string, value []byte) jwks.Source {
	t.Helper()
	return w.acquire(t, jwks.Spec{Provider: "hmac", Algorithms: []string{alg}, Secret: fixed(value), SecretName: b64(value)})
}

func (w *world) stage(t testing.TB) stage.Stage {
	t.Helper()
	s, err := New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type claims map[string]any

// good returns the claims of corp's tokens.
func good() claims {
	return claims{"iss": corp, "sub": "alice", "aud": "orders", "iat": now.Unix() - 60, "exp": now.Unix() + 600, "jti": "t1"}
}

func (c claims) with(name string, value any) claims {
	c = maps.Clone(c)
	c[name] = value
	return c
}

func (c claims) without(name string) claims {
	c = maps.Clone(c)
	delete(c, name)
	return c
}

func (c claims) json(t testing.TB) string {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// raw signs any header and claims, well-formed or not.
func raw(t testing.TB, header, claims string, method jwt.SigningMethod, key any) string {
	t.Helper()
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	sig, err := method.Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(sig)
}

const headerRS256 = `{"alg":"RS256","kid":"r","typ":"JWT"}`

// token returns a token of corp.
func (w *world) token(t testing.TB, c claims) string {
	t.Helper()
	return raw(t, headerRS256, c.json(t), jwt.SigningMethodRS256, crypto.PrivateKey(w.corp))
}

// outcome is what the next stage received.
type outcome struct {
	info   *request.Info
	header http.Header
	passed bool
	err    error
}

// send passes a request with header through the stage.
func send(s stage.Stage, header http.Header, shadow bool) outcome {
	return (*world)(nil).send(s, header, shadow)
}

// send also records the request's events.
func (w *world) send(s stage.Stage, header http.Header, shadow bool) outcome {
	o := outcome{info: &request.Info{Shadow: shadow, ClientAddr: client}}
	if w != nil {
		o.info.Events = event.NewStream("shop/orders", w)
	}
	h := s(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		o.passed, o.header = true, r.Header
		return nil
	}))
	r := httptest.NewRequest("GET", "/", bytes.NewReader(nil))
	r.Header = header
	o.err = h.ServeHTTP(httptest.NewRecorder(), request.With(r, o.info))
	return o
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// fixed is a secret source.
type fixed []byte

func (f fixed) Read(context.Context) (secret.Value, error) { return secret.New(f), nil }
