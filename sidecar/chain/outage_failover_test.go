package chain

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// failover is a Redis that loses its latest writes, as when a replica without them becomes master.
type failover struct {
	t      *testing.T
	world  *world
	server *redistest.Server
	here   *sidecar
	there  *sidecar
	events *prometheus.Registry // the metrics of here
}

func newFailover(t *testing.T) *failover {
	t.Helper()
	f := &failover{t: t, world: newWorld(t), server: redistest.Start(t, redistest.Options{}), events: prometheus.NewRegistry()}
	counted := *f.world
	counted.registry = f.events
	f.here, f.there = counted.sidecars(1, f.server.Addr, limited)[0], f.world.sidecars(1, f.server.Addr, limited)[0]
	return f
}

// limited allows two requests per hour on one route.
func limited(p *compiled.Policy) {
	p.RateLimits = []compiled.RateLimit{{
		Name: "few", Match: []compiled.Match{{Paths: []string{"/public/few"}}}, Limit: 2, Burst: 2, Period: compiled.Duration(time.Hour),
		KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}}, Mode: compiled.Enforce, OnFailure: compiled.Deny,
	}}
}

// losing runs change and then undoes all its writes.
func (f *failover) losing(change func()) {
	f.t.Helper()
	ctx, client := context.Background(), f.server.Client()
	defer client.Close()
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	dumps, ttls := map[string]string{}, map[string]time.Duration{}
	for _, key := range keys {
		dumps[key] = client.Dump(ctx, key).Val()
		ttls[key] = max(0, client.PTTL(ctx, key).Val())
	}
	change()
	if _, err := client.TxPipelined(ctx, func(tx goredis.Pipeliner) error {
		tx.FlushAll(ctx)
		for key, dump := range dumps {
			tx.Restore(ctx, key, ttls[key], dump)
		}
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
}

// caughtUp waits until both sidecars follow the revocations of the new master.
func (f *failover) caughtUp() {
	f.t.Helper()
	for _, s := range []*sidecar{f.here, f.there} {
		bob := s.login("bob")
		if g := s.loopback("POST", "/v1/revocations", `{"token_id":"`+claim(f.t, bob.access, "jti")+`"}`); g.status != 200 {
			f.t.Fatalf("revoking: %d %s", g.status, g.text)
		}
		for _, other := range []*sidecar{f.here, f.there} {
			redistest.Eventually(f.t, "a revocation after the failover", func() bool { return other.use(bob).word() == "401 token-revoked" })
		}
	}
}

// refreshes returns the number of refreshes at here with an outcome.
func (f *failover) refreshes(outcome string) (n float64) {
	f.t.Helper()
	families, err := f.events.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() == "postern_token_events_total" && labels["event"] == "refresh" && labels["result"] == outcome {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// want compares the word of a response.
func (f *failover) want(what string, g got, want string) {
	f.t.Helper()
	if g.word() != want {
		f.t.Errorf("%s: %d %s; want %s", what, g.status, g.text, want)
	}
}

// TestFailover covers the table of docs/outages.md about what a failover loses.
func TestFailover(t *testing.T) {
	t.Parallel()
	logout := func(s *sidecar, tok tokens) got {
		return s.send(sent{method: "POST", path: "/auth/logout", bearer: tok.access})
	}
	tests := map[string]func(*failover){
		"a login": func(f *failover) {
			var ada tokens
			f.losing(func() { ada = f.here.login("ada") })
			f.want("using its token", f.there.use(ada), "401 session-ended")
			f.want("refreshing it", f.there.refresh(ada), "400 invalid_grant")
			f.want("another login", f.there.use(f.there.login("ada")), "200")
		},
		"a refresh": func(f *failover) {
			ada := f.here.login("ada")
			var next tokens
			f.losing(func() {
				g := f.here.refresh(ada)
				f.want("refreshing before", g, "200")
				next = tokens{g.field("access_token"), g.field("refresh_token")}
			})
			f.want("the token that the new master does not know", f.here.refresh(next), "400 invalid_grant")
			if n := f.refreshes("reused"); n != 1 {
				f.t.Errorf("%v refreshes count as reuse; want 1", n)
			}
			f.want("the previous token", f.here.refresh(ada), "400 invalid_grant")
			for _, tok := range []tokens{ada, next} {
				redistest.Eventually(f.t, "the access tokens to be refused", func() bool { return f.there.use(tok).status == 401 })
			}
		},
		"a logout": func(f *failover) {
			ada := f.here.login("ada")
			f.losing(func() {
				f.want("logging out", logout(f.here, ada), "204")
				redistest.Eventually(f.t, "the logout to reach the other sidecar", func() bool { return f.there.use(ada).word() == "401 token-revoked" })
			})
			f.caughtUp()
			f.want("at the sidecar of the logout", f.here.use(ada), "401 token-revoked")
			f.want("at the other sidecar", f.there.use(ada), "401 token-revoked")
			late := f.world.sidecars(1, f.server.Addr, nil)[0]
			f.want("at a sidecar that starts later", late.use(ada), "200")
			f.want("logging out again", logout(late, ada), "204")
			f.want("afterwards", late.use(ada), "401 token-revoked")
		},
		"an ended session": func(f *failover) {
			ada := f.here.login("ada")
			f.losing(func() {
				f.want("ending it", f.here.loopback("DELETE", "/v1/sessions/"+sid(f.t, ada.access), ""), "204")
			})
			listed := func() int {
				list, _ := f.there.loopback("GET", "/v1/subjects/ada/sessions", "").json["sessions"].([]any)
				return len(list)
			}
			if n := listed(); n != 1 {
				f.t.Errorf("%d sessions after the failover; want 1", n)
			}
			f.want("its token, at the sidecar that knows the revocation", f.here.use(ada), "401 token-revoked")
			f.want("refreshing it at that sidecar", f.here.refresh(ada), "400 invalid_grant")
			if n := f.refreshes("revoked"); n != 1 {
				f.t.Errorf("%v refreshes of a revoked session; want 1", n)
			}
			if n := listed(); n != 0 {
				f.t.Errorf("%d sessions are left", n)
			}
		},
		"a revocation": func(f *failover) {
			ada := f.here.login("ada")
			f.losing(func() {
				f.want("revoking", f.here.loopback("POST", "/v1/revoke", `{"token":"`+ada.access+`"}`), "200")
				redistest.Eventually(f.t, "the revocation to reach the other sidecar", func() bool { return f.there.use(ada).word() == "401 token-revoked" })
			})
			f.caughtUp()
			f.want("at the other sidecar", f.there.use(ada), "401 token-revoked")
			f.want("at a sidecar that starts later", f.world.sidecars(1, f.server.Addr, nil)[0].use(ada), "200")
		},
		"a TokenRevocation in the document": func(f *failover) {
			ada := f.here.login("ada")
			f.losing(func() {})
			late := f.world.sidecars(1, f.server.Addr, func(p *compiled.Policy) {
				p.RevokedTokens = []compiled.RevokedTokens{{
					Name: "r", Kind: compiled.RevokedToken, Issuer: ownIssuer, Value: claim(f.t, ada.access, "jti"), Expires: time.Now().Add(time.Hour).Unix(),
				}}
			})[0]
			f.want("at a sidecar that starts later", late.use(ada), "401 token-revoked")
		},
		"a count": func(f *failover) {
			few := sent{method: "GET", path: "/public/few"}
			f.losing(func() {
				f.want("the first", f.here.send(few), "200")
				f.want("the second", f.there.send(few), "200")
			})
			f.want("the third, on the new master", f.here.send(few), "200")
			f.want("the fourth", f.there.send(few), "200")
			f.want("over the limit on the new master", f.here.send(few), "429 rate-limited")
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newFailover(t))
		})
	}
}
