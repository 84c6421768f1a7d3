package signing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// The intervals between reads of the source: the usual one, after a failure, and for tokens with an unknown kid.
const (
	refreshInterval = 30 * time.Second
	retryInterval   = 2 * time.Second
	missInterval    = 5 * time.Second
	// readTimeout bounds a read, and missTimeout a read for which a request waits.
	readTimeout = 10 * time.Second
	missTimeout = time.Second
)

// Config configures a Ring.
type Config struct {
	Source Source
	// Registry is nil without Redis: see the table in the package comment.
	Registry Registry
	// Rotator creates new versions every Interval; nil if only the owner of the key can.
	Rotator   Rotator
	Algorithm Algorithm
	// Overlap is the time from a version's publication to its first signature, at least MinOverlap.
	Overlap time.Duration
	// Interval is the age at which the newest version is replaced; 0 for never.
	Interval time.Duration
	// Lifetime is the maximum lifetime of a token, including the leeway of verifiers.
	Lifetime time.Duration
	// MaxStale is how long a key signs after it was last read, while its source is unavailable; 0 for no limit.
	MaxStale time.Duration
	// Before is the ring of the same key that this one replaces; may be nil. Its versions are kept, also while the source is
	// unavailable.
	Before *Ring
	// Now defaults to time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// interval returns the interval between reads: at most half of MaxStale.
func (r *Ring) interval() time.Duration {
	if r.cfg.MaxStale > 0 {
		return min(refreshInterval, r.cfg.MaxStale/2)
	}
	return refreshInterval
}

// MinOverlap is twice the time within which every replica reads a new version.
const MinOverlap = 2 * refreshInterval

// Ring holds the versions of one signing key. It is safe for concurrent use.
type Ring struct {
	cfg   Config
	state atomic.Pointer[state]
	// reading is held during a read of the source. missed is when the last read for an unknown kid began.
	reading chan struct{}
	missed  atomic.Int64
	status  atomic.Pointer[Status]
	// tried is closed by end, once.
	tried chan struct{}
	end   func()
}

// state is immutable.
type state struct {
	members []member
	keys    jwks.Source
	// began is when the first state was read.
	began time.Time
}

func (r *Ring) timing() timing {
	return timing{overlap: r.cfg.Overlap, linger: r.cfg.Lifetime + MinOverlap, began: r.state.Load().began}
}

// Status is the state of the key for conditions and the admin page.
type Status struct {
	// Read is when the source was last read successfully; zero if never.
	Read time.Time
	// Err is the error of the last attempt; nil if it succeeded.
	Err error
	// Due says that the newest version is older than Interval and was not replaced.
	Due bool
	// Current is the kid that signs, or empty. Published are all kids that verify.
	Current   string
	Published []string
}

// NewRing returns a Ring. It has no key until Refresh or Run has read one. The error says which setting to change.
func NewRing(c Config) (*Ring, error) {
	switch {
	case c.Source == nil || c.Logger == nil:
		return nil, errors.New("building signing key: Source and Logger are required")
	case !slices.Contains([]Algorithm{ES256, RS256, PS256, EdDSA, HS256}, c.Algorithm):
		return nil, fmt.Errorf("building signing key: algorithm %.20q is not one of ES256, RS256, PS256, EdDSA, HS256", c.Algorithm)
	case c.Lifetime <= 0:
		return nil, errors.New("building signing key: the lifetime of tokens must be positive")
	case c.Overlap < MinOverlap:
		return nil, fmt.Errorf("building signing key: an overlap of %s is too short for all replicas and verifiers to read a new key; it must be at least %s", c.Overlap, MinOverlap)
	case c.Interval != 0 && c.Interval < 2*c.Overlap:
		return nil, fmt.Errorf("building signing key: the rotation interval %s must be at least twice the overlap %s", c.Interval, c.Overlap)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Ring{cfg: c, reading: make(chan struct{}, 1), tried: make(chan struct{})}
	r.end = sync.OnceFunc(func() { close(r.tried) })
	r.state.Store(&state{})
	r.status.Store(&Status{})
	if c.Before != nil && c.Before.cfg.Algorithm == c.Algorithm && c.Before.state.Load().keys != nil {
		r.state.Store(c.Before.state.Load())
		r.status.Store(c.Before.status.Load())
		r.end()
	}
	r.cfg.Before = nil // or all earlier rings would stay in memory
	return r, nil
}

// Tried is closed after the first attempt to read the source.
func (r *Ring) Tried() <-chan struct{} { return r.tried }

// Run reads the source until ctx ends: every 30 s, more often if MaxStale requires it, and sooner after a failure.
func (r *Ring) Run(ctx context.Context) {
	for {
		wait := r.interval()
		if err := r.Refresh(ctx); err != nil {
			wait = retryInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Refresh reads the source now. If that fails, the known versions stay in use. It waits for a concurrent Refresh, at most until
// ctx ends.
func (r *Ring) Refresh(ctx context.Context) error {
	select {
	case r.reading <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.reading }()
	defer r.end()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := r.read(ctx)
	if err == nil && r.rotate(ctx) {
		err = r.read(ctx)
	}
	s := *r.status.Load()
	if err == nil {
		s.Read, s.Due = r.cfg.Now(), r.due()
	} else if s.Err == nil && ctx.Err() == nil {
		message := "reading signing key failed, logins fail until it can be read"
		if s.Current != "" {
			message = "reading signing key failed, the last good one stays in use"
		}
		r.cfg.Logger.Warn(message, "error", err)
	}
	s.Err = err
	r.status.Store(&s)
	return err
}

// read builds a new state from the source and the previous state.
func (r *Ring) read(ctx context.Context) error {
	versions, err := r.cfg.Source.Versions(ctx)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return errors.New("reading signing key: it has no version")
	}
	now := r.cfg.Now()
	members := r.merge(versions, now)
	if err := r.date(ctx, members, now); err != nil {
		r.cfg.Logger.Warn("sharing dates of signing keys failed, new ones do not sign yet", "error", err)
	}
	order(members)
	kept := r.prune(members, now)
	keys, err := verifying(kept, r.cfg.Algorithm)
	if err != nil {
		return err
	}
	r.announce(kept, now)
	began := r.state.Load().began
	if began.IsZero() {
		began = now
	}
	r.state.Store(&state{members: kept, keys: keys, began: began})
	return nil
}

// merge returns the versions of the source with their known dates, and those that were deleted from it.
func (r *Ring) merge(versions []Version, now time.Time) []member {
	old := r.state.Load().members
	known := map[string]member{}
	for _, m := range old {
		known[m.Signer.KeyID()] = m
	}
	members := make([]member, 0, len(versions)+len(old))
	present := map[string]bool{}
	for _, v := range versions {
		id := v.Signer.KeyID()
		present[id] = true
		members = append(members, member{Version: v, since: known[id].since})
	}
	var deleted []member
	for _, m := range old {
		if present[m.Signer.KeyID()] {
			continue
		}
		if m.deleted.IsZero() {
			m.deleted = now
		}
		deleted = append(deleted, m)
	}
	return append(deleted, members...)
}

// ever is the date of keys that were present at the start and have no other date.
func ever() time.Time { return time.Unix(1, 0) }

// date fills in since.
func (r *Ring) date(ctx context.Context, members []member, now time.Time) error {
	believed := map[string]time.Time{}
	for i := range members {
		m := &members[i]
		switch {
		case !m.deleted.IsZero():
		case !m.Created.IsZero():
			m.since = m.Created
		case r.cfg.Registry != nil:
			believed[m.Signer.KeyID()] = m.since
		case !m.since.IsZero():
		case r.state.Load().keys != nil:
			m.since = now
		case !m.issued.IsZero():
			m.since = m.issued
		default:
			m.since = ever()
		}
	}
	if len(believed) == 0 {
		return nil
	}
	dates, err := r.cfg.Registry.Since(ctx, believed)
	if err != nil {
		return err
	}
	for i := range members {
		if at, ok := dates[members[i].Signer.KeyID()]; ok {
			members[i].since = at
		}
	}
	return nil
}

// prune drops deleted versions that no longer verify.
func (r *Ring) prune(members []member, now time.Time) []member {
	kept := make([]member, 0, len(members))
	for i, m := range members {
		if m.deleted.IsZero() || r.timing().published(members, i, now) {
			kept = append(kept, m)
		}
	}
	return kept[max(0, len(kept)-2*maxVersions):]
}

// announce logs changes of the versions.
func (r *Ring) announce(members []member, now time.Time) {
	before := r.state.Load().members
	if slices.EqualFunc(before, members, func(a, b member) bool {
		return a.Signer.KeyID() == b.Signer.KeyID() && a.deleted.Equal(b.deleted)
	}) {
		return
	}
	current := ""
	if i := r.timing().current(members, now); i >= 0 {
		current = members[i].Signer.KeyID()
	}
	r.cfg.Logger.Info("signing keys changed", "count", len(members), "current", current)
}
