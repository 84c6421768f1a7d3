package revocationmemory

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationtest"
)

func TestStore(t *testing.T) {
	revocationtest.Run(t, func(*testing.T) revocationtest.Store { return New(Config{}) })
}

func TestStoreIsBounded(t *testing.T) {
	now := time.Now()
	s := New(Config{MaxEntries: 3, Now: func() time.Time { return now }})
	token := func(i int) revocation.Entry {
		return revocation.Entry{Kind: revocation.Token, Issuer: "i", Value: fmt.Sprint(i), Expires: now.Add(time.Hour)}
	}
	if _, err := s.Add(t.Context(), token(1), token(2), token(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(t.Context(), token(4)); !errors.Is(err, revocation.ErrFull) {
		t.Errorf("the fourth: %v", err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := s.Add(t.Context(), token(4)); err != nil {
		t.Errorf("after the others have expired: %v", err)
	}
}

func TestFollowReportsGap(t *testing.T) {
	s := New(Config{})
	from, _ := s.Load(t.Context(), func([]revocation.Entry) {})
	for i := range 2 * maxLatest {
		if _, err := s.Add(t.Context(), revocation.Entry{Kind: revocation.Token, Issuer: "i", Value: fmt.Sprint(i), Expires: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Follow(t.Context(), from, time.Second, nil); !errors.Is(err, revocation.ErrGap) {
		t.Errorf("following: %v; want a gap", err)
	}
}
