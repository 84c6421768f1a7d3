package chain

import (
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// briefly gives revocations a staleness that a test can wait for.
func briefly(p *compiled.Policy) { p.Revocation.MaxStaleness = compiled.Duration(time.Second) }

// TestAStaleServerIsNoProof: a sidecar that is connected to a server which no longer gets writes stops accepting tokens after
// maxStaleness, also those that were revoked elsewhere.
func TestAStaleServerIsNoProof(t *testing.T) {
	t.Parallel()
	tests := map[string]func(old, replica *redistest.Server){
		"demoted, with its link down": func(old, _ *redistest.Server) { old.Demote() },
		"demoted, not answering":      func(old, _ *redistest.Server) { masterDown(old) },
		"cut off from its replica":    func(old, _ *redistest.Server) { missReplicas(old) },
	}
	for name, cutOff := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := redistest.Start(t, redistest.Options{})
			replica := old.Replica()
			w := newWorld(t)
			here := w.sidecars(1, old.Addr, briefly)[0]
			ada := here.login("ada")
			if g := here.use(ada); g.status != 200 {
				t.Fatalf("before: %d %s", g.status, g.text)
			}
			old.Do("WAIT", 1, 5000)
			replica.Promote()
			cutOff(old, replica)
			there := w.sidecars(1, replica.Addr, briefly)[0]
			if g := there.loopback("POST", "/v1/revocations", `{"token_id":"`+claim(t, ada.access, "jti")+`"}`); g.status != 200 {
				t.Fatalf("revoking at the new master: %d %s", g.status, g.text)
			}
			redistest.Eventually(t, "the token to be refused at the old master", func() bool { return here.use(ada).word() == "503 revocation-unavailable" })
			for range 20 { // and it stays refused
				if got := here.use(ada).word(); got != "503 revocation-unavailable" {
					t.Errorf("later: %s", got)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
}

// TestTheSentinelsNameAnotherMaster: a master that is cut off takes writes and looks healthy. Only the Sentinels know that there is
// another one. The sidecar moves there.
func TestTheSentinelsNameAnotherMaster(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, "", "")
	w := newWorld(t)
	sentinel := func(p *compiled.Policy) {
		briefly(p)
		p.Redis.Mode, p.Redis.Addresses, p.Redis.MasterName = "Sentinel", s.Addrs, redistest.MasterName
	}
	here := w.sidecars(1, s.Master.Addr, sentinel)[0]
	ada := here.login("ada")
	s.Master.Do("WAIT", 1, 5000)
	s.CutOff()
	there := w.sidecars(1, s.Replica.Addr, briefly)[0]
	if g := there.loopback("POST", "/v1/revocations", `{"token_id":"`+claim(t, ada.access, "jti")+`"}`); g.status != 200 {
		t.Fatalf("revoking at the new master: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the revocation to be known", func() bool { return here.use(ada).word() == "401 token-revoked" })
	before := s.Replica.Do("DBSIZE").(int64)
	bob := here.login("bob")
	if after := s.Replica.Do("DBSIZE").(int64); after <= before {
		t.Errorf("a login was not written to the new master: %d keys, before %d", after, before)
	}
	// If no Sentinel can say who is the master, nothing is known to be current.
	s.Watcher.Stop()
	redistest.Eventually(t, "the index to be too old", func() bool { return here.use(bob).word() == "503 revocation-unavailable" })
	s.Watcher.Restart()
	redistest.Eventually(t, "recovery", func() bool { return here.use(bob).status == 200 })
}
