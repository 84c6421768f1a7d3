package dpop

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	m := NewMemory(func() time.Time { return at })
	alice, mallory := Thumbprint{1}, Thumbprint{2}
	first := func(key Thumbprint, id string) bool {
		t.Helper()
		ok, err := m.FirstProof(t.Context(), key, id, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !first(alice, "1") || first(alice, "1") || !first(mallory, "1") {
		t.Error("a proof is accepted twice, or one key's proof blocks that of another")
	}
	at = at.Add(59 * time.Second)
	if !first(alice, "2") {
		t.Error("another proof is refused")
	}
	at = at.Add(59 * time.Second) // a generation later
	if first(alice, "2") {
		t.Error("a proof is accepted again within its ttl")
	}
	at = at.Add(3 * time.Minute)
	if !first(alice, "1") || !first(alice, "2") {
		t.Error("proofs are remembered for ever")
	}
}

// TestMemoryIsBounded: a client fills its own share, and all together fill the whole. Both end by themselves.
func TestMemoryIsBounded(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	m := NewMemory(func() time.Time { return at })
	fill := func(key Thumbprint) (n int) {
		for {
			ok, err := m.FirstProof(t.Context(), key, strconv.Itoa(n), time.Minute)
			if errors.Is(err, ErrFull) {
				return n
			}
			if !ok || err != nil {
				t.Fatalf("%v, %v", ok, err)
			}
			n++
		}
	}
	if n := fill(Thumbprint{1}); n != maxUsedByKey {
		t.Errorf("one key has %d", n)
	}
	if ok, err := m.FirstProof(t.Context(), Thumbprint{2}, "0", time.Minute); !ok || err != nil {
		t.Errorf("another key: %v, %v", ok, err)
	}
	for i := range byte(maxUsed/maxUsedByKey + 1) {
		fill(Thumbprint{10, i})
	}
	if len(m.current.used) != maxUsed {
		t.Errorf("%d are remembered", len(m.current.used))
	}
	if ok, err := m.FirstProof(t.Context(), Thumbprint{1}, "0", time.Minute); ok || err != nil {
		t.Errorf("a used proof is not recognised when the memory is full: %v, %v", ok, err)
	}
	at = at.Add(time.Minute)
	if ok, err := m.FirstProof(t.Context(), Thumbprint{1}, "0", time.Minute); ok || err != nil {
		t.Errorf("a proof is forgotten with the new generation: %v, %v", ok, err)
	}
	if n := fill(Thumbprint{99}); n != maxUsedByKey {
		t.Errorf("in the next generation one key has %d", n)
	}
}

// TestOneOfManyWins: of concurrent requests with one proof, one is accepted.
func TestOneOfManyWins(t *testing.T) {
	m := NewMemory(nil)
	for id := range 50 {
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if ok, err := m.FirstProof(t.Context(), Thumbprint{1}, strconv.Itoa(id), time.Minute); ok && err == nil {
					accepted.Add(1)
				}
			})
		}
		wg.Wait()
		if n := accepted.Load(); n != 1 {
			t.Fatalf("%d of 8 requests are accepted", n)
		}
	}
}
