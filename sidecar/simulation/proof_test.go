package simulation_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/simulation"
)

// TestProofsAreAssumed: a case's token stands for one whose client has proved to have its key.
func TestProofsAreAssumed(t *testing.T) {
	p := vaultPolicy()
	p.APIKeys, p.Vault = nil, nil
	p.Providers = []compiled.Provider{{
		Name: "corp", Issuer: "https://id.example.com", Audiences: []string{"orders"}, Algorithms: []string{"ES256"}, Keys: compiled.Keys{URI: "https://id.example.com/jwks.json"},
		ProofOfPossession: &compiled.ProofOfPossession{
			Mode: compiled.ProofRequire, Methods: []string{compiled.ProofDPoP}, DPoP: &compiled.DPoP{MaxAge: compiled.Duration(time.Minute), OnFailure: compiled.Deny},
		},
	}}
	s, err := simulation.New(p, simulation.Config{Keys: simulation.NewKeys(), Start: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name, value, err := s.Credential(t.Context(), simulation.Claimed{Provider: "corp", Claims: map[string]any{"sub": "ada", "cnf": map[string]any{"jkt": "x"}}}, simulation.Request{})
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{name: {value}}
	for name, tt := range map[string]struct {
		header http.Header
		want   int
	}{"with a token": {header, 200}, "without": {http.Header{}, 401}} {
		r, err := s.Send(t.Context(), simulation.Request{Method: "GET", Path: "/", Host: "app.example.com", Address: simulation.DefaultAddress, Header: tt.header, App: simulation.AppResponse{Status: 200}})
		if err != nil || r.Status != tt.want {
			t.Errorf("%s: %v, %+v; want %d", name, err, r, tt.want)
		}
	}
}
