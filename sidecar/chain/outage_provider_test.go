package chain

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// The kinds of external sessions in docs/outages.md, "the same, with sessions.subjectFrom": cached, only in Redis, new, and
// revoked by the id of the session.
const (
	heldSeen    = "held, seen"
	heldUnseen  = "held, not seen"
	heldNew     = "held, new"
	heldRevoked = "held, revoked"
	heldList    = "held, sessions"
	heldEnd     = "held, logout-all"
	heldLogout  = "held, logout"
)

func heldKinds() []string {
	return []string{heldSeen, heldUnseen, heldRevoked, heldList, heldLogout, heldNew, heldEnd}
}

func heldHealthy() map[string]string {
	return map[string]string{
		heldSeen: "200", heldUnseen: "200", heldNew: "200", heldRevoked: "401 token-revoked", heldList: "200", heldEnd: "204",
		heldLogout: "204",
	}
}

// held returns a token of one of the provider's sessions.
func (d *stand) held(kind string) tokens {
	return tokens{access: d.issuer.claims(d.t, "JWT", jwt.MapClaims{"sub": "paul", "sid": kind, "jti": kind})}
}

// hold gives both sidecars sessions for the provider's tokens. The other sidecar has seen the sessions that existed before.
func hold(o outage) outage {
	change := o.all
	o.all = func(p *compiled.Policy) {
		p.Sessions.SubjectFrom = "sid"
		if change != nil {
			change(p)
		}
	}
	start := o.start
	o.start = func(d *stand) {
		for _, kind := range []string{heldSeen, heldUnseen, heldRevoked, heldLogout} {
			if g := d.other.use(d.held(kind)); g.status != 200 {
				d.t.Fatalf("%s before: %d %s", kind, g.status, g.text)
			}
		}
		body := `{"issuer":"https://id.example.com","session_id":"` + heldRevoked + `"}`
		if g := d.other.loopback("POST", "/v1/revocations", body); g.status != 200 {
			d.t.Fatalf("revoking: %d %s", g.status, g.text)
		}
		if start != nil {
			start(d)
		}
	}
	return o
}

// heldWord sends a request of one kind and returns the word of the response.
func (d *stand) heldWord(kind string) string {
	d.t.Helper()
	requests := map[string]sent{
		heldList:   {method: "GET", path: "/auth/sessions", bearer: d.held(heldSeen).access},
		heldLogout: {method: "POST", path: "/auth/logout", bearer: d.held(heldLogout).access},
		heldEnd:    {method: "POST", path: "/auth/logout-all", bearer: d.held(heldSeen).access},
	}
	r, ok := requests[kind]
	if !ok {
		r = sent{method: "GET", path: "/orders", bearer: d.held(kind).access}
	}
	g := d.s.send(r)
	if g.status == 503 && g.header.Get("Retry-After") == "" {
		d.t.Errorf("%s: 503 without Retry-After: %s", kind, g.text)
	}
	return g.word()
}

// TestOutagesOfProvidersSessions covers the rows of docs/outages.md about sessions.subjectFrom.
func TestOutagesOfProvidersSessions(t *testing.T) {
	t.Parallel()
	const unasked, stale, unavailable = "503 session-unavailable", "503 revocation-unavailable", "503 tokens-unavailable"
	within := map[string]string{heldUnseen: unasked, heldNew: unasked, heldList: unavailable, heldEnd: unavailable, heldLogout: unavailable}
	longer := map[string]string{heldSeen: stale, heldUnseen: stale, heldNew: stale, heldList: stale, heldEnd: stale, heldLogout: stale}
	allowed := map[string]string{heldList: unavailable, heldEnd: unavailable, heldLogout: unavailable}
	refused, refusedAllowed := map[string]string{heldNew: unasked, heldEnd: unavailable, heldLogout: unavailable}, map[string]string{heldEnd: unavailable, heldLogout: unavailable}
	tests := map[string]struct{ differs, differsAllow map[string]string }{
		"nothing":                            {},
		"Redis refuses, within maxStaleness": {differs: within, differsAllow: allowed},
		"Redis hangs, within maxStaleness":   {differs: within, differsAllow: allowed},
		"Redis hangs, for longer":            {differs: longer, differsAllow: allowed},
		"Redis is back":                      {},
		"Redis is full":                      {differs: refused, differsAllow: refusedAllowed},
		"Redis cannot save":                  {differs: refused, differsAllow: refusedAllowed},
		"200 ms to Redis, timeout 1s":        {},
	}
	for name, tt := range tests {
		for onFailure, differs := range map[compiled.FailureMode]map[string]string{compiled.Deny: tt.differs, compiled.Allow: tt.differsAllow} {
			t.Run(name+", onFailure "+string(onFailure), func(t *testing.T) {
				t.Parallel()
				o := hold(outages()[name])
				d := newStand(t, o, onFailure)
				for _, kind := range []string{heldSeen, heldLogout} {
					redistest.Eventually(t, "the session to be seen", func() bool { return d.s.use(d.held(kind)).status == 200 })
				}
				if o.happens != nil {
					o.happens(d)
				}
				want := but(heldHealthy(), differs)
				for _, kind := range heldKinds() {
					if got := d.heldWord(kind); got != want[kind] {
						t.Errorf("%-16s %s; want %s", kind, got, want[kind])
					}
				}
			})
		}
	}
}

// TestFlushRestartsExternalSessions: also ended sessions start again, except for tokens that are known to be revoked.
func TestFlushRestartsExternalSessions(t *testing.T) {
	t.Parallel()
	d := newStand(t, hold(outage{}), compiled.Deny)
	ended := tokens{access: d.issuer.claims(t, "JWT", jwt.MapClaims{"sub": "quentin", "sid": "ended"})}
	d.s.use(ended)
	if g := d.s.send(sent{method: "POST", path: "/auth/logout-all", bearer: ended.access}); g.status != 204 {
		t.Fatalf("ending a session: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the session to end", func() bool { return d.s.use(ended).word() == "401 session-ended" })
	d.redis.Do("FLUSHALL")
	redistest.Eventually(t, "the ended session to start again", func() bool { return d.s.use(ended).status == 200 })
	for _, kind := range heldKinds() {
		if got, want := d.heldWord(kind), heldHealthy()[kind]; got != want {
			t.Errorf("%-16s %s; want %s", kind, got, want)
		}
	}
}

// TestExternalTokensNeedNoRedis: a policy with neither revocation nor tokens does not need Redis.
func TestExternalTokensNeedNoRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(providerPolicy(i, func(p *compiled.Policy) {
		onRedis(p, server.Addr)
		p.Providers[0].BackChannelLogout = nil // which would need revocation
	}))
	server.Stop()
	time.Sleep(time.Second) // longer than any staleness
	if g := s.use(tokens{access: i.token(t, "paul")}); g.status != 200 {
		t.Errorf("%d %s", g.status, g.text)
	}
}
