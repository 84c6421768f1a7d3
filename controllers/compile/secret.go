package compile

import (
	"cmp"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func keyRef(in *v1alpha1.SecretKeyRef) *compiled.SecretRef {
	if in == nil {
		return nil
	}
	return &compiled.SecretRef{Name: in.Name, Key: in.Key}
}

func vaultRef(in *v1alpha1.VaultRef) *compiled.SecretRef {
	return &compiled.SecretRef{VaultPath: in.Path, Key: in.Key, VaultVersion: int(in.Version)}
}

func (c *compiler) secretRef(field string, in *v1alpha1.SecretRef) *compiled.SecretRef {
	if in == nil {
		return nil
	}
	c.one(field, "vault and secretKeyRef", in.Vault != nil, in.SecretKeyRef != nil)
	if in.Vault != nil {
		return vaultRef(in.Vault)
	}
	return keyRef(in.SecretKeyRef)
}

func (c *compiler) bearer(field string, in *v1alpha1.BearerToken) *compiled.Bearer {
	if in == nil {
		return nil
	}
	c.one(field, "serviceAccount, vault and secretKeyRef", in.ServiceAccount != nil, in.Vault != nil, in.SecretKeyRef != nil)
	switch {
	case in.ServiceAccount != nil:
		return &compiled.Bearer{ServiceAccount: &compiled.ServiceAccountToken{Audience: in.ServiceAccount.Audience}}
	case in.Vault != nil:
		return &compiled.Bearer{Secret: vaultRef(in.Vault)}
	}
	return &compiled.Bearer{Secret: keyRef(in.SecretKeyRef)}
}

// vault returns the Vault of the class, with the role of the policy if it has one.
func (c *compiler) vault(in *v1alpha1.Vault, role string) *compiled.Vault {
	if in == nil {
		if role != "" {
			c.errorf("spec.vaultRole", "the SidecarClass has no Vault: add spec.vault to the class, or remove vaultRole")
		}
		return nil
	}
	v := &compiled.Vault{
		Address: in.Address, Namespace: in.Namespace, CABundle: in.CABundle, TokenFile: in.Auth.TokenFile,
		Timeout:      c.duration("sidecarClass.spec.vault.timeout", in.Timeout),
		PollInterval: c.duration("sidecarClass.spec.vault.pollInterval", in.PollInterval),
		MaxStale:     c.duration("sidecarClass.spec.vault.maxStale", in.MaxStale),
	}
	if k := in.Auth.Kubernetes; k != nil {
		v.Kubernetes = &compiled.VaultKubernetes{Mount: k.Mount, Role: cmp.Or(role, k.Role), Audience: k.Audience}
	} else if role != "" {
		c.errorf("spec.vaultRole", "the SidecarClass does not log in to Vault with kubernetes, and the other methods have no role: remove vaultRole")
	}
	if a := in.Auth.AppRole; a != nil {
		v.AppRole = &compiled.VaultAppRole{Mount: a.Mount, RoleID: a.RoleID, SecretID: keyRef(a.SecretIDRef)}
	}
	return v
}

// settleVault reports references to a Vault that the class does not have. A document without such references gets no Vault, so that its
// pods get no token for it and need no restart when the class changes it.
func (c *compiler) settleVault(p *compiled.Policy, role string) {
	if p.UsesVault() {
		if p.Vault == nil {
			c.errorf("spec", "a secret or a signing key is in Vault, and the SidecarClass has no Vault: add spec.vault to the class")
		}
		return
	}
	if p.Vault != nil && role != "" {
		c.warnf("spec.vaultRole", "neither the policy nor its SidecarClass refers to a secret in Vault, so no sidecar logs in with this role: remove vaultRole")
	}
	p.Vault = nil
}
