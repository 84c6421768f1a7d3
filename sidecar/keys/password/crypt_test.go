package password

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const costlyCrypt = "$6$rounds=656000$QoJ.f1j7fJZ9Ysbv$"

// TestWorkGrowsWithThePassword: the estimate of a hash that reads the password in each round grows with the password, up to the length that is
// read, and that of others does not.
func TestWorkGrowsWithThePassword(t *testing.T) {
	tests := map[string]struct {
		encoded string
		// wantMost is by how much a password of 512 bytes multiplies the work of a short one, at least and at most.
		wantLeast, wantMost float64
	}{
		"SHA-512-crypt": {costlyCrypt + strings.Repeat("a", shaSum), 4, 6},
		"phpass":        {"$P$B" + strings.Repeat("a", phpassLength-4), 6, 8},
		"bcrypt":        {foreignBcrypt, 1, 1},
		"argon2id":      {foreignArgon2, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, err := parse(tt.encoded, DefaultMemory)
			if err != nil {
				t.Fatal(err)
			}
			short, long := h.work(8), h.work(maxCryptPassword)
			if times := float64(long) / float64(short); times < tt.wantLeast || times > tt.wantMost {
				t.Errorf("%s for 512 bytes and %s for 8: %.1f times; want %v to %v", long, short, times, tt.wantLeast, tt.wantMost)
			}
			if longest := h.work(maxPassword); longest != long {
				t.Errorf("%s for the longest password; want %s, because no more is read", longest, long)
			}
		})
	}
}

// TestLongPasswordsWait: verifications in progress that read long passwords count by their length, so that fewer of them fit into the wait.
func TestLongPasswordsWait(t *testing.T) {
	accepted := func(length int) (n int) {
		h := newHasher(t, with(func(c *Config) { c.Parallel, c.Memory = 2, 128<<10 }))
		parsed, err := parse(costlyCrypt+strings.Repeat("a", shaSum), h.cfg.Memory)
		if err != nil {
			t.Fatal(err)
		}
		for range 32 {
			_, err := h.enter(t.Context(), 0, parsed.work(length)) // it stays in the backlog, and leaves the gate
			if errors.Is(err, ErrBusy) {
				return n
			}
			n++
			h.gate.Release(h.least)
		}
		return n
	}
	short, long := accepted(8), accepted(maxCryptPassword)
	if short <= long || long < 1 {
		t.Errorf("%d short and %d long passwords are verified at once; want fewer long ones", short, long)
	}
	var work time.Duration
	h := newHasher(t, with(func(c *Config) { c.Parallel, c.Memory = 1, 128<<10 }))
	h.cfg.Now = func() time.Time { work = h.backlog.wait(); return time.Now() }
	if _, err := h.Verify(t.Context(), strings.Repeat("x", 600), "$6$rounds=1000$abc$"+strings.Repeat("a", shaSum)); err != nil {
		t.Fatal(err)
	}
	if want := (sha512Crypt{rounds: 1000}).work(600); work != want {
		t.Errorf("a verification in progress counts as %s; want %s", work, want)
	}
}
