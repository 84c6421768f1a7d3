package password

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

// cheap is the minimum cost, to keep the tests short.
func cheap() Config {
	return Config{Argon2: Argon2{Time: 3, Memory: 12 << 10, Threads: 1}, BcryptCost: minCost}
}

func with(change func(*Config)) Config {
	c := cheap()
	change(&c)
	return c
}

func newHasher(t testing.TB, c Config) *Hasher {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"algorithm":       {func(c *Config) { c.Algorithm = "md5" }, "argon2id or bcrypt"},
		"bcrypt low":      {func(c *Config) { c.BcryptCost = 9 }, "bcrypt: cost"},
		"bcrypt high":     {func(c *Config) { c.BcryptCost = 16 }, "bcrypt: cost"},
		"parallel":        {func(c *Config) { c.Parallel = -1 }, "parallel"},
		"memory":          {func(c *Config) { c.Memory = 1 << 10 }, "less than one hash"},
		"no passes":       {func(c *Config) { c.Argon2.Time = 0 }, "number of passes"},
		"t=1 below 46MiB": {func(c *Config) { c.Argon2.Time, c.Argon2.Memory = 1, 46<<10-1 }, "OWASP recommends for passes: 1"},
		"t=2 below 19MiB": {func(c *Config) { c.Argon2.Time, c.Argon2.Memory = 2, 19<<10-1 }, "OWASP recommends for passes: 2"},
		"t=3 below 12MiB": {func(c *Config) { c.Argon2.Memory = 12<<10 - 1 }, "OWASP recommends for passes: 3"},
		"no thread":       {func(c *Config) { c.Argon2.Threads = 0 }, "number of lanes"},
		"too much work":   {func(c *Config) { c.Argon2.Time, c.Argon2.Memory = 16, 100<<10 }, "at most 1024 MiB"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New(with(tt.change))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want one with %q", err, tt.want)
			}
		})
	}
	if h := newHasher(t, Config{}); h.cfg.Algorithm != Argon2id || h.cfg.Argon2 != (Argon2{Time: 2, Memory: 19 << 10, Threads: 1}) {
		t.Errorf("defaults are %+v", h.cfg)
	}
}

func TestHashAndVerify(t *testing.T) {
	for _, algorithm := range []Algorithm{Argon2id, Bcrypt} {
		t.Run(string(algorithm), func(t *testing.T) {
			h := newHasher(t, with(func(c *Config) { c.Algorithm = algorithm }))
			encoded, err := h.Hash(t.Context(), "correct horse")
			if err != nil {
				t.Fatal(err)
			}
			if other, err := h.Hash(t.Context(), "correct horse"); err != nil || other == encoded {
				t.Errorf("a second hash is %v, %v; want another salt", other == encoded, err)
			}
			for password, want := range map[string]bool{
				"correct horse": true, "correct horsf": false, "": false, "correct horse\x00": false, strings.Repeat("x", maxPassword+1): false,
			} {
				got, err := h.Verify(t.Context(), password, encoded)
				if err != nil || got.Match != want || got.Rehash {
					t.Errorf("Verify(%.20q) = %+v, %v; want match %v", password, got, err, want)
				}
			}
			if got, err := h.Verify(t.Context(), "correct horse", ""); err != nil || got.Match {
				t.Errorf("no hash: %+v, %v", got, err)
			}
		})
	}
}

func TestHashRefuses(t *testing.T) {
	tests := map[string]struct {
		algorithm Algorithm
		password  string
		want      error
	}{
		"bcrypt at 72 bytes":      {Bcrypt, strings.Repeat("x", 72), nil},
		"bcrypt over 72 bytes":    {Bcrypt, strings.Repeat("x", 73), ErrTooLongForBcrypt},
		"bcrypt over all bounds":  {Bcrypt, strings.Repeat("x", maxPassword+1), ErrTooLong},
		"bcrypt NUL":              {Bcrypt, "a\x00a", ErrNUL},
		"argon2id over its bound": {Argon2id, strings.Repeat("x", maxPassword+1), ErrTooLong},
		"argon2id at its bound":   {Argon2id, strings.Repeat("x", maxPassword), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHasher(t, with(func(c *Config) { c.Algorithm = tt.algorithm }))
			if _, err := h.Hash(t.Context(), tt.password); !errors.Is(err, tt.want) {
				t.Errorf("error = %v; want %v", err, tt.want)
			}
		})
	}
}

func TestRehash(t *testing.T) {
	policy := with(func(c *Config) { c.Argon2, c.BcryptCost = Argon2{Time: 3, Memory: 16 << 10, Threads: 1}, 11 })
	tests := map[string]struct {
		made, asked Algorithm
		change      func(*Config)
		want        bool
	}{
		"same as the policy":         {Argon2id, Argon2id, func(*Config) {}, false},
		"less memory":                {Argon2id, Argon2id, func(c *Config) { c.Argon2.Memory = 12 << 10 }, true},
		"more memory, fewer t":       {Argon2id, Argon2id, func(c *Config) { c.Argon2 = Argon2{Time: 2, Memory: 19 << 10, Threads: 1} }, true},
		"stronger":                   {Argon2id, Argon2id, func(c *Config) { c.Argon2.Time = 4 }, false},
		"bcrypt, less cost":          {Bcrypt, Bcrypt, func(c *Config) { c.BcryptCost = 10 }, true},
		"bcrypt, same as the policy": {Bcrypt, Bcrypt, func(*Config) {}, false},
		"bcrypt to argon2id":         {Bcrypt, Argon2id, func(*Config) {}, true},
		"argon2id to bcrypt":         {Argon2id, Bcrypt, func(*Config) {}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			made := policy
			made.Algorithm = tt.made
			tt.change(&made)
			encoded, err := newHasher(t, made).Hash(t.Context(), "p")
			if err != nil {
				t.Fatal(err)
			}
			asked := policy
			asked.Algorithm = tt.asked
			h := newHasher(t, asked)
			if got, err := h.Verify(t.Context(), "p", encoded); err != nil || !got.Match || got.Rehash != tt.want {
				t.Errorf("Verify = %+v, %v; want rehash %v", got, err, tt.want)
			}
			if got, err := h.Verify(t.Context(), "q", encoded); err != nil || got.Match || got.Rehash {
				t.Errorf("a wrong password: %+v, %v; want no hint", got, err)
			}
		})
	}
}

// TestQueueLength: the queue length depends on how many hashes fit into memory, not only on the number of cores.
func TestQueueLength(t *testing.T) {
	few := newHasher(t, with(func(c *Config) { c.Parallel, c.Memory = 64, 2*c.Argon2.Memory+1 }))
	many := newHasher(t, with(func(c *Config) { c.Parallel, c.Memory = 4, 100*c.Argon2.Memory }))
	if few.longest != 2*waiting || many.longest != 4*waiting {
		t.Errorf("queues of %d and %d", few.longest, many.longest)
	}
}

// TestBounds fills the queue. It checks which callers wait, which are refused, and that a canceled caller leaves.
func TestBounds(t *testing.T) {
	h := newHasher(t, with(func(c *Config) { c.Parallel = 1 }))
	release, err := h.enter(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	errs := make(chan error, waiting*2)
	for range waiting * 2 {
		wg.Go(func() {
			_, err := h.Hash(ctx, "p")
			errs <- err
		})
	}
	for range waiting + 1 { // callers that do not fit into the queue are refused at once
		if err := <-errs; !errors.Is(err, ErrBusy) {
			t.Errorf("error = %v; want ErrBusy", err)
		}
	}
	cancel()
	wg.Wait()
	close(errs)
	for err := range errs {
		if !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v; want ErrBusy for a caller that left", err)
		}
	}
	release()
	if _, err := h.Hash(t.Context(), "p"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
