package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/pool"
)

// Bounds of History: the number of versions that are returned, and that are read.
const (
	maxHistory = 8
	maxRead    = 16
)

// Secret is one value of a KV secret. The client keeps it up to date. It implements secret.Source and secret.History, and is safe for
// concurrent use.
type Secret struct {
	document *document
	key      string
}

// Reading is a value with its metadata.
type Reading struct {
	Value secret.Value
	// Version is the version in Vault, from 1.
	Version int
	Created time.Time
	// Expires is when the value expires unless Vault confirms it again.
	Expires time.Time
}

// Secret returns the value of ref, and reads it in the background until release is called. All users of one secret share the reads. It
// returns at once, and fails only for an invalid Ref.
func (c *Client) Secret(ref Ref) (s *Secret, release func(), err error) {
	if err := ref.check(); err != nil {
		return nil, nil, fmt.Errorf("reading secret %.64q: %w", ref.Path, err)
	}
	key := documentKey{path: ref.Path, version: ref.Version}
	d, release, err := c.documents.Acquire(key, pool.Direct, func() (*document, func(), error) { return c.open(key) })
	if errors.Is(err, pool.ErrClosed) {
		return nil, nil, errors.New("reading secret: the Vault client is closed")
	}
	if err != nil {
		return nil, nil, err
	}
	return &Secret{document: d, key: ref.Key}, release, nil
}

// open starts to read a document; the returned function ends that.
func (c *Client) open(key documentKey) (*document, func(), error) {
	d := newDocument(c, key)
	ctx, cancel := context.WithCancel(c.ctx)
	c.work.Go(func() { d.run(ctx) })
	return d, func() {
		cancel()
		if c.ctx.Err() == nil { // while the client is closed there is no health to report
			c.health.forget(key.path)
		}
	}, nil
}

// Read implements secret.Source. It returns the current value without a request. It waits for the first read to end.
func (s *Secret) Read(ctx context.Context) (secret.Value, error) {
	r, err := s.Current(ctx)
	return r.Value, err
}

// Current returns the current value with its metadata. Errors wrap *Error or ErrExpired.
func (s *Secret) Current(ctx context.Context) (Reading, error) {
	c, err := s.document.current(ctx)
	if err != nil {
		return Reading{}, err
	}
	v, err := c.value(s.key)
	if err != nil {
		return Reading{}, fmt.Errorf("reading secret %s: %w", s.document.key.path, err)
	}
	return Reading{Value: v, Version: c.version, Created: c.created, Expires: c.expires(s.document.client.cfg.MaxStale)}, nil
}

// Changed returns a channel that is closed when the version changes, including the first one, or when the secret is deleted. Call it
// before Read, so that no change is missed.
func (s *Secret) Changed() <-chan struct{} { return s.document.changes() }

// Confirmed returns when Vault last confirmed the value; zero if there is none.
func (s *Secret) Confirmed() time.Time {
	d := s.document
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.content == nil {
		return time.Time{}
	}
	return d.content.confirmed
}

// History implements secret.History with requests to Vault. It returns up to eight versions that have not been deleted, the oldest
// first, or only the pinned version.
func (s *Secret) History(ctx context.Context) ([]secret.Version, error) {
	d := s.document
	latest, err := d.read(ctx, d.key.version)
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", d.key.path, err)
	}
	v, err := latest.value(s.key)
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", d.key.path, err)
	}
	if !latest.ends.IsZero() && !d.client.cfg.Now().Before(latest.ends) {
		return nil, fmt.Errorf("reading secret %s: %w", d.key.path, ErrExpired)
	}
	contents := []secret.Version{{Value: v, Created: latest.created}}
	if d.key.version != 0 {
		return contents, nil
	}
	for n := latest.version - 1; n > max(0, latest.version-maxRead) && len(contents) < maxHistory; n-- {
		c, err := d.read(ctx, n)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading version %d of secret %s: %w", n, d.key.path, err)
		}
		if v, err := c.value(s.key); err == nil {
			contents = append([]secret.Version{{Value: v, Created: c.created}}, contents...)
		}
	}
	return contents, nil
}
