package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// vault is a Transit engine with one EC key.
type vault struct {
	keys    map[int]*ecdsa.PrivateKey
	list    []PublicVersion
	err     error
	now     func() time.Time
	rotated int
	fail    error
}

func (v *vault) Sign(_ context.Context, _ string, version int, a Algorithm, input []byte) ([]byte, error) {
	if v.err != nil {
		return nil, v.err
	}
	if a != ES256 {
		return nil, errors.New("another algorithm")
	}
	sum := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(rand.Reader, v.keys[version], sum[:])
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
}

func (v *vault) PublicKeys(context.Context, string) ([]PublicVersion, error) { return v.list, v.err }

func (v *vault) add(t testing.TB, created time.Time) {
	t.Helper()
	if v.keys == nil {
		v.keys = map[int]*ecdsa.PrivateKey{}
	}
	n, k := len(v.keys)+1, ecKey(t)
	v.keys[n] = k
	v.list = append([]PublicVersion{{Number: n, Public: k.Public(), Created: created}}, v.list...) // not sorted
}

// rotator rotates the key in vault.
type rotator struct {
	t *testing.T
	*vault
}

func (r rotator) Rotate(context.Context) error {
	if r.fail != nil {
		return r.fail
	}
	r.rotated++
	r.add(r.t, r.now())
	return nil
}

func TestTransit(t *testing.T) {
	c, v := newClock(), &vault{}
	v.add(t, start.Add(-time.Hour))
	v.add(t, start)
	r := newRing(t, c, TransitKey{v, "orders", ES256}, nil)
	refresh(t, r)
	first, err := r.Current()
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, first, r); err != nil {
		t.Error(err)
	}
	c.advance(overlap)
	if second := current(t, r); second == first.KeyID() {
		t.Error("the new version never signs")
	}
	v.err = errUnavailable
	s, err := r.Current()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("x")); !errors.Is(err, errUnavailable) {
		t.Errorf("Sign = %v", err)
	}
	if err := r.Refresh(t.Context()); !errors.Is(err, errUnavailable) {
		t.Errorf("Refresh = %v", err)
	}
	v.err, v.list = nil, v.list[1:] // the newest is removed: Vault does not sign with it
	refresh(t, r)
	if current(t, r) != first.KeyID() || len(r.Status().Published) != 2 {
		t.Errorf("after a version was removed: %+v", r.Status())
	}
}

func TestTransitRefuses(t *testing.T) {
	small := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	tests := map[string]struct {
		algorithm Algorithm
		key       crypto.PublicKey
		want      string
	}{
		"no version":   {ES256, nil, "no version"},
		"small RSA":    {RS256, small, "2048"},
		"EC for RS256": {RS256, ecKey(t).Public(), "RSA"},
		"HS256":        {HS256, ecKey(t).Public(), "does not work with Transit"},
		"unknown type": {ES256, "key", "P-256"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := &vault{}
			if tt.key != nil {
				v.list = []PublicVersion{{Number: 1, Public: tt.key, Created: start}}
			}
			_, err := TransitKey{v, "orders", tt.algorithm}.Versions(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want one with %q", err, tt.want)
			}
		})
	}
}

func TestRotate(t *testing.T) {
	const interval = 2 * time.Hour
	c := newClock()
	v := &vault{now: c.now}
	v.add(t, start)
	shared := newRegistry(c)
	with := func(cfg *Config) { cfg.Registry, cfg.Rotator, cfg.Interval = shared, rotator{t, v}, interval }
	a, b := newRing(t, c, TransitKey{v, "orders", ES256}, with), newRing(t, c, TransitKey{v, "orders", ES256}, with)
	refresh(t, a, b)
	first := current(t, a)
	c.advance(interval - overlap - time.Second)
	refresh(t, a, b)
	if v.rotated != 0 || a.Status().Due {
		t.Error("rotated too early")
	}
	c.advance(time.Second)
	v.fail = errUnavailable
	refresh(t, a)
	if !a.Status().Due {
		t.Error("a failed rotation is not reported as due")
	}
	v.fail = nil
	refresh(t, b)
	if v.rotated != 0 || !b.Status().Due {
		t.Error("b rotated although a holds the claim")
	}
	clear(shared.claims)
	refresh(t, a, b)
	if v.rotated != 1 || a.Status().Due || b.Status().Due {
		t.Errorf("rotated %d times; due %v, %v", v.rotated, a.Status().Due, b.Status().Due)
	}
	if current(t, a) != first {
		t.Error("the new version signs at once")
	}
	c.advance(overlap)
	if current(t, a) == first || current(t, a) != current(t, b) {
		t.Error("the new version does not sign when the interval is over")
	}
}
