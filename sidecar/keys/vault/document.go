package vault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// documentKey identifies a document. All keys of one secret are read together.
type documentKey struct {
	path    string
	version int
}

// document is a secret that is polled while it is in use.
//
// It polls the values, not the metadata: this is one request, it cannot mix two versions, and it needs no permission besides reading
// the secret.
type document struct {
	client *Client
	key    documentKey

	mu      sync.Mutex
	place   location // zero until Vault has returned the mount
	content *content // the last good one; nil before the first read and after a deletion
	err     error    // why the latest read failed
	tried   chan struct{}
	changed chan struct{}
}

func newDocument(c *Client, key documentKey) *document {
	return &document{client: c, key: key, tried: make(chan struct{}), changed: make(chan struct{})}
}

// run reads until ctx ends.
func (d *document) run(ctx context.Context) {
	interval := d.client.cfg.PollInterval
	failed := backoff{pace: d.client.pace}
	for first := true; ctx.Err() == nil; first = false {
		c, err := d.read(ctx, d.key.version)
		if ctx.Err() != nil {
			return
		}
		d.take(c, err)
		if first {
			close(d.tried)
		}
		wait := within(interval)
		if err != nil {
			wait = min(failed.wait(), wait)
		} else {
			failed.reset()
		}
		sleep(ctx, wait)
	}
}

// read reads one version; zero is the latest.
func (d *document) read(ctx context.Context, version int) (*content, error) {
	place, err := d.locate(ctx)
	if err != nil {
		return nil, err
	}
	var params map[string][]string
	if version != 0 {
		params = map[string][]string{"version": {strconv.Itoa(version)}}
	}
	s, err := d.client.do(ctx, d.key.path, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().ReadWithDataWithContext(ctx, place.data(), params)
	})
	if err != nil {
		return nil, err
	}
	c, err := parseContent(s, d.client.cfg.Now())
	if s == nil {
		d.mu.Lock()
		d.place = location{} // the path does not exist: the engine may have moved
		d.mu.Unlock()
	}
	return c, err
}

// locate reads from Vault once where the engine is mounted, as the vault command does.
func (d *document) locate(ctx context.Context) (location, error) {
	d.mu.Lock()
	place := d.place
	d.mu.Unlock()
	if place.mount != "" {
		return place, nil
	}
	s, err := d.client.do(ctx, d.key.path, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().ReadWithDataWithContext(ctx, "sys/internal/ui/mounts/"+d.key.path, nil)
	})
	if err != nil {
		return location{}, err
	}
	if s == nil || s.Data == nil {
		return location{}, errNotFound
	}
	options, _ := s.Data["options"].(map[string]any)
	if options["version"] != "2" {
		return location{}, errors.New("the engine is not KV version 2")
	}
	mount, _ := s.Data["path"].(string)
	if place, err = locate(d.key.path, mount); err != nil {
		return location{}, err
	}
	d.mu.Lock()
	d.place = place
	d.mu.Unlock()
	return place, nil
}

// take stores the outcome of a read. After a failure the last good value stays in use. After a deletion it does not, because a deletion
// is intended.
func (d *document) take(c *content, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	previous := d.content
	switch {
	case err == nil:
		d.content = c
	case errors.Is(err, errNotFound):
		d.content = nil
	default:
		return
	}
	if d.content.same(previous) || d.content == previous {
		return
	}
	close(d.changed)
	d.changed = make(chan struct{})
	log := d.client.cfg.Logger
	switch {
	case d.content == nil:
		log.Warn("secret deleted from Vault", "path", d.key.path, "version", previous.version)
	case previous != nil:
		log.Info("secret rotated", "path", d.key.path, "version", d.content.version, "previous", previous.version)
	}
}

// current returns the current content. It waits for the first read to end.
func (d *document) current(ctx context.Context) (*content, error) {
	select {
	case <-d.tried:
	case <-ctx.Done():
		return nil, fmt.Errorf("reading secret %s: %w", d.key.path, ctx.Err())
	case <-d.client.ctx.Done():
		return nil, fmt.Errorf("reading secret %s: the client is closed", d.key.path)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.content == nil {
		return nil, fmt.Errorf("reading secret %s: %w", d.key.path, d.err)
	}
	if ends := d.content.expires(d.client.cfg.MaxStale); !d.client.cfg.Now().Before(ends) {
		if d.err == nil {
			return nil, fmt.Errorf("reading secret %s: %w", d.key.path, ErrExpired)
		}
		return nil, fmt.Errorf("reading secret %s: %w; the latest read: %w", d.key.path, ErrExpired, d.err)
	}
	return d.content, nil
}

func (d *document) changes() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// SecretStatus is the state of one secret.
type SecretStatus struct {
	// Path and Version are those of the Ref. Version is zero if it follows the latest.
	Path    string
	Version int
	// Ready is false if there is no value, or it has expired.
	Ready bool
	// Current is the version in use, or the number of accounts so far; zero if there is none.
	Current int
	// Age is the time since Vault last confirmed the value.
	Age time.Duration
	// Expires is when the value expires unless Vault confirms it again.
	Expires time.Time
	// Err is the error of the latest read; empty if it succeeded.
	Err string
}

func (d *document) status() SecretStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := SecretStatus{Path: d.key.path, Version: d.key.version}
	if d.err != nil {
		st.Err = d.err.Error()
	}
	if d.content == nil {
		return st
	}
	now := d.client.cfg.Now()
	st.Current, st.Age, st.Expires = d.content.version, now.Sub(d.content.confirmed), d.content.expires(d.client.cfg.MaxStale)
	st.Ready = now.Before(st.Expires)
	return st
}
