package resources

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// Hasher hashes and verifies the passwords of the policy.
func (a *Acquirer) Hasher(p *compiled.Passwords) (*password.Hasher, error) {
	name, err := named(p)
	if err != nil {
		return nil, err
	}
	h, release, err := a.shared.hashers.Acquire(name, a.user, func() (*password.Hasher, func(), error) {
		h, err := NewHasher(p, a.shared.cfg.HashMemory)
		return h, func() {}, err
	})
	if err != nil {
		return nil, err
	}
	a.onClose(release)
	return h, nil
}

// NewHasher uses up to memory KiB for all hashes in progress, or what one of them needs if that is more;
// password.DefaultMemory where memory is zero.
func NewHasher(p *compiled.Passwords, memory uint32) (*password.Hasher, error) {
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
