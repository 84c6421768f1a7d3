package backchannel

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

const corp = "https://id.example.com"

var (
	now            = time.Unix(1_800_000_000, 0)
	errUnavailable = errors.New("the store is unavailable")
)

type keys struct {
	jwks.Source
	err error
}

func (k *keys) Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error) {
	if k.err != nil {
		return nil, k.err
	}
	return k.Source.Lookup(ctx, kid, alg)
}

// stores records all calls.
type stores struct {
	revoked []revocation.Entry
	ended   []string
	owners  []session.Owner
	*Memory
	revokeErr, endErr, replayErr error
	// isRevoked and lookErr are the results of Revoked; asked is its last query.
	isRevoked bool
	lookErr   error
	asked     revocation.Query
}

func (s *stores) Revoked(_ context.Context, q *revocation.Query) (bool, error) {
	s.asked = *q
	return s.isRevoked, s.lookErr
}

func (s *stores) Add(_ context.Context, entries ...revocation.Entry) (revocation.Position, error) {
	if s.revokeErr != nil {
		return revocation.Position{}, s.revokeErr
	}
	for _, e := range entries {
		if err := e.Check(now); err != nil {
			return revocation.Position{}, err
		}
	}
	s.revoked = append(s.revoked, entries...)
	return revocation.Position{}, nil
}

func (s *stores) End(_ context.Context, id string) (bool, error) {
	s.ended = append(s.ended, id)
	return true, s.endErr
}

func (s *stores) EndAll(_ context.Context, owner session.Owner, _ string) (int, error) {
	s.owners = append(s.owners, owner)
	return 0, s.endErr
}

func (s *stores) First(ctx context.Context, issuer, id string, ttl time.Duration) (bool, error) {
	if s.replayErr != nil {
		return false, s.replayErr
	}
	return s.Memory.First(ctx, issuer, id, ttl)
}

type world struct {
	*stores
	key    ed25519.PrivateKey
	keys   *keys
	config Config
}

func newWorld(t testing.TB) *world {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyset.Parse([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}]}`), keyset.Options{Algorithms: []string{"EdDSA"}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{stores: &stores{Memory: NewMemory(func() time.Time { return now })}, key: private, keys: &keys{Source: jwks.Fixed(set)}}
	w.config = Config{
		Path: "/auth/backchannel-logout", Sessions: w.stores, Revocations: w.stores, Revoked: w.stores, Replay: w.stores, Logger: slog.New(slog.DiscardHandler),
		Now:       func() time.Time { return now },
		Providers: []Provider{{Issuer: corp, ClientIDs: []string{"orders"}, Algorithms: []string{"EdDSA"}, Keys: w.keys, TokenLifetime: 24 * time.Hour}},
	}
	return w
}

type object = map[string]any

func (w *world) sign(t testing.TB, header, claims object) string {
	t.Helper()
	var parts []string
	for _, v := range []object{header, claims} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	signed := strings.Join(parts, ".")
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(w.key, []byte(signed)))
}

func header() object { return object{"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"} }

// claims returns the claims of a valid logout token.
func claims() object {
	return object{
		"iss": corp, "aud": "orders", "iat": now.Unix() - 5, "exp": now.Unix() + 115, "jti": "j1", "sub": "alice", "sid": "s1",
		"events": object{logoutEvent: object{}},
	}
}

func changed(o object, changes object) object {
	o = maps.Clone(o)
	for name, v := range changes {
		if v == nil {
			delete(o, name)
			continue
		}
		o[name] = v
	}
	return o
}

func form(token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/auth/backchannel-logout", strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (w *world) send(t testing.TB, r *http.Request) (*httptest.ResponseRecorder, *request.Info) {
	t.Helper()
	s, err := New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	h := s(stage.Func(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(299); return nil }))
	recorder, info := httptest.NewRecorder(), &request.Info{Path: r.URL.Path}
	if err := h.ServeHTTP(recorder, request.With(r, info)); err != nil {
		httperr.Write(recorder, r, err)
	}
	return recorder, info
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]func(*Config){
		"no path":      func(c *Config) { c.Path = "" },
		"no providers": func(c *Config) { c.Providers = nil },
		"no revoked":   func(c *Config) { c.Revoked = nil },
		"no replay":    func(c *Config) { c.Replay = nil },
		"no client":    func(c *Config) { c.Providers[0].ClientIDs = nil },
		"no lifetime":  func(c *Config) { c.Providers[0].TokenLifetime = 0 },
		"no keys":      func(c *Config) { c.Providers[0].Keys = nil },
		"twice":        func(c *Config) { c.Providers = append(c.Providers, c.Providers[0]) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			change(&w.config)
			if _, err := New(w.config); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestLogout(t *testing.T) {
	tests := map[string]struct {
		changes   object
		bySubject bool
		want      revocation.Entry
		wantEnded string
		wantOwner bool
	}{
		"sid and sub":             {nil, false, revocation.Entry{Kind: revocation.Session, Value: "s1"}, session.ExternalID(corp, "s1"), false},
		"sid":                     {object{"sub": nil}, false, revocation.Entry{Kind: revocation.Session, Value: "s1"}, session.ExternalID(corp, "s1"), false},
		"sub":                     {object{"sid": nil}, false, revocation.Entry{Kind: revocation.Subject, Value: "alice", Before: now.Add(-4 * time.Second)}, "", true},
		"sid and sub, by subject": {nil, true, revocation.Entry{Kind: revocation.Session, Value: "s1"}, session.ExternalID(corp, "alice"), false},
		"sid, by subject":         {object{"sub": nil}, true, revocation.Entry{Kind: revocation.Session, Value: "s1"}, "", false},
		"several audiences":       {object{"aud": []string{"x", "orders"}}, false, revocation.Entry{Kind: revocation.Session, Value: "s1"}, session.ExternalID(corp, "s1"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config.Providers[0].BySubject = tt.bySubject
			a, info := w.send(t, form(w.sign(t, header(), changed(claims(), tt.changes))))
			if a.Code != 200 || a.Header().Get("Cache-Control") != "no-store" || len(info.Decisions) != 0 {
				t.Fatalf("status %d, %s, %+v", a.Code, a.Body, info.Decisions)
			}
			tt.want.Issuer, tt.want.Expires = corp, now.Add(24*time.Hour)
			if len(w.revoked) != 1 || w.revoked[0] != tt.want {
				t.Errorf("revoked %+v; want %+v", w.revoked, tt.want)
			}
			if got := strings.Join(w.ended, ","); got != tt.wantEnded || (len(w.owners) == 1) != tt.wantOwner {
				t.Errorf("ended %q and of %v; want %q, %v", got, w.owners, tt.wantEnded, tt.wantOwner)
			}
		})
	}
}

// TestLogoutOfLongLivedTokens: tokens that live longer than a store keeps a revocation are revoked for as long as it does.
func TestLogoutOfLongLivedTokens(t *testing.T) {
	w := newWorld(t)
	w.config.Providers[0].TokenLifetime = 401 * 24 * time.Hour
	if a, _ := w.send(t, form(w.sign(t, header(), claims()))); a.Code != 200 || len(w.revoked) != 1 {
		t.Errorf("status %d, %s, revoked %+v", a.Code, a.Body, w.revoked)
	}
}

func TestLogoutRefuses(t *testing.T) {
	tests := map[string]struct{ header, claims object }{
		"type of an access token": {header: object{"typ": "at+jwt"}},
		"type JWT":                {header: object{"typ": "JWT"}},
		"no type":                 {header: object{"typ": nil}},
		"unknown issuer":          {claims: object{"iss": "https://evil.example.com"}},
		"no issuer":               {claims: object{"iss": nil}},
		"another audience":        {claims: object{"aud": "carts"}},
		"audience with a number":  {claims: object{"aud": []any{1, "orders"}}},
		"number after audience":   {claims: object{"aud": []any{"orders", 1}}},
		"no audience":             {claims: object{"aud": nil}},
		"expired":                 {claims: object{"exp": now.Unix()}},
		"no exp":                  {claims: object{"exp": nil}},
		"lifetime too long":       {claims: object{"exp": now.Unix() + 7200}},
		"no iat":                  {claims: object{"iat": nil}},
		"issued in the future":    {claims: object{"iat": now.Unix() + 60}},
		"no jti":                  {claims: object{"jti": nil}},
		"long jti":                {claims: object{"jti": strings.Repeat("j", maxID+1)}},
		"nonce":                   {claims: object{"nonce": "n"}},
		"no events":               {claims: object{"events": nil}},
		"another event":           {claims: object{"events": object{"x": object{}}}},
		"event is not an object":  {claims: object{"events": object{logoutEvent: true}}},
		"neither sub nor sid":     {claims: object{"sub": nil, "sid": nil}},
		"sub is a number":         {claims: object{"sub": 1}},
		"long sid":                {claims: object{"sid": strings.Repeat("s", 600)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, info := w.send(t, form(w.sign(t, changed(header(), tt.header), changed(claims(), tt.claims))))
			if a.Code != 400 || !strings.Contains(a.Body.String(), "invalid_request") || len(info.Decisions) != 1 {
				t.Errorf("status %d, %s", a.Code, a.Body)
			}
			if len(w.revoked)+len(w.ended)+len(w.owners) != 0 {
				t.Error("the refused token had an effect")
			}
		})
	}
}

func TestAnyType(t *testing.T) {
	for name, typ := range map[string]any{"JWT": "JWT", "none": nil} {
		w := newWorld(t)
		w.config.Providers[0].AnyType = true
		if a, _ := w.send(t, form(w.sign(t, changed(header(), object{"typ": typ}), claims()))); a.Code != 200 {
			t.Errorf("%s: status %d", name, a.Code)
		}
	}
}

func TestMalformedRequests(t *testing.T) {
	w := newWorld(t)
	good := w.sign(t, header(), claims())
	broken := form(good)
	broken.Body = io.NopCloser(iotest.ErrReader(errors.New("reset")))
	text := form(good)
	text.Header.Set("Content-Type", "text/plain")
	twice := httptest.NewRequest("POST", "/auth/backchannel-logout", strings.NewReader("logout_token="+good+"&logout_token="+good))
	twice.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	get := form(good)
	get.Method = http.MethodGet
	elsewhere := form(good)
	elsewhere.URL.Path = "/auth/other"
	for name, tt := range map[string]struct {
		r    *http.Request
		want int
	}{
		"broken body": {broken, 400}, "not a form": {text, 400}, "two tokens": {twice, 400}, "GET": {get, 405}, "another path": {elsewhere, 299},
		"too large": {form(strings.Repeat("x", maxBody)), 400}, "no token": {form("x"), 400}, "tampered": {form(good[:len(good)-4] + "AAAA"), 400},
	} {
		if a, _ := w.send(t, tt.r); a.Code != tt.want {
			t.Errorf("%s: status %d; want %d", name, a.Code, tt.want)
		}
	}
}

// told is a sink of events of logout tokens.
type told []event.Event

func (e *told) Kinds() event.Kinds   { return event.Of(event.BackChannelLogout) }
func (e *told) Record(v event.Event) { *e = append(*e, v) }

// TestEvents: the event of a verified token has an actor; that of an unverified token has none.
func TestEvents(t *testing.T) {
	alice := event.Actor{Issuer: corp, Subject: "alice", Session: "s1", TokenID: "j1"}
	tests := map[string]struct {
		claims      object
		unavailable bool
		want        event.Event
	}{
		"logged out":         {want: event.Event{Outcome: event.Success, Actor: alice}},
		"another audience":   {claims: object{"aud": "carts"}, want: event.Event{Outcome: event.Refused, Reason: "wrong_audience", Claim: "aud"}},
		"not a logout token": {claims: object{"events": nil}, want: event.Event{Outcome: event.Refused, Reason: "no_logout_event", Actor: alice}},
		"ID token":           {claims: object{"nonce": "n"}, want: event.Event{Outcome: event.Refused, Reason: "nonce", Actor: alice}},
		"store unavailable":  {unavailable: true, want: event.Event{Outcome: event.Failed, Reason: "unavailable", Actor: alice}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var got told
			w.config.Events = event.NewStream("shop/orders", &got)
			if tt.unavailable {
				w.endErr = errUnavailable
			}
			w.send(t, form(w.sign(t, header(), changed(claims(), tt.claims))))
			if len(got) != 1 {
				t.Fatalf("events %+v", got)
			}
			tt.want.Kind, tt.want.Policy, tt.want.Time = event.BackChannelLogout, "shop/orders", got[0].Time
			if got[0] != tt.want {
				t.Errorf("event %+v; want %+v", got[0], tt.want)
			}
		})
	}
}

// TestUnavailable: if a dependency fails, the response is 503 and the same token is accepted later, once.
func TestUnavailable(t *testing.T) {
	w := newWorld(t)
	token := w.sign(t, header(), claims())
	for name, fail := range map[string]*error{
		"keys": &w.keys.err, "replay": &w.replayErr, "revocations": &w.revokeErr, "sessions": &w.endErr,
	} {
		*fail = errUnavailable
		if name == "keys" {
			*fail = jwks.ErrUnavailable
		}
		if a, _ := w.send(t, form(token)); a.Code != 503 || a.Header().Get("Retry-After") == "" {
			t.Errorf("%s unavailable: status %d", name, a.Code)
		}
		*fail = nil
	}
	for i, want := range []int{200, 400} {
		if a, _ := w.send(t, form(token)); a.Code != want {
			t.Errorf("attempt %d: status %d; want %d", i+1, a.Code, want)
		}
	}
}

// TestRevokedLogoutTokens: a token signed with a revoked key logs nobody out, with or without a kid.
func TestRevokedLogoutTokens(t *testing.T) {
	tests := map[string]struct {
		isRevoked  bool
		lookErr    error
		wantStatus int
	}{
		"revoked":      {isRevoked: true, wantStatus: 400},
		"lookup fails": {lookErr: errUnavailable, wantStatus: 503},
		"good":         {wantStatus: 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.isRevoked, w.lookErr = tt.isRevoked, tt.lookErr
			recorder, _ := w.send(t, form(w.sign(t, changed(header(), object{"kid": nil}), claims())))
			if recorder.Code != tt.wantStatus || (len(w.revoked) > 0) != (tt.wantStatus == 200) {
				t.Errorf("%d, revoked %v", recorder.Code, w.revoked)
			}
			if want := (revocation.Query{Issuer: corp, TokenID: "j1", KeyID: "k"}); w.asked != want {
				t.Errorf("query %+v, want %+v", w.asked, want)
			}
		})
	}
}
