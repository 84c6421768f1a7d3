package authz

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

func matcher(t *testing.T, m route.Match) *route.Matcher {
	t.Helper()
	matcher, err := route.NewMatcher([]route.Match{m})
	if err != nil {
		t.Fatal(err)
	}
	return matcher
}

func TestDecisions(t *testing.T) {
	alice := &identity.Identity{Subject: "alice"}
	invalid := &httperr.Error{Status: http.StatusUnauthorized, Code: "invalid-token"}
	unavailable := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "keys-unavailable"}
	build, err := New(Config{
		Default: Authenticated, Realm: `or"ders`,
		Rules: []Rule{
			{Name: "closed", Match: matcher(t, route.Match{Paths: []string{"/public/closed"}}), Require: Deny},
			{Name: "public", Match: matcher(t, route.Match{Paths: []string{"/public/**"}}), Require: Anonymous},
			{Name: "trial", Match: matcher(t, route.Match{Paths: []string{"/trial"}}), Require: Deny, Shadow: true},
			{Name: "write", Match: matcher(t, route.Match{Methods: []string{"POST"}, Paths: []string{"/write"}}), Require: Deny},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		method, path string
		info         request.Info
		wantCode     httperr.Code // empty if the request passes
		wantRule     string
		wantShadow   bool
	}{
		"identity passes":                       {path: "/a", info: request.Info{Identity: alice}},
		"no credentials":                        {path: "/a", wantCode: "no-credentials"},
		"bad token":                             {path: "/a", info: request.Info{AuthnErr: invalid}, wantCode: "invalid-token"},
		"keys unavailable":                      {path: "/a", info: request.Info{AuthnErr: unavailable}, wantCode: "keys-unavailable"},
		"public without credentials":            {path: "/public/x"},
		"public with a bad token":               {path: "/public/x", info: request.Info{AuthnErr: invalid}},
		"first rule wins":                       {path: "/public/closed", info: request.Info{Identity: alice}, wantCode: "access-denied", wantRule: "closed"},
		"method of another rule":                {method: "GET", path: "/write", info: request.Info{Identity: alice}},
		"method of the rule":                    {method: "POST", path: "/write", info: request.Info{Identity: alice}, wantCode: "access-denied", wantRule: "write"},
		"rule in shadow":                        {path: "/trial", info: request.Info{Identity: alice}, wantRule: "trial", wantShadow: true},
		"policy in shadow, no credentials":      {path: "/a", info: request.Info{Shadow: true}, wantShadow: true},
		"policy in shadow, bad token":           {path: "/a", info: request.Info{Shadow: true, AuthnErr: invalid}, wantShadow: true},
		"policy in shadow, nothing to refuse":   {path: "/a", info: request.Info{Shadow: true, Identity: alice}},
		"policy in shadow, closed by its rule":  {path: "/public/closed", info: request.Info{Shadow: true}, wantRule: "closed", wantShadow: true},
		"unknown path is not the public prefix": {path: "/publicity", wantCode: "no-credentials"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			info := tt.info
			info.Path = tt.path
			method := tt.method
			if method == "" {
				method = "GET"
			}
			passed := false
			h := build(stage.Func(func(http.ResponseWriter, *http.Request) error { passed = true; return nil }))
			err := h.ServeHTTP(httptest.NewRecorder(), request.With(httptest.NewRequest(method, "/", nil), &info))
			var got *httperr.Error
			errors.As(err, &got)
			if passed != (tt.wantCode == "") || (got != nil) != (tt.wantCode != "") || got != nil && got.Code != tt.wantCode {
				t.Fatalf("passed %v with %v; want code %q", passed, err, tt.wantCode)
			}
			wantDecisions := 0
			if tt.wantCode != "" || tt.wantShadow {
				wantDecisions = 1
			}
			if len(info.Decisions) != wantDecisions {
				t.Fatalf("decisions %+v, want %d", info.Decisions, wantDecisions)
			}
			for _, d := range info.Decisions {
				if d.Stage != "authz" || d.Rule != tt.wantRule || d.Shadow != tt.wantShadow {
					t.Errorf("decision %+v, want rule %q, shadow %v", d, tt.wantRule, tt.wantShadow)
				}
			}
		})
	}
}

func TestDefaultInShadow(t *testing.T) {
	build, err := New(Config{Default: Deny, Shadow: true})
	if err != nil {
		t.Fatal(err)
	}
	info := &request.Info{Path: "/"}
	passed := false
	h := build(stage.Func(func(http.ResponseWriter, *http.Request) error { passed = true; return nil }))
	err = h.ServeHTTP(httptest.NewRecorder(), request.With(httptest.NewRequest("GET", "/", nil), info))
	if err != nil || !passed || len(info.Decisions) != 1 || !info.Decisions[0].Shadow {
		t.Fatalf("err %v, passed %v, decisions %+v", err, passed, info.Decisions)
	}
}

func TestChallengeHasNoErrorCode(t *testing.T) {
	build, err := New(Config{Default: Authenticated, Realm: `or"d\ers`})
	if err != nil {
		t.Fatal(err)
	}
	h := build(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }))
	var refusal *httperr.Error
	if err := h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)); !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	if got, want := refusal.Header.Get("WWW-Authenticate"), `Bearer realm="or\"d\\ers"`; got != want || refusal.Status != 401 {
		t.Fatalf("challenge %d %s, want 401 %s", refusal.Status, got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	all := matcher(t, route.Match{Paths: []string{"/**"}})
	tests := map[string]Config{
		"no default":               {},
		"unknown default":          {Default: "Maybe"},
		"rule without match":       {Default: Deny, Rules: []Rule{{Name: "a", Require: Deny}}},
		"rule without requirement": {Default: Deny, Rules: []Rule{{Name: "a", Match: all}}},
		"realm with a line break":  {Default: Deny, Realm: "a\r\nSet-Cookie: b"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(c); err == nil {
				t.Fatal("New accepted it")
			}
		})
	}
}
