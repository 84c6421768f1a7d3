package authn

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

func BenchmarkCached(b *testing.B) {
	for _, tokens := range []int{1, DefaultCacheSize} {
		w := newWorld(b)
		a, c := direct(b, w), credential{token: w.token(b, good()), header: "Authorization", prefix: "bearer "}
		_, v, err := a.verifyToken(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		for i := range tokens - 1 {
			a.cache.Put(fmt.Sprint(c.token, i), v, 1)
		}
		a.cache.Put(c.token, v, 1)
		info := &request.Info{Events: event.NewStream("shop/orders")}
		r := httptest.NewRequest("GET", "/", nil)
		b.Run(fmt.Sprint(tokens, " tokens"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.verify(r, info, c); err != nil {
					b.Fatal(err)
				}
			}
		})
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

// manyProviders gives w n providers, of which the one of its tokens is the last. It returns how often each looks a key up.
func manyProviders(w *world, n int) (lookups []int) {
	lookups = make([]int, n)
	own := w.config.Providers[0]
	w.config.Providers = nil
	for i := range n {
		p := own
		if i < n-1 {
			p.Name, p.Issuer = fmt.Sprint("other-", i), fmt.Sprintf("https://id%d.example.com", i)
		}
		p.Keys = countedKeys{p.Keys, &lookups[i]}
		w.config.Providers = append(w.config.Providers, p)
	}
	return lookups
}

// countedKeys counts look-ups.
type countedKeys struct {
	Keys
	n *int
}

func (k countedKeys) Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error) {
	*k.n++
	return k.Keys.Lookup(ctx, kid, alg)
}

// TestProvidersAreNotTried: iss names the provider, and no other one looks a key up.
func TestProvidersAreNotTried(t *testing.T) {
	for _, n := range []int{1, 16} {
		w := newWorld(t)
		lookups := manyProviders(w, n)
		if _, _, err := direct(t, w).verifyToken(t.Context(), credential{token: w.token(t, good()), alone: true}); err != nil {
			t.Fatal(err)
		}
		want := make([]int, n)
		want[n-1] = 1
		if !slices.Equal(lookups, want) {
			t.Errorf("look-ups of keys %v; want %v", lookups, want)
		}
	}
}

// TestCachedTokenTakesNoAllocation: neither with one token in the cache, nor with as many as it holds.
func TestCachedTokenTakesNoAllocation(t *testing.T) {
	for _, tokens := range []int{1, DefaultCacheSize} {
		w := newWorld(t)
		a, c := direct(t, w), credential{token: w.token(t, good()), header: "Authorization", prefix: "bearer "}
		_, v, err := a.verifyToken(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tokens - 1 {
			a.cache.Put(fmt.Sprint(c.token, i), v, 1)
		}
		a.cache.Put(c.token, v, 1)
		info, r := &request.Info{}, httptest.NewRequest("GET", "/", nil)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := a.verify(r, info, c); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations with %d tokens", n, tokens)
		}
	}
}

func BenchmarkProviders(b *testing.B) {
	for _, n := range []int{1, 16} {
		w := newWorld(b)
		manyProviders(w, n)
		a, c := direct(b, w), credential{token: w.token(b, good()), alone: true}
		b.Run(fmt.Sprint(n, " providers"), func(b *testing.B) {
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
