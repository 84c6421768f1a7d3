package certificate

import (
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
		keyfile.Source{Name: name, Source: joined{chain, key}, Background: options.Slow, Logger: options.Logger, Interval: options.Interval},
		keyfile.Format[*Certificate]{Entries: "certificates", Parse: func(data []byte, last *Certificate) (*Certificate, error) {
			chain, key, err := split(data)
			if err != nil {
				return nil, fmt.Errorf("parsing certificate: %w", err)
			}
			c, err := Parse(chain, key)
			if err != nil {
				return nil, err
			}
			if err := c.usable(options.Now()); err != nil && last != nil {
				return nil, err
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

// Expiring reports whether less than a fifth of the lifetime is left: whatever should have replaced the certificate has not.
func Expiring(c *Certificate, now time.Time) bool { return c.left(now) < expiringPart }

// expiringPart is the part of a lifetime before whose last moments a certificate should have been replaced. cert-manager and Issued replace it when a
// third is left.
const expiringPart = 0.2
