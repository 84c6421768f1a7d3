package chain

import (
	"sync"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/resources"
)

func passwordPolicy(change func(*compiled.Passwords)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		p.Passwords = &compiled.Passwords{Algorithm: "Argon2id", Memory: 19 << 10, Passes: 2, Parallelism: 1}
		if change != nil {
			change(p.Passwords)
		}
	})
}

// TestHashingIsBoundedByTheProcess: hashing is bounded by the memory of the process, however small, and across reloads.
func TestHashingIsBoundedByTheProcess(t *testing.T) {
	w := newWorld(t)
	const long = `{"password":"correct horse battery staple"}`
	for name, change := range map[string]func(*compiled.Passwords){
		"argon2id":                  nil,
		"bcrypt":                    func(p *compiled.Passwords) { *p = compiled.Passwords{Algorithm: "Bcrypt", Cost: 10} },
		"more than the process has": func(p *compiled.Passwords) { p.Memory, p.Passes = 46<<10, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			s := w.sidecarOf(w.sharedBy(resources.Config{HashMemory: 1 << 10}), passwordPolicy(change))
			before := s.hasher()
			if g := s.loopback("POST", "/v1/passwords/hash", long); g.status != 200 {
				t.Fatalf("hashing: %d %s", g.status, g.text)
			}
			// A hash of 64 MiB, as PHP makes them, exceeds the memory of this process.
			foreign := `{"password":"x","hash":"$argon2id$v=19$m=65536,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`
			if g := s.loopback("POST", "/v1/passwords/verify", foreign); g.status != 422 {
				t.Errorf("a hash that is too costly: %d %s", g.status, g.text)
			}
			s.apply(passwordPolicy(change))
			if s.hasher() != before {
				t.Error("a reload made another hasher, with its own bound")
			}
		})
	}
}

// hasher returns the hasher of the active policy.
func (s *sidecar) hasher() *password.Hasher {
	s.world.t.Helper()
	p := s.snapshot.Load().Policy()
	a, err := s.shared.Acquire(p)
	if err != nil {
		s.world.t.Fatal(err)
	}
	defer a.Close()
	h, err := a.Hasher(p.Passwords)
	if err != nil {
		s.world.t.Fatal(err)
	}
	return h
}

// TestAFloodOfHashes: a request that would wait too long is refused.
func TestAFloodOfHashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.sidecarOf(w.sharedBy(resources.Config{HashMemory: 19 << 10}), passwordPolicy(nil))
	var mu sync.Mutex
	statuses := map[int]int{}
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			g := s.loopback("POST", "/v1/passwords/hash", `{"password":"correct horse battery staple"}`)
			if g.status == 503 && (g.header.Get("Retry-After") == "" || g.code() != "busy") {
				t.Errorf("refused with %s, %v", g.text, g.header)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[g.status]++
		})
	}
	wg.Wait()
	if statuses[200] == 0 || statuses[503] == 0 || statuses[200]+statuses[503] != 200 {
		t.Errorf("statuses %v", statuses)
	}
}
