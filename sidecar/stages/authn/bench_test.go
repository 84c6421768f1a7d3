package authn

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

func BenchmarkCached(b *testing.B) {
	w := newWorld(b)
	a, c := direct(b, w), credential{token: w.token(b, good()), header: "Authorization", prefix: "bearer "}
	info := &request.Info{Events: event.NewStream("shop/orders")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.verify(b.Context(), info, c); err != nil {
			b.Fatal(err)
		}
	}
}

// direct is the authentication without a stage around it.
func direct(b testing.TB, w *world) *authenticator {
	b.Helper()
	cache, err := newCache(DefaultCacheSize)
	if err != nil {
		b.Fatal(err)
	}
	a := &authenticator{providers: map[string]*provider{}, now: w.config.Now, cache: cache}
	if err := a.addProviders(w.config.Providers); err != nil {
		b.Fatal(err)
	}
	return a
}

func BenchmarkUncached(b *testing.B) {
	w := newWorld(b)
	claims := good().json(b)
	tokens := map[string]string{
		"RS256": w.token(b, good()),
		"PS256": raw(b, `{"alg":"PS256","kid":"p"}`, claims, jwt.SigningMethodPS256, w.corp),
		"ES256": raw(b, `{"alg":"ES256","kid":"e"}`, claims, jwt.SigningMethodES256, w.ec),
	}
	for _, name := range []string{"RS256", "PS256", "ES256"} {
		b.Run(name, func(b *testing.B) {
			a := direct(b, w)
			c := credential{token: tokens[name], header: "Authorization", prefix: "bearer "}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := a.verifyToken(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSignature is the part of BenchmarkUncached that is the signature.
func BenchmarkSignature(b *testing.B) {
	w := newWorld(b)
	claims := good().json(b)
	tokens := map[string]string{
		"RS256": w.token(b, good()),
		"ES256": raw(b, `{"alg":"ES256","kid":"e"}`, claims, jwt.SigningMethodES256, w.ec),
	}
	for _, alg := range []string{"RS256", "ES256"} {
		b.Run(alg, func(b *testing.B) {
			_, v, err := direct(b, w).verifyToken(b.Context(), credential{token: tokens[alg], alone: true})
			if err != nil {
				b.Fatal(err)
			}
			dot := strings.LastIndexByte(tokens[alg], '.')
			signature, err := base64.RawURLEncoding.DecodeString(tokens[alg][dot+1:])
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := v.key.Verify(tokens[alg][:dot], signature); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkForged(b *testing.B) {
	w := newWorld(b)
	benchmark(b, w.stage(b), raw(b, headerRS256, good().json(b), jwt.SigningMethodRS256, w.partner))
}

func benchmark(b *testing.B, s stage.Stage, token string) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if o := send(s, http.Header{"Authorization": {"Bearer " + token}}, false); !o.passed {
			b.Fatal(o.err)
		}
	}
}
