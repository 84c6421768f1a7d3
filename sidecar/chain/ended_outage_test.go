package chain

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// endHeld has a person at the provider begin a session, and end it, so that every sidecar knows.
func (d *stand) endHeld() tokens {
	d.t.Helper()
	ended := tokens{access: d.issuer.claims(d.t, "JWT", jwt.MapClaims{"sub": "quentin", "sid": "ended"})}
	d.s.use(ended)
	if g := d.s.send(sent{method: "POST", path: "/auth/logout-all", bearer: ended.access}); g.status != 204 {
		d.t.Fatalf("ending a session: %d %s", g.status, g.text)
	}
	redistest.Eventually(d.t, "its end", func() bool { return d.s.use(ended).word() == "401 session-ended" })
	return ended
}

// untilAskedAgain waits until a sidecar asks the store about every session.
func untilAskedAgain() { time.Sleep(session.DefaultCacheFor + 200*time.Millisecond) }

// TestWhatHasEndedStaysEnded: a provider's session that somebody ended does not come back for want of Redis, whatever onFailure
// says.
func TestWhatHasEndedStaysEnded(t *testing.T) {
	t.Parallel()
	outages := map[string]func(testing.TB, *redistest.Server){
		"full": fill, "cannot save": failToSave, "away": func(_ testing.TB, s *redistest.Server) { s.Stop() },
	}
	for _, onFailure := range []compiled.FailureMode{compiled.Deny, compiled.Allow} {
		for name, begin := range outages {
			t.Run(name+", "+string(onFailure), func(t *testing.T) {
				t.Parallel()
				d := newStand(t, hold(outage{all: shortIdle, before: longStaleness}), onFailure)
				ended := d.endHeld()
				begin(t, d.redis)
				untilAskedAgain()
				if got := d.s.use(ended).word(); got != "401 session-ended" {
					t.Errorf("a session that was ended: %s", got)
				}
			})
		}
	}
}

// TestListingInAFullRedis: sessions are listed although those among them that have idled out cannot be put away.
func TestListingInAFullRedis(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(testing.TB, *redistest.Server){"full": fill, "cannot save": failToSave} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, i := redistest.Start(t, redistest.Options{}), newIssuer(t)
			document := func(idle time.Duration) *compiled.Policy {
				return loginPolicy(func(p *compiled.Policy) {
					onRedis(p, server.Addr)
					p.Providers, p.Sessions.SubjectFrom = policy(i).Providers, "sid"
					p.Sessions.IdleTimeout = compiled.Duration(idle)
				})
			}
			s := newWorld(t).sidecar(document(time.Second)).ready()
			of := func(sid string) tokens {
				return tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "sid": sid})}
			}
			s.login("ada")
			s.use(of("idle"))
			time.Sleep(1100 * time.Millisecond)
			s.apply(document(time.Hour))
			own, held := s.login("ada"), of("held")
			s.use(held)
			refuse(t, server)
			for whose, tok := range map[string]tokens{"our own": own, "the provider's": held} {
				g := s.send(sent{method: "GET", path: "/auth/sessions", bearer: tok.access})
				if list, _ := g.json["sessions"].([]any); g.status != 200 || len(list) != 1 {
					t.Errorf("%s: %d %s", whose, g.status, g.text)
				}
			}
		})
	}
}

// TestARedisWithoutReplicasLogsNobodyOut: a Redis that takes no writes for want of replicas is as one that is full.
func TestARedisWithoutReplicasLogsNobodyOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := newWorld(t).sidecars(1, server.Addr, shortIdle)[0]
	ada := s.login("ada")
	s.use(ada)
	server.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	time.Sleep(session.Coalesce(time.Minute, idle) + 200*time.Millisecond)
	if g := s.use(ada); g.status != 200 {
		t.Errorf("%d %s", g.status, g.text)
	}
}
