package certificate

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/keys/keyfile"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Held is a certificate that is kept up to date. It is safe for concurrent use.
type Held interface {
	// Current returns the certificate in use. The error says why there is none.
	Current() (*Certificate, error)
	// Err returns why the certificate in use is not the latest, or nil.
	Err() error
	// Name names the certificate in logs, metrics and the status.
	Name() string
	// Shared says that the other replicas have the same certificate.
	Shared() bool
	// Tried is closed after the first attempt to get the certificate.
	Tried() <-chan struct{}
}

// Store is a certificate from a Secret or a secret of Vault. It implements Held.
type Store struct {
	*keyfile.Store[*Certificate]
	name string
}

var _ Held = (*Store)(nil)

// OpenStore follows the chain and the key. The caller calls Close.
func OpenStore(name string, chain, key secret.Source, options Options) *Store {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Store{name: name, Store: keyfile.Open(
		keyfile.Source{Name: name, Source: pair{chain, key}, Background: options.Slow, Logger: options.Logger, Interval: options.Interval},
		keyfile.Format[*Certificate]{Entries: "certificates", Parse: func(data []byte, last *Certificate) (*Certificate, error) {
			c, err := Parse(data)
			if err != nil {
				return nil, err
			}
			if last != nil && c.expired(options.Now()) { // no client accepts it
				return nil, fmt.Errorf("the new one expired at %s", c.NotAfter().UTC().Format(time.RFC3339))
			}
			options.Metrics.replaced(name, last, c)
			return c, nil
		}},
	)}
}

// Current implements Held.
func (s *Store) Current() (*Certificate, error) { return s.File() }

// Name implements Held.
func (s *Store) Name() string { return s.name }

// Shared implements Held.
func (s *Store) Shared() bool { return true }

// pair reads a chain and a key as one value. They may be of two versions while they are replaced: then they do not match, and are read again.
type pair struct{ chain, key secret.Source }

// Read implements secret.Source.
func (p pair) Read(ctx context.Context) (secret.Value, error) {
	chain, err := p.chain.Read(ctx)
	if err != nil {
		return secret.Value{}, err
	}
	key, err := p.key.Read(ctx)
	if err != nil {
		return secret.Value{}, err
	}
	return secret.New(bytes.Join([][]byte{chain.Reveal(), key.Reveal()}, []byte("\n"))), nil
}

// Changed implements keyfile.Live for secrets of Vault. For others nothing is ever ready, and they are polled.
func (p pair) Changed() <-chan struct{} {
	if live, ok := p.chain.(keyfile.Live); ok {
		return live.Changed()
	}
	return nil
}

// Expiring reports whether less than a fifth of the lifetime is left: whatever should have replaced the certificate has not.
func Expiring(c *Certificate, now time.Time) bool { return c.left(now) < expiringPart }

// expiringPart is the part of a lifetime before whose last moments a certificate should have been replaced. cert-manager and Issued replace it when a
// third is left.
const expiringPart = 0.2
