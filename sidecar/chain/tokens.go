package chain

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/appapi"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/endpoints"
	"github.com/posterndev/postern/sidecar/login/loginstage"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

// accessTokenType is the typ of our own tokens, RFC 9068 §2.1.
const accessTokenType = "at+jwt"

// longestKeyAge is the maximum time for which verifiers may cache our keys.
const longestKeyAge = 15 * time.Minute

// tokenStages are the stages that issue, refresh and end tokens.
type tokenStages struct {
	tokenTransport, backChannel, endpoints, login stage.Stage
	// cookies is the transport of tokens; nil if the policy issues none.
	cookies  *transport.TokenTransport
	metadata *endpoints.Metadata
	// paths are the paths of the sidecar's own endpoints, which need no authorization.
	paths []string
	// loginService is nil if the policy issues no tokens. revoker is nil if the policy accepts no tokens.
	loginService *token.LoginService
	revoker      *token.Revoker
	// sessionManager is never nil.
	sessionManager *token.SessionManager
}

// ownProvider returns the provider of the policy's own tokens.
func (b *builder) ownProvider() authn.Provider {
	t := b.policy.Tokens
	p := authn.Provider{
		Name: compiled.OwnProvider, Issuer: t.Issuer, Audiences: t.Audiences, Algorithms: []string{t.Algorithm}, Keys: b.own(),
		TokenTypes: []string{accessTokenType}, From: []authn.Location{{Header: "Authorization", Prefix: "Bearer "}},
		Leeway: t.Leeway.Std(), ClaimsToHeaders: claimHeaders(t.ClaimsToHeaders), ForwardToken: t.ForwardToken,
		Encoding: authn.Encoding(cmp.Or(t.FieldEncoding, string(authn.UTF8Fields))),
	}
	if transport.Delivery(t.Delivery) == transport.Cookie {
		p.From = append(p.From, authn.Location{Cookie: b.accessCookie()})
	}
	return p
}

// accessCookie returns the name of the policy's access cookie.
func (b *builder) accessCookie() string {
	access, _ := transport.CookieNames(resources.Scope(b.policy))
	return access
}

// readCookies returns the cookies in which external issuers' tokens may be.
func (b *builder) readCookies() (names []string) {
	for i := range b.policy.Providers {
		for _, from := range b.policy.Providers[i].From {
			names = append(names, from.Cookie)
		}
	}
	return names
}

func (b *builder) newTokens() tokenStages {
	var s tokenStages
	s.sessionManager = b.sessionManager()
	s.revoker = b.revoker(s.sessionManager)
	b.addBackChannel(&s)
	t := b.policy.Tokens
	if t == nil {
		var err error
		s.login, err = loginstage.NewIgnoring(b.logger)
		b.fail(err, "login")
		return s
	}
	tokenTransport, err := transport.NewTokenTransport(transport.TokenTransportConfig{
		Delivery: transport.Delivery(t.Delivery), SameSite: transport.SameSite(t.SameSite), TrustedOrigins: b.trustedOrigins(),
		Owner: resources.Scope(b.policy), Read: b.readCookies(), Now: b.now,
	})
	b.fail(err, "tokens")
	metadata, err := endpoints.NewMetadata(endpoints.MetadataConfig{
		Issuer: t.Issuer, Prefix: t.Prefix, Delivery: transport.Delivery(t.Delivery), Keys: b.own(), MaxAge: min(longestKeyAge, t.RotationOverlap.Std()/2),
	})
	b.fail(err, "tokens")
	s.loginService = b.loginService(s.sessionManager)
	if len(b.errs) > 0 {
		return s
	}
	s.cookies, s.tokenTransport = tokenTransport, tokenTransport.Guard()
	s.metadata = metadata
	s.paths = append(s.paths, endpoints.Paths(t.Prefix, metadata)...)
	s.endpoints, err = endpoints.New(endpoints.Config{
		Prefix: t.Prefix, LoginService: s.loginService, TokenTransport: tokenTransport, Metadata: metadata, Realm: b.policy.Name,
		ClearSiteData: endpoints.ClearSiteData(t.ClearSiteData), LogoutRedirect: t.LogoutRedirect,
	})
	b.fail(err, "tokens")
	s.login, err = loginstage.New(loginstage.Config{
		Match: b.loginRoutes(), LoginService: s.loginService, TokenTransport: tokenTransport, Logger: b.logger,
		FieldEncoding: loginstage.FieldEncoding(t.FieldEncoding), Now: b.now,
	})
	b.fail(err, "tokens")
	return s
}

// loginRoutes returns the routes of tokens.login; nil for none, because an empty matcher would match everything.
func (b *builder) loginRoutes() *route.Matcher {
	if len(b.policy.Tokens.Login) == 0 {
		return nil
	}
	return b.match(b.policy.Tokens.Login, "tokens.login")
}

// trustedOrigins returns the origins that may send unsafe requests with our cookies: those of the policy, and those that CORS
// allows to read the responses to such requests.
func (b *builder) trustedOrigins() []string {
	origins := append([]string(nil), b.policy.Tokens.TrustedOrigins...)
	if c := b.policy.CORS; c != nil && c.AllowCredentials {
		origins = append(origins, c.AllowOrigins...)
	}
	return origins
}

func (b *builder) loginService(sessionManager *token.SessionManager) *token.LoginService {
	t := b.policy.Tokens
	issuer, err := token.NewIssuer(token.IssuerConfig{
		Issuer: t.Issuer, Audiences: t.Audiences, ClientID: t.ClientID, Lifetime: t.AccessLifetime.Std(), Claims: t.Claims, Keys: b.own(), Now: b.now,
	})
	b.fail(err, "tokens")
	if err != nil {
		return nil
	}
	loginService, err := token.NewLoginService(token.LoginServiceConfig{
		Issuer: issuer, SessionManager: sessionManager, Sessions: b.parts.sessions, Revoked: b.verdicts(), Limits: b.limits(),
		Grace: t.RefreshGrace.Std(), Bind: session.Bind(b.policy.Sessions.Bind), Logger: b.logger, Events: b.events,
		Shadow: b.policy.Mode == compiled.Shadow || b.policy.Sessions.Mode == compiled.Shadow,
	})
	b.fail(err, "tokens")
	return loginService
}

// sessionManager returns the manager of the policy's sessions. It also works in a policy without sessions, but the app's API
// does not use it there.
func (b *builder) sessionManager() *token.SessionManager {
	c := token.SessionManagerConfig{Scope: resources.Scope(b.policy), Sessions: b.parts.sessions, Revocations: b.revocations, Logger: b.logger, Events: b.events, Now: b.now}
	if t := b.policy.Tokens; t != nil {
		c.Issuer, c.Lifetime = t.Issuer, t.AccessLifetime.Std()
	}
	for i := range b.policy.Providers {
		c.ExternalTokenLifetime = max(c.ExternalTokenLifetime, b.policy.Providers[i].TokenLifetime())
	}
	if s := b.policy.Sessions; s != nil && b.policy.Revocation != nil {
		c.SubjectFrom, c.Ended = session.SubjectFrom(s.SubjectFrom), b.ended(&b.active.Recorded)
	}
	sessionManager, err := token.NewSessionManager(c)
	b.fail(err, "sessions")
	return sessionManager
}

// ended reports whether token.SessionManager has ended a session, according to recorded.
func (b *builder) ended(recorded *revocation.Current) session.Ended {
	issuer := token.ExternalSessionIssuer(resources.Scope(b.policy))
	return func(ctx context.Context, id string, began time.Time) (bool, error) {
		return recorded.Revoked(ctx, &revocation.Query{Issuer: issuer, Subject: id, IssuedAt: began})
	}
}

func (b *builder) limits() session.Limits {
	s := b.policy.Sessions
	return session.Limits{
		IdleTimeout: s.IdleTimeout.Std(), AbsoluteTimeout: s.AbsoluteTimeout.Std(), MaxPerSubject: s.MaxPerSubject,
		WhenFull: session.WhenFull(s.WhenFull), EvictIdlest: s.WhenMemoryFull != "Reject",
	}
}

// session returns the stage that requires an active session for a token.
func (b *builder) session() stage.Stage {
	s := b.policy.Sessions
	if s == nil || b.stripCredentials == nil {
		return nil
	}
	c := session.Config{
		Store: b.parts.sessions, SubjectFrom: session.SubjectFrom(s.SubjectFrom), Limits: b.limits(), Bind: session.Bind(s.Bind),
		OnFailure: session.OnFailure(s.OnFailure), Shadow: s.Mode == compiled.Shadow, Realm: b.policy.Name, StripCredentials: b.stripCredentials,
		Events: b.events, Now: b.now, Sessionless: []string{compiled.APIKeysIssuer, compiled.BasicUsersIssuer},
	}
	if b.policy.Tokens != nil {
		c.Issuer = b.policy.Tokens.Issuer
	}
	if b.policy.Revocation != nil {
		c.Ended, c.Watched = b.ended(&b.active.Recorded), b.ended(&b.active.Sessions)
	}
	stage, err := session.NewStage(c)
	b.fail(err, "sessions")
	return stage
}

// addBackChannel adds the endpoint with which external issuers log users out.
func (b *builder) addBackChannel(s *tokenStages) {
	prefix := endpoints.DefaultPrefix
	if b.policy.Tokens != nil {
		prefix = b.policy.Tokens.Prefix
	}
	c := backchannel.Config{
		Path: prefix + "/backchannel-logout", Sessions: s.sessionManager, Revocations: b.revocations, Revoked: b.verdicts(),
		Replay: b.replay, Logger: b.logger, Events: b.events, Now: b.now,
	}
	for i := range b.policy.Providers {
		p := &b.policy.Providers[i]
		if p.BackChannelLogout == nil {
			continue
		}
		keys, err := b.keys(p)
		b.fail(err, "provider %q", p.Name)
		c.Providers = append(c.Providers, backchannel.Provider{
			Issuer: p.Issuer, ClientIDs: p.BackChannelLogout.ClientIDs, Algorithms: p.Algorithms, Keys: keys, Leeway: p.Leeway.Std(),
			AnyType: p.BackChannelLogout.AnyType, TokenLifetime: p.TokenLifetime(),
			BySubject: b.policy.Sessions != nil && b.policy.Sessions.SubjectFrom == string(session.FromSub),
		})
	}
	if len(c.Providers) == 0 || len(b.errs) > 0 {
		return
	}
	var err error
	s.backChannel, err = backchannel.New(c)
	b.fail(err, "backChannelLogout")
	s.paths = append(s.paths, c.Path)
}

// appAPI returns the API for the app itself, or nil if there are errors.
func (b *builder) appAPI(s tokenStages) http.Handler {
	c := appapi.Config{LoginService: s.loginService, Events: b.events, Trail: b.trail, TrailDenies: b.trailDenies(), Logger: b.logger, Now: b.now}
	if b.policy.Sessions != nil {
		c.SessionManager = s.sessionManager
	}
	if len(b.errs) > 0 {
		return nil
	}
	if u := b.metrics.Usage; u != nil {
		c.Top = func(limit int) any { return u.Top(limit) }
	}
	if len(b.accepted) > 0 {
		verifier, err := authn.NewVerifier(b.accepted, b.now)
		b.fail(err, "the app's API")
		c.Verifier, c.Revoked = verifier, b.verdicts()
	}
	if s.revoker != nil && b.policy.Revocation != nil {
		c.Revoker = s.revoker
	}
	if p := b.policy.Passwords; p != nil {
		hasher, err := b.hasher(p)
		b.fail(err, "passwordPolicy")
		c.Passwords = hasher
		if rules := b.passwordPolicy(); rules != nil {
			c.PasswordRules = rules
		}
	}
	if b.locks != nil {
		c.Locks = b.locks
	}
	c.Stores = b.subjectStores(c, s)
	api, err := appapi.New(c)
	b.fail(err, "the app's API")
	return api
}
