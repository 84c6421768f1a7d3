// Package headers adds the security headers that OWASP's Secure Headers project recommends to every response, and removes the
// headers that reveal the software behind it. It is the outermost stage except logs and metrics, so errors have them too.
//
// What the presets send, and when the app's own value is kept:
//
//	header                             Strict                               API          the app's value is kept
//	Strict-Transport-Security          max-age=31536000; includeSubDomains  the same     merged: the longer age, each directive
//	Content-Security-Policy            default-src 'self'; form-action …    'none' …     always: the app knows its own needs
//	Cache-Control                      no-store, max-age=0                  the same     if it has no-store or private
//	Cross-Origin-Opener-Policy         same-origin                          —            noopener-allow-popups, which isolates as well
//	Cross-Origin-Resource-Policy       same-origin                          the same     never: there is nothing stricter
//	Cross-Origin-Embedder-Policy       require-corp                         —            never: there is nothing stricter
//	Referrer-Policy                    no-referrer                          the same     never: there is nothing stricter
//	X-Frame-Options                    deny                                 the same     never: there is nothing stricter
//	X-Content-Type-Options             nosniff                              the same     never: there is one value
//	X-Permitted-Cross-Domain-Policies  none                                 the same     never: there is nothing stricter
//	X-XSS-Protection                   0                                    the same     never: the filter that it turns on leaked data itself
//
// API leaves out the headers that only matter for HTML documents. It keeps Cross-Origin-Resource-Policy: browsers check it for
// embedding without CORS (<img>, <script>), never for a fetch that CORS allows (Fetch §3.6), so it does not block a front end
// on another origin. Cache-Control replaces public and a max-age alone, because a path that looks static can put responses of
// a logged-in user into shared caches (web cache deception).
//
// The order is: the preset, then Remove, then Set, so that explicit headers win. HSTS is not sent to a client that used plain
// HTTP according to a trusted proxy (RFC 6797 §7.2). Responses that switch protocols are not changed.
package headers

import (
	"cmp"
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
	// Set are headers that every response has, whatever the app sent.
	Set []Field
	// Remove are the names of headers that no response has.
	Remove []string
}

// Field is a header field.
type Field struct{ Name, Value string }

// policy is the compiled Config.
type policy struct {
	preset []presetField
	remove field.Names
	// prune is true if remove is not empty.
	prune bool
	set   []Field
}

// New returns the stage. It refuses what check.Headers refuses.
func New(c Config) (stage.Stage, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("building headers: %w", err)
	}
	fields, leaks := preset(c.Preset)
	p := &policy{preset: fields}
	for _, f := range c.Set {
		p.set = append(p.set, Field{Name: http.CanonicalHeaderKey(f.Name), Value: f.Value})
	}
	names := append(leaks, c.Remove...)
	p.remove, p.prune = field.NewNames(names...), len(names) > 0
	return response.Decorate(p.apply), nil
}

func (c Config) validate() error {
	h := &check.HeadersSection{Preset: cmp.Or(c.Preset, "None"), Remove: c.Remove}
	for _, f := range c.Set {
		h.Set = append(h.Set, check.HeaderField(f))
	}
	return check.Error(check.Headers(h))
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
