// Package logintest sets up a login service for tests. Its stores are in memory, and a test can make their methods fail. The
// stages that belong in front of the login service are included.
package logintest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// Lifetime is exp-iat of the access tokens.
const Lifetime = 15 * time.Minute

// Issuer is the claim iss of the access tokens.
const Issuer = "https://shop.example.com"

// ErrUnavailable is the error of failing stores.
var ErrUnavailable = errors.New("the store is unavailable")

// Sessions is a session store whose methods a test can make fail.
type Sessions struct {
	*sessionmemory.Store
	mu   sync.Mutex
	fail map[string]error
}

func (s *Sessions) failure(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail[method]
}

// Fail makes the named methods fail with ErrUnavailable. All other methods work.
func (s *Sessions) Fail(methods ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fail)
	for _, m := range methods {
		s.fail[m] = ErrUnavailable
	}
}

func (s *Sessions) Create(ctx context.Context, n session.New) (session.Session, []string, error) {
	if err := s.failure("Create"); err != nil {
		return session.Session{}, nil, err
	}
	return s.Store.Create(ctx, n)
}

func (s *Sessions) Rotate(ctx context.Context, r session.Rotation) (session.Rotated, error) {
	if err := s.failure("Rotate"); err != nil {
		return session.Rotated{}, err
	}
	return s.Store.Rotate(ctx, r)
}

func (s *Sessions) Get(ctx context.Context, id string) (session.Session, error) {
	if err := s.failure("Get"); err != nil {
		return session.Session{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s *Sessions) List(ctx context.Context, o session.Owner) ([]session.Session, error) {
	if err := s.failure("List"); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, o)
}

func (s *Sessions) End(ctx context.Context, id string) (bool, error) {
	if err := s.failure("End"); err != nil {
		return false, err
	}
	return s.Store.End(ctx, id)
}

func (s *Sessions) EndAll(ctx context.Context, o session.Owner, except string) ([]string, error) {
	if err := s.failure("EndAll"); err != nil {
		return nil, err
	}
	return s.Store.EndAll(ctx, o, except)
}

// Revocations is a revocation store that records what was revoked.
type Revocations struct {
	mu      sync.Mutex
	entries map[string]revocation.Entry
	err     error
}

func (r *Revocations) Add(_ context.Context, entries ...revocation.Entry) (revocation.Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range entries {
		if r.err != nil {
			return revocation.Position{}, r.err
		}
		if err := e.Check(time.Now()); err != nil {
			return revocation.Position{}, err
		}
		r.entries[e.Value] = e
	}
	return revocation.Position{}, nil
}

// Fail makes every Add fail with err. nil makes it work again.
func (r *Revocations) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Entries returns the recorded revocations by value.
func (r *Revocations) Entries() map[string]revocation.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.entries)
}

// Revoked reports whether the session with that id is revoked.
func (r *Revocations) Revoked(sid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[sid]
	return ok && e.Kind == revocation.Session && e.Issuer == Issuer
}

// Secret is a secret.Source that returns itself.
type Secret []byte

// Read implements secret.Source.
func (s Secret) Read(context.Context) (secret.Value, error) { return secret.New(s), nil }

// World is a complete login service.
type World struct {
	Sessions       *Sessions
	Revocations    *Revocations
	Ring           *signing.Ring
	Signers        *Signers
	TokenIssuer    *token.Issuer
	SessionManager *token.SessionManager
	LoginService   *token.LoginService
	TokenTransport *transport.TokenTransport
	// Limits apply to new sessions.
	Limits session.Limits
	// Events are the recorded events of the login service, as "event result". It is complete when no request is in progress.
	Events []string
	events sync.Mutex
	// Offset is added to the clock.
	Offset time.Duration
}

// Signers returns the ring, unless Err is set.
type Signers struct {
	*signing.Ring
	Err error
}

// Current implements token.Signers.
func (s *Signers) Current() (signing.Signer, error) {
	if s.Err != nil {
		return nil, s.Err
	}
	return s.Ring.Current()
}

// Now is the clock of everything in the World.
func (w *World) Now() time.Time { return time.Now().Add(w.Offset) }

// Kinds implements event.Sink. It returns the kinds that are recorded.
func (w *World) Kinds() event.Kinds { return (&token.Metrics{}).Kinds() }

// Record implements event.Sink.
func (w *World) Record(e event.Event) {
	w.events.Lock()
	defer w.events.Unlock()
	w.Events = append(w.Events, token.Label(e)+" "+e.Result())
}

// Options configure a World.
type Options struct {
	// Delivery defaults to transport.Body.
	Delivery transport.Delivery
	// Limits default to at most two sessions; a third login ends the oldest.
	Limits  session.Limits
	Bind    session.Bind
	Grace   time.Duration
	Revoked token.RevocationChecker
}

// New returns a World without sessions.
func New(t testing.TB, o Options) *World {
	t.Helper()
	if o.Delivery == "" {
		o.Delivery = transport.Body
	}
	if o.Limits == (session.Limits{}) {
		o.Limits = session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, MaxPerSubject: 2, WhenFull: session.EvictOldest}
	}
	w := &World{Limits: o.Limits, Revocations: &Revocations{entries: map[string]revocation.Entry{}}}
	w.Sessions = &Sessions{Store: sessionmemory.New(sessionmemory.Config{Now: w.Now}), fail: map[string]error{}}
	w.Ring = NewRing(t, w.Now)
	w.Signers = &Signers{Ring: w.Ring}
	var err error
	w.TokenIssuer, err = token.NewIssuer(token.IssuerConfig{
		Issuer: Issuer, Audiences: []string{"orders"}, ClientID: "shop/orders", Lifetime: Lifetime, Claims: []string{"roles", "name"},
		Keys: w.Signers, Now: w.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.SessionManager, err = token.NewSessionManager(token.SessionManagerConfig{
		Issuer: Issuer, Lifetime: Lifetime, Scope: "shop/orders", Sessions: w.Sessions, Revocations: w.Revocations,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.LoginService, err = token.NewLoginService(token.LoginServiceConfig{
		Issuer: w.TokenIssuer, SessionManager: w.SessionManager, Sessions: w.Sessions, Limits: o.Limits, Grace: o.Grace, Bind: o.Bind, Revoked: o.Revoked,
		Logger: slog.New(slog.DiscardHandler), Events: event.NewStream("shop/orders", w),
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.TokenTransport, err = transport.NewTokenTransport(transport.TokenTransportConfig{Delivery: o.Delivery, TrustedOrigins: []string{"https://app.example.com:443", "https://*.preview.example.com", "http://localhost:*"}, Now: w.Now}); err != nil {
		t.Fatal(err)
	}
	return w
}

// NewRing returns a ring with one ES256 key.
func NewRing(t testing.TB, now func() time.Time) *signing.Ring {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	content := Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	r, err := signing.NewRing(signing.Config{
		Source: signing.StoredKeys{Secrets: secret.Latest{Source: content}, Algorithm: signing.ES256}, Algorithm: signing.ES256,
		Overlap: time.Hour, Lifetime: Lifetime, Now: now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// Login begins a session as the app would.
func (w *World) Login(t testing.TB, subject string) token.Tokens {
	t.Helper()
	tokens, err := w.LoginService.Begin(t.Context(), token.Login{Subject: subject, Device: Chrome()})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

// Chrome is the device of the requests made by Send.
func Chrome() session.Device {
	return session.NewDevice(userAgent, netip.MustParseAddr("192.0.2.7"))
}

// RefreshToken returns the text of t's refresh token.
func RefreshToken(t token.Tokens) string { return string(t.Refresh.Reveal()) }

// Decode reads a token's header and claims.
func Decode(t testing.TB, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	for i, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}
