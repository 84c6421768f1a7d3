package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/resources"
)

// core holds the snapshot in force and swaps it. Its handler serves every HTTP connection.
type core struct {
	shared *resources.Resources
	chain  chain.Config
	level  *slog.LevelVar
	logger *slog.Logger
	// applied is called with each new snapshot, before it takes requests; an error refuses it.
	applied func(*chain.Snapshot) error

	current atomic.Pointer[activeSnapshot]
	// leaving says that the pod is about to end: clients are told to come back on another connection, to another pod.
	leaving atomic.Bool
}

// force is a snapshot in force.
type activeSnapshot struct {
	*chain.Snapshot
	hash string
	// firstAt is when the process got its first snapshot.
	firstAt time.Time
}

type snapshotStatus struct {
	hash    string
	firstAt time.Time
}

func (c *core) status() snapshotStatus {
	if f := c.current.Load(); f != nil {
		return snapshotStatus{f.hash, f.firstAt}
	}
	return snapshotStatus{}
}

// apply builds the document's snapshot whole, activates it, and lets the one before end. It is called for one document
// at a time.
func (c *core) apply(ctx context.Context, p *compiled.Policy, hash string) error {
	snapshot, err := chain.Build(p, c.chain)
	if err != nil {
		return err
	}
	if c.applied != nil {
		if err := c.applied(snapshot); err != nil {
			snapshot.Close()
			return err
		}
	}
	next := &activeSnapshot{Snapshot: snapshot, hash: hash, firstAt: time.Now()}
	before := c.current.Load()
	if before != nil {
		next.firstAt = before.firstAt
	}
	c.current.Store(next)
	snapshot.Activate()
	if before != nil {
		before.Close()
	}
	c.setLevel(p.Sidecar.LogLevel)
	if p.Deleted {
		c.logger.WarnContext(ctx, "the policy was deleted: traffic passes through unguarded until the pod is restarted")
	}
	return nil
}

func (c *core) setLevel(name string) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err == nil {
		c.level.Set(level)
	}
}

var errNoPolicy = errors.New("no document in force")

// ServeHTTP enforces the policy in force; without one every request is refused: a sidecar never starts open.
func (c *core) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.leaving.Load() && r.Header.Get("Upgrade") == "" {
		w.Header().Set("Connection", "close") // in HTTP/2, net/http makes it a GOAWAY
	}
	if f := c.current.Load(); f != nil {
		f.ServeHTTP(w, r)
		return
	}
	httperr.Write(w, r, (&httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "no-policy", Detail: "The service is starting.", Cause: errNoPolicy,
	}).With("Retry-After", "1"))
}
