package chain

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// sidecars starts n processes with one Redis.
func (w *world) sidecars(n int, addr string, change func(*compiled.Policy)) []*sidecar {
	w.t.Helper()
	all := make([]*sidecar, n)
	for i := range all {
		all[i] = w.sidecar(loginPolicy(func(p *compiled.Policy) {
			onRedis(p, addr)
			p.Redis.Timeout = compiled.Duration(5 * time.Second) // long enough for a busy machine
			if change != nil {
				change(p)
			}
		})).ready()
	}
	return all
}

// TestTwoSidecars: each way to end a login on one sidecar ends it on the other.
func TestTwoSidecars(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	both := w.sidecars(2, server.Addr, nil)
	header := func(refresh string) sent {
		h, body := form("refresh_token", refresh)
		return sent{method: "POST", path: "/auth/logout", header: h, body: body}
	}
	tests := map[string]struct {
		end func(s *sidecar, t tokens) got
		// wantRefresh means that the session continues.
		wantRefresh bool
	}{
		"logout": {end: func(s *sidecar, t tokens) got {
			return s.send(sent{method: "POST", path: "/auth/logout", bearer: t.access})
		}},
		"logout, by refresh": {end: func(s *sidecar, t tokens) got { return s.send(header(t.refresh)) }},
		"logout-all": {end: func(s *sidecar, t tokens) got {
			return s.send(sent{method: "POST", path: "/auth/logout-all", bearer: t.access})
		}},
		"one session": {end: func(s *sidecar, tok tokens) got {
			return s.send(sent{method: "DELETE", path: "/auth/sessions/" + sid(s.world.t, tok.access), bearer: tok.access})
		}},
		"the app ends it": {end: func(s *sidecar, tok tokens) got {
			return s.loopback("DELETE", "/v1/sessions/"+sid(s.world.t, tok.access), "")
		}},
		"the app ends all": {end: func(s *sidecar, tok tokens) got {
			return s.loopback("DELETE", "/v1/subjects/"+claim(s.world.t, tok.access, "sub")+"/sessions", "")
		}},
		"the app revokes the token": {
			end: func(s *sidecar, tok tokens) got {
				return s.loopback("POST", "/v1/revoke", `{"token":"`+tok.access+`"}`)
			},
			wantRefresh: true,
		},
		"the app revokes the refresh token": {end: func(s *sidecar, tok tokens) got {
			return s.loopback("POST", "/v1/revoke", `{"token":"`+tok.refresh+`"}`)
		}},
		"the app revokes the session": {end: func(s *sidecar, tok tokens) got {
			return s.loopback("POST", "/v1/revocations", `{"session_id":"`+sid(s.world.t, tok.access)+`"}`)
		}},
		"the app revokes the subject": {end: func(s *sidecar, tok tokens) got {
			return s.loopback("POST", "/v1/revocations", `{"subject":"`+claim(s.world.t, tok.access, "sub")+`"}`)
		}},
		"the app revokes its jti": {end: func(s *sidecar, tok tokens) got {
			return s.loopback("POST", "/v1/revocations", `{"token_id":"`+claim(s.world.t, tok.access, "jti")+`"}`)
		}, wantRefresh: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			here, there := both[0].in(t), both[1].in(t)
			ada := here.login(strings.ReplaceAll("ada of "+name, " ", "_"))
			for _, s := range []*sidecar{here, there} {
				if g := s.use(ada); g.status != 200 {
					t.Fatalf("before: %d %s", g.status, g.text)
				}
			}
			if g := there.loopback("POST", "/v1/introspect", `{"token":"`+ada.access+`"}`); g.json["active"] != true {
				t.Errorf("introspection before: %s", g.text)
			}
			if g := tt.end(here, ada); g.status > 299 {
				t.Fatalf("ending it: %d %s", g.status, g.text)
			}
			for _, s := range []*sidecar{there, here} {
				redistest.Eventually(t, "the token to be refused", func() bool { return s.use(ada).code() == "token-revoked" })
			}
			if g := there.loopback("POST", "/v1/introspect", `{"token":"`+ada.access+`"}`); g.json["active"] != false || len(g.json) != 1 {
				t.Errorf("introspection: %s", g.text)
			}
			if got := there.refresh(ada).status == 200; got != tt.wantRefresh {
				t.Errorf("refresh succeeds: %v", got)
			}
		})
	}
}

// TestRevokedUpToATime: a session that began before that time has ended, including tokens that were issued later. A session that
// began later continues.
func TestRevokedUpToATime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	both := newWorld(t).sidecars(2, server.Addr, nil)
	roads := map[string]func(s *sidecar, before time.Time){
		"the loopback API": func(s *sidecar, before time.Time) {
			body := fmt.Sprintf(`{"subject":"ada","issued_before":%q}`, before.UTC().Format(time.RFC3339Nano))
			if g := s.loopback("POST", "/v1/revocations", body); g.status != 200 {
				s.world.t.Errorf("revoking: %d %s", g.status, g.text)
			}
		},
		"the document": func(s *sidecar, before time.Time) {
			s.apply(loginPolicy(func(p *compiled.Policy) {
				onRedis(p, server.Addr)
				p.RevokedTokens = []compiled.RevokedTokens{{
					Name: "r", Kind: compiled.RevokedSubject, Issuer: ownIssuer, Value: "ada", Before: before.Unix(), Expires: time.Now().Add(time.Hour).Unix(),
				}}
			}))
		},
	}
	for name, revoke := range roads {
		t.Run(name, func(t *testing.T) {
			here, there := both[0].in(t), both[1].in(t)
			old := here.login("ada")
			before := time.Now().Truncate(time.Second).Add(time.Second)
			time.Sleep(time.Until(before.Add(100 * time.Millisecond)))
			g := here.refresh(old)
			old, later := tokens{g.field("access_token"), g.field("refresh_token")}, there.login("ada")
			for _, s := range []*sidecar{here, there} {
				if s.use(old).status != 200 || s.use(later).status != 200 {
					t.Fatal("the tokens do not work before the revocation")
				}
			}
			revoke(here, before)
			for _, s := range []*sidecar{here, there} {
				redistest.Eventually(t, "the token to be refused", func() bool { return s.use(old).code() == "token-revoked" })
				if g := s.use(later); g.status != 200 {
					t.Errorf("a later session: %d %s", g.status, g.text)
				}
			}
			if g := there.refresh(old); g.status != 400 {
				t.Errorf("a refresh: %d %s", g.status, g.text)
			}
		})
	}
}

// TestAHundredLogins logs in at three sidecars concurrently. The cap holds exactly, and displaced sessions are refused
// everywhere.
func TestAHundredLogins(t *testing.T) {
	t.Parallel()
	const logins, maximum = 100, 3
	w := newWorld(t)
	for _, full := range []string{"EvictOldest", "Reject"} {
		t.Run(full, func(t *testing.T) {
			w := w.in(t)
			server := redistest.Start(t, redistest.Options{})
			three := w.sidecars(3, server.Addr, func(p *compiled.Policy) { p.Sessions.MaxPerSubject, p.Sessions.WhenFull = maximum, full })
			var mu sync.Mutex
			var begun []tokens
			statuses := map[int]int{}
			var wg sync.WaitGroup
			for i := range logins {
				wg.Go(func() {
					g, err := three[i%3].try(sent{method: "POST", path: "/login?as=ada"})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					statuses[g.status]++
					if g.status == 200 {
						begun = append(begun, tokens{g.field("access_token"), g.field("refresh_token")})
					}
				})
			}
			wg.Wait()
			if full == "Reject" && (statuses[200] != maximum || statuses[409] != logins-maximum) || full == "EvictOldest" && statuses[200] != logins {
				t.Errorf("statuses %v", statuses)
			}
			for i, s := range three {
				redistest.Eventually(t, "exactly the maximum number of sessions", func() bool {
					alive := 0
					for _, tokens := range begun {
						if s.use(tokens).status == 200 {
							alive++
						}
					}
					if alive < maximum {
						t.Fatalf("sidecar %d lets %d sessions pass", i, alive)
					}
					return alive == maximum
				})
			}
		})
	}
}

// TestRefreshRaces: one token, used repeatedly at two sidecars at once, gets one successor and does not count as stolen.
func TestRefreshRaces(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	two := w.sidecars(2, server.Addr, nil)
	current := two[0].login("ada")
	for range 5 {
		var mu sync.Mutex
		successors := map[string]bool{}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				h, body := form("refresh_token", current.refresh)
				g, err := two[i%2].try(sent{method: "POST", path: "/auth/refresh", header: h, body: body})
				if err != nil || g.status != 200 {
					t.Errorf("%d %s, %v", g.status, g.text, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				successors[g.field("refresh_token")] = true
			})
		}
		wg.Wait()
		if len(successors) != 1 {
			t.Fatalf("%d successors", len(successors))
		}
		for refresh := range successors {
			current.refresh = refresh
		}
	}
}

// TestNamespacesAreIsolated: revocations and logins of one namespace have no effect in another, although they share Redis and trust
// the same issuer. Two policies of one namespace share revocations, but no sessions.
func TestNamespacesAreIsolated(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, i := newWorld(t), newIssuer(t)
	start := func(namespace, name string) *sidecar {
		return w.sidecars(1, server.Addr, func(p *compiled.Policy) {
			p.Namespace, p.Name, p.Providers = namespace, name, policy(i).Providers
		})[0]
	}
	orders, invoices, stranger := start("shop", "orders"), start("shop", "invoices"), start("mallory", "orders")
	ada, paul := orders.login("ada"), tokens{access: i.token(t, "paul")}
	for name, body := range map[string]string{"their tokens": `{"subject":"ada"}`, "a provider's": `{"subject":"paul"}`, "by issuer": `{"subject":"ada","issuer":"` + ownIssuer + `"}`} {
		if g := stranger.loopback("POST", "/v1/revocations", body); g.status != 200 {
			t.Errorf("%s: %d %s", name, g.status, g.text)
		}
	}
	if g := stranger.loopback("DELETE", "/v1/sessions/"+sid(t, ada.access), ""); g.status != 404 {
		t.Errorf("ending a session of another namespace: %d", g.status)
	}
	redistest.Eventually(t, "the revocation to apply in its own namespace", func() bool { return stranger.use(paul).status == 401 })
	for who, tokens := range map[string]tokens{"ada": ada, "paul": paul} {
		if g := orders.use(tokens); g.status != 200 {
			t.Errorf("%s: %d %s", who, g.status, g.text)
		}
	}
	if list, _ := stranger.loopback("GET", "/v1/subjects/ada/sessions", "").json["sessions"].([]any); len(list) != 0 {
		t.Errorf("another namespace sees %d sessions", len(list))
	}
	if g := stranger.use(ada); g.status != 401 {
		t.Errorf("a token of another namespace's session: %d %s", g.status, g.text)
	}
	if g := invoices.loopback("POST", "/v1/revocations", `{"subject":"paul"}`); g.status != 200 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the revocation to apply in the other policy", func() bool { return orders.use(paul).status == 401 })
}

// TestACluster stops one node. Policies whose sessions and revocations are on other nodes are not affected.
func TestACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, "s3cret")
	lost := cluster.Nodes[0]
	// namespace returns a namespace whose sessions and revocations are, or are not, on the lost node.
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
		t.Fatal("no such namespace found")
		return ""
	}
	tests := map[string]struct {
		sessions, revocations bool
		// want are the responses to a login, a use, a refresh and a logout without the node.
		want [4]string
	}{
		"neither":         {want: [4]string{"200", "200", "200", "204"}},
		"the sessions":    {sessions: true, want: [4]string{"503 tokens-unavailable", "200", "503 temporarily_unavailable", "503 tokens-unavailable"}},
		"the revocations": {revocations: true, want: [4]string{"503 tokens-unavailable", "503 revocation-unavailable", "503 temporarily_unavailable", "503 revocation-unavailable"}},
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
			redistest.Eventually(t, "the loss to be noticed, or the rest of the cluster to be found again", func() bool {
				return asks[0]().word() == tt.want[0] && asks[1]().word() == tt.want[1]
			})
			for i, ask := range asks {
				if got := ask().word(); got != tt.want[i] {
					t.Errorf("request %d: %s; want %s", i+1, got, tt.want[i])
				}
			}
		})
	}
}
