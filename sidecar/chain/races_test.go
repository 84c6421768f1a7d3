package chain

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// rounds is the number of runs of each race. It is large enough for both sides to win sometimes.
const rounds = 24

// race is an action during a refresh with the current token at two sidecars.
type race struct {
	change func(*compiled.Policy)
	// against is the action. It gets the tokens of the login, which were replaced, and the current ones.
	against func(all []*sidecar, replaced, current tokens) got
	// wantRefused means that against gets invalid_grant, because its token counts as stolen.
	wantRefused bool
	// wantOn means that the session continues; otherwise none of its tokens works. wantLeft is the number of the user's
	// sessions.
	wantOn   bool
	wantLeft int
}

func races() map[string]race {
	noGrace := func(p *compiled.Policy) { p.Tokens.RefreshGrace = 0 }
	last := func(all []*sidecar) *sidecar { return all[len(all)-1] }
	out := map[string]race{
		"an old token": {change: noGrace, wantRefused: true, against: func(all []*sidecar, replaced, _ tokens) got { return last(all).refresh(replaced) }},
		"an old token, within grace": {wantOn: true, wantLeft: 1, against: func(all []*sidecar, replaced, _ tokens) got {
			return last(all).refresh(replaced)
		}},
		"a login at the cap": {
			change: func(p *compiled.Policy) { p.Sessions.MaxPerSubject = 1 }, wantLeft: 1,
			against: func(all []*sidecar, _, current tokens) got {
				return last(all).send(sent{method: "POST", path: "/login?as=" + claim(all[0].world.t, current.access, "sub")})
			},
		},
		"a login with the session's token": {wantLeft: 1, against: func(all []*sidecar, _, current tokens) got {
			return last(all).send(sent{method: "POST", path: "/login?as=" + claim(all[0].world.t, current.access, "sub"), bearer: current.access})
		}},
		"a document that revokes it": {against: func(all []*sidecar, _, current tokens) got {
			for _, s := range all {
				p := *s.snapshot.Load().policy
				p.RevokedTokens = []compiled.RevokedTokens{{
					Name: "r", Kind: compiled.RevokedSession, Issuer: ownIssuer, Value: sid(s.world.t, current.access), Expires: time.Now().Add(time.Hour).Unix(),
				}}
				s.apply(&p)
			}
			return got{status: 204}
		}},
	}
	for name := range endings(nil) {
		out[name] = race{against: func(all []*sidecar, _, current tokens) got { return endings(last(all))[name](current) }}
	}
	return out
}

// TestRacesOfARefresh: whichever side wins, an ended session has no working token, and a session that continues has one line of
// refresh tokens.
func TestRacesOfARefresh(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	for store, addr := range map[string]string{"redis": server.Addr, "memory": ""} {
		for name, race := range races() {
			t.Run(name+" in "+store, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				change := func(p *compiled.Policy) {
					p.Name = strings.ReplaceAll(name, " ", "-") // for sessions of its own
					if race.change != nil {
						race.change(p)
					}
				}
				all := []*sidecar{}
				if addr == "" { // one process has them all
					all = append(all, w.sidecar(loginPolicy(change)).ready())
				} else {
					all = w.sidecars(2, addr, change)
				}
				for n := range rounds {
					// A subject that one race revokes is revoked in the whole namespace.
					if race.run(t, all, fmt.Sprint("ada-of-", strings.ReplaceAll(name, " ", "-"), n), lead(n)); t.Failed() {
						t.Fatalf("in round %d", n)
					}
				}
			})
		}
	}
}

// lead is the head start of the refresh in the nth round, or of the other side if it is negative. Without it the faster side
// would win every time.
func lead(n int) time.Duration { return time.Duration(n%12-4) * 300 * time.Microsecond }

// run runs one race.
func (r race) run(t *testing.T, all []*sidecar, subject string, lead time.Duration) {
	t.Helper()
	replaced := all[0].login(subject)
	g := all[0].refresh(replaced)
	current := tokens{g.field("access_token"), g.field("refresh_token")}
	if g.status != 200 {
		t.Fatalf("refreshing before: %d %s", g.status, g.text)
	}
	f := &family{tokens: []tokens{replaced, current}}
	start := make(chan struct{})
	var wg sync.WaitGroup
	var against got
	wg.Go(func() {
		<-start
		time.Sleep(lead)
		against = r.against(all, replaced, current)
	})
	for _, s := range []*sidecar{all[0], all[len(all)-1]} {
		wg.Go(func() {
			<-start
			time.Sleep(-lead)
			g := s.refresh(current)
			for n := 0; g.status == 503 && n < 20; n++ { // a slow machine: the client is told to try again with the same token
				time.Sleep(50 * time.Millisecond)
				g = s.refresh(current)
			}
			f.add(t, g)
		})
	}
	close(start)
	wg.Wait()
	// If the refresh knows of the revocation and ends the session first, DELETE finds none.
	ended := against.status <= 299 || against.word() == "404 no-session"
	if r.wantRefused && against.word() != "400 invalid_grant" || !r.wantRefused && !ended {
		t.Errorf("the action: %d %s", against.status, against.text)
	}
	if r.wantOn {
		f.add(t, against)
		f.isOneLine(t, all)
	} else {
		f.hasEnded(t, all)
	}
	if r.wantLeft == 1 && !r.wantOn {
		if g := all[0].use(tokens{access: against.field("access_token")}); g.status != 200 {
			t.Errorf("the other session: %d %s", g.status, g.text)
		}
	}
	redistest.Eventually(t, "the remaining sessions", func() bool {
		g := all[0].loopback("GET", "/v1/subjects/"+subject+"/sessions", "")
		list, ok := g.json["sessions"].([]any)
		return ok && len(list) == r.wantLeft
	})
}

// family holds all tokens that were issued for a session.
type family struct {
	mu     sync.Mutex
	tokens []tokens
}

// add adds the tokens of a refresh, if there are any.
func (f *family) add(t *testing.T, g got) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.status == 200 {
		f.tokens = append(f.tokens, tokens{g.field("access_token"), g.field("refresh_token")})
	} else if g.word() != "400 invalid_grant" {
		t.Errorf("refreshing: %d %s", g.status, g.text)
	}
}

// hasEnded checks that no token works on any sidecar, also after all were tried.
func (f *family) hasEnded(t *testing.T, all []*sidecar) {
	t.Helper()
	for i, tok := range f.tokens {
		for _, s := range all {
			if g := s.refresh(tok); g.word() != "400 invalid_grant" {
				t.Errorf("refresh token %d of %d: %d %s", i+1, len(f.tokens), g.status, g.text)
			}
			redistest.Eventually(t, "the access tokens to be refused", func() bool { return s.use(tok).status == 401 })
		}
	}
	for i, tok := range f.tokens {
		if g := all[0].use(tok); g.status != 401 {
			t.Errorf("access token %d afterwards: %d", i+1, g.status)
		}
	}
}

// isOneLine checks that, within grace, every token leads to the same one.
func (f *family) isOneLine(t *testing.T, all []*sidecar) {
	t.Helper()
	ends := map[string]bool{}
	for range 2 { // the current token may be among them and be replaced in the first turn
		clear(ends)
		for i, tok := range f.tokens {
			g := all[i%len(all)].refresh(tok)
			if g.status != 200 {
				t.Fatalf("refresh token %d of %d: %d %s", i+1, len(f.tokens), g.status, g.text)
			}
			ends[g.field("refresh_token")] = true
		}
	}
	if len(ends) != 1 {
		t.Errorf("the session has %d current refresh tokens", len(ends))
	}
}
