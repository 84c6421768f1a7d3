package vault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// Ref names a value in a KV version 2 engine.
type Ref struct {
	// Path is the path of the secret with its mount, as in `vault kv get` (secret/shop/redis) or as in Vault policies
	// (secret/data/shop/redis). The client reads from Vault where the engine is mounted.
	Path string
	// Key is the key of the value in the secret's data. The value must be a string.
	Key string
	// Version pins one version; zero follows the latest.
	Version int
}

func (r Ref) check() error {
	if err := check.VaultSecretPath(r.Path); err != nil {
		return err
	}
	if r.Version < 0 {
		return errors.New("the version must be a number from 1, or 0 for the latest")
	}
	return check.VaultKey(r.Key)
}

// location is a path, split at its mount.
type location struct{ mount, name string }

// locate splits path at the mount that Vault returned. A leading "data/" in the rest belongs to the API path, not to the name of the
// secret.
func locate(path, mount string) (location, error) {
	mount = strings.TrimSuffix(mount, "/")
	name, found := strings.CutPrefix(path, mount+"/")
	if mount == "" || !found {
		return location{}, fmt.Errorf("the mount %.64q that Vault returned is not part of the path", mount)
	}
	name = strings.TrimPrefix(name, "data/")
	if name == "" {
		return location{}, errors.New("it has no name of a secret after the mount")
	}
	return location{mount: mount, name: name}, nil
}

// data returns the API path of the secret's values.
func (l location) data() string { return l.mount + "/data/" + l.name }
