package jwks

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
)

// TestDroppedKeysAreLoggedAndCounted: once for each change of what is dropped, by URI and inline alike.
func TestDroppedKeysAreLoggedAndCounted(t *testing.T) {
	const line = "keys of the key set are not used"
	log, registry := &logtest.Buffer{}, prometheus.NewRegistry()
	m, err := NewManager(ManagerConfig{Registerer: registry, Logger: slog.New(slog.NewJSONHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	a, enc, short := rsaJWK(t, "a"), rsaJWK(t, "a").with("use", "enc"), rsaJWK(t, "b").with("n", "AQAB")
	o := newOrigin(t, serve(jwkSet(t, a, enc, short)))
	s := acquire(t, m, o.spec())
	if _, err := lookup(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	reload := func(keys ...jwk) {
		o.handle(serve(jwkSet(t, keys...)))
		<-s.(*polled).start().done
	}
	count := func(want int) {
		t.Helper()
		if n := strings.Count(log.String(), line); n != want {
			t.Errorf("%d lines about dropped keys, want %d: %s", n, want, log.String())
		}
	}
	count(1)
	if text := log.String(); !strings.Contains(text, "it is for encryption (use: enc)") || !strings.Contains(text, "modulus is not between") {
		t.Errorf("the log does not say why: %s", text)
	}
	reload(short, enc, a, rsaJWK(t, "c")) // other order, another key, the same reasons
	count(1)
	want := `
# HELP postern_jwks_dropped_keys Keys of a provider's active key set that are not used, by reason: malformed, use, algorithm, issuer, symmetric or weak.
# TYPE postern_jwks_dropped_keys gauge
postern_jwks_dropped_keys{provider="corp",reason="use"} 1
postern_jwks_dropped_keys{provider="corp",reason="weak"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "postern_jwks_dropped_keys"); err != nil {
		t.Error(err)
	}
	reload(a)
	count(2)
	acquire(t, m, Spec{Provider: "fixed", Algorithms: every(), Inline: jwkSet(t, a, enc)})
	count(3)
}

// TestKeysOfAnotherIssuer: two providers with one key set, as tenants of one service have, use the keys of their own issuer.
func TestKeysOfAnotherIssuer(t *testing.T) {
	const one, two = "https://login.example/one/v2.0", "https://login.example/two/v2.0"
	set := jwkSet(t, rsaJWK(t, "one").with("issuer", one), rsaJWK(t, "any").with("issuer", "https://login.example/{tenantid}/v2.0"), rsaJWK(t, "free"))
	o := newOrigin(t, serve(set))
	m, _ := newTestManager(t, &clock{})
	byURI := func(issuer string) Spec {
		spec := o.spec()
		spec.Issuer = issuer
		return spec
	}
	for name, spec := range map[string]func(issuer string) Spec{
		"by URI": byURI,
		"inline": func(issuer string) Spec {
			return Spec{Provider: "corp", Issuer: issuer, Algorithms: every(), Inline: set}
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := acquire(t, m, spec(one)), acquire(t, m, spec(two))
			for kid, want := range map[string][2]bool{"one": {true, false}, "any": {true, true}, "free": {true, true}} {
				for i, s := range []Source{first, second} {
					if _, err := lookup(t, s, kid); (err == nil) != want[i] {
						t.Errorf("provider %d, key %s: %v; want a key: %v", i+1, kid, err, want[i])
					}
				}
			}
		})
	}
}
