package compiled

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// BreachedPasswords is a list of passwords from data breaches: a server's at URL, or File.
type BreachedPasswords struct {
	URL          string      `json:"url,omitempty"`
	File         *VolumeFile `json:"file,omitempty"`
	CABundle     string      `json:"caBundle,omitempty"`
	InsecureHTTP bool        `json:"insecureHTTP,omitempty"`
	Timeout      Duration    `json:"timeout"`
	MinCount     int         `json:"minCount"`
	OnFailure    FailureMode `json:"onFailure"`
}

// VolumeFile is a file on a PersistentVolumeClaim that is mounted into the sidecar, in VolumesDir.
type VolumeFile struct {
	Claim string `json:"claim"`
	// Path is relative to the volume, with slashes.
	Path string `json:"path"`
}

func (b *BreachedPasswords) validate() error {
	if (b.URL == "") == (b.File == nil) || b.Timeout <= 0 || b.MinCount <= 0 {
		return errors.New("breached: exactly one of url and file, timeout and minCount are required")
	}
	if b.File != nil {
		if err := b.File.validate(); err != nil {
			return wrap(err, "breached.file")
		}
	}
	return oneOf("breached.onFailure", b.OnFailure, Deny, Allow)
}

// validate ensures that the file stays inside the folder where its claim is mounted. Symbolic links are left to the code that opens it.
func (f *VolumeFile) validate() error {
	if f.Claim == "" || f.Claim == "." || f.Claim == ".." || strings.ContainsAny(f.Claim, "/\x00") {
		return fmt.Errorf("%q is not the name of a claim", f.Claim)
	}
	if !fs.ValidPath(f.Path) || f.Path == "." || strings.Contains(f.Path, "\x00") {
		return fmt.Errorf("%q is not a path inside a volume", f.Path)
	}
	return nil
}

// Claims returns the names of the PersistentVolumeClaims that the document refers to, in its order, without duplicates.
func (p *Policy) Claims() []string {
	var lists []*BreachedPasswords
	if p.PasswordPolicy != nil {
		lists = append(lists, p.PasswordPolicy.Breached)
	}
	if p.LoginProtection != nil {
		lists = append(lists, p.LoginProtection.Breached)
	}
	var names []string
	for _, b := range lists {
		if b != nil && b.File != nil && !slices.Contains(names, b.File.Claim) {
			names = append(names, b.File.Claim)
		}
	}
	return names
}
