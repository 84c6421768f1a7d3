package signing

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// TestBefore: a ring that replaces another one has its keys, also while the source is unavailable.
func TestBefore(t *testing.T) {
	c, h := newClock(), &history{}
	j1, j2 := jwk(t, ecKey(t), map[string]any{"kid": "k1"}), jwk(t, ecKey(t), map[string]any{"kid": "k2"})
	h.set(nil, content(set(t, j1)))
	first := newRing(t, c, StoredKeys{h, ES256}, nil)
	refresh(t, first)
	h.set(nil, content(set(t, j2)))
	refresh(t, first)
	h.set(errUnavailable)
	next := newRing(t, c, StoredKeys{h, ES256}, func(cfg *Config) { cfg.Before, cfg.Lifetime = first, 2*time.Minute })
	select {
	case <-next.Tried():
	default:
		t.Error("Tried is not closed although the ring has a key")
	}
	if got := current(t, next); got != "k1" {
		t.Errorf("current key %s; want k1", got)
	}
	if s := next.Status(); len(s.Published) != 2 {
		t.Errorf("published: %+v", s)
	}
	if _, err := next.Lookup(t.Context(), "k1", "ES256"); err != nil {
		t.Errorf("looking up a key of the ring before: %v", err)
	}
	if next.Refresh(t.Context()) == nil || current(t, next) != "k1" {
		t.Error("the key is lost while the source is unavailable")
	}
	h.set(nil, content(set(t, j2)))
	refresh(t, next)
	c.advance(overlap)
	if got := current(t, next); got != "k2" {
		t.Errorf("current key after the overlap: %s", got)
	}
	other := newRing(t, c, StoredKeys{h, RS256}, func(cfg *Config) { cfg.Before, cfg.Algorithm = first, RS256 })
	if _, err := other.Current(); !errors.Is(err, ErrNoKey) {
		t.Errorf("a key of another algorithm: %v", err)
	}
}

// hung is a source that does not respond before its caller's deadline.
type hung struct{ began chan struct{} }

func (s hung) Versions(ctx context.Context) ([]Version, error) {
	s.began <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Sign and PublicKeys implement Transit.
func (s hung) Sign(ctx context.Context, _ string, _ int, _ Algorithm, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s hung) PublicKeys(context.Context, string) ([]PublicVersion, error) {
	return nil, errUnavailable
}

func TestSignTimesOut(t *testing.T) {
	t.Parallel()
	began := time.Now()
	signer := &transitSigner{key: TransitKey{Transit: hung{}, Key: "k", Algorithm: ES256}}
	if _, err := signer.Sign(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*signTimeout {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// TestAMissDoesNotWaitForAHungSource: a request whose token names an unknown key waits for a short time, not for the read of
// another caller.
func TestAMissDoesNotWaitForAHungSource(t *testing.T) {
	source := hung{began: make(chan struct{}, 10)}
	r := newRing(t, newClock(), source, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go r.Run(ctx)
	<-source.began
	began := time.Now()
	if _, err := r.Lookup(t.Context(), "k1", "ES256"); !errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
	if waited := time.Since(began); waited > 5*time.Second {
		t.Errorf("waited %s", waited)
	}
}
