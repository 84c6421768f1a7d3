package revocation_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/revocation"
)

// index returns the configured results.
type index struct {
	revoked bool
	err     error
	age     time.Duration
	asked   revocation.Query
}

func (i *index) Revoked(_ context.Context, q *revocation.Query) (bool, error) {
	i.asked = *q
	return i.revoked, i.err
}

func (i *index) Age() time.Duration { return i.age }

func stripCredentials(h http.Header) { h.Del("X-User") }

func TestStage(t *testing.T) {
	unavailable := errors.New("unavailable")
	tests := map[string]struct {
		index          index
		allow          bool
		shadow, policy bool
		wantCode       string
		wantStatus     int
		wantShadow     bool
		anonymous      bool
	}{
		"not revoked":                    {},
		"anonymous":                      {anonymous: true, index: index{revoked: true}},
		"revoked":                        {index: index{revoked: true}, wantCode: "token-revoked", wantStatus: 401},
		"revoked, old index":             {index: index{revoked: true, age: time.Hour}, wantCode: "token-revoked", wantStatus: 401},
		"revoked, old, allow":            {index: index{revoked: true, age: time.Hour}, allow: true, wantCode: "token-revoked", wantStatus: 401},
		"just fresh enough":              {index: index{age: revocation.DefaultMaxStaleness}},
		"too old":                        {index: index{age: revocation.DefaultMaxStaleness + 1}, wantCode: "revocation-unavailable", wantStatus: 503},
		"too old, allow":                 {index: index{age: time.Hour}, allow: true},
		"lookup fails":                   {index: index{err: unavailable}, wantCode: "revocation-unavailable", wantStatus: 503},
		"lookup fails, allow":            {index: index{err: unavailable}, allow: true},
		"revoked, rule in shadow mode":   {index: index{revoked: true}, shadow: true, wantCode: "token-revoked", wantStatus: 401, wantShadow: true},
		"revoked, policy in shadow mode": {index: index{revoked: true}, policy: true, wantCode: "token-revoked", wantStatus: 401, wantShadow: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := revocation.Config{Index: &tt.index, OnFailure: revocation.Deny, Shadow: tt.shadow, Realm: "shop", StripCredentials: stripCredentials}
			if tt.allow {
				c.OnFailure = revocation.Allow
			}
			id := &identity.Identity{Issuer: issuer, Subject: "ada", TokenID: "t", KeyID: "k", Claims: map[string]any{"sid": "s"}}
			if tt.anonymous {
				id = nil
			}
			info := &request.Info{Identity: id, Shadow: tt.policy}
			r := request.With(httptest.NewRequest(http.MethodGet, "/", nil), info)
			r.Header.Set("X-User", "ada")
			called := false
			s, err := revocation.New(c)
			if err != nil {
				t.Fatal(err)
			}
			h := s(stage.Func(func(http.ResponseWriter, *http.Request) error { called = true; return nil }))
			if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil || !called {
				t.Fatalf("ServeHTTP = %v, called next: %v; anonymous routes must work", err, called)
			}
			refused := tt.wantCode != "" && !tt.wantShadow
			if (info.Identity != id) != refused || (info.AuthnErr != nil) != refused || (r.Header.Get("X-User") == "") != refused {
				t.Errorf("identity %+v, error %v, header %v", info.Identity, info.AuthnErr, r.Header)
			}
			if refused && (string(info.AuthnErr.Code) != tt.wantCode || info.AuthnErr.Status != tt.wantStatus) {
				t.Errorf("refused with %+v", info.AuthnErr)
			}
			if refused && tt.wantStatus == 401 && info.AuthnErr.Header.Get("WWW-Authenticate") != `Bearer realm="shop", error="invalid_token", error_description="The token was revoked"` {
				t.Errorf("challenge %v", info.AuthnErr.Header)
			}
			if tt.wantShadow != (len(info.Decisions) == 1) || tt.wantShadow && (!info.Decisions[0].Shadow || string(info.Decisions[0].Err.Code) != tt.wantCode) {
				t.Errorf("decisions %+v", info.Decisions)
			}
			if want := (revocation.Query{Issuer: issuer, Subject: "ada", TokenID: "t", KeyID: "k", Session: "s"}); !tt.anonymous && tt.index.asked != want {
				t.Errorf("query %+v", tt.index.asked)
			}
		})
	}
}

// TestWatch: a response that is still streaming ends when its token is known to be revoked. The active policy decides.
func TestWatch(t *testing.T) {
	tests := map[string]struct {
		atStart, later index
		shadow, policy bool
		wantWatch      bool
		wantEnd        bool
	}{
		"never revoked":                     {wantWatch: true},
		"revoked later":                     {later: index{revoked: true}, wantWatch: true, wantEnd: true},
		"unknown later":                     {later: index{err: errors.New("unavailable"), age: time.Hour}, wantWatch: true},
		"refused at once":                   {atStart: index{revoked: true}},
		"rule in shadow mode":               {later: index{revoked: true}, shadow: true, wantWatch: true, wantEnd: true},
		"policy in shadow mode":             {later: index{revoked: true}, policy: true, wantWatch: true, wantEnd: true},
		"revoked at the start, shadow mode": {atStart: index{revoked: true}, shadow: true, wantWatch: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := revocation.New(revocation.Config{
				Index: &tt.atStart, Current: &tt.later, OnFailure: revocation.Deny, Shadow: tt.shadow, StripCredentials: stripCredentials,
			})
			if err != nil {
				t.Fatal(err)
			}
			info := &request.Info{Identity: &identity.Identity{Issuer: issuer, Subject: "ada"}, Shadow: tt.policy}
			r := request.With(httptest.NewRequest(http.MethodGet, "/", nil), info)
			if err := s(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil })).ServeHTTP(httptest.NewRecorder(), r); err != nil {
				t.Fatal(err)
			}
			if (len(info.Watches) == 1) != tt.wantWatch {
				t.Fatalf("watches %+v", info.Watches)
			}
			if !tt.wantWatch {
				return
			}
			if refusal := info.Watches[0].Ask(t.Context()); (refusal != nil) != tt.wantEnd || tt.wantEnd && refusal.Code != "token-revoked" {
				t.Errorf("later: %+v", refusal)
			}
			if tt.later.asked.Subject != "ada" {
				t.Errorf("query %+v", tt.later.asked)
			}
		})
	}
}

// TestJudge: PolicyChecker applies the same rules at refresh as the stage does at a request.
func TestJudge(t *testing.T) {
	unavailable := errors.New("unavailable")
	tests := map[string]struct {
		index       index
		allow       bool
		wantRevoked bool
		wantErr     error
	}{
		"not revoked":              {},
		"revoked, and old":         {index: index{revoked: true, age: time.Hour}, wantRevoked: true},
		"too old":                  {index: index{age: revocation.DefaultMaxStaleness + 1}, wantErr: revocation.ErrStale},
		"too old, allow":           {index: index{age: time.Hour}, allow: true},
		"the store is unavailable": {index: index{err: unavailable}, wantErr: unavailable},
		"unavailable, allow":       {index: index{err: unavailable}, allow: true},
		"revoked, old, allow":      {index: index{revoked: true, age: time.Hour}, allow: true, wantRevoked: true},
		"just fresh enough":        {index: index{age: revocation.DefaultMaxStaleness}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := revocation.PolicyChecker{Index: &tt.index, OnFailure: revocation.Deny}
			if tt.allow {
				j.OnFailure = revocation.Allow
			}
			revoked, err := j.Revoked(t.Context(), &revocation.Query{})
			if revoked != tt.wantRevoked || !errors.Is(err, tt.wantErr) || (err == nil) != (tt.wantErr == nil) {
				t.Errorf("%v, %v", revoked, err)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	good := revocation.Config{Index: &index{}, OnFailure: revocation.Deny, StripCredentials: stripCredentials}
	tests := map[string]func(*revocation.Config){
		"no index":                  func(c *revocation.Config) { c.Index = nil },
		"no StripCredentials":       func(c *revocation.Config) { c.StripCredentials = nil },
		"no onFailure":              func(c *revocation.Config) { c.OnFailure = "" },
		"negative staleness":        func(c *revocation.Config) { c.MaxStaleness = -1 },
		"a realm with a line break": func(c *revocation.Config) { c.Realm = "a\nb" },
	}
	for name, change := range tests {
		c := good
		change(&c)
		if _, err := revocation.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
