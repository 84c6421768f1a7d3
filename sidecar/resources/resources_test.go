package resources

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/store/redis"
)

func newResources(t *testing.T) *Resources {
	t.Helper()
	r, err := New(Config{
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir(), CloseDelay: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// unavailableRedis returns a document whose Redis does not exist: the client connects in the background.
func unavailableRedis(change func(*compiled.Policy)) *compiled.Policy {
	p := &compiled.Policy{
		Namespace: "shop", Name: "orders",
		Redis: &compiled.Redis{Mode: "Standalone", Addresses: []string{"127.0.0.1:1"}, Timeout: compiled.Duration(100 * time.Millisecond)},
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestDocumentsShareWhatIsEqual(t *testing.T) {
	r := newResources(t)
	first, err := r.Acquire(unavailableRedis(nil))
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Acquire(unavailableRedis(func(p *compiled.Policy) { p.Generation = 2 }))
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.Acquire(unavailableRedis(func(p *compiled.Policy) { p.Redis.Database = 1 }))
	if err != nil {
		t.Fatal(err)
	}
	if first.conn != second.conn || first.conn == other.conn {
		t.Error("connections are not shared exactly by their configuration")
	}
	if n := r.InUse(); n != 2 {
		t.Errorf("%d in use; want two connections", n)
	}
	for _, a := range []*Acquirer{first, second, other} {
		a.Close()
		a.Close()
	}
	if n := r.InUse(); n != 0 {
		t.Errorf("%d in use after all were closed", n)
	}
}

func TestDeletedPolicyAcquiresNothing(t *testing.T) {
	r := newResources(t)
	a, err := r.Acquire(unavailableRedis(func(p *compiled.Policy) { p.Deleted = true }))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if n := r.InUse(); n != 0 {
		t.Errorf("%d in use", n)
	}
	if _, ok := r.Redis(); ok {
		t.Error("it reports a Redis")
	}
}

// TestFailedAcquireReleases: a failed Acquire releases what it acquired before the error.
func TestFailedAcquireReleases(t *testing.T) {
	for name, change := range map[string]func(*compiled.Policy){
		"no Vault": func(p *compiled.Policy) {
			p.Redis.Password = &compiled.SecretRef{VaultPath: "secret/redis", Key: "password"}
		},
		"no Vault for a provider's keys": func(p *compiled.Policy) {
			p.Providers = []compiled.Provider{{Name: "corp", Keys: compiled.Keys{Secret: &compiled.SecretRef{VaultPath: "secret/keys", Key: "k"}}}}
		},
		"an invalid Vault address": func(p *compiled.Policy) {
			p.Redis.Password = &compiled.SecretRef{VaultPath: "secret/redis", Key: "password"}
			p.Vault = &compiled.Vault{Address: "ftp://vault"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newResources(t)
			if _, err := r.Acquire(unavailableRedis(change)); err == nil {
				t.Fatal("acquired")
			}
			if n := r.InUse(); n != 0 {
				t.Errorf("%d in use", n)
			}
		})
	}
}

func TestNothingIsAcquiredAfterClose(t *testing.T) {
	r := newResources(t)
	r.Close()
	if _, err := r.Acquire(unavailableRedis(nil)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("error %v", err)
	}
}

func TestProblemsNameAnUnavailableRedis(t *testing.T) {
	r := newResources(t)
	a, err := r.Acquire(unavailableRedis(nil))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if problems := r.Problems(); len(problems) == 1 && problems[0].Kind == compiled.ProblemRedis && problems[0].Reason == "Unavailable" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("problems %v", r.Problems())
		}
	}
	a.Close()
	if problems := r.Problems(); len(problems) != 0 {
		t.Errorf("problems without a policy: %v", problems)
	}
}

// TestRedisThatIsNotContactedYetIsNoProblem: a pod that starts on a busy node would otherwise report an outage.
func TestRedisThatIsNotContactedYetIsNoProblem(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // it accepts in the kernel, and never responds
	r := newResources(t)
	a, err := r.Acquire(unavailableRedis(func(p *compiled.Policy) {
		p.Redis.Addresses, p.Redis.Timeout = []string{silent.Addr().String()}, compiled.Duration(10*time.Second)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	problems := r.Problems()
	if st, ok := r.Redis(); !ok || st.Up || !errors.Is(st.Err, redis.ErrNotContacted) {
		t.Fatalf("Redis is %+v, %t", st, ok)
	}
	if len(problems) != 0 {
		t.Errorf("problems %v", problems)
	}
}

func TestEndedSessionsAreNotEndedAgain(t *testing.T) {
	a, b := revocation.Entry{Kind: "session", Value: "a"}, revocation.Entry{Kind: "session", Value: "b"}
	e := newEndedSessions()
	if got := e.missing([]revocation.Entry{a, b}); len(got) != 2 {
		t.Fatalf("missing %v", got)
	}
	e.add(a)
	if got := e.missing([]revocation.Entry{a, b}); len(got) != 1 || got[0] != b {
		t.Errorf("missing %v; want only what has not been ended", got)
	}
	e.missing([]revocation.Entry{b}) // the document no longer has a
	if got := e.missing([]revocation.Entry{a}); len(got) != 1 {
		t.Error("an entry that was removed and written again is not ended")
	}
}

// TestHasherHasTheMemoryOfOneHash: api/check accepts hashes of more memory than the default bound of all, in a process that says
// how much there is as well as in one that does not (postern lint).
func TestHasherHasTheMemoryOfOneHash(t *testing.T) {
	costly := &compiled.Passwords{Algorithm: "Argon2id", Memory: 900 << 10, Passes: 1, Parallelism: 1}
	for _, memory := range []uint32{0, 1 << 10} {
		if _, err := NewHasher(costly, memory); err != nil {
			t.Errorf("memory %d: %v", memory, err)
		}
	}
}
