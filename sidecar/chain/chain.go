// Package chain builds what a sidecar runs from the policy's document: an immutable Snapshot. It is the one place that
// knows the order of the stages.
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/authz"
	"github.com/posterndev/postern/sidecar/stages/clientaddr"
	"github.com/posterndev/postern/sidecar/stages/guard"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/strip"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// Config is what a chain is built with, beside the document.
type Config struct {
	// Shared outlives the snapshots.
	Shared *Shared
	// ContainerPorts are what the pod's containers declare.
	ContainerPorts []compiled.ContainerPort
	// App is the last stage: the proxy to the app.
	App stage.Handler
	// Local gives the address and port that the client connected to.
	Local func(ctx context.Context) netip.AddrPort
	// OnlyPort is the port of the one listener that stands for the app, whatever ports the policy names (postern run); 0 in
	// a pod.
	OnlyPort uint16
	Logger   *slog.Logger
}

// Build returns the snapshot of a document. An error says what in the document cannot be run: what check.Document finds, which
// the operator refuses as well, or what is particular to this pod. Whatever the snapshot had acquired by then is released.
func Build(p *compiled.Policy, c Config) (*Snapshot, error) {
	if err := check.Error(check.Document(p)); err != nil {
		return nil, fmt.Errorf("checking document: %w", err)
	}
	s := &Snapshot{policy: p}
	err := s.build(p, c)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Snapshot) build(p *compiled.Policy, c Config) error {
	if err := s.resolvePorts(p, c); err != nil {
		return err
	}
	t, err := c.Shared.newAcquirer(p)
	if err != nil {
		return err
	}
	s.onClose(t.close)
	given, err := t.parts()
	if err != nil {
		return err
	}
	given.app = c.App
	built, err := assemble(p, given)
	if err != nil {
		return err
	}
	s.loopback = built.loopback
	s.activate = func() {
		c.Shared.now.set(p, built.known)
		c.Shared.sessions.Hold(timeouts(p))
		s.onClose(c.Shared.endRevoked(p, built.revoker))
	}
	s.handler, err = accesslog.New(accesslog.Config{
		Metrics: c.Shared.metrics.requests, Logger: c.Logger, AccessLog: accesslog.AccessLog(p.Sidecar.AccessLog),
		Policy: scopeOf(p), Shadow: p.Mode == compiled.Shadow, Ports: s.httpPorts(), Local: c.Local,
	}, built.handler)
	return err
}

// parts is what the stages need from outside of the document.
type parts struct {
	keys         func(*compiled.Provider) (authn.Keys, error)
	hasher       func(*compiled.Passwords) (*password.Hasher, error)
	observer     authn.Observer
	store, local ratelimit.Store
	// ring is nil where the policy issues no tokens, and index where it follows no revocations.
	ring        *signing.Ring
	index       *revocation.Index
	sessions    session.Store
	revocations revocation.Store
	now         *activeRevocations
	replay      backchannel.Replay
	issued      token.Observer
	logger      *slog.Logger
	app         stage.Handler
}

// parts takes them.
func (t *acquirer) parts() (given parts, err error) {
	given = parts{
		keys: t.providerKeys, hasher: t.hasher, observer: t.metrics.tokens, store: t.counters(), local: t.limits, sessions: t.sessionStore(),
		revocations: t.revocations(), now: t.now, replay: t.replays(), issued: t.metrics.issued, logger: t.cfg.Logger,
	}
	if t.policy.Deleted {
		return given, nil
	}
	if t.policy.Tokens != nil {
		if given.ring, err = t.ring(); err != nil {
			return given, fmt.Errorf("tokens.signingKey: %w", err)
		}
	}
	if t.policy.Revocation != nil {
		if given.index, err = t.index(); err != nil {
			return given, fmt.Errorf("revocation: %w", err)
		}
		given.revocations = revocation.Own{Store: given.revocations, Index: given.index}
	}
	return given, nil
}

// assembled is a document's request path, and what stands beside it.
type assembled struct {
	handler stage.Handler
	// loopback is the app's API; nil where the policy has nothing for it.
	loopback http.Handler
	// revoker is nil where the policy accepts no tokens.
	revoker *token.Revoker
	// known is what is revoked.
	known revocation.Known
}

// assemble puts the stages in their order (docs: the request path). Stages that the policy does not ask for are nil.
func assemble(p *compiled.Policy, c parts) (assembled, error) {
	b := builder{policy: p, parts: c, known: revocation.Known{Listed: revocation.NewListed(listed(p), nil), Index: c.index}}
	trusted := b.trustedProxies()
	if p.Deleted {
		return assembled{handler: passThrough(p, trusted, c.app)}, errors.Join(b.errs...)
	}
	headers, crossOrigin, compress := b.headers(), b.cors(), b.compression()
	tokens := b.tokens()
	limits, authenticate, authorize := b.rateLimits(), b.authn(), b.authz(tokens.paths)
	revoked, kept := b.revocation(), b.session()
	loopback := b.loopback(tokens)
	if err := errors.Join(b.errs...); err != nil {
		return assembled{}, err
	}
	return assembled{loopback: loopback, revoker: tokens.revoker, known: b.known, handler: stage.Chain(c.app,
		headers,
		crossOrigin.decorate,
		accesslog.Errors(),
		guard.New(),
		upstream.EndToEnd(),
		strip.New(identityHeaders(p)),
		clientaddr.New(trusted),
		crossOrigin.preflight,
		limits.before,
		tokens.tokenTransport,
		authenticate,
		revoked,
		kept,
		authorize,
		limits.after,
		compress,
		tokens.backChannel,
		tokens.endpoints,
		tokens.login,
	)}, nil
}

// passThrough is the chain of a deleted policy: a person took the rules away. Forged identity headers still do not pass:
// the app was made to believe them.
func passThrough(p *compiled.Policy, trusted []netip.Prefix, app stage.Handler) stage.Handler {
	return stage.Chain(app, accesslog.Errors(), guard.New(), upstream.EndToEnd(), strip.New(identityHeaders(p)), clientaddr.New(trusted))
}

func identityHeaders(p *compiled.Policy) []string {
	var names []string
	for i := range p.Providers {
		for _, h := range p.Providers[i].ClaimsToHeaders {
			names = append(names, h.Header)
		}
	}
	if p.Tokens != nil {
		for _, h := range p.Tokens.ClaimsToHeaders {
			names = append(names, h.Header)
		}
	}
	return names
}

// requirement is the same word in document and stage.
func requirement(r compiled.Requirement) authz.Requirement { return authz.Requirement(r) }

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
