package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// breached translates a list of breached passwords; nil for none.
func (c *compiler) breached(field string, in *v1alpha1.BreachedPasswords) *compiled.BreachedPasswords {
	if in == nil {
		return nil
	}
	b := &compiled.BreachedPasswords{
		URL: in.URL, CABundle: in.CABundle, InsecureHTTP: in.InsecureHTTP, MinCount: int(in.MinCount), OnFailure: compiled.FailureMode(in.OnFailure),
		Timeout: c.duration(field+".timeout", in.Timeout),
	}
	if in.File != nil {
		b.File = &compiled.VolumeFile{Claim: in.File.ClaimName, Path: in.File.Path}
	}
	return b
}
