package chain

import (
	"fmt"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestACluster loses a node: policies whose sessions and whose namespace's revocations lie elsewhere do not notice.
func TestACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, "s3cret")
	lost := cluster.Nodes[0]
	// namespace is one where the keys of a policy, or of the whole namespace, lie on the node that is lost, or do not.
	namespace := func(sessions, revocations bool) string {
		for n := range 1000 {
			name := fmt.Sprint("shop-", n)
			of := func(room, scope string) bool {
				return cluster.Owner(keyspace.New(room, scope).Key("x")) == lost
			}
			if of("session", name+"/orders") == sessions && of("revocation", name) == revocations {
				return name
			}
		}
		t.Fatal("no namespace lies so")
		return ""
	}
	tests := map[string]struct {
		sessions, revocations bool
		// want is what a login, a use, a refresh and a logout answer when the node is gone.
		want [4]string
	}{
		"neither":         {want: [4]string{"200", "200", "200", "204"}},
		"the sessions":    {sessions: true, want: [4]string{"503 tokens-unavailable", "200", "503 temporarily_unavailable", "503 tokens-unavailable"}},
		"the revocations": {revocations: true, want: [4]string{"200", "503 revocation-unavailable", "503 temporarily_unavailable", "503 revocation-unavailable"}},
	}
	w := newWorld(t)
	w.writeSecret("redis", "password", []byte("s3cret"))
	sidecars, people := map[string]*sidecar{}, map[string]tokens{}
	for name, tt := range tests {
		sidecars[name] = w.sidecar(loginPolicy(func(p *compiled.Policy) {
			p.Namespace = namespace(tt.sessions, tt.revocations)
			p.Revocation.MaxStaleness, p.Sessions.OnFailure = compiled.Duration(time.Second), compiled.Allow
			p.Redis = &compiled.Redis{
				Mode: "Cluster", Addresses: cluster.Addrs, Password: &compiled.SecretRef{Name: "redis", Key: "password"}, Timeout: compiled.Duration(time.Second),
			}
		})).ready()
		people[name] = sidecars[name].login("ada")
		if g := sidecars[name].use(people[name]); g.status != 200 {
			t.Fatalf("%s before: %d %s", name, g.status, g.text)
		}
	}
	lost.Stop()
	time.Sleep(3 * time.Second) // the others have noticed, and what is known of revocations is too old where it lay there
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, ada := sidecars[name].in(t), people[name]
			asks := [4]func() got{
				func() got { return s.send(sent{method: "POST", path: "/login?as=bob"}) },
				func() got { return s.use(ada) },
				func() got { return s.refresh(ada) },
				func() got { return s.send(sent{method: "POST", path: "/auth/logout", bearer: ada.access}) },
			}
			for i, ask := range asks {
				if got := ask().word(); got != tt.want[i] {
					t.Errorf("request %d: %s; want %s", i+1, got, tt.want[i])
				}
			}
		})
	}
}
