package signing

import (
	"errors"
	"strings"
	"testing"
)

// TestRevokedKeyDoesNotSign: the next key replaces it at once, and the revoked key is not published.
func TestRevokedKeyDoesNotSign(t *testing.T) {
	first, second := jwk(t, ecKey(t), map[string]any{"kid": "k1"}), jwk(t, ecKey(t), map[string]any{"kid": "k2"})
	h, c := &history{}, newClock()
	h.set(nil, content(set(t, first)))
	r := newRing(t, c, StoredKeys{Secrets: h, Algorithm: ES256}, func(cfg *Config) { cfg.Registry = newRegistry(c) })
	refresh := func() {
		t.Helper()
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	revoked := map[string]bool{}
	trusted := Unrevoked{Ring: r, Revoked: func(kid string) bool { return revoked[kid] }}
	wantCurrent := func(want string) {
		t.Helper()
		signer, err := trusted.Current()
		if err != nil || signer.KeyID() != want {
			t.Errorf("current is %v, %v; want %s", signer, err, want)
		}
	}
	wantCurrent("k1")
	h.set(nil, content(set(t, first, second)))
	refresh()
	wantCurrent("k1") // k2 is younger than the overlap

	revoked["k1"] = true
	wantCurrent("k2")
	document, err := trusted.Document()
	if err != nil || strings.Contains(string(document), "k1") || !strings.Contains(string(document), "k2") {
		t.Errorf("published: %s, %v", document, err)
	}
	if _, err := trusted.Lookup(t.Context(), "k1", "ES256"); err != nil {
		t.Errorf("looking up the revoked key: %v", err)
	}
	revoked["k2"] = true
	if signer, err := trusted.Current(); !errors.Is(err, ErrNoKey) {
		t.Errorf("all keys are revoked, but %v signs: %v", signer, err)
	}
}
