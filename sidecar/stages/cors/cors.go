// Package cors decides which origins' scripts may read the app's responses, by the CORS protocol of the Fetch standard.
//
// Decorate is an outer stage. Every response, including refusals and errors, gets the CORS headers of the policy in place of
// the app's, and Vary: Origin whether or not the origin is allowed. Preflight runs before authentication, because browsers
// send preflight requests without credentials. It responds to them as follows:
//
//   - An allowed origin gets 204 with everything that is allowed. The browser compares that with the method and the headers
//     of its request, and names a missing one in its console; the sidecar does not parse them.
//   - Any other origin gets 403 without CORS headers, as Fetch §3.3.3 encourages; the browser reports a CORS failure.
//   - An OPTIONS request that is not a preflight (no Origin, or no Access-Control-Request-Method) is forwarded to the app.
//
// An actual request from an origin that is not allowed is forwarded as well: CORS hides responses from scripts and does not
// protect against requests. Origins are compared byte by byte; a * in an
// allowed origin stands for one label of the host, or for every port. The origin "null", which sandboxed frames and local files
// share, is never allowed by name. Private network access is not granted.
//
// In Shadow mode of the policy, responses to origins that would be refused keep the app's own CORS headers.
package cors

import (
	"net/http"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config says what other origins may do.
type Config struct {
	// AllowOrigins are origins as browsers send them (https://app.example.com), or a single * for all. The first label of a host, and
	// the port, may be *.
	AllowOrigins []string
	// AllowMethods and AllowHeaders are allowed in addition to those that need no preflight (GET, HEAD, POST; Accept …). A *
	// allows all, except the Authorization header, which Fetch requires by name.
	AllowMethods, AllowHeaders []string
	// ExposeHeaders are the response headers that scripts may read in addition to the basic ones (Content-Type …).
	ExposeHeaders []string
	// AllowCredentials lets browsers send cookies and Authorization. No list can contain * then.
	AllowCredentials bool
	// MaxAge is how long browsers cache the result of a preflight, in whole seconds; 0 is the browser's default (5 s).
	MaxAge time.Duration
}

// Policy is a compiled Config. It is immutable.
type Policy struct {
	// any and origins are the lines of Access-Control-Allow-Origin, for every origin or for each one. Responses share them: their length is
	// their capacity, so that appending makes a copy.
	any      []string
	origins  map[string][]string
	patterns []check.OriginPattern
	// always are the headers of every response to an allowed origin; preflight are added in responses to preflights.
	always, preflight []headerField
}

type headerField struct {
	name   string
	values []string
}

// Decorate returns the outer stage.
func (p *Policy) Decorate() stage.Stage {
	varyOrigin := []string{"Origin"} // its length is its capacity
	return response.Decorate(func(r *http.Request, status int, h http.Header) {
		if status == http.StatusSwitchingProtocols {
			return
		}
		if len(h["Vary"]) == 0 {
			h["Vary"] = varyOrigin
		} else {
			field.AddVary(h, "Origin")
		}
		preflight := isPreflight(r)
		if preflight {
			field.AddVary(h, "Access-Control-Request-Method", "Access-Control-Request-Headers")
		}
		p.grant(r, h, preflight)
	})
}

// grant replaces the app's CORS headers.
func (p *Policy) grant(r *http.Request, h http.Header, preflight bool) {
	origin, allowed := p.origin(r)
	if !allowed && request.From(r).Shadow {
		return
	}
	for _, name := range appFields {
		delete(h, name)
	}
	if !allowed {
		return
	}
	h["Access-Control-Allow-Origin"] = origin
	for _, f := range p.always {
		h[f.name] = f.values
	}
	if preflight {
		for _, f := range p.preflight {
			h[f.name] = f.values
		}
	}
}

// appFields are the response headers of the CORS protocol and of private network access.
var appFields = [...]string{
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
	"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Allow-Private-Network",
	"Access-Control-Allow-Local-Network",
}

// origin returns the lines of Access-Control-Allow-Origin for r, and whether there are any.
func (p *Policy) origin(r *http.Request) ([]string, bool) {
	origins := r.Header["Origin"]
	if len(origins) != 1 {
		return nil, false
	}
	if p.any != nil {
		return p.any, true
	}
	if lines, ok := p.origins[origins[0]]; ok {
		return lines, true
	}
	for i := range p.patterns {
		if p.patterns[i].Has(origins[0]) {
			return []string{origins[0]}, true
		}
	}
	return nil, false
}

// Preflight returns the stage that responds to preflights: with 204, or with 403 and the problem cors-origin.
func (p *Policy) Preflight() stage.Stage {
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if !isPreflight(r) {
				return next.ServeHTTP(w, r)
			}
			if _, allowed := p.origin(r); allowed {
				w.WriteHeader(http.StatusNoContent) // Decorate adds the fields
				return nil
			}
			if err := request.From(r).Refuse(request.Rule{Stage: "cors"}, errOrigin()); err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
}

func errOrigin() *httperr.Error {
	return &httperr.Error{Status: http.StatusForbidden, Code: "cors-origin", Detail: "Scripts of this origin may not use this service."}
}

// isPreflight reports whether r is a CORS-preflight request (Fetch §3.3.2).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && r.Header.Get("Access-Control-Request-Method") != ""
}
