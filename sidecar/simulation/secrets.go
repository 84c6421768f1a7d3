package simulation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// replaceVault removes Vault from p. What p reads from Vault is read from the folder of Secrets instead: the value key of the secret
// secret/shop/keys is the file secret-shop-keys/key.
func replaceVault(p *compiled.Policy) {
	p.Vault = nil
	for i := range p.Providers {
		k := &p.Providers[i].Keys
		k.Secret = mounted(k.Secret)
		if k.Bearer != nil {
			k.Bearer.Secret = mounted(k.Bearer.Secret)
		}
	}
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

// link makes the Secrets of p that dir has available in the folder of the run, so that nothing is written into dir.
func link(p *compiled.Policy, dir, run string) error {
	if dir == "" {
		return nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("finding folder with Secrets: %w", err)
	}
	for _, ref := range p.SecretRefs() {
		from := filepath.Join(dir, ref.Name)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) || ref.Name == runSecret {
			continue // the stage that needs it says so
		}
		if err := os.Symlink(from, filepath.Join(run, ref.Name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("reading folder with Secrets: %w", err)
		}
	}
	return nil
}

// Missing returns the files of the folder of Secrets that the document needs and that do not exist, as <name>/<key>.
func (s *Simulation) Missing() (files []string) {
	for _, ref := range s.document.SecretRefs() {
		file := filepath.Join(ref.Name, ref.Key)
		if _, err := os.Stat(filepath.Join(s.secrets, file)); err != nil {
			files = append(files, file)
		}
	}
	return files
}
