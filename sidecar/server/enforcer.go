package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/conn/secure"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/upgraded"
	"github.com/posterndev/postern/sidecar/resources"
)

// enforcer serves every HTTP request with the active snapshot, and replaces the snapshot.
type enforcer struct {
	resources *resources.Resources
	chain     chain.Config
	level     *slog.LevelVar
	logger    *slog.Logger
	// onActivate is called with each new snapshot before it gets requests, and with the previous snapshot or nil. An
	// error refuses the new one.
	onActivate func(next, current *chain.Snapshot) error

	// onAppTLS is called after a snapshot that verifies the app in another way has become active; nil does nothing.
	onAppTLS func()

	// security is nil in tests without TLS.
	security *security
	// documents shows the active document; nil shows nothing.
	documents *documentMetrics

	active atomic.Pointer[activeSnapshot]
	// leaving says that the pod will stop: clients are told to reconnect, which leads them to another pod.
	leaving atomic.Bool
	// open is the number of requests in progress.
	open atomic.Int64
}

// activeSnapshot is the active snapshot. The zero value is none.
type activeSnapshot struct {
	*chain.Snapshot
	hash string
	// clients and app perform the handshakes with clients and with the app; nil without TLS.
	clients *secure.Server
	app     *secure.Upstream
	// firstAt is when the process got its first snapshot.
	firstAt time.Time
}

// current returns the active snapshot; its Snapshot is nil before the first document.
func (e *enforcer) current() activeSnapshot {
	if a := e.active.Load(); a != nil {
		return *a
	}
	return activeSnapshot{}
}

// apply builds the complete snapshot of the document, activates it, and closes the previous one. It is called for one
// document at a time.
func (e *enforcer) apply(ctx context.Context, p *compiled.Policy, hash string) error {
	snapshot, err := chain.Build(p, e.chain)
	if err != nil {
		e.documents.reject()
		return err
	}
	clients, app, err := e.security.of(snapshot)
	if err != nil {
		snapshot.Close()
		e.documents.reject()
		return err
	}
	before := e.current()
	if e.onActivate != nil {
		if err := e.onActivate(snapshot, before.Snapshot); err != nil {
			snapshot.Close()
			e.documents.reject()
			return err
		}
	}
	next := &activeSnapshot{Snapshot: snapshot, hash: hash, clients: clients, app: app, firstAt: before.firstAt}
	if next.firstAt.IsZero() {
		next.firstAt = time.Now()
	}
	e.active.Store(next)
	if e.onAppTLS != nil && !before.app.Same(app) {
		e.onAppTLS()
	}
	e.documents.set(p, hash)
	snapshot.Activate()
	if before.Snapshot != nil {
		before.Close()
	}
	e.setLevel(p.Sidecar.LogLevel)
	if p.Deleted {
		e.logger.WarnContext(ctx, "policy deleted, traffic is not protected until the pod is restarted")
	}
	return nil
}

// await waits until no request is in progress, or ctx ends.
func (e *enforcer) await(ctx context.Context) {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for e.open.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

func (e *enforcer) setLevel(name string) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err == nil {
		e.level.Set(level)
	}
}

var errNoPolicy = errors.New("no active document")

// ServeHTTP enforces the active policy. Without a policy every request is refused: a sidecar never starts open.
func (e *enforcer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.open.Add(1)
	if len(r.Header["Upgrade"]) > 0 {
		defer upgraded.End(r.Context(), func() { e.open.Add(-1) })
	} else {
		defer e.open.Add(-1)
	}
	if e.leaving.Load() && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Connection", "close") // in HTTP/2, net/http makes it a GOAWAY
	}
	if active := e.active.Load(); active != nil {
		active.ServeHTTP(w, r)
		return
	}
	if refused := request.Refused(r); refused != nil {
		httperr.Write(w, r, refused.Err)
		return
	}
	httperr.Write(w, r, (&httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "no-policy", Detail: "The service is starting.", Cause: errNoPolicy,
	}).With("Retry-After", "1"))
}

// stageFraming names in logs and metrics what refuses malformed heads.
const stageFraming = "framing"

// refuseFraming responds to a request whose head is malformed.
func (e *enforcer) refuseFraming(w http.ResponseWriter, r *http.Request, why *httperr.Error) {
	e.ServeHTTP(w, request.Refuse(r, &request.Refusal{Stage: stageFraming, Err: why}))
}

// refuseOverload responds to a request for which there is no place. It is not in the access log, because a flood
// must not become a flood of lines: overload logs one line for many refusals.
func (e *enforcer) refuseOverload(w http.ResponseWriter, r *http.Request, why *httperr.Error) {
	e.ServeHTTP(w, request.Refuse(r, &request.Refusal{Stage: "overload", Err: why, Unlogged: true}))
}
