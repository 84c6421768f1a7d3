package resources

import (
	"context"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/keys/signing/transit"
	"github.com/posterndev/postern/sidecar/login/token/tokenredis"
)

// ring is a signing.Ring with the name of its key.
type ring struct {
	*signing.Ring
	key string
	// remote says that a service signs, which can be unavailable although the key is known.
	remote bool
}

// signs reports whether a token can be signed, according to the latest reading of the key.
func (r ring) signs(st signing.Status) bool { return st.Current != "" && (st.Err == nil || !r.remote) }

// signingKeyWait is how long a document waits for the signing key, so that the key is loaded before the first request
// if it is available.
const signingKeyWait = 2 * time.Second

// Ring returns the ring with the policy's signing key. If the document changes how the key is used or reached, the
// new ring starts with what the previous ring has read.
func (a *Acquirer) Ring() (*signing.Ring, error) {
	p := a.policy.Tokens
	key, err := named(p.SigningKey, p.Algorithm)
	if err != nil {
		return nil, err
	}
	name, err := named(key, p.RotationInterval, p.RotationOverlap, p.AccessLifetime, p.Leeway, a.policy.Vault, a.policy.Redis)
	if err != nil {
		return nil, err
	}
	before := a.ringOf(key)
	r, release, err := a.shared.rings.Acquire(name, a.user, func() (ring, func(), error) { return a.openRing(key, before) })
	if err != nil {
		return nil, err
	}
	a.onClose(release)
	select {
	case <-r.Tried():
	case <-time.After(signingKeyWait):
		a.shared.cfg.Logger.Warn("the signing key is not available yet; logins fail until it is")
	}
	return r.Ring, nil
}

// ringOf returns the ring in use that has the key, or nil.
func (a *Acquirer) ringOf(key string) *signing.Ring {
	for _, r := range a.shared.rings.InUse() {
		if r.key == key {
			return r.Ring
		}
	}
	return nil
}

func (a *Acquirer) openRing(key string, before *signing.Ring) (ring, func(), error) {
	own := a.nested()
	r, err := own.newRing(a.policy.Tokens, before)
	if err != nil {
		own.Close()
		return ring{}, nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	return ring{r, key, a.policy.Tokens.SigningKey.Transit != nil}, func() { stop(); <-done; own.Close() }, nil
}

func (a *Acquirer) newRing(p *compiled.Tokens, before *signing.Ring) (*signing.Ring, error) {
	c := signing.Config{
		Before:    before,
		Algorithm: signing.Algorithm(p.Algorithm), Overlap: p.RotationOverlap.Std(), Interval: p.RotationInterval.Std(),
		Lifetime: p.AccessLifetime.Std() + p.Leeway.Std(), Logger: a.shared.cfg.Logger, Now: a.shared.cfg.Now,
	}
	if a.policy.Redis != nil {
		conn, err := a.acquireConn()
		if err != nil {
			return nil, err
		}
		c.Registry = tokenredis.New(conn, a.scope())
	}
	if err := a.keySource(p, &c); err != nil {
		return nil, err
	}
	return signing.NewRing(c)
}

// keySource sets where the key is read from, and what creates new versions of it.
func (a *Acquirer) keySource(p *compiled.Tokens, c *signing.Config) error {
	if k := p.SigningKey.Transit; k != nil {
		client, err := a.vault()
		if err != nil {
			return err
		}
		engine, err := transit.New(client, k.Mount)
		if err != nil {
			return err
		}
		c.Source = signing.TransitKey{Transit: engine, Key: k.Key, Algorithm: c.Algorithm}
		c.Rotator = engine.Rotator(k.Key)
		a.onClose(func() { engine.Forget(k.Key) })
		return nil
	}
	held := signing.StoredKeys{Algorithm: c.Algorithm}
	if ref := p.SigningKey.Secret; ref.Name != "" {
		held.Secrets = secret.Latest{Source: a.shared.mounted(ref)}
	} else {
		value, err := a.vaultSecret(ref)
		if err != nil {
			return err
		}
		held.Secrets = value
		c.MaxStale = a.policy.Vault.MaxStale.Std()
	}
	c.Source = held
	return nil
}
