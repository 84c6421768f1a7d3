package compiled

import (
	"errors"
	"fmt"
	"slices"
)

// SecretRef names a key of a Kubernetes Secret that is mounted into the sidecar (Name), or of a secret in Vault's KV version 2
// engine (VaultPath).
type SecretRef struct {
	Name      string `json:"name,omitempty"`
	VaultPath string `json:"vaultPath,omitempty"`
	// VaultVersion pins a version; 0 follows the latest.
	VaultVersion int    `json:"vaultVersion,omitempty"`
	Key          string `json:"key"`
}

// SecretRefs returns every secret that the document refers to, in the document's order, without duplicates.
func (p *Policy) SecretRefs() []SecretRef {
	var refs []SecretRef
	seen := map[SecretRef]bool{}
	add := func(list ...*SecretRef) {
		for _, ref := range list {
			if ref != nil && !seen[*ref] {
				seen[*ref] = true
				refs = append(refs, *ref)
			}
		}
	}
	for i := range p.Providers {
		add(p.Providers[i].Keys.Secret)
		if b := p.Providers[i].Keys.Bearer; b != nil {
			add(b.Secret)
		}
	}
	if p.Tokens != nil {
		add(p.Tokens.SigningKey.Secret)
	}
	if p.LoginProtection != nil && p.LoginProtection.Challenge != nil {
		add(p.LoginProtection.Challenge.Secret)
	}
	if p.APIKeys != nil {
		add(p.APIKeys.Keys, p.APIKeys.Users)
	}
	add(p.TLS.refs()...)
	if p.UpstreamTLS != nil {
		add(p.UpstreamTLS.CA)
	}
	if p.Redis != nil {
		add(p.Redis.Password, p.Redis.SentinelPassword)
		if p.Redis.TLS != nil {
			add(p.Redis.TLS.Certificate, p.Redis.TLS.Key)
		}
	}
	if p.ExportsOTLP() {
		add(p.Telemetry.OTLP.Headers)
	}
	if p.Vault != nil && p.Vault.AppRole != nil {
		add(p.Vault.AppRole.SecretID)
	}
	if p.AuditOptions != nil {
		add(p.AuditOptions.Key)
	}
	if p.Database != nil {
		add(p.Database.User, p.Database.Password)
	}
	return refs
}

// UsesVault reports whether the document refers to a secret or key in Vault.
func (p *Policy) UsesVault() bool {
	transit := p.Tokens != nil && p.Tokens.SigningKey.Transit != nil || p.AuditOptions != nil && p.AuditOptions.SigningKey != nil
	return transit || p.TLS.usesPKI() || p.Database != nil && p.Database.VaultPath != "" || slices.ContainsFunc(p.SecretRefs(), func(ref SecretRef) bool { return ref.VaultPath != "" })
}

func (p *Policy) validateSecrets() error {
	var errs []error
	for _, ref := range p.SecretRefs() {
		errs = append(errs, ref.validate())
	}
	if p.UsesVault() && p.Vault == nil {
		errs = append(errs, errors.New("a secret is in Vault, but vault is not set"))
	}
	return errors.Join(errs...)
}

// validate ensures that a reference stays inside the folder where its Secret is mounted. Paths in Vault are checked by Vault's
// client.
func (r SecretRef) validate() error {
	if (r.Name == "") == (r.VaultPath == "") {
		return fmt.Errorf("secret with key %q: exactly one of name and vaultPath is needed", r.Key)
	}
	if r.VaultPath != "" {
		if r.Key == "" || r.VaultVersion < 0 {
			return fmt.Errorf("secret %q in Vault: a key is required, and a version must not be negative", r.VaultPath)
		}
		return nil
	}
	for _, part := range []string{r.Name, r.Key} {
		if part == "" || part == "." || part == ".." || slices.ContainsFunc([]byte(part), func(c byte) bool { return c == '/' || c == 0 }) {
			return fmt.Errorf("secret %q, key %q: not a valid name and key of a Secret", r.Name, r.Key)
		}
	}
	return nil
}
