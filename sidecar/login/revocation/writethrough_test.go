package revocation_test

import (
	"context"
	"errors"
	"testing"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationmemory"
)

// fullStore accepts nothing.
type fullStore struct{}

func (fullStore) Add(context.Context, ...revocation.Entry) (revocation.Position, error) {
	return revocation.Position{}, revocation.ErrFull
}

func TestOwnRevocationsAreKnownAtOnce(t *testing.T) {
	// The index follows another store, so it knows only what WriteThrough adds.
	x := newIndex(t, revocation.IndexConfig{Feed: revocationmemory.New(revocationmemory.Config{})})
	<-x.Ready()
	store := revocationmemory.New(revocationmemory.Config{})
	q := revocation.Query{Issuer: issuer, TokenID: "t1"}

	if _, err := (revocation.WriteThrough{Store: fullStore{}, Index: x}).Add(t.Context(), entry(revocation.Token, "t1")); !errors.Is(err, revocation.ErrFull) {
		t.Fatalf("error = %v, want %v", err, revocation.ErrFull)
	}
	if revoked, err := x.Revoked(t.Context(), &q); revoked || err != nil {
		t.Errorf("not in the store: revoked %t, error %v", revoked, err)
	}

	if _, err := (revocation.WriteThrough{Store: store, Index: x}).Add(t.Context(), entry(revocation.Token, "t1")); err != nil {
		t.Fatal(err)
	}
	if revoked, err := x.Revoked(t.Context(), &q); !revoked || err != nil {
		t.Errorf("in the store: revoked %t, error %v", revoked, err)
	}
	if n, err := store.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("the store has %d entries, error %v; want 1", n, err)
	}
}
