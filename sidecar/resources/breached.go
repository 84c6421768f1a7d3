package resources

import (
	"fmt"
	"path/filepath"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/lookup/breached"
	"github.com/posterndev/postern/sidecar/lookup/service"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
)

// Breached returns the policy's list of breached passwords. Each document has a client of its own.
func (a *Acquirer) Breached(b *compiled.BreachedPasswords) (passwordpolicy.Source, error) {
	if f := b.File; f != nil {
		dir := a.shared.cfg.VolumesDir
		if dir != "" { // without volumes no folder is the claim's, not even one of that name in the working directory
			dir = filepath.Join(dir, f.Claim)
		}
		return breached.NewFile(dir, f.Path, b.Timeout.Std(), a.shared.volumePlaces(f.Claim)), nil
	}
	client, err := a.serviceClient(b.CABundle, b.Timeout)
	if err != nil {
		return nil, err
	}
	return breached.URL{Base: b.URL, Client: client}, nil
}

// volumePlaces returns the places for look-ups on a volume, which all documents share.
func (r *Resources) volumePlaces(claim string) breached.Places {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.volumes[claim] == nil {
		r.volumes[claim] = breached.NewPlaces()
	}
	return r.volumes[claim]
}

// serviceClient returns a client of a service whose certificate is verified by the CAs of a bundle in PEM; empty for those of the system.
func (a *Acquirer) serviceClient(caBundle string, timeout compiled.Duration) (*service.Client, error) {
	roots, err := check.Certificates([]byte(caBundle))
	if err != nil {
		return nil, fmt.Errorf("reading caBundle: %w", err)
	}
	client := service.NewClient(service.Config{Timeout: timeout.Std(), Roots: roots})
	a.onClose(client.Close)
	return client, nil
}
