package resources

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

// vault returns the client of the policy's Vault.
func (a *Acquirer) vault() (*vault.Client, error) {
	v := a.policy.Vault
	if v == nil {
		return nil, fmt.Errorf("a secret is in Vault, but the document names no Vault")
	}
	name, err := named(v)
	if err != nil {
		return nil, err
	}
	client, release, err := a.shared.vaults.Acquire(name, a.user, func() (*vault.Client, func(), error) { return a.shared.openVault(v) })
	if err != nil {
		return nil, err
	}
	a.onClose(release)
	return client, nil
}

func (r *Resources) openVault(v *compiled.Vault) (*vault.Client, func(), error) {
	client, err := vault.New(vault.Config{
		Address: v.Address, Namespace: v.Namespace, CABundle: []byte(v.CABundle), Auth: r.vaultAuth(v), Timeout: v.Timeout.Std(),
		PollInterval: v.PollInterval.Std(), MaxStale: v.MaxStale.Std(), Logger: r.cfg.Logger, Metrics: r.metrics.vault,
	})
	if err != nil {
		return nil, nil, err
	}
	return client, client.Close, nil
}

func (r *Resources) vaultAuth(v *compiled.Vault) vault.Auth {
	switch {
	case v.Kubernetes != nil:
		return vault.Kubernetes{Mount: v.Kubernetes.Mount, Role: v.Kubernetes.Role, TokenFile: r.cfg.VaultTokenFile}
	case v.AppRole != nil:
		a := vault.AppRole{Mount: v.AppRole.Mount, RoleID: v.AppRole.RoleID}
		if id := v.AppRole.SecretID; id != nil {
			a.SecretID = r.mounted(id)
		}
		return a
	}
	return vault.TokenFile(v.TokenFile)
}

// mounted returns the file of a key of a Kubernetes Secret.
func (r *Resources) mounted(ref *compiled.SecretRef) secret.File {
	return secret.File(filepath.Join(r.cfg.SecretsDir, ref.Name, ref.Key))
}

// secret returns the source of ref's value; nil for nil.
func (a *Acquirer) secret(ref *compiled.SecretRef) (secret.Source, error) {
	switch {
	case ref == nil:
		return nil, nil
	case ref.Name != "":
		return a.shared.mounted(ref), nil
	}
	return a.vaultSecret(ref)
}

func (a *Acquirer) vaultSecret(ref *compiled.SecretRef) (*vault.Secret, error) {
	client, err := a.vault()
	if err != nil {
		return nil, err
	}
	value, release, err := client.Secret(vault.Ref{Path: ref.VaultPath, Key: ref.Key, Version: ref.VaultVersion})
	if err != nil {
		return nil, err
	}
	a.onClose(release)
	return value, nil
}

// ProviderKeys returns the keys of an external issuer.
func (a *Acquirer) ProviderKeys(p *compiled.Provider) (authn.Keys, error) {
	spec := jwks.Spec{
		Provider: p.Name, Issuer: p.Issuer, Algorithms: p.Algorithms, URI: p.Keys.URI, RefreshInterval: p.Keys.RefreshInterval.Std(),
		MaxStale: p.Keys.MaxStale.Std(), CABundle: []byte(p.Keys.CABundle), Inline: p.Keys.Inline, InsecureHTTP: p.Keys.InsecureHTTP,
	}
	spec.ShortSecret = p.Legacy != nil && p.Legacy.ShortSecret
	if err := a.bearer(p, &spec); err != nil {
		return nil, err
	}
	if ref := p.Keys.Secret; ref != nil {
		var err error
		if spec.Secret, err = a.secret(ref); err != nil {
			return nil, err
		}
		spec.SecretName = ref.Name + "/" + ref.Key
		if ref.VaultPath != "" {
			if spec.SecretName, err = named(ref, a.policy.Vault); err != nil {
				return nil, err
			}
			spec.MaxStale = cmp.Or(a.policy.Vault.MaxStale.Std(), vault.DefaultMaxStale)
		}
	}
	source, release, err := a.shared.keys.Acquire(spec)
	if err != nil {
		return nil, err
	}
	a.onClose(release)
	return source, nil
}

// Hasher returns what hashes and verifies the policy's passwords.
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

// NewHasher returns a hasher that uses at most memory KiB for all hashes in progress, or password.DefaultMemory if memory is
// zero. If one hash needs more than that, it may use what it needs.
func NewHasher(p *compiled.Passwords, memory uint32) (*password.Hasher, error) {
	c := password.Config{Algorithm: password.Bcrypt, BcryptCost: p.Cost, Argon2: password.DefaultArgon2()}
	if p.Algorithm != "Bcrypt" {
		c = password.Config{
			Algorithm: password.Argon2id,
			Argon2:    password.Argon2{Time: uint32(p.Passes), Memory: uint32(p.Memory), Threads: uint8(p.Parallelism)},
		}
	}
	c.TruncateBcrypt = p.LongBcrypt == "Truncate"
	c.Memory = max(cmp.Or(memory, password.DefaultMemory), c.Argon2.Memory)
	return password.New(c)
}
