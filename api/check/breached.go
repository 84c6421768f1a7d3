package check

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of a look-up in a list of breached passwords: how long a request waits for it, and the lengths, in bytes, of a file's path and of
// the name of its claim.
const (
	maxBreachedTimeout = 10 * time.Second
	maxVolumePath      = 1024
	maxClaimName       = 253
)

// claimName is a DNS subdomain (RFC 1123), as the API server wants it: with another name no pod of the policy could be created.
var claimName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
})

func (c *checker) breached(field string, b *compiled.BreachedPasswords) {
	switch {
	case (b.URL == "") == (b.File == nil):
		c.addf(field, "write exactly one of url and file, for example url: https://api.pwnedpasswords.com/range")
	case b.File != nil:
		c.add(field+".file", VolumeFile(b.File))
		if b.CABundle != "" || b.InsecureHTTP {
			c.addf(field, "caBundle and insecureHTTP apply to url only; leave them out")
		}
	default:
		c.add(field+".url", KeysURI(b.URL, b.InsecureHTTP))
		if strings.Contains(b.URL, "?") {
			c.addf(field+".url", "it must not contain a query, because the digits of the hash are added to the path; write for example https://api.pwnedpasswords.com/range")
		}
		_, err := Certificates([]byte(b.CABundle))
		c.add(field+".caBundle", err)
	}
	if d := b.Timeout.Std(); d < 10*time.Millisecond || d > maxBreachedTimeout {
		c.addf(field+".timeout", "%s is not between 10ms and %s; write a duration in that range, for example 2s", d, maxBreachedTimeout)
	}
	if b.MinCount < 1 {
		c.addf(field+".minCount", "%d is less than 1; write 1 or more, or leave out breachedPasswords", b.MinCount)
	}
	c.onFailure(field+".onFailure", b.OnFailure)
}

// VolumeFile refuses a file that is not inside its claim's volume, and a claim that no namespace can have.
func VolumeFile(f *compiled.VolumeFile) error {
	switch {
	case len(f.Claim) > maxClaimName || !claimName().MatchString(f.Claim):
		return errors.New("claimName is not the name of a PersistentVolumeClaim; write lower-case letters, digits, hyphens and dots, for example breached")
	case len(f.Path) > maxVolumePath || f.Path == "." || !fs.ValidPath(f.Path) || strings.Contains(f.Path, "\x00"):
		return errors.New("path is not a path inside the volume; write a relative one without empty, . and .. elements, for example lists/pwned.txt")
	}
	return nil
}

// loginPassword checks where a login has its password. needed says that passwords are looked up.
func (c *checker) loginPassword(route string, r *compiled.LoginRoute, needed bool) {
	field := route + ".password"
	switch {
	case r.Password == nil:
		if needed && r.Kind == "Login" {
			c.addf(field, "breachedPasswords needs the place of the password; write for example {json: password}")
		}
	case r.Kind != "Login":
		c.addf(field, "a request for a new password has none; leave password out")
	default:
		c.requestField(field, *r.Password)
		inBody := func(f *compiled.RequestField) bool { return f.JSON != "" || f.Form != "" }
		p, a := r.Password, &r.Account
		if inBody(p) && inBody(a) && ((p.JSON == "") != (a.JSON == "") || (p.Form == "") != (a.Form == "")) {
			c.addf(field, "the password is not in the same kinds of bodies as the account, so requests would be refused; write json and form as in account")
		}
		if *p == *a && !p.Basic {
			c.addf(field, "the password is at the account's place; write the name of another field, for example {json: password}")
		}
	}
}
