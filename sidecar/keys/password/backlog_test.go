package password

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// fakeClock is moved by the test.
type fakeClock struct{ now time.Time }

func (c *fakeClock) Now() time.Time { return c.now }

// TestWaitIsBounded: of 16 verifications with a costly hash, those that would wait too long are refused at once, whatever the queue
// still holds. Cheap ones wait.
func TestWaitIsBounded(t *testing.T) {
	tests := map[string]struct {
		work     time.Duration
		memory   uint32
		parallel int
		want     int
	}{
		"bcrypt 14, two cores":     {bcryptWork(14), 0, 2, 11},     // 0.96 s each: 5 s are 10.4
		"bcrypt 14, one core":      {bcryptWork(14), 0, 1, 6},      // 5.2
		"bcrypt 15, two cores":     {bcryptWork(15), 0, 2, 6},      // 1.92 s
		"bcrypt 10, two cores":     {bcryptWork(10), 0, 2, 16},     // 60 ms
		"argon2id, all the memory": {time.Second, 128 << 10, 2, 6}, // one at a time
		"argon2id, the default":    {DefaultArgon2().work(), DefaultArgon2().Memory, 2, 16},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHasher(t, with(func(c *Config) { c.Parallel, c.Memory = tt.parallel, 128<<10 }))
			share := func() time.Duration {
				return time.Duration(float64(tt.work) * float64(max(int64(tt.memory), h.least)) / float64(h.cfg.Memory))
			}()
			accepted := 0
			for range 16 {
				err := h.backlog.add(share, h.backlog.longest)
				if err == nil {
					accepted++
				} else if !errors.Is(err, ErrBusy) || RetryAfter(err) < time.Second {
					t.Fatalf("error = %v", err)
				}
			}
			if accepted != tt.want {
				t.Errorf("accepted %d; want %d", accepted, tt.want)
			}
			for range accepted {
				h.backlog.remove(share)
			}
			if err := h.backlog.add(share, h.backlog.longest); err != nil || h.backlog.wait() != share {
				t.Errorf("afterwards: %v, %s", err, h.backlog.wait())
			}
		})
	}
}

// TestSlowMachine: where hashes take longer than estimated, fewer wait. A call that waits for no other is accepted all the same.
func TestSlowMachine(t *testing.T) {
	clock := &fakeClock{now: time.Unix(1_800_000_000, 0)}
	h := newHasher(t, with(func(c *Config) { c.Parallel, c.Now = 1, clock.Now }))
	for range 40 {
		release, err := h.enter(t.Context(), 0, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		clock.now = clock.now.Add(10 * time.Second)
		release()
	}
	release, err := h.enter(t.Context(), 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Hash(t.Context(), "p")
	if !errors.Is(err, ErrBusy) || RetryAfter(err) != 5*time.Second {
		t.Errorf("error = %v, retry after %s", err, RetryAfter(err))
	}
	if got, err := h.Verify(t.Context(), "p", ""); !errors.Is(err, ErrBusy) || got.Match {
		t.Errorf("verify: %+v, %v", got, err)
	}
	release()
	if h.backlog.wait() != 0 || h.queued.Load() != 0 {
		t.Errorf("left over: %s, %d", h.backlog.wait(), h.queued.Load())
	}
}

// TestLongPasswordsAndBcrypt: a password beyond 72 bytes is refused by a code of its own, or compared by its first 72 bytes.
func TestLongPasswordsAndBcrypt(t *testing.T) {
	long := strings.Repeat("x", 72) + "tail"
	old, err := bcrypt.GenerateFromPassword([]byte(long[:72]), bcrypt.MinCost) // as software that truncates makes it
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		truncate          bool
		algorithm         Algorithm
		password, encoded string
		wantMatch, wantRe bool
		wantErr           error
	}{
		"refused":                          {password: long, encoded: string(old), wantErr: ErrTooLongForBcrypt},
		"a wrong one, refused as well":     {password: "y" + long, encoded: string(old), wantErr: ErrTooLongForBcrypt},
		"72 bytes":                         {password: long[:72], encoded: string(old), wantMatch: true, wantRe: true},
		"no account, bcrypt":               {algorithm: Bcrypt, password: long, wantErr: ErrTooLongForBcrypt},
		"truncated":                        {truncate: true, password: long, encoded: string(old), wantMatch: true, wantRe: true},
		"truncated, another tail":          {truncate: true, password: long[:72] + "other", encoded: string(old), wantMatch: true, wantRe: true},
		"truncated, wrong":                 {truncate: true, password: "y" + long, encoded: string(old)},
		"truncated, no account":            {truncate: true, algorithm: Bcrypt, password: long},
		"argon2id is not concerned":        {password: long, encoded: foreignArgon2},
		"argon2id, truncation is not used": {truncate: true, password: "password" + strings.Repeat("x", 80), encoded: foreignArgon2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHasher(t, with(func(c *Config) { c.Algorithm, c.TruncateBcrypt = tt.algorithm, tt.truncate }))
			got, err := h.Verify(t.Context(), tt.password, tt.encoded)
			if !errors.Is(err, tt.wantErr) || got.Match != tt.wantMatch || got.Rehash != tt.wantRe {
				t.Errorf("%+v, %v; want match %v, rehash %v, %v", got, err, tt.wantMatch, tt.wantRe, tt.wantErr)
			}
			if _, err := h.Hash(t.Context(), long); tt.algorithm == Bcrypt && !errors.Is(err, ErrTooLongForBcrypt) {
				t.Errorf("a new hash: %v", err)
			}
		})
	}
}
