// Package chain builds an immutable Snapshot from the document of a policy. The order of the stages is defined only in its table
// (order.go).
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/httpkit/tracing"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
	"github.com/posterndev/postern/sidecar/stages/apikey"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/authz"
	"github.com/posterndev/postern/sidecar/stages/clientaddr"
	"github.com/posterndev/postern/sidecar/stages/compression"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
)

// Config configures a Snapshot, together with the document.
type Config struct {
	// Resources are shared by all snapshots and outlive them.
	Resources *resources.Resources
	// ContainerPorts are the ports that the pod's containers declare.
	ContainerPorts []compiled.ContainerPort
	// App is the last stage: the proxy to the app.
	App stage.Handler
	// Local returns the address and port that the client connected to.
	Local func(ctx context.Context) netip.AddrPort
	// TLS returns the TLS session of the client's connection, or nil. It may be nil.
	TLS func(ctx context.Context) *secured.Session
	// OnlyPort is the port of the only listener in postern run. It replaces the ports of the policy. It is 0 in a pod.
	OnlyPort uint16
	Logger   *slog.Logger
	// Sinks receive the policy's events, in addition to metrics and the access log.
	Sinks []event.Sink
	// Trail replaces the policy's audit trail in tests, where it answers whether it is full.
	Trail Trail
	// Trace makes the chain record what each stage does with a request that has a request.Trace. It costs time.
	Trace bool
	// Now is the clock of tokens, sessions and limits; nil for time.Now. Resources should have the same clock.
	Now func() time.Time
	// Sleep delays attempts to log in; nil waits.
	Sleep loginprotection.Sleep
}

// Build returns the snapshot of a document. An error says what in the document cannot run here. On an error all acquired
// resources are released.
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
	c.Logger = request.Logger(c.Logger)
	if err := s.resolvePorts(p, c); err != nil {
		return err
	}
	acquirer, err := c.Resources.Acquire(p)
	if err != nil {
		return err
	}
	s.onClose(acquirer.Close)
	if s.tls, err = acquirer.TLS(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	if s.upstreamTLS, err = acquirer.UpstreamTLS(); err != nil {
		return fmt.Errorf("upstreamTLS: %w", err)
	}
	given, err := acquire(acquirer, p)
	if err != nil {
		return err
	}
	given.clients = s.tls.VerifiesClients()
	given.metrics, given.logger, given.app = c.Resources.Metrics(), c.Logger, upstreamProtocol(p, c.App)
	given.untrustedProxy = c.Resources.SeeUntrustedProxy
	given.encoders, given.trace, given.now, given.sleep = c.Resources.Encoders(), c.Trace, c.Now, c.Sleep
	recorded, err := acquirer.Trail()
	if err != nil {
		return err
	}
	if given.trail = c.Trail; given.trail == nil && recorded != nil {
		given.trail = recorded
	}
	if given.events, err = s.events(p, c, recorded); err != nil {
		return err
	}
	built, err := assemble(p, given)
	if err != nil {
		return err
	}
	s.appAPI, s.client = built.appAPI, built.client
	s.activate = func() {
		given.metrics.Usage.Declare(usageOf(p, built.paths))
		given.events.Emit(event.Event{Kind: event.PolicyActivated, Outcome: event.Success})
		s.onClose(c.Resources.Activate(activation(p, built)))
	}
	ids, err := requestIDs(p, built.client)
	if err != nil {
		return err
	}
	routes, err := declaredRoutes(p)
	if err != nil {
		return err
	}
	s.handler, err = accesslog.New(accesslog.Config{
		Metrics: given.metrics.Requests, Events: given.events, Logger: c.Logger, Shadow: p.Mode == compiled.Shadow, Local: c.Local, TLS: c.TLS, IDs: ids, Routes: routes, Now: c.Now,
		Tracing: tracing.New(tracing.Config{Tracer: given.tracer, Trusted: built.client.Trusts, Policy: resources.Scope(p)}),
	}, built.handler)
	return err
}

// events returns the event stream of the policy. Metrics and the access log are always among its sinks.
func (s *Snapshot) events(p *compiled.Policy, c Config, t *trail.Trail) (*event.Stream, error) {
	log, err := accesslog.NewLog(logConfig(p, c.Logger))
	if err != nil {
		return nil, err
	}
	m := c.Resources.Metrics()
	sinks := append([]event.Sink{m.Verified, m.Issued, m.Requests.Sink(s.httpPorts()), m.Usage, log}, c.Sinks...)
	if t != nil {
		sinks = append(sinks, t)
	}
	return event.NewStream(resources.Scope(p), sinks...), nil
}

// parts are the inputs of the stages other than the document.
type parts struct {
	keys         func(*compiled.Provider) (authn.Keys, error)
	hasher       func(*compiled.Passwords) (*password.Hasher, error)
	apiKeys      func(*compiled.APIKeys) (apikey.Keys, error)
	users        func(*compiled.APIKeys) (apikey.Users, error)
	breached     func(*compiled.BreachedPasswords) (passwordpolicy.Source, error)
	store, local ratelimit.Store
	passwords    passwordpolicy.Store
	// places count requests in progress.
	places *inflight.Places
	// logins counts attempts to log in, and localLogins replaces it while it is unavailable.
	logins, localLogins loginprotection.Store
	challenge           func(*compiled.Challenge) (loginprotection.Challenge, error)
	// ring is nil if the policy issues no tokens. index is nil if it has no revocation.
	ring        *signing.Ring
	index       *revocation.Index
	sessions    session.Store
	revocations revocation.Store
	active      *resources.Revocations
	// tracer is nil if the policy exports no traces.
	tracer trace.Tracer
	replay backchannel.Replay
	// usedProofs remembers DPoP proofs, and localProofs replaces it while it is unavailable.
	usedProofs, localProofs authn.UsedProofs
	// clients verifies the certificates of clients; nil if the policy asks for none.
	clients *certificate.Clients
	// untrustedProxy is nil if the document is only checked.
	untrustedProxy func(netip.Addr)
	// encoders is nil if the document is only checked.
	encoders *compression.Places
	metrics  resources.Metrics
	// events is nil if the document is only checked.
	events *event.Stream
	// trail is nil if the policy has no audit trail, or the document is only checked.
	trail  Trail
	logger *slog.Logger
	app    stage.Handler
	trace  bool
	// now is nil for time.Now.
	now func() time.Time
	// sleep is nil for a wait.
	sleep loginprotection.Sleep
}

// acquire acquires the resources that the document needs.
func acquire(a *resources.Acquirer, p *compiled.Policy) (given parts, err error) {
	given = parts{
		keys: a.ProviderKeys, hasher: a.Hasher, breached: a.Breached, apiKeys: a.APIKeys, users: a.BasicUsers, store: a.Counters(), local: a.LocalCounters(), places: a.Places(), sessions: a.Sessions(),
		passwords: a.Passwords(), logins: a.Logins(), localLogins: a.LocalLogins(), challenge: a.Challenge,
		revocations: a.Revocations(), active: a.Active(), replay: a.Replays(), usedProofs: a.UsedProofs(), localProofs: a.LocalUsedProofs(),
	}
	if p.Deleted {
		return given, nil
	}
	if given.tracer, err = a.Tracer(); err != nil {
		return given, err
	}
	if p.Tokens != nil {
		if given.ring, err = a.Ring(); err != nil {
			return given, fmt.Errorf("tokens.signingKey: %w", err)
		}
	}
	if p.Revocation != nil {
		if given.index, err = a.Index(); err != nil {
			return given, fmt.Errorf("revocation: %w", err)
		}
		given.revocations = revocation.WriteThrough{Store: given.revocations, Index: given.index}
	}
	return given, nil
}

// assembled is the request path of a document, with the values that belong to it.
type assembled struct {
	handler stage.Handler
	// appAPI is nil if the policy is deleted.
	appAPI http.Handler
	// revoker is nil if the policy accepts no tokens.
	revoker *token.Revoker
	// known looks up revocations.
	known revocation.Known
	// files are those of API keys and users.
	files *apikey.Files
	// client finds the client's address.
	client clientaddr.Locator
	// paths are those that the sidecar itself serves.
	paths []string
}

// assemble builds the steps of the policy's profile in front of the app.
func assemble(p *compiled.Policy, given parts) (assembled, error) {
	names := proxyProfile()
	if p.Deleted {
		names = deletedProfile()
	}
	steps, err := pick(order(), names)
	if err != nil {
		return assembled{}, err
	}
	b := newBuilder(p, given)
	stages := make([]stage.Stage, len(steps))
	for i, s := range steps {
		stages[i] = s.build(b)
	}
	if given.trace {
		given.app = traceSteps(steps, stages, given.app)
	}
	built := assembled{known: b.known, files: &b.files, client: clientaddr.NewLocator(b.trustedProxies()), handler: stage.Chain(given.app, stages...)}
	if !p.Deleted {
		built.appAPI, built.revoker, built.paths = b.appAPI(b.tokens()), b.tokens().revoker, b.tokens().paths
	}
	return built, errors.Join(b.errs...)
}

// requirement converts between equal enumerations.
func requirement(r compiled.Requirement) authz.Requirement { return authz.Requirement(r) }

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
