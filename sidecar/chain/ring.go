package chain

import (
	"context"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/revocation"
	tokenredis "github.com/posterndev/postern/sidecar/token/redis"
	"github.com/posterndev/postern/sidecar/token/signing"
)

// ring is that of the policy's signing key.
func (t *taker) ring() (*signing.Ring, error) {
	p := t.policy.Tokens
	name, err := named(p.SigningKey, p.Algorithm, p.RotationInterval, p.RotationOverlap, p.AccessLifetime, p.Leeway, t.policy.Vault, t.policy.Redis)
	if err != nil {
		return nil, err
	}
	ring, release, err := t.rings.acquire(name, t.openRing)
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return ring, nil
}

func (t *taker) openRing() (*signing.Ring, func(), error) {
	own := t.nested()
	ring, err := own.newRing(t.policy.Tokens)
	if err != nil {
		own.close()
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); ring.Run(ctx) }()
	return ring, func() { stop(); <-done; own.close() }, nil
}

func (t *taker) newRing(p *compiled.Tokens) (*signing.Ring, error) {
	c := signing.Config{
		Algorithm: signing.Algorithm(p.Algorithm), Overlap: p.RotationOverlap.Std(), Interval: p.RotationInterval.Std(),
		Lifetime: p.AccessLifetime.Std() + p.Leeway.Std(), Logger: t.cfg.Logger,
	}
	if t.policy.Redis != nil {
		conn, err := t.takeConn()
		if err != nil {
			return nil, err
		}
		c.Registry = tokenredis.New(conn, t.scope())
	}
	if err := t.keySource(p, &c); err != nil {
		return nil, err
	}
	return signing.NewRing(c)
}

// own is the ring without the keys that are revoked.
func (b *builder) own() signing.Trusted {
	return signing.Trusted{Ring: b.ring, Revoked: func(kid string) bool {
		// Where nothing is known the key stays in use: what it signs is refused by the revocation all the same.
		revoked, err := b.known.Revoked(context.Background(), &revocation.Query{Issuer: b.policy.Tokens.Issuer, KeyID: kid})
		return err == nil && revoked
	}}
}

// keySource says where the key lies, and who makes new versions of it.
func (t *taker) keySource(p *compiled.Tokens, c *signing.Config) error {
	if k := p.SigningKey.Transit; k != nil {
		client, err := t.vault()
		if err != nil {
			return err
		}
		transit, err := client.Transit(k.Mount)
		if err != nil {
			return err
		}
		c.Source = signing.TransitKey{Transit: transit, Key: k.Key, Algorithm: c.Algorithm}
		c.Rotator = transit.Rotator(k.Key)
		return nil
	}
	held := signing.Held{Algorithm: c.Algorithm}
	if ref := p.SigningKey.Secret; ref.Name != "" {
		held.Secrets = signing.Latest{Source: t.mounted(ref)}
	} else {
		value, err := t.vaultSecret(ref)
		if err != nil {
			return err
		}
		held.Secrets = value
	}
	c.Source = held
	return nil
}
