package chain

import (
	"context"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/keys/signing/transit"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/token/tokenredis"
)

// ring is a signing.Ring with the name of its key, whatever else it is made of.
type ring struct {
	*signing.Ring
	key string
	// remote says that the key signs where it lies: to know of it is not enough.
	remote bool
}

// signs reports whether a token can be signed, as far as the latest reading of the key tells.
func (r ring) signs(st signing.Status) bool { return st.Current != "" && (st.Err == nil || !r.remote) }

// signingKeyWait is for how long a document waits for the signing key, so that a sidecar that starts beside it has it before the
// first request.
const signingKeyWait = 2 * time.Second

// ring is that of the policy's signing key. Where the document changes how the key is used, or the way to it, the new ring
// knows what the one before knew.
func (t *acquirer) ring() (*signing.Ring, error) {
	p := t.policy.Tokens
	key, err := named(p.SigningKey, p.Algorithm)
	if err != nil {
		return nil, err
	}
	name, err := named(key, p.RotationInterval, p.RotationOverlap, p.AccessLifetime, p.Leeway, t.policy.Vault, t.policy.Redis)
	if err != nil {
		return nil, err
	}
	before := t.ringOf(key)
	r, release, err := t.rings.acquire(name, t.user, func() (ring, func(), error) { return t.openRing(key, before) })
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	select {
	case <-r.Tried():
	case <-time.After(signingKeyWait):
		t.cfg.Logger.Warn("the signing key is unavailable yet; there are no logins until it is")
	}
	return r.Ring, nil
}

// ringOf is the ring in use that has the key, or nil.
func (t *acquirer) ringOf(key string) *signing.Ring {
	for _, r := range t.rings.inUse() {
		if r.key == key {
			return r.Ring
		}
	}
	return nil
}

func (t *acquirer) openRing(key string, before *signing.Ring) (ring, func(), error) {
	own := t.nested()
	r, err := own.newRing(t.policy.Tokens, before)
	if err != nil {
		own.close()
		return ring{}, nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	return ring{r, key, t.policy.Tokens.SigningKey.Transit != nil}, func() { stop(); <-done; own.close() }, nil
}

func (t *acquirer) newRing(p *compiled.Tokens, before *signing.Ring) (*signing.Ring, error) {
	c := signing.Config{
		Before:    before,
		Algorithm: signing.Algorithm(p.Algorithm), Overlap: p.RotationOverlap.Std(), Interval: p.RotationInterval.Std(),
		Lifetime: p.AccessLifetime.Std() + p.Leeway.Std(), Logger: t.cfg.Logger,
	}
	if t.policy.Redis != nil {
		conn, err := t.acquireConn()
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
func (b *builder) own() signing.Unrevoked {
	return signing.Unrevoked{Ring: b.ring, Revoked: func(kid string) bool {
		// Where nothing is known the key stays in use: what it signs is refused by the revocation all the same.
		revoked, err := b.known.Revoked(context.Background(), &revocation.Query{Issuer: b.policy.Tokens.Issuer, KeyID: kid})
		return err == nil && revoked
	}}
}

// keySource says where the key lies, and who makes new versions of it.
func (t *acquirer) keySource(p *compiled.Tokens, c *signing.Config) error {
	if k := p.SigningKey.Transit; k != nil {
		client, err := t.vault()
		if err != nil {
			return err
		}
		engine, err := transit.New(client, k.Mount)
		if err != nil {
			return err
		}
		c.Source = signing.TransitKey{Transit: engine, Key: k.Key, Algorithm: c.Algorithm}
		c.Rotator = engine.Rotator(k.Key)
		t.onClose(func() { engine.Forget(k.Key) })
		return nil
	}
	held := signing.StoredKeys{Algorithm: c.Algorithm}
	if ref := p.SigningKey.Secret; ref.Name != "" {
		held.Secrets = secret.Latest{Source: t.mounted(ref)}
	} else {
		value, err := t.vaultSecret(ref)
		if err != nil {
			return err
		}
		held.Secrets = value
		c.MaxStale = t.policy.Vault.MaxStale.Std()
	}
	c.Source = held
	return nil
}
