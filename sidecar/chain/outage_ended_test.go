package chain

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// idle is short enough for a test to wait until a session is written again, and long enough that the session does not expire on
// a busy machine.
const idle = 80 * time.Second

func shortIdle(p *compiled.Policy) { p.Sessions.IdleTimeout = compiled.Duration(idle) }

// untilTouched waits until the sidecar looks up every session again, and has to write its last use.
func (d *stand) untilTouched() {
	time.Sleep(session.Coalesce(time.Minute, idle) + 100*time.Millisecond)
}

// fill uses up the memory of Redis, and makeRoom undoes it.
func fill(_ testing.TB, server *redistest.Server) { server.Do("CONFIG", "SET", "maxmemory", "1") }

func makeRoom(server *redistest.Server) { server.Do("CONFIG", "SET", "maxmemory", "0") }

// failToSave makes Redis refuse writes because it cannot save: its folder is missing. saveNoMore makes it accept writes again.
func failToSave(t testing.TB, server *redistest.Server) {
	t.Helper()
	server.Do("CONFIG", "SET", "save", "3600 1")
	dir, _ := server.Do("CONFIG", "GET", "dir").([]any)
	if len(dir) != 2 {
		t.Fatalf("Redis's folder: %v", dir)
	}
	if err := os.RemoveAll(fmt.Sprint(dir[1])); err != nil {
		t.Fatal(err)
	}
	server.Do("BGSAVE")
	redistest.Eventually(t, "Redis to fail to save", func() bool {
		return strings.Contains(fmt.Sprint(server.Do("INFO", "persistence")), "rdb_last_bgsave_status:err")
	})
}

func saveNoMore(server *redistest.Server) { server.Do("CONFIG", "SET", "save", "") }

// TestRefusedWritesCanBeRetried: if Redis refuses a write, nothing changes, and a retry with the same tokens works.
func TestRefusedWritesCanBeRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuses := map[string]struct {
		begin func(testing.TB, *redistest.Server)
		end   func(*redistest.Server)
	}{
		"full":        {fill, makeRoom},
		"cannot save": {failToSave, saveNoMore},
	}
	for name, redis := range refuses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			s := w.in(t).sidecars(1, server.Addr, nil)[0]
			asks := endings(s)
			asks["refresh"] = func(tok tokens) got { return s.refresh(tok) }
			people := map[string]tokens{}
			for ask := range asks {
				people[ask] = s.login(strings.ReplaceAll("ada of "+ask, " ", "_"))
			}
			redis.begin(t, server)
			for ask, send := range asks {
				if g := send(people[ask]); g.status != 503 {
					t.Errorf("%s while Redis refuses: %d %s", ask, g.status, g.text)
				}
			}
			redis.end(server)
			for ask, send := range asks {
				if g := s.use(people[ask]); g.status != 200 {
					t.Errorf("the token that was refused at %s: %d %s", ask, g.status, g.text)
				}
				if g := send(people[ask]); g.status > 299 {
					t.Errorf("%s later: %d %s", ask, g.status, g.text)
				}
			}
		})
	}
}

// endings are the ways to end an own session by its tokens.
func endings(s *sidecar) map[string]func(tokens) got {
	id := func(tok tokens) string { return sid(s.world.t, tok.access) }
	return map[string]func(tokens) got{
		"logout": func(tok tokens) got { return s.send(sent{method: "POST", path: "/auth/logout", bearer: tok.access}) },
		"logout by refresh": func(tok tokens) got {
			header, body := form("refresh_token", tok.refresh)
			return s.send(sent{method: "POST", path: "/auth/logout", header: header, body: body})
		},
		"logout-all": func(tok tokens) got {
			return s.send(sent{method: "POST", path: "/auth/logout-all", bearer: tok.access})
		},
		"delete": func(tok tokens) got {
			return s.send(sent{method: "DELETE", path: "/auth/sessions/" + id(tok), bearer: tok.access})
		},
		"API delete": func(tok tokens) got { return s.loopback("DELETE", "/v1/sessions/"+id(tok), "") },
		"API delete all": func(tok tokens) got {
			return s.loopback("DELETE", "/v1/subjects/"+claim(s.world.t, tok.access, "sub")+"/sessions", "")
		},
		"API revoke refresh token": func(tok tokens) got { return s.loopback("POST", "/v1/revoke", `{"token":"`+tok.refresh+`"}`) },
		"API revoke session": func(tok tokens) got {
			return s.loopback("POST", "/v1/revocations", `{"session_id":"`+id(tok)+`"}`)
		},
		"API revoke subject": func(tok tokens) got {
			return s.loopback("POST", "/v1/revocations", `{"subject":"`+claim(s.world.t, tok.access, "sub")+`"}`)
		},
	}
}

// endHeld starts and ends an external session, so that every sidecar knows of its end.
func (d *stand) endHeld() tokens {
	d.t.Helper()
	ended := tokens{access: d.issuer.claims(d.t, "JWT", jwt.MapClaims{"sub": "quentin", "sid": "ended"})}
	d.s.use(ended)
	if g := d.s.send(sent{method: "POST", path: "/auth/logout-all", bearer: ended.access}); g.status != 204 {
		d.t.Fatalf("ending a session: %d %s", g.status, g.text)
	}
	redistest.Eventually(d.t, "the session to end", func() bool { return d.s.use(ended).word() == "401 session-ended" })
	return ended
}

// untilAskedAgain waits until a sidecar looks up every session in the store again.
func untilAskedAgain() { time.Sleep(session.DefaultCacheFor + 200*time.Millisecond) }

// TestEndedSessionsStayEnded: an external session that was ended does not come back while Redis is unavailable, with either
// onFailure.
func TestEndedSessionsStayEnded(t *testing.T) {
	t.Parallel()
	outages := map[string]func(testing.TB, *redistest.Server){
		"full": fill, "cannot save": failToSave, "unavailable": func(_ testing.TB, s *redistest.Server) { s.Stop() },
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
					t.Errorf("an ended session: %s", got)
				}
			})
		}
	}
}

// TestListingInAFullRedis: sessions are listed although expired sessions cannot be deleted.
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

// TestARedisWithoutReplicasLogsNobodyOut: a Redis that refuses writes because of missing replicas behaves like a full one.
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
