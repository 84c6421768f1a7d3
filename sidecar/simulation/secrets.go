package simulation

import (
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// replaceVault removes Vault from p. The files of API keys and users and the secret of a challenge are read from the folder of Secrets
// instead: the value key of the secret secret/shop/keys is the file secret-shop-keys/key.
func replaceVault(p *compiled.Policy) {
	p.Vault = nil
	if a := p.APIKeys; a != nil {
		a.Keys, a.Users = mounted(a.Keys), mounted(a.Users)
	}
	if l := p.LoginProtection; l != nil && l.Challenge != nil {
		l.Challenge.Secret = mounted(l.Challenge.Secret)
	}
}

func mounted(ref *compiled.SecretRef) *compiled.SecretRef {
	if ref == nil || ref.VaultPath == "" {
		return ref
	}
	return &compiled.SecretRef{Name: strings.ReplaceAll(ref.VaultPath, "/", "-"), Key: ref.Key}
}
