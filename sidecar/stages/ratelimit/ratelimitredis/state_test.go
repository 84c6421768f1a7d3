package ratelimitredis

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const owner = "sidecar/stages/ratelimit/ratelimitredis"

func asNamespace(t *testing.T, page *statetest.Page) (*redistest.Server, *redis.Conn) {
	t.Helper()
	server := redistest.Start(t, redistest.Options{})
	page.Grant(t, statetest.Namespace, server)
	c := standalone(server)
	c.Username, c.Password = statetest.Namespace, password(statetest.Password)
	return server, connect(t, c)
}

// TestKeysOfRules sends requests through rules with every kind of key, and compares what Redis holds with docs/state.md.
func TestKeysOfRules(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	server, conn := asNamespace(t, page)
	kinds := [][]ratelimit.KeyPart{
		{{Type: ratelimit.ClientAddress}}, {{Type: ratelimit.Subject}}, {{Type: ratelimit.Claim, Name: "tenant"}},
		{{Type: ratelimit.Header, Name: "X-Api-Key"}}, {{Type: ratelimit.Route}}, {{Type: ratelimit.Subject}, {Type: ratelimit.ClientAddress}},
	}
	var rules []ratelimit.Rule
	for i, by := range kinds {
		rules = append(rules, ratelimit.Rule{Name: fmt.Sprint("rule-", i), Limit: 5, Period: time.Hour, Burst: 10, OnFailure: ratelimit.Deny, KeyBy: by})
	}
	l, err := ratelimit.New(ratelimit.Config{Scope: "shop/orders", Store: New(conn), Local: ratelimitmemory.New(ratelimitmemory.Config{}), Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	h := stage.Chain(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }), l.After())
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Api-Key", "s3cret-of-the-client")
	r = request.With(r, &request.Info{ClientAddr: netip.MustParseAddr("2001:db8::1"), Path: "/", Identity: &identity.Identity{
		Issuer: "https://issuer.example", Subject: "user-42", Claims: map[string]any{"tenant": "acme"}}})
	if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil {
		t.Fatal(err)
	}
	for _, key := range statetest.Keys(server) {
		if strings.Contains(key, "s3cret") || strings.Contains(key, "user-42") {
			t.Errorf("the key %q shows what a client sent", key)
		}
	}
	page.CheckSizes(t, server, statetest.Units{"rate limit": len(kinds)})
	page.Check(t, owner, statetest.Bounds{"burst × period / limit": 2 * time.Hour}, server)
}

func TestAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	_, conn := asNamespace(t, statetest.Read(t))
	key := keyspace.New("ratelimit", "billing/orders").Key("rule", "}:{11:shop/orders}")
	_, err := New(conn).Take(t.Context(), []ratelimit.Request{{Key: key, Rate: gcra.Rate{Emission: time.Hour, Burst: 1}}})
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("counting for another namespace: %v; want NOPERM", err)
	}
}
