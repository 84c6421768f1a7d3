package request

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

func TestRefuse(t *testing.T) {
	tests := map[string]struct {
		policyShadow, ruleShadow, wantPass bool
	}{
		"both enforce":     {},
		"rule in Shadow":   {ruleShadow: true, wantPass: true},
		"policy in Shadow": {policyShadow: true, wantPass: true},
		"both in Shadow":   {policyShadow: true, ruleShadow: true, wantPass: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			info := &Info{Shadow: tt.policyShadow}
			refusal := &httperr.Error{Status: 403, Code: "no"}
			err := info.Refuse(Rule{Stage: "authz", Name: "admins", Shadow: tt.ruleShadow}, refusal)
			// A *httperr.Error that is nil would be an error all the same: the comparison is with the interface.
			if pass := err == nil; pass != tt.wantPass || (!pass && !errors.Is(err, refusal)) {
				t.Errorf("Refuse returned %v; want it to pass: %v", err, tt.wantPass)
			}
			want := Decision{Stage: "authz", Rule: "admins", Shadow: tt.wantPass, Err: refusal}
			if len(info.Decisions) != 1 || info.Decisions[0] != want {
				t.Errorf("recorded %+v; want %+v", info.Decisions, want)
			}
		})
	}
}

func TestFrom(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	first, second := From(r), From(r)
	if first == nil || first == second {
		t.Error("requests outside the chain share a record")
	}
	info := &Info{Path: "/a"}
	if got := From(With(r, info)); got != info {
		t.Errorf("the record is %+v; want the one that was given", got)
	}
}
