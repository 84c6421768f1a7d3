// Package headers adds the security headers that OWASP's Secure Headers project recommends to every response, and removes the
// headers that reveal the software behind it. It is the outermost stage except logs and metrics, so errors have them too.
//
// What the presets send, and when the app's own value is kept:
//
//	header                             Strict                               API          the app's value is kept
//	Strict-Transport-Security          max-age=31536000; includeSubDomains  the same     merged: the longer age, each directive
//	Content-Security-Policy            default-src 'self'; form-action …    'none' …     always: the app knows its own needs
//	Cache-Control                      no-store, max-age=0                  the same     if it has no-store or private, or immutable without Set-Cookie
//	Cross-Origin-Opener-Policy         same-origin                          —            noopener-allow-popups, which isolates as well
//	Cross-Origin-Resource-Policy       same-origin                          the same     never: there is nothing stricter
//	Cross-Origin-Embedder-Policy       require-corp                         —            never: there is nothing stricter
//	Permissions-Policy                 camera=(), geolocation=(), …         —            always: the app knows its own needs
//	Referrer-Policy                    no-referrer                          the same     never: there is nothing stricter
//	X-Frame-Options                    deny                                 the same     never: there is nothing stricter
//	X-Content-Type-Options             nosniff                              the same     never: there is one value
//	X-Permitted-Cross-Domain-Policies  none                                 the same     never: there is nothing stricter
//	X-XSS-Protection                   0                                    the same     never: the filter that it turns on leaked data itself
//
// API leaves out the headers that only matter for HTML documents. It keeps Cross-Origin-Resource-Policy: browsers check it for
// embedding without CORS (<img>, <script>), never for a fetch that CORS allows (Fetch §3.6), so it does not block a front end
// on another origin. Cache-Control replaces public and a max-age alone, because a path that looks static can put responses of
// a logged-in user into shared caches (web cache deception). A response that the app calls immutable (RFC 8246) and that sets no
// cookie keeps its caching: the app has named it as a version of a file.
//
// The order is: the preset, then Remove, then Set, so that explicit headers win. Keep and Omit loosen the preset for one header, and
// a Route does so for some requests. HSTS and upgrade-insecure-requests are sent only to a client that used HTTPS according to a
// trusted proxy (RFC 6797 §7.2): a page of a site without TLS could not load its own scripts otherwise. Responses that switch
// protocols are not changed.
package headers

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config says which headers responses have.
type Config struct {
	Rules
	// Routes change the rules for some requests. The first that matches applies.
	Routes []Route
}

// Rules are the headers of the responses to some requests.
type Rules struct {
	// Preset is Strict, API or None. Empty is None, and for a Route the policy's.
	Preset string
	// Keep are headers of the preset whose value the app decides; headers that the preset removes are allowed too.
	Keep []string
	// Omit are headers that the preset does not add.
	Omit []string
	// Set are headers that every response has, whatever the app sent.
	Set []Field
	// Remove are the names of headers that no response has.
	Remove []string
}

// Field is a header field.
type Field struct{ Name, Value string }

// Route has the rules of the requests that match. Its lists are added to the policy's. For a header in both Set and Remove, the
// route decides.
type Route struct {
	Match []route.Match
	Rules
}

// New returns the stage. It refuses what check.Headers refuses.
func New(c Config) (stage.Stage, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("building headers: %w", err)
	}
	p := &policy{fields: newFields(c.Rules)}
	for i, r := range c.Routes {
		m, err := route.NewMatcher(r.Match)
		if err != nil {
			return nil, fmt.Errorf("building headers: route %d: %w", i, err)
		}
		p.routes = append(p.routes, routed{match: m, fields: newFields(c.Rules.with(r.Rules))})
	}
	return response.Decorate(p.apply), nil
}

func (c Config) validate() error {
	h := &check.HeadersSection{Preset: cmp.Or(c.Preset, check.PresetNone), HeaderRules: c.Rules.section()}
	for _, r := range c.Routes {
		out := check.HeaderRoute{Preset: r.Preset, HeaderRules: r.Rules.section()}
		for _, m := range r.Match {
			out.Match = append(out.Match, check.Match{Methods: m.Methods, Paths: m.Paths})
		}
		h.Routes = append(h.Routes, out)
	}
	return check.Error(check.Headers(h))
}

func (r Rules) section() check.HeaderRules {
	out := check.HeaderRules{Keep: r.Keep, Omit: r.Omit, Remove: r.Remove}
	for _, f := range r.Set {
		out.Set = append(out.Set, check.HeaderField(f))
	}
	return out
}

// with returns the rules of a route of r.
func (r Rules) with(route Rules) Rules {
	out := Rules{
		Preset: cmp.Or(route.Preset, r.Preset),
		Keep:   slices.Concat(r.Keep, route.Keep),
		Omit:   slices.Concat(r.Omit, route.Omit),
	}
	set, removed := map[string]bool{}, map[string]bool{}
	for _, f := range route.Set {
		set[http.CanonicalHeaderKey(f.Name)] = true
	}
	for _, name := range route.Remove {
		removed[http.CanonicalHeaderKey(name)] = true
	}
	for _, f := range r.Set {
		if name := http.CanonicalHeaderKey(f.Name); !set[name] && !removed[name] {
			out.Set = append(out.Set, f)
		}
	}
	for _, name := range r.Remove {
		if !set[http.CanonicalHeaderKey(name)] {
			out.Remove = append(out.Remove, name)
		}
	}
	out.Set, out.Remove = append(out.Set, route.Set...), append(out.Remove, route.Remove...)
	return out
}

// policy is the compiled Config.
type policy struct {
	fields
	routes []routed
}

type routed struct {
	match *route.Matcher
	fields
}

func (p *policy) apply(r *http.Request, status int, h http.Header) {
	if status == http.StatusSwitchingProtocols {
		return
	}
	info := request.From(r)
	if route := p.route(r.Method, info); route != nil {
		route.apply(info, h)
		return
	}
	p.fields.apply(info, h)
}

// route returns the first route that matches every reading of the request's path; nil if none does.
func (p *policy) route(method string, info *request.Info) *routed {
	if len(p.routes) == 0 {
		return nil
	}
	target := info.Target()
	for i := range p.routes {
		if p.routes[i].match.MatchEvery(method, &target) {
			return &p.routes[i]
		}
	}
	return nil
}
