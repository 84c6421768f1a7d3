package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

const issuer = "https://shop.example.com"

var errAway = errors.New("the store does not answer")

// sessions is a store that a test can take away, as a whole or from one method on.
type sessions struct {
	*sessionmemory.Store
	mu   sync.Mutex
	fail map[string]error
}

func (s *sessions) away(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail[method]
}

func (s *sessions) take(methods ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fail)
	for _, m := range methods {
		s.fail[m] = errAway
	}
}

func (s *sessions) Create(ctx context.Context, n session.New) (session.Session, []string, error) {
	if err := s.away("Create"); err != nil {
		return session.Session{}, nil, err
	}
	return s.Store.Create(ctx, n)
}

func (s *sessions) Rotate(ctx context.Context, r session.Rotation) (session.Rotated, error) {
	if err := s.away("Rotate"); err != nil {
		return session.Rotated{}, err
	}
	return s.Store.Rotate(ctx, r)
}

func (s *sessions) Get(ctx context.Context, id string) (session.Session, error) {
	if err := s.away("Get"); err != nil {
		return session.Session{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s *sessions) List(ctx context.Context, o session.Owner) ([]session.Session, error) {
	if err := s.away("List"); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, o)
}

func (s *sessions) End(ctx context.Context, id string) (bool, error) {
	if err := s.away("End"); err != nil {
		return false, err
	}
	return s.Store.End(ctx, id)
}

func (s *sessions) EndAll(ctx context.Context, o session.Owner, except string) ([]string, error) {
	if err := s.away("EndAll"); err != nil {
		return nil, err
	}
	return s.Store.EndAll(ctx, o, except)
}

// revocations remembers what was revoked.
type revocations struct {
	mu      sync.Mutex
	entries map[string]revocation.Entry
	err     error
}

func (r *revocations) Add(_ context.Context, entries ...revocation.Entry) (revocation.Position, error) {
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

// away has every Add fail with err; nil for none.
func (r *revocations) away(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *revocations) revoked(sid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[sid]
	return ok && e.Kind == revocation.Session && e.Issuer == issuer
}

// fixed is a secret.
type fixed []byte

func (f fixed) Read(context.Context) (secret.Value, error) { return secret.New(f), nil }

// world is everything behind a login.
type world struct {
	sessionManager *SessionManager
	sessions       *sessions
	revocations    *revocations
	signers        *signers
	ring           *signing.Ring
	issuer         *Issuer
	loginService   *LoginService
	tokenTransport *TokenTransport
	events         []string
	offset         time.Duration
}

// signers is the ring, unless a test takes it away.
type signers struct {
	*signing.Ring
	err error
}

func (s *signers) Current() (signing.Signer, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Ring.Current()
}

func (w *world) now() time.Time { return time.Now().Add(w.offset) }

// Kinds implements event.Sink: those that are counted.
func (w *world) Kinds() event.Kinds { return (&Metrics{}).Kinds() }

// Record implements event.Sink.
func (w *world) Record(e event.Event) { w.events = append(w.events, Label(e)+" "+e.Result()) }

// options are what tests vary.
type options struct {
	delivery Delivery
	limits   session.Limits
	bind     session.Bind
	grace    time.Duration
}

func newWorld(t testing.TB, o options) *world {
	t.Helper()
	if o.delivery == "" {
		o.delivery = Body
	}
	if o.limits == (session.Limits{}) {
		o.limits = session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, MaxPerSubject: 2, WhenFull: session.EvictOldest}
	}
	w := &world{revocations: &revocations{entries: map[string]revocation.Entry{}}}
	w.sessions = &sessions{Store: sessionmemory.New(sessionmemory.Config{Now: w.now}), fail: map[string]error{}}
	w.ring = newRing(t, w.now)
	w.signers = &signers{Ring: w.ring}
	var err error
	w.issuer, err = NewIssuer(IssuerConfig{
		Issuer: issuer, Audiences: []string{"orders"}, ClientID: "shop/orders", Lifetime: 15 * time.Minute, Claims: []string{"roles", "name"},
		Keys: w.signers, Now: w.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.sessionManager, err = NewSessionManager(SessionManagerConfig{
		Issuer: issuer, Lifetime: w.issuer.cfg.Lifetime, Scope: "shop/orders", Sessions: w.sessions, Revocations: w.revocations,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.loginService, err = NewLoginService(LoginServiceConfig{
		Issuer: w.issuer, SessionManager: w.sessionManager, Sessions: w.sessions, Limits: o.limits, Grace: o.grace, Bind: o.bind,
		Logger: slog.New(slog.DiscardHandler), Events: event.NewStream("shop/orders", w),
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.tokenTransport, err = NewTokenTransport(TokenTransportConfig{Delivery: o.delivery, TrustedOrigins: []string{"https://app.example.com"}, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	return w
}

func newRing(t testing.TB, now func() time.Time) *signing.Ring {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	content := fixed(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	r, err := signing.NewRing(signing.Config{
		Source: signing.Held{Secrets: signing.Latest{Source: content}, Algorithm: signing.ES256}, Algorithm: signing.ES256,
		Overlap: time.Hour, Lifetime: 15 * time.Minute, Now: now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// login begins a session as the app would.
func (w *world) login(t testing.TB, subject string) Tokens {
	t.Helper()
	tokens, err := w.loginService.Begin(t.Context(), Login{Subject: subject, Device: chrome()})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

func chrome() session.Device {
	return session.NewDevice(userAgent, netip.MustParseAddr("192.0.2.7"))
}

func refreshOf(t Tokens) string { return string(t.Refresh.Reveal()) }

// chain is the sidecar's, as far as this package needs it, in front of app.
func (w *world) chain(t testing.TB, app http.HandlerFunc) stage.Handler {
	t.Helper()
	return w.chainTo(t, stage.Func(func(rw http.ResponseWriter, r *http.Request) error {
		app(&appWriter{ResponseWriter: rw, info: request.From(r)}, r)
		return nil
	}))
}

func (w *world) chainTo(t testing.TB, upstream stage.Handler) stage.Handler {
	t.Helper()
	must := func(s stage.Stage, err error) stage.Stage {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	metadata, err := NewMetadata(MetadataConfig{Issuer: issuer, Delivery: w.tokenTransport.delivery, Keys: w.ring, MaxAge: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	login, err := route.NewMatcher([]route.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}})
	if err != nil {
		t.Fatal(err)
	}
	from := []authn.Location{{Header: "Authorization", Prefix: "Bearer "}}
	if w.tokenTransport.delivery == Cookie {
		from = []authn.Location{{Cookie: AccessCookie}}
	}
	return stage.Chain(upstream,
		w.tokenTransport.Guard(),
		must(authn.New(authn.Config{Now: w.now, Providers: []authn.Provider{
			{Name: "postern", Issuer: issuer, Audiences: []string{"orders"}, Algorithms: []string{"ES256"}, TokenTypes: []string{"at+jwt"}, Keys: w.ring, From: from},
		}})),
		must(Endpoints(EndpointsConfig{LoginService: w.loginService, TokenTransport: w.tokenTransport, Metadata: metadata})),
		must(LoginStage(LoginStageConfig{Match: login, LoginService: w.loginService, TokenTransport: w.tokenTransport})),
	)
}

// appWriter hands reserved fields over as the upstream stage does.
type appWriter struct {
	http.ResponseWriter
	info *request.Info
}

func (a *appWriter) WriteHeader(status int) {
	h := a.Header()
	for name, values := range h {
		if strings.HasPrefix(name, "Postern-") {
			delete(h, name)
			if a.info.AppFields == nil {
				a.info.AppFields = http.Header{}
			}
			a.info.AppFields[name] = values
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *appWriter) Write(p []byte) (int, error) { return a.ResponseWriter.Write(p) }

// answered is what a client got.
type answered struct {
	*httptest.ResponseRecorder
	info *request.Info
	body map[string]any
	err  *httperr.Error
}

// send sends a request through h. A refusal is in err and in the status.
func send(t testing.TB, h stage.Handler, r *http.Request, change func(*request.Info)) answered {
	t.Helper()
	info := &request.Info{Path: r.URL.Path, ClientAddr: netip.MustParseAddr("192.0.2.7")}
	if change != nil {
		change(info)
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", userAgent)
	}
	a := answered{ResponseRecorder: httptest.NewRecorder(), info: info}
	if err := h.ServeHTTP(a.ResponseRecorder, request.With(r, info)); err != nil {
		a.err = httperr.From(err)
		httperr.Write(a.ResponseRecorder, r, err)
	}
	if a.Body.Len() > 0 {
		_ = json.Unmarshal(a.Body.Bytes(), &a.body)
	}
	return a
}

func (a answered) text(name string) string {
	s, _ := a.body[name].(string)
	return s
}

// jar returns the cookies that the answer sets, by name.
func (a answered) jar() map[string]*http.Cookie {
	jar := map[string]*http.Cookie{}
	for _, c := range a.Result().Cookies() {
		jar[c.Name] = c
	}
	return jar
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func with(r *http.Request, name, value string) *http.Request {
	r.Header.Add(name, value)
	return r
}

func as(t Tokens, r *http.Request) *http.Request { return with(r, "Authorization", "Bearer "+t.Token) }

func says(subject string, more ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Postern-Subject", subject)
		for i := 0; i < len(more); i += 2 {
			w.Header().Add(more[i], more[i+1])
		}
		w.WriteHeader(http.StatusOK)
	}
}
