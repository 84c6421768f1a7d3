package htpasswd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// slow hashes until it is released or its context ends. It accepts the password demo.
type slow struct {
	mu      sync.Mutex
	calls   int
	release chan struct{}
}

func (s *slow) Verify(ctx context.Context, secret, _ string) (password.Result, error) {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	select {
	case <-s.release:
		return password.Result{Match: secret == "demo"}, nil
	case <-ctx.Done():
		return password.Result{}, fmt.Errorf("%w: %w", password.ErrBusy, ctx.Err())
	}
}

func (s *slow) VerifySpare(ctx context.Context, secret, encoded string) (password.Result, error) {
	return s.Verify(ctx, secret, encoded)
}

func newSlow(t *testing.T) (*slow, *Verifier, *File) {
	t.Helper()
	file, err := Parse([]byte(ada))
	if err != nil {
		t.Fatal(err)
	}
	s := &slow{release: make(chan struct{})}
	v, err := NewVerifier(s, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s, v, file
}

// TestEqualAttemptsNeedOneHash: a browser opens many connections with the same password. One hash is enough for all, and if its client
// disconnects, another takes over.
func TestEqualAttemptsNeedOneHash(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, v, file := newSlow(t)
			first, disconnect := context.WithCancel(t.Context())
			defer disconnect()
			var done sync.WaitGroup
			go func() { _, _ = v.Verify(first, file, Attempt{Name: "ada", Secret: "demo"}) }()
			synctest.Wait()
			for range 100 {
				done.Go(func() {
					if name, err := v.Verify(t.Context(), file, Attempt{Name: "ada", Secret: "demo"}); name != "ada" || err != nil {
						t.Errorf("%q, %v", name, err)
					}
				})
			}
			synctest.Wait()
			want := 1
			if gone {
				disconnect()
				synctest.Wait()
				want = 2
			}
			if s.calls != want {
				t.Errorf("%d hashes; want %d", s.calls, want)
			}
			close(s.release)
			done.Wait()
			if len(v.flights.byID)+len(v.flights.clients) != 0 {
				t.Error("something is left")
			}
		})
	}
}

// TestOneClientLeavesRoom: who tries many passwords at once is refused, and a user at another address is not.
func TestOneClientLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, v, file := newSlow(t)
		attacker, user := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("198.51.100.1/32")
		var busy int
		var mu sync.Mutex
		var done sync.WaitGroup
		for i := range 50 {
			done.Go(func() {
				if _, err := v.Verify(t.Context(), file, Attempt{Name: "ada", Secret: fmt.Sprint(i), Client: attacker}); errors.Is(err, password.ErrBusy) {
					mu.Lock()
					busy++
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		if s.calls != maxPerClient || busy != 50-maxPerClient {
			t.Errorf("%d hashes in progress, %d refused", s.calls, busy)
		}
		done.Go(func() {
			if name, err := v.Verify(t.Context(), file, Attempt{Name: "ada", Secret: "demo", Client: user}); name != "ada" || err != nil {
				t.Errorf("the user: %q, %v", name, err)
			}
		})
		synctest.Wait()
		close(s.release)
		done.Wait()
		if name, err := v.Verify(t.Context(), file, Attempt{Name: "ada", Secret: "last", Client: attacker}); name != "" || err != nil {
			t.Errorf("afterwards: %q, %v", name, err)
		}
	})
}

// TestCompositionOfLetters: names and passwords are equal however their letters are composed (RFC 7617 §2.1), in the file too.
func TestCompositionOfLetters(t *testing.T) {
	const composed, decomposed = "Gr\u00fc\u00dfe", "Gru\u0308\u00dfe" // the password of grace
	hash := grace[len("grace hopper"):]
	for _, inFile := range []string{"Zo\u00eb", "Zoe\u0308"} {
		file, err := Parse([]byte(inFile + hash))
		if err != nil {
			t.Fatal(err)
		}
		for _, sent := range []string{"Zo\u00eb", "Zoe\u0308"} {
			for _, secret := range []string{composed, decomposed} {
				hasher, err := password.New(password.Config{})
				if err != nil {
					t.Fatal(err)
				}
				v, err := NewVerifier(hasher, nil)
				if err != nil {
					t.Fatal(err)
				}
				if name, err := v.Verify(t.Context(), file, Attempt{Name: sent, Secret: secret}); name != "Zo\u00eb" || err != nil {
					t.Errorf("%+q in the file, %+q with %+q: %+q, %v", inFile, sent, secret, name, err)
				}
			}
		}
	}
	if _, err := Parse([]byte("Zo\u00eb" + hash + "\nZoe\u0308" + hash)); err == nil {
		t.Error("the same name twice is accepted")
	}
	if got := prepare("\xff "); got != "\xff " {
		t.Errorf("what is not UTF-8: %q", got)
	}
}
