package chain

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// idle is so short that a test can wait until a session is to be written down again, and long enough for a busy machine not to
// let it idle out meanwhile.
const idle = 80 * time.Second

func shortIdle(p *compiled.Policy) { p.Sessions.IdleTimeout = compiled.Duration(idle) }

// untilTouched waits until the sidecar asks again for every session, and wants to write down that it was seen.
func (d *stand) untilTouched() {
	time.Sleep(session.Coalesce(time.Minute, idle) + 100*time.Millisecond)
}

// fill leaves Redis no memory for anything new, and makeRoom undoes it.
func fill(_ testing.TB, server *redistest.Server) { server.Do("CONFIG", "SET", "maxmemory", "1") }

func makeRoom(server *redistest.Server) { server.Do("CONFIG", "SET", "maxmemory", "0") }

// failToSave has Redis refuse writes because it could not save: its folder has gone. saveNoMore has it take them again.
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
	redistest.Eventually(t, "Redis to have failed to save", func() bool {
		return strings.Contains(fmt.Sprint(server.Do("INFO", "persistence")), "rdb_last_bgsave_status:err")
	})
}

func saveNoMore(server *redistest.Server) { server.Do("CONFIG", "SET", "save", "") }

// TestWhatWasRefusedWorksLater: where Redis took no write nothing has changed, and whoever asks again with the same tokens gets
// what was asked for.
func TestWhatWasRefusedWorksLater(t *testing.T) {
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

// endings are the ways to end a session of our own, by its tokens.
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
