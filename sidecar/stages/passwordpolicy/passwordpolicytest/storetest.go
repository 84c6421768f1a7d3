// Package passwordpolicytest is the test suite of the implementations of passwordpolicy.Store.
package passwordpolicytest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// space has the form of real keys: ACLs allow no others.
var space = keyspace.New("login", "shop/orders")

var made atomic.Int64

const ttl = 800 * 24 * time.Hour

// Run tests a store. newStore returns one that may share its state with others of the same test.
func Run(t *testing.T, newStore func(*testing.T) passwordpolicy.Store) {
	tests := map[string]func(*testing.T, passwordpolicy.Store, string){
		"unknown": unknown, "the latest are kept": latest, "without hashes": withoutHashes, "comparisons are bounded": bounded, "concurrent": concurrent,
		"looking and deleting": deletes,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test(t, newStore(t), space.Key("password", space.Hash("account", fmt.Sprint(made.Add(1)))))
		})
	}
}

func old(t *testing.T, s passwordpolicy.Store, key string) []string {
	t.Helper()
	hashes, wait, err := s.Old(t.Context(), key)
	if err != nil || wait != 0 {
		t.Fatal(hashes, wait, err)
	}
	return hashes
}

func add(t *testing.T, s passwordpolicy.Store, key, hash string, keep int) {
	t.Helper()
	if err := s.Add(t.Context(), key, hash, keep, ttl); err != nil {
		t.Fatal(err)
	}
}

func unknown(t *testing.T, s passwordpolicy.Store, key string) {
	for range passwordpolicy.JudgedLimit + 1 {
		if hashes := old(t, s, key); len(hashes) > 0 {
			t.Errorf("hashes %q", hashes)
		}
	}
	if at, err := s.Changed(t.Context(), key); err != nil || !at.IsZero() {
		t.Errorf("changed %s, %v", at, err)
	}
}

func latest(t *testing.T, s passwordpolicy.Store, key string) {
	for _, hash := range []string{"$a$1,2=", "b", "c", "d"} {
		add(t, s, key, hash, 3)
	}
	if got := old(t, s, key); !slices.Equal(got, []string{"d", "c", "b"}) {
		t.Errorf("%q", got)
	}
	add(t, s, key, "e", 5)
	if got := old(t, s, key); !slices.Equal(got, []string{"e", "d", "c", "b"}) {
		t.Errorf("more are kept: %q", got)
	}
	add(t, s, key, "f", 1)
	if got := old(t, s, key); !slices.Equal(got, []string{"f"}) {
		t.Errorf("fewer are kept: %q", got)
	}
	at, err := s.Changed(t.Context(), key)
	if err != nil || at.IsZero() {
		t.Errorf("changed %s, %v", at, err)
	}
}

func withoutHashes(t *testing.T, s passwordpolicy.Store, key string) {
	add(t, s, key, "a", 3)
	add(t, s, key, "", 0)
	if got := old(t, s, key); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if at, err := s.Changed(t.Context(), key); err != nil || at.IsZero() {
		t.Errorf("changed %s, %v", at, err)
	}
}

func deletes(t *testing.T, s passwordpolicy.Store, key string) {
	look := func(hashes int, dated bool) {
		t.Helper()
		if k, err := s.Look(t.Context(), key); err != nil || k.Hashes != hashes || k.Changed.IsZero() == dated {
			t.Errorf("%+v, %v; want %d hashes", k, err, hashes)
		}
	}
	look(0, false)
	add(t, s, key, "$a$1,2=", 3)
	add(t, s, key, "b", 3)
	look(2, true)
	if got := old(t, s, key); len(got) != 2 {
		t.Errorf("looking changed the hashes to %q", got)
	}
	for _, want := range []bool{true, false} {
		if deleted, err := s.Delete(t.Context(), key); err != nil || deleted != want {
			t.Errorf("deleted: %v, %v; want %v", deleted, err, want)
		}
		look(0, false)
	}
	add(t, s, key, "", 0)
	look(0, true)
}

func bounded(t *testing.T, s passwordpolicy.Store, key string) {
	add(t, s, key, "a", 3)
	for range passwordpolicy.JudgedLimit {
		if got := old(t, s, key); len(got) != 1 {
			t.Fatalf("%q", got)
		}
	}
	for range 2 {
		hashes, wait, err := s.Old(t.Context(), key)
		if err != nil || len(hashes) != 0 || wait <= 0 || wait > passwordpolicy.JudgedWithin {
			t.Errorf("%q, %s, %v; want a wait", hashes, wait, err)
		}
	}
	add(t, s, key, "b", 3) // a change of the password gives no further comparisons
	if _, wait, err := s.Old(t.Context(), key); err != nil || wait <= 0 {
		t.Errorf("after a change: %s, %v", wait, err)
	}
}

func concurrent(t *testing.T, s passwordpolicy.Store, key string) {
	add(t, s, key, "first", 24)
	var wg sync.WaitGroup
	var allowed atomic.Int64
	for i := range 20 {
		wg.Go(func() {
			if err := s.Add(t.Context(), key, fmt.Sprint(i), 24, ttl); err != nil {
				t.Error(err)
			}
			if hashes, _, err := s.Old(t.Context(), key); err != nil {
				t.Error(err)
			} else if len(hashes) > 0 {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if allowed.Load() != passwordpolicy.JudgedLimit {
		t.Errorf("%d comparisons; want %d", allowed.Load(), passwordpolicy.JudgedLimit)
	}
}
