package token

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/signing"
)

func TestDiscovery(t *testing.T) {
	for _, delivery := range []Delivery{Body, Cookie} {
		t.Run(string(delivery), func(t *testing.T) {
			w := newWorld(t, options{delivery: delivery})
			h := w.chain(t, unreached(t))
			for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
				a := send(t, h, req("GET", path), nil)
				if a.Code != 200 || a.text("issuer") != issuer || a.text("jwks_uri") != issuer+"/.well-known/jwks.json" {
					t.Fatalf("%s: status %d, %s", path, a.Code, a.Body)
				}
				if (a.text("token_endpoint") == issuer+"/auth/refresh") != (delivery == Body) {
					t.Errorf("token_endpoint %q", a.text("token_endpoint"))
				}
				for _, untrue := range []string{"authorization_endpoint", "userinfo_endpoint", "registration_endpoint", "introspection_endpoint"} {
					if _, ok := a.body[untrue]; ok {
						t.Errorf("%s is named", untrue)
					}
				}
			}
		})
	}
}

func TestDiscoveryPaths(t *testing.T) {
	w := newWorld(t, options{})
	m, err := NewMetadata(MetadataConfig{Issuer: "https://example.com/shop", Delivery: Body, Keys: w.ring, MaxAge: time.Minute})
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
		"issuer":  {Issuer: "shop", Keys: w.ring, MaxAge: time.Minute},
		"no keys": {Issuer: issuer, MaxAge: time.Minute},
		"no age":  {Issuer: issuer, Keys: w.ring},
	} {
		if _, err := NewMetadata(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// noKeys has read none yet.
type noKeys struct{}

func (noKeys) Document() ([]byte, error)    { return nil, signing.ErrNoKey }
func (noKeys) Algorithm() signing.Algorithm { return signing.ES256 }

// TestNoKeysAreNotCached: an empty set that verifiers keep would refuse every token for as long.
func TestNoKeysAreNotCached(t *testing.T) {
	m, err := NewMetadata(MetadataConfig{Issuer: issuer, Delivery: Body, Keys: noKeys{}, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	a := send(t, stage.Func(m.documents()[keysPath].serve), req("GET", keysPath), nil)
	if a.Code != 503 || a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", a.Code, a.Header())
	}
}

func TestKeysAreCached(t *testing.T) {
	w := newWorld(t, options{})
	h := w.chain(t, unreached(t))
	a := send(t, h, req("GET", keysPath), nil)
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
			a := send(t, h, with(req(tt.method, keysPath), "If-None-Match", tt.ifNoneMatch), nil)
			if a.Code != tt.want || (a.Body.Len() > 0) != tt.wantBody || a.Header().Get("ETag") != tag {
				t.Errorf("status %d, %d bytes", a.Code, a.Body.Len())
			}
		})
	}
}

// TestNoKeysYet: verifiers must not keep an empty set until it is out of date.
func TestNoKeysYet(t *testing.T) {
	w := newWorld(t, options{})
	ring, err := signing.NewRing(signing.Config{
		Source: signing.Held{Secrets: signing.Latest{Source: fixed("")}, Algorithm: signing.ES256}, Algorithm: signing.ES256,
		Overlap: time.Hour, Lifetime: time.Minute, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.ring = ring
	a := send(t, w.chain(t, unreached(t)), req("GET", keysPath), nil)
	if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" || a.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, %v", a.Code, a.Header())
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
	event.NewStream("shop/orders", m).Emit(event.Event{Kind: event.Refresh, Reason: "rotated"})
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("gathered %v, %v", families, err)
	}
	got := map[string]float64{}
	for _, metric := range families[0].GetMetric() {
		got[metric.GetLabel()[1].GetValue()] = metric.GetCounter().GetValue()
	}
	// That no token was reused is a value, too: an alert on the first one needs something that it increases from.
	if want := map[string]float64{"rotated": 1, "reused": 0}; !maps.Equal(got, want) {
		t.Errorf("counted %v; want %v", got, want)
	}
}
