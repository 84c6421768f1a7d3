package resources

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// bearer adds to spec the token with which the provider's key set is fetched.
func (a *Acquirer) bearer(p *compiled.Provider, spec *jwks.Spec) error {
	b := p.Keys.Bearer
	if b == nil {
		return nil
	}
	if b.ServiceAccount != nil {
		return a.serviceAccount(p, spec)
	}
	var err error
	if spec.Bearer, err = a.secret(b.Secret); err != nil {
		return err
	}
	spec.BearerName, err = named(b.Secret, a.policy.Vault)
	return err
}

// serviceAccount uses a token that the webhook added to the pod. A pod that was injected earlier does not have it, and keeps its
// previous document until it is restarted.
func (a *Acquirer) serviceAccount(p *compiled.Provider, spec *jwks.Spec) error {
	dir := a.shared.cfg.KeysTokenDir
	if dir == "" {
		return errors.New("jwks.bearerToken.serviceAccount needs a token file, which this pod does not have: restart the pod " +
			"(outside of a cluster, use secretKeyRef)")
	}
	file := filepath.Join(dir, compiled.KeysTokenName(p.Keys.Bearer.ServiceAccount.Audience))
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("jwks.bearerToken.serviceAccount needs a token file with its audience: restart the pod (%w)", err)
	}
	spec.Bearer, spec.BearerName = secret.File(file), file
	if len(spec.CABundle) == 0 {
		spec.CAFile = filepath.Join(dir, compiled.ClusterCAName)
	}
	return nil
}
