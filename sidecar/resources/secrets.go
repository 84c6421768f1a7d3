package chain

import (
	"fmt"
	"path/filepath"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

// vault is the client of the policy's Vault.
func (t *acquirer) vault() (*vault.Client, error) {
	v := t.policy.Vault
	if v == nil {
		return nil, fmt.Errorf("a secret is in Vault, and the document names none")
	}
	name, err := named(v)
	if err != nil {
		return nil, err
	}
	client, release, err := t.vaults.acquire(name, t.user, func() (*vault.Client, func(), error) { return t.openVault(v) })
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return client, nil
}

func (s *Shared) openVault(v *compiled.Vault) (*vault.Client, func(), error) {
	client, err := vault.New(vault.Config{
		Address: v.Address, Namespace: v.Namespace, CABundle: []byte(v.CABundle), Auth: s.vaultAuth(v), Timeout: v.Timeout.Std(),
		PollInterval: v.PollInterval.Std(), MaxStale: v.MaxStale.Std(), Logger: s.cfg.Logger, Metrics: s.metrics.vault,
	})
	if err != nil {
		return nil, nil, err
	}
	return client, client.Close, nil
}

func (s *Shared) vaultAuth(v *compiled.Vault) vault.Auth {
	switch {
	case v.Kubernetes != nil:
		return vault.Kubernetes{Mount: v.Kubernetes.Mount, Role: v.Kubernetes.Role, TokenFile: s.cfg.VaultTokenFile}
	case v.AppRole != nil:
		a := vault.AppRole{Mount: v.AppRole.Mount, RoleID: v.AppRole.RoleID}
		if id := v.AppRole.SecretID; id != nil {
			a.SecretID = s.mounted(id)
		}
		return a
	}
	return vault.TokenFile(v.TokenFile)
}

// mounted is a key of a Kubernetes Secret.
func (s *Shared) mounted(ref *compiled.SecretRef) secret.File {
	return secret.File(filepath.Join(s.cfg.SecretsDir, ref.Name, ref.Key))
}

// secret is where ref's value comes from; nil for nil.
func (t *acquirer) secret(ref *compiled.SecretRef) (secret.Source, error) {
	switch {
	case ref == nil:
		return nil, nil
	case ref.Name != "":
		return t.mounted(ref), nil
	}
	return t.vaultSecret(ref)
}

func (t *acquirer) vaultSecret(ref *compiled.SecretRef) (*vault.Secret, error) {
	client, err := t.vault()
	if err != nil {
		return nil, err
	}
	value, release, err := client.Secret(vault.Ref{Path: ref.VaultPath, Key: ref.Key, Version: ref.VaultVersion})
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return value, nil
}

// providerKeys are the keys of an external provider.
func (t *acquirer) providerKeys(p *compiled.Provider) (authn.Keys, error) {
	spec := jwks.Spec{
		Provider: p.Name, Algorithms: p.Algorithms, URI: p.Keys.URI, RefreshInterval: p.Keys.RefreshInterval.Std(),
		MaxStale: p.Keys.MaxStale.Std(), CABundle: []byte(p.Keys.CABundle), Inline: p.Keys.Inline,
	}
	if ref := p.Keys.Secret; ref != nil {
		var err error
		if spec.Secret, err = t.secret(ref); err != nil {
			return nil, err
		}
		spec.SecretName = ref.Name + "/" + ref.Key
		if ref.VaultPath != "" {
			if spec.SecretName, err = named(ref, t.policy.Vault); err != nil {
				return nil, err
			}
			spec.ReadStale = jwks.MinSecretStale // what was read is given for vault.maxStale
		}
	}
	source, release, err := t.keys.Acquire(spec)
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return source, nil
}
