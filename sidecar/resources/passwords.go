package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// hasher is that of the policy's passwords.
func (t *acquirer) hasher(p *compiled.Passwords) (*password.Hasher, error) {
	name, err := named(p)
	if err != nil {
		return nil, err
	}
	h, release, err := t.hashers.acquire(name, t.user, func() (*password.Hasher, func(), error) {
		h, err := newHasher(p, t.cfg.HashMemory)
		return h, func() {}, err
	})
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return h, nil
}

// newHasher takes up to memory KiB for all hashes at once, or what one of them takes if that is more.
func newHasher(p *compiled.Passwords, memory uint32) (*password.Hasher, error) {
	c := password.Config{Algorithm: password.Bcrypt, BcryptCost: p.Cost, Argon2: password.DefaultArgon2()}
	if p.Algorithm != "Bcrypt" {
		c = password.Config{
			Algorithm: password.Argon2id,
			Argon2:    password.Argon2{Time: uint32(p.Passes), Memory: uint32(p.Memory), Threads: uint8(p.Parallelism)},
		}
	}
	if memory != 0 {
		c.Memory = max(memory, c.Argon2.Memory)
	}
	return password.New(c)
}

// checkHasher is for Check.
func checkHasher(p *compiled.Passwords) (*password.Hasher, error) { return newHasher(p, 0) }
