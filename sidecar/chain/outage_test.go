package chain

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// waitLimit is the maximum time a client waits for a response while a dependency is unavailable: three round trips to Redis,
// with a margin for a machine that is busy with other tests.
const waitLimit = 5 * time.Second

// The kinds of routes, with the names of docs/outages.md.
const (
	public      = "public"
	noToken     = "no token"
	seen        = "token, seen"
	unseen      = "token, not seen"
	provided    = "provider's token"
	revoked     = "revoked by the API"
	revokedHere = "revoked by document"
	login       = "login"
	refresh     = "refresh"
	logout      = "logout"
	logoutAll   = "logout-all"
	sessions    = "sessions"
	endOne      = "DELETE a session"
	keySet      = "jwks.json"
	discovery   = "discovery"
	backChannel = "back-channel"
	limitAllow  = "limit, Allow"
	limitDeny   = "limit, Deny"
	placeAllow  = "in flight, Allow"
	placeDeny   = "in flight, Deny"
	apiIssue    = "API: issue"
	apiCheck    = "API: introspect"
	apiRevoke   = "API: revoke"
	apiList     = "API: list"
	apiEndOne   = "API: end one"
	apiEndAll   = "API: end all"
	apiHash     = "API: hash"
)

func kinds() []string {
	return []string{
		public, noToken, seen, unseen, provided, revoked, revokedHere, limitAllow, limitDeny, placeAllow, placeDeny, keySet, discovery, apiHash, apiCheck, sessions, apiList, // these change nothing
		login, refresh, backChannel, apiIssue, apiRevoke, logout, logoutAll, endOne, apiEndOne, apiEndAll,
	}
}

// outage is one unavailable dependency, with the expected response of each kind of route: a status, with the problem code or the
// OAuth error.
type outage struct {
	// all changes the policy of every sidecar. before changes only the policy of the sidecar under test. start runs before that
	// sidecar starts, and happens after the logins.
	all     func(*compiled.Policy)
	before  func(*compiled.Policy)
	start   func(*stand)
	happens func(*stand)
	want    map[string]string
	// wantAllow are the changes with onFailure Allow of revocation and sessions; nil for none.
	wantAllow map[string]string
	// wantUnready means that the sidecar, which has just started, is not ready.
	wantUnready bool
}

// stand is a sidecar with the dependencies that an outage can make unavailable.
type stand struct {
	t      *testing.T
	world  *world
	redis  *redistest.Server
	addr   string
	issuer issuer
	// other is the sidecar at which users logged in. s is the sidecar under test.
	other, s *sidecar
	// Tokens of users who logged in before the outage.
	seen, unseen, used, dave, erin, fred tokens
}

// healthy returns the response of each kind without an outage.
func healthy() map[string]string {
	return map[string]string{
		public: "200", noToken: "401 no-credentials", seen: "200", unseen: "200", provided: "200", login: "200", refresh: "200", logout: "204",
		revoked: "401 token-revoked", revokedHere: "401 token-revoked",
		logoutAll: "204", sessions: "200", keySet: "200", discovery: "200", backChannel: "200", limitAllow: "200", limitDeny: "200", placeAllow: "200", placeDeny: "200",
		apiIssue: "200", apiCheck: "200", apiRevoke: "200", apiHash: "200", endOne: "204", apiList: "200", apiEndOne: "204", apiEndAll: "200",
	}
}

// but returns a copy of a with the entries of differs.
func but(a map[string]string, differs ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range append([]map[string]string{a}, differs...) {
		for kind, response := range m {
			out[kind] = response
		}
	}
	return out
}

// withoutStore returns the refusals without Redis, with either onFailure.
func withoutStore() map[string]string {
	return map[string]string{
		login: "503 tokens-unavailable", refresh: "503 temporarily_unavailable", logout: "503 tokens-unavailable", logoutAll: "503 tokens-unavailable",
		sessions: "503 tokens-unavailable", backChannel: "503 temporarily_unavailable", limitDeny: "503 rate-limit-unavailable", placeDeny: "503 rate-limit-unavailable",
		apiIssue: "503 unavailable", apiCheck: "503 unavailable", apiRevoke: "503 unavailable",
		endOne: "503 tokens-unavailable", apiList: "503 unavailable", apiEndOne: "503 unavailable", apiEndAll: "503 unavailable",
	}
}

// withoutWrites returns the refusals if Redis refuses writes, with either onFailure.
func withoutWrites() map[string]string {
	all := withoutStore()
	for _, reads := range []string{sessions, apiCheck, apiList} {
		delete(all, reads)
	}
	return all
}

func outages() map[string]outage {
	const stale = "503 revocation-unavailable"
	tooOld := map[string]string{seen: stale, unseen: stale, provided: stale, logout: stale, logoutAll: stale, sessions: stale, endOne: stale}
	const unasked = "503 session-unavailable"
	unknown := map[string]string{unseen: unasked, logoutAll: unasked, endOne: unasked} // logoutAll and endOne use tokens that were not seen
	unknownAllowed := map[string]string{unseen: "200", logoutAll: "503 tokens-unavailable", endOne: "503 tokens-unavailable"}
	// A revocation that a sidecar has loaded stays effective. One that it has never loaded is unknown.
	neverKnown, allowed := map[string]string{revoked: stale}, map[string]string{seen: "200", unseen: "200", provided: "200"}
	noKey := map[string]string{
		seen: "503 keys-unavailable", unseen: "503 keys-unavailable", sessions: "503 keys-unavailable", logout: "503 keys-unavailable", logoutAll: "503 keys-unavailable", endOne: "503 keys-unavailable",
		login: "503 tokens-unavailable", refresh: "503 temporarily_unavailable", keySet: "503 tokens-unavailable", apiIssue: "503 unavailable", apiCheck: "503 unavailable",
	}
	loggedOut := map[string]string{
		seen: "401 session-ended", unseen: "401 session-ended", sessions: "401 session-ended", refresh: "400 invalid_grant",
		logout: "204", logoutAll: "401 session-ended", endOne: "401 session-ended", apiEndOne: "404 no-session",
	}
	return map[string]outage{
		"nothing": {want: healthy()},
		"Redis refuses, within maxStaleness": {
			before: longStaleness, happens: func(d *stand) { d.redis.Stop() },
			want: but(healthy(), withoutStore(), unknown), wantAllow: unknownAllowed,
		},
		"Redis refuses, for longer": {
			happens:   func(d *stand) { d.redis.Stop(); d.untilStale() },
			want:      but(healthy(), withoutStore(), tooOld),
			wantAllow: but(allowed, withoutStore()),
		},
		"Redis hangs, within maxStaleness": {
			before: longStaleness, happens: func(d *stand) { d.redis.Pause() },
			want: but(healthy(), withoutStore(), unknown), wantAllow: unknownAllowed,
		},
		"Redis hangs, for longer": {
			happens:   func(d *stand) { d.redis.Pause(); d.untilStale() },
			want:      but(healthy(), withoutStore(), tooOld),
			wantAllow: but(allowed, withoutStore()),
		},
		"a demoted master, within maxStaleness": {
			before: longStaleness, happens: func(d *stand) { d.redis.Demote(); d.untilNoticed() },
			want: but(healthy(), withoutStore(), unknown), wantAllow: unknownAllowed,
		},
		"a demoted master, for longer": {
			happens:   func(d *stand) { d.redis.Demote(); d.untilStale(); d.untilNoticed() },
			want:      but(healthy(), withoutStore(), tooOld),
			wantAllow: but(allowed, withoutStore()),
		},
		"a replica with its master (READONLY), for longer": {
			happens: func(d *stand) {
				becomeReplica(d.t, d.redis)
				d.untilStale()
				d.untilNoticed()
			},
			want:      but(healthy(), withoutStore(), tooOld),
			wantAllow: but(allowed, withoutStore()),
		},
		"MASTERDOWN, within maxStaleness": {
			before: longStaleness, happens: func(d *stand) { masterDown(d.redis); d.untilNoticed() },
			want: but(healthy(), withoutStore(), unknown), wantAllow: unknownAllowed,
		},
		"MASTERDOWN, for longer": {
			happens:   func(d *stand) { masterDown(d.redis); d.untilStale(); d.untilNoticed() },
			want:      but(healthy(), withoutStore(), tooOld),
			wantAllow: but(allowed, withoutStore()),
		},
		"Redis is promoted again": {
			happens: func(d *stand) {
				d.redis.Demote()
				d.untilStale()
				d.redis.Promote()
				redistest.Eventually(d.t, "recovery", func() bool { return d.s.use(d.seen).status == 200 })
				d.untilWrites()
			},
			want: healthy(),
		},
		"Redis misses its replicas, within maxStaleness": {
			all: shortIdle, before: longStaleness, happens: func(d *stand) { missReplicas(d.redis); d.untilTouched() },
			want: but(healthy(), withoutWrites()), wantAllow: map[string]string{},
		},
		"Redis misses its replicas, for longer": {
			happens:   func(d *stand) { missReplicas(d.redis); d.untilStale() },
			want:      but(healthy(), withoutWrites(), tooOld, map[string]string{apiCheck: "503 unavailable"}),
			wantAllow: but(allowed, withoutWrites(), map[string]string{sessions: "200", apiCheck: "200"}),
		},
		"Redis is back": {
			happens: func(d *stand) {
				d.redis.Pause()
				d.untilStale()
				d.redis.Resume()
				redistest.Eventually(d.t, "recovery", func() bool { return d.s.use(d.seen).status == 200 })
				d.untilWrites()
			},
			want: healthy(),
		},
		"Redis was flushed": {
			happens: func(d *stand) { d.redis.Do("FLUSHALL"); d.untilCacheIsOld() },
			want:    but(healthy(), loggedOut),
		},
		"Redis was restarted": {
			happens: func(d *stand) {
				d.redis.Restart()
				redistest.Eventually(d.t, "recovery", func() bool { return d.s.send(sent{method: "POST", path: "/login?as=eve"}).status == 200 })
				d.untilWrites()
				d.untilCacheIsOld()
			},
			want: but(healthy(), loggedOut),
		},
		"Redis is full": {
			all: shortIdle, happens: func(d *stand) { fill(d.t, d.redis); d.untilTouched() },
			want: but(healthy(), withoutWrites()), wantAllow: map[string]string{},
		},
		"Redis cannot save": {
			all: shortIdle, happens: func(d *stand) { failToSave(d.t, d.redis); d.untilTouched() },
			want: but(healthy(), withoutWrites()), wantAllow: map[string]string{},
		},
		"200 ms to Redis, timeout 1s": {
			before: func(p *compiled.Policy) {
				p.Redis.Timeout, p.Revocation.MaxStaleness = compiled.Duration(time.Second), compiled.Duration(5*time.Second)
			},
			start: func(d *stand) { d.addr = redistest.SlowLink(d.t, d.redis.Addr, 200*time.Millisecond) },
			want:  healthy(),
		},
		"200 ms to Redis, timeout 100ms": {
			before:      func(p *compiled.Policy) { p.Redis.Timeout = compiled.Duration(100 * time.Millisecond) },
			start:       func(d *stand) { d.addr = redistest.SlowLink(d.t, d.redis.Addr, 200*time.Millisecond) },
			want:        but(healthy(), withoutStore(), tooOld, neverKnown),
			wantAllow:   but(allowed, withoutStore(), map[string]string{revoked: "200"}),
			wantUnready: true,
		},
		"Redis is unavailable at the start": {
			start:       func(d *stand) { d.addr = "127.0.0.1:1" },
			want:        but(healthy(), withoutStore(), tooOld, neverKnown),
			wantAllow:   but(allowed, withoutStore(), map[string]string{revoked: "200"}),
			wantUnready: true,
		},
		"the key is unavailable at the start": {
			start:       func(d *stand) { d.hideKey() },
			want:        but(healthy(), noKey),
			wantUnready: true,
		},
		"the key is unavailable later": {happens: func(d *stand) { d.hideKey() }, want: healthy()},
		"Vault, with the key, is unavailable at the start": {
			before: func(p *compiled.Policy) {
				p.Tokens.SigningKey = compiled.SigningKey{Transit: &compiled.TransitKey{Mount: "transit", Key: "k"}}
				p.Vault = awayVault()
			},
			want:        but(healthy(), noKey),
			wantUnready: true,
		},
		"Vault, with Redis's password, is unavailable at the start": {
			before: func(p *compiled.Policy) {
				p.Redis.Password = &compiled.SecretRef{VaultPath: "secret/redis", Key: "password"}
				p.Vault = awayVault()
			},
			want:        but(healthy(), withoutStore(), tooOld, neverKnown),
			wantAllow:   but(allowed, withoutStore(), map[string]string{revoked: "200"}),
			wantUnready: true,
		},
	}
}

func longStaleness(p *compiled.Policy) { p.Revocation.MaxStaleness = compiled.Duration(time.Hour) }

// untilStale waits until the revocation index is too old.
func (d *stand) untilStale() {
	d.t.Helper()
	p := d.s.snapshot.Load().Policy()
	a, err := d.s.shared.Acquire(p)
	if err != nil {
		d.t.Fatal(err)
	}
	defer a.Close()
	index, err := a.Index() // the index of the snapshot
	if err != nil {
		d.t.Fatal(err)
	}
	redistest.Eventually(d.t, "the index to be too old", func() bool { return index.Age() > p.Revocation.MaxStaleness.Std() })
}

// untilCacheIsOld waits until the sidecar looks up the session again.
func (d *stand) untilCacheIsOld() {
	d.t.Helper()
	redistest.Eventually(d.t, "the sidecar to look up the session again", func() bool { return d.s.use(d.seen).status != 200 })
}

// untilWrites waits until the sidecar takes revocations again.
func (d *stand) untilWrites() {
	d.t.Helper()
	redistest.Eventually(d.t, "a revocation to be accepted", func() bool { return d.request(apiRevoke) == "200" })
}

// untilNoticed waits until the sidecar no longer uses its Redis.
func (d *stand) untilNoticed() {
	d.t.Helper()
	redistest.Eventually(d.t, "the sidecar to notice", func() bool { st, _ := d.s.shared.Redis(); return !st.Up })
}

// masterDown makes a replica that does not answer without its master.
func masterDown(s *redistest.Server) {
	s.Do("CONFIG", "SET", "replica-serve-stale-data", "no")
	s.Demote()
}

// becomeReplica makes s a replica with all data, of another server that was its replica.
func becomeReplica(t *testing.T, s *redistest.Server) {
	t.Helper()
	master := s.Replica()
	master.Promote()
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s.Do("REPLICAOF", host, port)
}

// missReplicas makes a master refuse writes because it has no replicas.
func missReplicas(s *redistest.Server) { s.Do("CONFIG", "SET", "min-replicas-to-write", "1") }

func (d *stand) hideKey() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.world.secrets, "signing", "key.pem")); err != nil {
		d.t.Fatal(err)
	}
}

// of returns a provider's token of a subject.
func (d *stand) of(subject string) tokens {
	return tokens{access: d.issuer.claims(d.t, "JWT", jwt.MapClaims{"sub": subject, "jti": subject})}
}

// request sends a request of one kind and returns the word of the response.
func (d *stand) request(kind string) string {
	d.t.Helper()
	get := func(path string, t tokens) sent { return sent{method: "GET", path: path, bearer: t.access} }
	post := func(path, name, value string) sent {
		header, body := form(name, value)
		return sent{method: "POST", path: path, header: header, body: body}
	}
	requests := map[string]sent{
		public: get("/public/x", tokens{}), noToken: get("/orders", tokens{}), seen: get("/orders", d.seen), unseen: get("/orders", d.unseen),
		provided: get("/orders", d.of("paul")), revoked: get("/orders", d.of("rob")), revokedHere: get("/orders", d.of("dora")),
		login: {method: "POST", path: "/login?as=new"}, refresh: post("/auth/refresh", "refresh_token", d.used.refresh),
		logout: {method: "POST", path: "/auth/logout", bearer: d.seen.access}, logoutAll: {method: "POST", path: "/auth/logout-all", bearer: d.unseen.access},
		endOne:   {method: "DELETE", path: "/auth/sessions/" + sid(d.t, d.dave.access), bearer: d.dave.access},
		sessions: get("/auth/sessions", d.seen), keySet: get("/.well-known/jwks.json", tokens{}), discovery: get("/.well-known/openid-configuration", tokens{}),
		backChannel: post("/auth/backchannel-logout", "logout_token", d.issuer.logoutToken(d.t, jwt.MapClaims{"sub": "nobody", "jti": fmt.Sprint(time.Now().UnixNano())})),
		limitAllow:  get("/public/allow", tokens{}), limitDeny: get("/public/deny", tokens{}),
		placeAllow: get("/public/places/allow", tokens{}), placeDeny: get("/public/places/deny", tokens{}),
	}
	calls := map[string][2]string{
		apiIssue: {"POST /v1/tokens", `{"subject":"new"}`}, apiCheck: {"POST /v1/introspect", `{"token":"` + d.seen.access + `"}`},
		apiRevoke: {"POST /v1/revocations", `{"subject":"nobody"}`}, apiHash: {"POST /v1/passwords/hash", `{"password":"correct horse"}`},
		apiList: {"GET /v1/subjects/erin/sessions"}, apiEndAll: {"DELETE /v1/subjects/erin/sessions"}, apiEndOne: {"DELETE /v1/sessions/" + sid(d.t, d.fred.access)},
	}
	began := time.Now()
	var g got
	if call, ok := calls[kind]; ok {
		method, path, _ := strings.Cut(call[0], " ")
		g = d.s.loopback(method, path, call[1])
	} else {
		g = d.s.send(requests[kind])
	}
	if took := time.Since(began); took > waitLimit && kind != apiHash { // hashing is slow on a busy machine
		d.t.Errorf("%s took %s", kind, took)
	}
	if g.status == 503 && g.header.Get("Retry-After") == "" {
		d.t.Errorf("%s: 503 without Retry-After: %s", kind, g.text)
	}
	if g.status == http.StatusInternalServerError {
		d.t.Errorf("%s: %s", kind, g.text)
	}
	return g.word()
}

// word returns the status, with the problem code or the OAuth error.
func (g got) word() string {
	return strings.TrimSpace(fmt.Sprint(g.status, " ", g.code(), g.field("error")))
}

// TestOutages covers the table of docs/outages.md.
func TestOutages(t *testing.T) {
	for name, tt := range outages() {
		modes := []compiled.FailureMode{compiled.Deny}
		if tt.wantAllow != nil {
			modes = append(modes, compiled.Allow)
		}
		for _, onFailure := range modes {
			t.Run(name+", onFailure "+string(onFailure), func(t *testing.T) {
				t.Parallel()
				want := tt.want
				if onFailure == compiled.Allow {
					want = but(want, tt.wantAllow)
				}
				d := newStand(t, tt, onFailure)
				if tt.happens != nil {
					tt.happens(d)
				}
				for _, kind := range kinds() {
					if got := d.request(kind); got != want[kind] {
						t.Errorf("%-16s %s; want %s", kind, got, want[kind])
					}
				}
			})
		}
	}
}

// newStand starts a sidecar after users have logged in at another one.
func newStand(t *testing.T, o outage, onFailure compiled.FailureMode) *stand {
	t.Helper()
	d := &stand{t: t, world: newWorld(t), redis: redistest.Start(t, redistest.Options{}), issuer: newIssuer(t)}
	d.addr = d.redis.Addr
	document := func(addr string, change func(*compiled.Policy)) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, addr)
			p.Revocation.MaxStaleness, p.Revocation.OnFailure, p.Sessions.OnFailure = compiled.Duration(time.Second), onFailure, onFailure
			p.Providers = policy(d.issuer).Providers
			p.Providers[0].BackChannelLogout = &compiled.BackChannelLogout{ClientIDs: []string{"orders"}}
			p.RevokedTokens = []compiled.RevokedTokens{{
				Name: "dora", Kind: compiled.RevokedToken, Issuer: p.Providers[0].Issuer, Value: "dora", Expires: time.Now().Add(time.Hour).Unix(),
			}}
			p.Passwords = &compiled.Passwords{Algorithm: "Bcrypt", Cost: 10}
			for _, mode := range []compiled.FailureMode{compiled.Allow, compiled.Deny} {
				p.RateLimits = append(p.RateLimits, compiled.RateLimit{
					Name: strings.ToLower(string(mode)), Match: []compiled.Match{{Paths: []string{"/public/" + strings.ToLower(string(mode))}}}, Limit: 100, Burst: 100,
					Period: compiled.Duration(time.Minute), KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}}, Mode: compiled.Enforce, OnFailure: mode,
				}, compiled.RateLimit{
					Name: "places-" + strings.ToLower(string(mode)), Match: []compiled.Match{{Paths: []string{"/public/places/" + strings.ToLower(string(mode))}}}, MaxInFlight: 10,
					KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}}, Mode: compiled.Enforce, OnFailure: mode,
				})
			}
			for _, change := range []func(*compiled.Policy){o.all, change} {
				if change != nil {
					change(p)
				}
			}
		})
	}
	d.other = d.world.sidecar(document(d.redis.Addr, longStaleness)).ready()
	if g := d.other.loopback("POST", "/v1/revocations", `{"token_id":"rob"}`); g.status != 200 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	d.seen, d.unseen, d.used = d.other.login("ada"), d.other.login("bob"), d.other.login("carol")
	d.dave, d.erin, d.fred = d.other.login("dave"), d.other.login("erin"), d.other.login("fred")
	if o.start != nil {
		o.start(d)
	}
	d.s = d.world.sidecar(document(d.addr, o.before))
	if o.wantUnready {
		if d.s.shared.Unready() == "" {
			t.Error("the sidecar is ready")
		}
		return d
	}
	d.s.ready()
	redistest.Eventually(t, "the session to be seen", func() bool { return d.s.use(d.seen).status == 200 })
	return d
}
