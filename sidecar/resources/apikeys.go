package resources

import (
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/apikey"
	stage "github.com/posterndev/postern/sidecar/stages/apikey"
)

// APIKeys returns the policy's key file. Documents with the same reference share it, so that a reload does not read it again, and keeps
// the record of use.
func (a *Acquirer) APIKeys(k *compiled.APIKeys) (stage.Keys, error) {
	name, err := named(k.Keys, a.policy.Vault)
	if err != nil {
		return nil, err
	}
	store, release, err := a.shared.apiKeys.Acquire(name, a.user, func() (*apikey.Store, func(), error) {
		nested := a.nested()
		source, err := nested.secret(k.Keys)
		if err != nil {
			nested.Close()
			return nil, nil, err
		}
		title := k.Keys.Name + "/" + k.Keys.Key
		if k.Keys.VaultPath != "" {
			title = "vault " + k.Keys.VaultPath
		}
		s := apikey.Open(apikey.Config{Name: title, Source: source, Revocable: k.Keys.VaultPath != "", Logger: a.shared.cfg.Logger})
		return s, func() {
			s.Close()
			nested.Close()
		}, nil
	})
	if err != nil {
		return nil, err
	}
	a.onClose(release)
	return store, nil
}

// apiKeyReason returns the reason of the problem with a key file: whether an earlier one is still in use.
func apiKeyReason(s *apikey.Store) string {
	if _, err := s.File(); err != nil {
		return "Unavailable"
	}
	return "RefreshFails"
}

func apiKeyMessage(err error) string {
	message := "apiKeys: " + err.Error()
	return strings.ToValidUTF8(message[:min(len(message), maxKeyMessage)], "")
}
