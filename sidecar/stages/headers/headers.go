// Package headers gives every response the security headers that OWASP's Secure Headers project recommends, and takes away
// those that tell about the software behind. It is the outermost stage but for logs and metrics, so errors have them too.
//
// What the presets send, and when the app's own value stays:
//
//	header                             Strict                               API          the app's value stays
//	Strict-Transport-Security          max-age=31536000; includeSubDomains  the same     merged: the longer age, each directive
//	Content-Security-Policy            default-src 'self'; form-action …    'none' …     always: the app's is made to measure
//	Cache-Control                      no-store, max-age=0                  the same     where it says no-store or private
//	Cross-Origin-Opener-Policy         same-origin                          —            noopener-allow-popups, which isolates as well
//	Cross-Origin-Resource-Policy       same-origin                          the same     never: there is nothing stricter
//	Cross-Origin-Embedder-Policy       require-corp                         —            never: there is nothing stricter
//	Referrer-Policy                    no-referrer                          the same     never: there is nothing stricter
//	X-Frame-Options                    deny                                 the same     never: there is nothing stricter
//	X-Content-Type-Options             nosniff                              the same     never: there is one value
//	X-Permitted-Cross-Domain-Policies  none                                 the same     never: there is nothing stricter
//	X-XSS-Protection                   0                                    the same     never: the filter it turns on was itself a leak
//
// API leaves out what concerns documents alone. Cross-Origin-Resource-Policy stays there: browsers ask it for embedding
// without CORS (<img>, <script>), never for a fetch that CORS allows (Fetch §3.6), so it does not stand in the way of a
// front end on another origin. Cache-Control overrides public and bare ages, since a path that looks static is how
// responses of a signed-in user get into shared caches (web cache deception).
//
// Explicit fields come last and win over all: first the preset, then Remove, then Set. HSTS is not sent to a client of
// whom a trusted proxy says that it spoke plain HTTP (RFC 6797 §7.2). Answers that switch protocols are left alone.
package headers

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config says which headers responses have.
type Config struct {
	// Preset is Strict, API or None; empty is None.
	Preset string
	// Set are fields that every response has, whatever the app sent.
	Set []Field
	// Remove are names of fields that no response has.
	Remove []string
}

// Field is a header field.
type Field struct{ Name, Value string }

// policy is the compiled Config.
type policy struct {
	preset []presetField
	remove field.Names
	// prune says that remove names anything.
	prune bool
	set   []Field
}

// New returns the stage. Its errors say which field of c cannot be.
func New(c Config) (stage.Stage, error) {
	fields, leaks, err := preset(c.Preset)
	if err != nil {
		return nil, err
	}
	p := &policy{preset: fields}
	removed := make(map[string]bool, len(c.Remove))
	for _, name := range c.Remove {
		if err := check.ResponseFieldName(name); err != nil {
			return nil, fmt.Errorf("removing header %q: %w", name, err)
		}
		removed[http.CanonicalHeaderKey(name)] = true
	}
	seen := make(map[string]bool, len(c.Set))
	for _, f := range c.Set {
		f.Name = http.CanonicalHeaderKey(f.Name)
		if err := checkField(f, seen[f.Name], removed[f.Name]); err != nil {
			return nil, fmt.Errorf("setting header %q: %w", f.Name, err)
		}
		seen[f.Name] = true
		p.set = append(p.set, f)
	}
	names := append(leaks, c.Remove...)
	p.remove, p.prune = field.NewNames(names...), len(names) > 0
	return response.Decorate(p.apply), nil
}

func (p *policy) apply(r *http.Request, status int, h http.Header) {
	if status == http.StatusSwitchingProtocols {
		return
	}
	info := request.From(r)
	plainHTTP := info.Scheme == "http"
	for _, f := range p.preset {
		if info.Public && f.name == cacheControl {
			continue
		}
		if f.name == hsts && plainHTTP {
			delete(h, hsts)
			continue
		}
		h[f.name] = []string{f.choose(h[f.name])}
	}
	if p.prune {
		for name := range h {
			if p.remove.Has(name) {
				delete(h, name)
			}
		}
	}
	for _, f := range p.set {
		if f.Name != hsts || !plainHTTP {
			h[f.Name] = []string{f.Value}
		}
	}
}

func checkField(f Field, again, removed bool) error {
	if err := check.ResponseFieldName(f.Name); err != nil {
		return err
	}
	switch {
	case again:
		return errors.New("it is set twice")
	case removed:
		return errors.New("it is both set and removed")
	}
	return check.ResponseFieldValue(f.Value)
}
