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

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/authn"
	"github.com/posterndev/postern/sidecar/authz"
	"github.com/posterndev/postern/sidecar/clientaddr"
	"github.com/posterndev/postern/sidecar/guard"
	"github.com/posterndev/postern/sidecar/observe"
	"github.com/posterndev/postern/sidecar/ratelimit"
	"github.com/posterndev/postern/sidecar/stage"
	"github.com/posterndev/postern/sidecar/strip"
	"github.com/posterndev/postern/sidecar/upstream"
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

// Build returns the snapshot of a document. An error says what in the document cannot be run here; whatever the snapshot
// had taken by then is given back.
func Build(p *compiled.Policy, c Config) (*Snapshot, error) {
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
	keys := func(provider *compiled.Provider) (authn.Keys, error) {
		source, release, err := c.Shared.acquireKeys(provider)
		if err == nil {
			s.onClose(release)
		}
		return source, err
	}
	store, release, err := c.Shared.acquireCounters(p.Redis)
	if err != nil {
		return err
	}
	s.onClose(release)
	handler, err := assemble(p, parts{keys: keys, tokens: c.Shared.tokens, store: store, local: c.Shared.local, app: c.App})
	if err != nil {
		return err
	}
	s.handler, err = observe.New(observe.Config{
		Metrics: c.Shared.metrics, Logger: c.Logger, AccessLog: observe.AccessLog(p.Sidecar.AccessLog),
		Policy: p.Namespace + "/" + p.Name, Shadow: p.Mode == compiled.Shadow, Ports: s.httpPorts(), Local: c.Local,
	}, handler)
	return err
}

// parts is what the stages need from outside of the document.
type parts struct {
	keys         func(*compiled.Provider) (authn.Keys, error)
	tokens       authn.Observer
	store, local ratelimit.Store
	app          stage.Handler
}

// assemble puts the stages in their order (docs: the request path). Stages that the policy does not ask for are nil.
func assemble(p *compiled.Policy, c parts) (stage.Handler, error) {
	b := builder{policy: p, parts: c}
	trusted := b.trustedProxies()
	if p.Deleted {
		return passThrough(p, trusted, c.app), errors.Join(b.errs...)
	}
	headers, crossOrigin, compress := b.headers(), b.cors(), b.compression()
	limits, authenticate, authorize := b.rateLimits(), b.authn(), b.authz()
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	return stage.Chain(c.app,
		headers,
		crossOrigin.decorate,
		observe.Errors(),
		guard.New(),
		upstream.EndToEnd(),
		strip.New(identityHeaders(p)),
		clientaddr.New(trusted),
		crossOrigin.preflight,
		limits.before,
		authenticate,
		authorize,
		limits.after,
		compress,
	), nil
}

// passThrough is the chain of a deleted policy: a person took the rules away. Forged identity headers still do not pass:
// the app was made to believe them.
func passThrough(p *compiled.Policy, trusted []netip.Prefix, app stage.Handler) stage.Handler {
	return stage.Chain(app, observe.Errors(), guard.New(), upstream.EndToEnd(), strip.New(identityHeaders(p)), clientaddr.New(trusted))
}

func identityHeaders(p *compiled.Policy) []string {
	var names []string
	for i := range p.Providers {
		for _, h := range p.Providers[i].ClaimsToHeaders {
			names = append(names, h.Header)
		}
	}
	return names
}

// Check reports what in a document no sidecar could run: patterns, keys, origins. It makes no connection; keys that lie
// elsewhere are not looked at.
func Check(p *compiled.Policy) error {
	_, err := assemble(p, parts{
		keys:  checkKeys,
		store: noStore{}, local: noStore{},
		app: stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }),
	})
	if err == nil && p.Redis != nil {
		err = checkRedis(p.Redis)
	}
	return err
}

// noStore stands where a chain is built and not run.
type noStore struct{}

var errNotRun = errors.New("the chain is only checked")

func (noStore) Take(context.Context, []ratelimit.Request) ([]ratelimit.Result, error) {
	return nil, errNotRun
}

// requirement is the same word in document and stage.
func requirement(r compiled.Requirement) authz.Requirement { return authz.Requirement(r) }

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
