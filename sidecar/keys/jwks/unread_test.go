package jwks

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// TestUnreadableSecretExpires: a set expires ReadStale after the secret could last be read. While the secret can be read but is
// not valid, the last good set stays active.
func TestUnreadableSecretExpires(t *testing.T) {
	c := &clock{}
	m, _ := newTestManager(t, c)
	var mu sync.Mutex
	value, failure := strings.Repeat("a", 32), error(nil)
	set := func(v string, err error) {
		mu.Lock()
		defer mu.Unlock()
		value, failure = v, err
	}
	s := acquire(t, m, Spec{
		Provider: "p", Algorithms: []string{"HS256"}, SecretName: "s", ReadStale: MinSecretStale,
		Secret: sourceFunc(func() (secret.Value, error) {
			mu.Lock()
			defer mu.Unlock()
			return secret.New([]byte(value)), failure
		}),
	})
	keys, err := s.Lookup(t.Context(), "", "HS256")
	if err != nil {
		t.Fatal(err)
	}
	p, ok := s.(*polled)
	if !ok {
		t.Fatal("not a polled source")
	}
	reload := func() { <-p.start().done }

	set("short", nil)
	for range 3 {
		c.advance(MinSecretStale)
		reload()
	}
	if !s.Holds(keys[0]) {
		t.Error("the keys expired because of an invalid value")
	}
	set("", errors.New("the value is too old"))
	c.advance(MinSecretStale - time.Second)
	reload()
	if !s.Holds(keys[0]) {
		t.Error("the keys expired before ReadStale")
	}
	c.advance(2 * time.Second)
	if s.Holds(keys[0]) {
		t.Error("the keys are still active more than ReadStale after the last read")
	}
	set(strings.Repeat("a", 32), nil)
	reload()
	if keys, err := s.Lookup(t.Context(), "", "HS256"); err != nil || !s.Holds(keys[0]) {
		t.Errorf("read again: %v", err)
	}
}
