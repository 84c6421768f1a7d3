package endpoints

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/transport"
)

func TestDiscovery(t *testing.T) {
	for _, delivery := range []transport.Delivery{transport.Body, transport.Cookie} {
		t.Run(string(delivery), func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: delivery})
			h := chain(t, w, unreached(t))
			for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
				a := logintest.Send(t, h, req("GET", path), nil)
				if a.Code != 200 || a.Text("issuer") != logintest.Issuer || a.Text("jwks_uri") != logintest.Issuer+"/.well-known/jwks.json" {
					t.Fatalf("%s: status %d, %s", path, a.Code, a.Body)
				}
				if (a.Text("token_endpoint") == logintest.Issuer+"/auth/refresh") != (delivery == transport.Body) {
					t.Errorf("token_endpoint %q", a.Text("token_endpoint"))
				}
				for _, untrue := range []string{"authorization_endpoint", "userinfo_endpoint", "registration_endpoint", "introspection_endpoint"} {
					if _, ok := a.JSON[untrue]; ok {
						t.Errorf("%s is in the metadata", untrue)
					}
				}
			}
		})
	}
}

func TestDiscoveryPaths(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	m, err := NewMetadata(MetadataConfig{Issuer: "https://example.com/shop", Delivery: transport.Body, Keys: w.Ring, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	documents := m.documents()
	for _, path := range []string{"/shop/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/shop", "/.well-known/jwks.json"} {
		if _, ok := documents[path]; !ok {
			t.Errorf("nothing at %s", path)
		}
	}
	for name, c := range map[string]MetadataConfig{
		"issuer":  {Issuer: "shop", Keys: w.Ring, MaxAge: time.Minute},
		"no keys": {Issuer: logintest.Issuer, MaxAge: time.Minute},
		"no age":  {Issuer: logintest.Issuer, Keys: w.Ring},
	} {
		if _, err := NewMetadata(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// noKeys is a key set that has not been loaded.
type noKeys struct{}

func (noKeys) Document() ([]byte, error)    { return nil, signing.ErrNoKey }
func (noKeys) Algorithm() signing.Algorithm { return signing.ES256 }

// TestNoKeysAreNotCached: a cached empty key set would make verifiers refuse every token until it expires.
func TestNoKeysAreNotCached(t *testing.T) {
	m, err := NewMetadata(MetadataConfig{Issuer: logintest.Issuer, Delivery: transport.Body, Keys: noKeys{}, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	a := logintest.Send(t, stage.Func(m.documents()[keysPath].serve), req("GET", keysPath), nil)
	if a.Code != 503 || a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", a.Code, a.Header())
	}
}

func TestKeysAreCached(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	h := chain(t, w, unreached(t))
	a := logintest.Send(t, h, req("GET", keysPath), nil)
	tag := a.Header().Get("ETag")
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(a.Body.Bytes(), &set); err != nil || len(set.Keys) != 1 || set.Keys[0]["d"] != "" {
		t.Fatalf("%s, %v", a.Body, err)
	}
	if a.Header().Get("Cache-Control") != "public, max-age=300" || a.Header().Get("Content-Type") != "application/jwk-set+json" || tag == "" {
		t.Errorf("header %v", a.Header())
	}
	tests := map[string]struct {
		method, ifNoneMatch string
		want                int
		wantBody            bool
	}{
		"same":      {"GET", tag, http.StatusNotModified, false},
		"weak":      {"GET", `"x", W/` + tag, http.StatusNotModified, false},
		"any":       {"GET", "*", http.StatusNotModified, false},
		"another":   {"GET", `"x"`, http.StatusOK, true},
		"HEAD":      {"HEAD", "", http.StatusOK, false},
		"malformed": {"GET", strings.Repeat(",", 5000), http.StatusOK, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := logintest.Send(t, h, logintest.With(req(tt.method, keysPath), "If-None-Match", tt.ifNoneMatch), nil)
			if a.Code != tt.want || (a.Body.Len() > 0) != tt.wantBody || a.Header().Get("ETag") != tag {
				t.Errorf("status %d, %d bytes", a.Code, a.Body.Len())
			}
		})
	}
}

// TestNoKeysYet: before the first load, verifiers must not cache an empty key set.
func TestNoKeysYet(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	ring, err := signing.NewRing(signing.Config{
		Source: signing.StoredKeys{Secrets: secret.Latest{Source: logintest.Secret("")}, Algorithm: signing.ES256}, Algorithm: signing.ES256,
		Overlap: time.Hour, Lifetime: time.Minute, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Ring = ring
	a := logintest.Send(t, chain(t, w, unreached(t)), req("GET", keysPath), nil)
	if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" || a.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, %v", a.Code, a.Header())
	}
}
