package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/resources/pool"
)

// Bounds of a History: how many versions are returned, and how many are asked for.
const (
	maxHistory = 8
	maxAsked   = 16
)

// Secret is one value of a KV secret, kept up to date. It is a secret.Source and a signing.History, safe for concurrent use.
type Secret struct {
	document *document
	key      string
}

// Reading is a value with what Vault says of it.
type Reading struct {
	Value secret.Value
	// Version is Vault's number, from 1.
	Version int
	Created time.Time
	// Expires is when the value must not be used any more unless Vault confirms it before.
	Expires time.Time
}

// Secret returns the value that ref names, and reads it in the background until release is called. All who ask for one
// secret share its reads. It returns at once; a Ref that can never work is an error.
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

// Read implements secret.Source: the value in force, without a request. It waits where no read has ended yet.
func (s *Secret) Read(ctx context.Context) (secret.Value, error) {
	r, err := s.Current(ctx)
	return r.Value, err
}

// Current is Read with what is known of the value. Its errors wrap *Error or ErrExpired.
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

// Changed returns a channel that is closed when another version comes into force, the first one too, or when the secret
// goes. Ask for it before Read, so that no change falls between.
func (s *Secret) Changed() <-chan struct{} { return s.document.changes() }

// History implements signing.History with requests to Vault: the versions that have not been deleted, up to eight, the older
// first. Of a pinned version it is that one alone.
func (s *Secret) History(ctx context.Context) ([]signing.Content, error) {
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
	contents := []signing.Content{{Value: v, Created: latest.created}}
	if d.key.version != 0 {
		return contents, nil
	}
	for n := latest.version - 1; n > max(0, latest.version-maxAsked) && len(contents) < maxHistory; n-- {
		c, err := d.read(ctx, n)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading version %d of secret %s: %w", n, d.key.path, err)
		}
		if v, err := c.value(s.key); err == nil {
			contents = append([]signing.Content{{Value: v, Created: c.created}}, contents...)
		}
	}
	return contents, nil
}
