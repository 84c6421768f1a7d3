package chain

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestReloadsLeaveNothingBehind counts goroutines and connections over documents that each change shared resources.
func TestReloadsLeaveNothingBehind(t *testing.T) {
	server := redistest.Start(t, redistest.Options{Password: "s3cret"})
	w := newWorld(t)
	w.writeSecret("redis", "password", []byte("s3cret"))
	i := newIssuer(t)
	document := func(n int) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.Redis.Password = &compiled.SecretRef{Name: "redis", Key: "password"}
			p.Redis.Timeout = compiled.Duration(250*time.Millisecond + time.Duration(n%7)*time.Millisecond)
			p.Tokens.AccessLifetime = compiled.Duration(time.Minute + time.Duration(n%5)*time.Second)
			p.Revocation.MaxStaleness = compiled.Duration(5*time.Second - time.Duration(n%3)*time.Second)
			p.Providers = policy(i).Providers
			p.Providers[0].BackChannelLogout = &compiled.BackChannelLogout{ClientIDs: []string{"orders"}}
			p.Passwords = &compiled.Passwords{Algorithm: "Argon2id", Memory: 19 << 10, Passes: 2, Parallelism: 1}
			if n%4 == 0 {
				p.RevokedTokens = []compiled.RevokedTokens{{Name: "x", Kind: compiled.RevokedSubject, Issuer: ownIssuer, Value: "bob", Before: 1, Expires: time.Now().Add(time.Hour).Unix()}}
			}
			p.Deleted = n%10 == 9
		})
	}
	connections := func() int { return strings.Count(server.Do("CLIENT", "LIST").(string), "\n") }
	baseline := runtime.NumGoroutine()
	s := w.sidecarOf(w.sharedBy(resources.Config{CloseDelay: 10 * time.Millisecond}), document(0)).ready()
	for n := range 200 {
		s.apply(document(n))
		if n%20 == 1 {
			s.use(s.login("ada"))
		}
	}
	s.apply(document(1))
	s.ready()
	// The active connection has a pool, from which the indexes of earlier snapshots took connections.
	const most, mostConnections = 40, 40
	redistest.Eventually(t, "goroutines and connections of replaced snapshots to end", func() bool {
		return runtime.NumGoroutine() <= baseline+most && connections() <= mostConnections
	})
	s.use(s.login("ada"))
	s.snapshot.Load().Close()
	redistest.Eventually(t, "what the last snapshot shared to be closed", func() bool { return s.shared.InUse() == 0 && connections() <= 1 })
}

// TestAFailedBuildReleases: everything acquired is released when the document turns out to be invalid.
func TestAFailedBuildReleases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shared := w.shared()
	for name, change := range map[string]func(*compiled.Policy){
		"late":  func(p *compiled.Policy) { p.Sidecar.AccessLog = "Sometimes" },
		"early": func(p *compiled.Policy) { p.Tokens.RotationOverlap = 1 },
		"mid":   func(p *compiled.Policy) { p.Tokens.Login[0].Paths[0] = "login" },
	} {
		p := loginPolicy(func(p *compiled.Policy) { onRedis(p, "127.0.0.1:1") })
		change(p)
		if _, err := Build(p, Config{Resources: shared, OnlyPort: 80, Logger: w.logger()}); err == nil {
			t.Fatalf("%s: built", name)
		}
		if n := shared.InUse(); n != 0 {
			t.Errorf("%s: %d shared values are still in use", name, n)
		}
	}
}

// TestAReloadKeepsTheKey: a change of tokens while the key cannot be read logs no user out.
func TestAReloadKeepsTheKey(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(nil)).ready()
	ada := s.login("ada")
	if err := os.Remove(filepath.Join(w.secrets, "signing", "key.pem")); err != nil {
		t.Fatal(err)
	}
	s.apply(loginPolicy(func(p *compiled.Policy) { p.Tokens.AccessLifetime = compiled.Duration(time.Minute) }))
	if g := s.use(ada); g.status != 200 {
		t.Errorf("a token from before the reload: %d %s", g.status, g.text)
	}
	s.use(s.login("bob"))
	if s.shared.Unready() != "" {
		t.Errorf("unready: %s", s.shared.Unready())
	}
}

// TestAReloadKeepsWhatIsRevoked: a longer maxStaleness, set because Redis is unavailable, does not make the sidecar forget the
// revocations that it has loaded.
func TestAReloadKeepsWhatIsRevoked(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, i := newWorld(t), newIssuer(t)
	document := func(staleness time.Duration) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.Providers = policy(i).Providers
			p.Revocation.MaxStaleness, p.Revocation.OnFailure = compiled.Duration(staleness), compiled.Allow
		})
	}
	s := w.sidecar(document(5 * time.Second)).ready()
	good, bad := tokens{access: i.token(t, "ada")}, tokens{access: i.token(t, "mallory")}
	if g := s.loopback("POST", "/v1/revocations", `{"subject":"mallory"}`); g.status != 200 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the revocation to apply", func() bool { return s.use(bad).status == 401 })
	server.Stop()
	s.apply(document(time.Hour))
	s.apply(document(2 * time.Second))
	other := document(2 * time.Second)
	other.Redis.Addresses = []string{"127.0.0.1:1"} // and looks for another Redis
	s.apply(other)
	if g := s.use(bad); g.status != 401 || g.code() != "token-revoked" {
		t.Errorf("the revoked token: %d %s", g.status, g.text)
	}
	if g := s.use(good); g.status != 200 {
		t.Errorf("another token: %d %s", g.status, g.text)
	}
}

// TestAReloadKeepsSessions: without Redis the process keeps the sessions.
func TestAReloadKeepsSessions(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(nil)).ready()
	ada, bob := s.login("ada"), s.login("bob")
	if g := s.send(sent{method: "POST", path: "/auth/logout", bearer: bob.access}); g.status != 204 {
		t.Fatalf("logging out: %d", g.status)
	}
	s.apply(loginPolicy(func(p *compiled.Policy) { p.Headers = &compiled.Headers{Preset: "Strict"} }))
	if g := s.use(ada); g.status != 200 {
		t.Errorf("a session from before the reload: %d %s", g.status, g.text)
	}
	if g := s.refresh(ada); g.status != 200 {
		t.Errorf("refreshing it: %d %s", g.status, g.text)
	}
	if g := s.use(bob); g.status != 401 {
		t.Errorf("an ended session: %d", g.status)
	}
}

// idlingAfter returns a document with that idle timeout. Sessions are in the server at addr, or in memory if addr is empty.
func idlingAfter(idle time.Duration, addr string) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		if addr != "" {
			onRedis(p, addr)
		}
		p.Sessions.IdleTimeout = compiled.Duration(idle)
	})
}

// TestAReloadShortensSessions: a shorter timeout applies to existing sessions.
func TestAReloadShortensSessions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	for store, addr := range map[string]string{"redis": server.Addr, "memory": ""} {
		t.Run(store, func(t *testing.T) {
			s := newWorld(t).sidecar(idlingAfter(time.Hour, addr)).ready()
			ada := s.login("ada")
			s.apply(idlingAfter(time.Second, addr))
			time.Sleep(1100 * time.Millisecond)
			if g := s.use(ada); g.status != 401 || g.code() != "session-ended" {
				t.Errorf("after the shorter timeout: %d %s", g.status, g.text)
			}
			if g := s.refresh(ada); g.status != 400 {
				t.Errorf("a refresh: %d %s", g.status, g.text)
			}
		})
	}
}

// TestLoginsDuringReloads: a login works if its snapshot is replaced while the app handles it.
func TestLoginsDuringReloads(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	document := func(n int) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.Redis.Timeout = compiled.Duration(time.Second + time.Duration(n)*time.Millisecond)
			p.Sessions.MaxPerSubject = 200
		})
	}
	s := w.sidecar(document(0)).ready()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if g := s.use(s.login("ada")); g.status != 200 {
					t.Errorf("using a token: %d %s", g.status, g.text)
				}
			}
		})
	}
	for n := range 30 {
		s.apply(document(n % 2))
	}
	close(done)
	wg.Wait()
}

// TestUnactivatedSnapshotChangesNothing: a snapshot that is built and not activated, for example because a port is in use,
// ends no session and no stream, and shortens no timeout.
func TestUnactivatedSnapshotChangesNothing(t *testing.T) {
	t.Parallel()
	s := newWorld(t).sidecar(loginPolicy(nil)).ready()
	ada := s.login("ada")
	stream := s.stream(ada)
	refused, err := Build(loginPolicy(func(p *compiled.Policy) {
		p.Sessions.IdleTimeout = compiled.Duration(time.Second)
		p.RevokedTokens = []compiled.RevokedTokens{
			{Name: "t", Kind: compiled.RevokedToken, Issuer: ownIssuer, Value: claim(t, ada.access, "jti"), Expires: time.Now().Add(time.Hour).Unix()},
			{Name: "s", Kind: compiled.RevokedSubject, Issuer: ownIssuer, Value: "ada", Before: time.Now().Unix() + 5, Expires: time.Now().Add(time.Hour).Unix()},
		}
	}), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-stream:
		t.Error("the stream has ended")
	case <-time.After(2500 * time.Millisecond): // two checks, and more than the shorter timeout
	}
	refused.Close()
	if g := s.use(ada); g.status != 200 {
		t.Errorf("using it: %d %s", g.status, g.text)
	}
	if g := s.refresh(ada); g.status != 200 {
		t.Errorf("refreshing it: %d %s", g.status, g.text)
	}
}

// TestStreamsOfShadowEndUnderEnforce: streams that passed in shadow mode are checked once the rule is enforced.
func TestStreamsOfShadowEndUnderEnforce(t *testing.T) {
	t.Parallel()
	document := func(mode compiled.Mode) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) { p.Revocation.Mode = mode })
	}
	s := newWorld(t).sidecar(document(compiled.Shadow)).ready()
	ada := s.login("ada")
	stream := s.stream(ada)
	s.apply(document(compiled.Enforce))
	s.logout(ada)
	wantEnd(t, "the logout", stream)
}

// TestIdledOutSessionsStayEnded: after a timeout was shortened and lengthened again, a session that it ended stays ended, or is listed
// and can be ended. A session that is not listed does not work.
func TestIdledOutSessionsStayEnded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	for store, addr := range map[string]string{"redis": server.Addr, "memory": ""} {
		t.Run(store, func(t *testing.T) {
			s := newWorld(t).sidecar(idlingAfter(time.Hour, addr)).ready()
			ada := s.login("ada")
			s.apply(idlingAfter(time.Second, addr))
			time.Sleep(1100 * time.Millisecond)
			s.loopback("GET", "/v1/subjects/ada/sessions", "")
			s.apply(idlingAfter(time.Hour, addr))
			if g := s.loopback("DELETE", "/v1/subjects/ada/sessions", ""); g.status != 200 {
				t.Fatalf("ending all: %d %s", g.status, g.text)
			}
			if use, refresh := s.use(ada), s.refresh(ada); use.status != 401 || refresh.status != 400 {
				t.Errorf("after all were ended: %d, and a refresh %d", use.status, refresh.status)
			}
		})
	}
}
