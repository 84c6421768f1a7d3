// Package htpasswd verifies users of a file as the Apache tool htpasswd writes it, with bcrypt hashes (htpasswd -B).
package htpasswd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// Bounds of a file.
const (
	// MaxSize is the maximum size of a file, in bytes: that of a Kubernetes Secret.
	MaxSize = 1 << 20
	// MaxUsers is the maximum number of users. A hash has 60 bytes.
	MaxUsers = 10_000
	// MaxName is the maximum length of a name, in bytes: that of Apache.
	MaxName = 255
)

// File holds the users of a file. It is immutable.
type File struct {
	// hashes are by the name as prepare returns it.
	hashes map[string]string
	// decoy is a hash to compare with if the user does not exist. Its cost is that of the first user.
	decoy string
}

// Parse parses lines of "name:hash". Empty lines and those that begin with # are skipped. Errors have the number of the line, and neither
// names nor hashes.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("parsing htpasswd file: it has more than %d bytes", MaxSize)
	}
	f := &File{hashes: map[string]string{}}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := strings.TrimRight(string(line), "\r\n")
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := f.add(text); err != nil {
			return nil, fmt.Errorf("parsing htpasswd file: line %d: %w", number, err)
		}
	}
	if len(f.hashes) == 0 {
		return nil, errors.New("parsing htpasswd file: it has no user")
	}
	return f, nil
}

func (f *File) add(line string) error {
	name, hash, ok := strings.Cut(line, ":")
	name = prepare(name)
	hash = strings.TrimRight(hash, " \t")
	switch {
	case !ok || name == "":
		return errors.New("it is not name:hash")
	case len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return fmt.Errorf("the name has more than %d bytes, is not UTF-8, or contains a control character", MaxName)
	case f.hashes[name] != "":
		return errors.New("the user occurs twice")
	case len(f.hashes) == MaxUsers:
		return fmt.Errorf("there are more than %d users", MaxUsers)
	case !password.IsBcrypt(hash):
		return errors.New("the hash is not one of bcrypt with a cost of at most 15: write it with htpasswd -B, or -nB for a single line")
	}
	f.hashes[name] = hash
	if f.decoy == "" {
		f.decoy = hash
	}
	return nil
}

// Len returns the number of users.
func (f *File) Len() int { return len(f.hashes) }
