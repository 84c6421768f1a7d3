package vault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// Ref names a value in a KV version 2 engine.
type Ref struct {
	// Path of the secret with its mount, as `vault kv get` takes it (secret/shop/redis) or as policies name it
	// (secret/data/shop/redis). Where the engine is mounted is asked of Vault.
	Path string
	// Key of the value among the secret's data. The value must be a string.
	Key string
	// Version pins one version; zero follows the latest.
	Version int
}

func (r Ref) check() error {
	if err := check.VaultSecretPath(r.Path); err != nil {
		return err
	}
	if r.Version < 0 {
		return errors.New("a version is a number from 1, or 0 for the latest")
	}
	return check.VaultKey(r.Key)
}

// location is a path that is split at its mount.
type location struct{ mount, name string }

// locate splits path, given the mount that Vault names. "data/" at the start of the rest is the API's and not part of the
// secret's name.
func locate(path, mount string) (location, error) {
	mount = strings.TrimSuffix(mount, "/")
	name, found := strings.CutPrefix(path, mount+"/")
	if mount == "" || !found {
		return location{}, fmt.Errorf("the mount %.64q that Vault names does not hold it", mount)
	}
	name = strings.TrimPrefix(name, "data/")
	if name == "" {
		return location{}, errors.New("it has no secret's name after the mount")
	}
	return location{mount: mount, name: name}, nil
}

// data is the API's path of the secret's values.
func (l location) data() string { return l.mount + "/data/" + l.name }
