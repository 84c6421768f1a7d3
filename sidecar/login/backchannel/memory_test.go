package backchannel

import (
	"errors"
	"strconv"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	m := NewMemory(func() time.Time { return at })
	first := func(issuer, id string) bool {
		t.Helper()
		ok, err := m.First(t.Context(), issuer, id, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !first("a", "1") || first("a", "1") || !first("b", "1") {
		t.Error("a token is accepted twice, or one issuer's token blocks another issuer's")
	}
	if err := m.Forget(t.Context(), "a", "1"); err != nil || !first("a", "1") {
		t.Errorf("after Forget: %v", err)
	}
	at = at.Add(time.Minute)
	if !first("a", "1") {
		t.Error("a token is remembered after its ttl")
	}
	for i := range maxRemembered {
		_, _ = m.First(t.Context(), "c", strconv.Itoa(i), time.Minute)
	}
	if ok, err := m.First(t.Context(), "d", "1", time.Minute); ok || !errors.Is(err, errRemembered) {
		t.Errorf("over the bound: %v, %v", ok, err)
	}
	at = at.Add(time.Minute)
	if !first("d", "1") {
		t.Error("no token is accepted after the others have expired")
	}
}
